# SPDX-License-Identifier: ISC
"""The core of the queue under load and in trouble: messages for many, large
ones, disks without room, senders and relays that make others wait; and daemons
that are stopped or killed in the middle of it."""

import collections
import concurrent.futures
import os
import re
import shutil
import signal
import threading
import time

import pytest

import harness
from badrelay import BadRelay, Fault
from harness import WAIT, message
# fixtures too
from test_queue import (  # noqa: F401  pylint: disable=unused-import
    HELD, MIME, QUEUED, SMALL, Patient, copies_by_recipient, disk, drain,
    in_the_future, kept, needs_root, patient, send, send_queued,
    send_taken, spool, stored)

SENDER = "a@example.test"
UNKNOWN = "550 5.1.1 no such user"
UNVERIFIED = "554 Message rejected: Email address is not verified."
MEGABYTE = 1 << 20


def copies_of(path, count):
    """Makes so many messages of one in queue/, under names that come right
    behind its own; returns their paths."""
    text, result = path.read_bytes(), []
    for number in range(1, count + 1):
        name = f"{int(path.name, 16) + number:032x}"
        copy = path.parent / name
        copy.write_bytes(text.replace(path.name.encode(), name.encode()))
        os.utime(copy, (0, 0))
        result.append(copy)
    return result


def until(condition):
    """Waits for what is seen from outside only."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def states(path):
    """The recipients' states in a file, as one word; "" if it is gone."""
    try:
        text = path.read_bytes().decode("latin-1")
    except FileNotFoundError:
        return ""
    return "".join(re.findall(r"(?m)^recipient (\w)", text))


# ---- More recipients than a transaction carries ----------------------

NAMES = [f"r{number}@example.test" for number in range(300)]


@pytest.mark.parametrize("delivery", ["direct", "queue"])
@pytest.mark.parametrize("refused", [0, 2])
def test_three_transactions(delivery, refused, start, kept, relay, spool):
    """Each recipient has one copy; two who are refused, in different
    transactions, make one notice, and the others are none the worse."""
    bad = NAMES[150:251:100][:refused]
    one = relay(recipients={name: UNKNOWN for name in bad})
    daemon = start(kept(one, {"queue": {"delivery": delivery}}))
    reply = send(daemon, recipients=NAMES)
    assert reply.code == 250, reply
    one.wait_messages(3 + bool(bad))
    daemon.stop()
    wanted = {name: 1 for name in NAMES if name not in bad}
    if bad:
        wanted[SENDER] = 1
        notice = next(m for m in one.messages if m.recipients == [SENDER])
        for name in bad:
            assert name.encode() in notice.body
        assert b"r0@example.test" not in notice.text
    assert copies_by_recipient(one) == wanted
    assert sorted(len(m.recipients) for m in one.messages)[-3:] == (
        [99, 99, 100] if bad else [100, 100, 100])
    spool.assert_empty()


class Halting(BadRelay):
    """Says nothing from the number-th time on that it comes to a step, until
    release is set."""

    def __init__(self, step, number, **options):
        self.step, self.left = step, number
        self.waiting = threading.Event()
        super().__init__(**options)

    def take(self, step):
        if step == self.step:
            self.left -= 1
            if self.left <= 0:
                self.waiting.set()
                self.release.wait(WAIT * 3)
        return super().take(step)


def kill(daemon):
    daemon.signal(signal.SIGKILL)
    assert daemon.wait_exit() == -signal.SIGKILL


@pytest.mark.parametrize("way", ["queue", "impatient"])
@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("step", ["mail", "dot"])
def test_killed_between_transactions(step, number, way, start, kept, relay,
                                     spool):
    """Nobody who is known to have it gets it again: at the dot the relay may
    have the message, and then another copy is the price of losing none."""
    one = Halting(step, number)
    try:
        daemon = start(kept(one, {"queue": {
            "delivery": "queue"} if way == "queue" else {
                "direct_wait": "300ms"}}))
        send_queued(daemon, recipients=NAMES)
        assert one.waiting.wait(WAIT)
        [path] = spool.files()
        assert states(path).count("S") == 100 * (number - 1)
        kill(daemon)
        one.release.set()  # at the dot it takes the message
        one.wait_ended()
        another = relay()
        spool.make_due()
        drain(start, kept(another), another, 4 - number)
    finally:
        one.close()
    before, after = copies_by_recipient(one), copies_by_recipient(another)
    total = collections.Counter(before) + collections.Counter(after)
    assert set(total) == set(NAMES)
    twice = {name for name in NAMES if total[name] == 2}
    assert twice == (set(NAMES[100 * number - 100:100 * number])
                     if step == "dot" else set())
    assert max(total.values()) <= 2
    spool.assert_empty()


# ---- Large messages --------------------------------------------------

LARGE = MIME + message(body="0123456789" * 7, newline="\r\n") + (
    b"." + b"0123456789abcdef" * 4 + b"\r\n") * (20 * MEGABYTE // 67)
STUFFED = LARGE.replace(b"\r\n.", b"\r\n..")


@pytest.mark.parametrize("way", ["direct", "away", "queue"])
def test_large_message(way, start, kept, relay, nobody_there, spool):
    """It is not in memory, whatever becomes of it, and arrives as it was."""
    one = relay()
    daemon = start(kept(nobody_there if way == "away" else one,
                        {"queue": {"delivery": "queue"}}
                        if way == "queue" else None))
    send(daemon, "small")
    before = daemon.rss()
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        client.send(STUFFED + b".\r\n")
        assert client.expect(250)
    if way != "away":
        one.wait_messages(2)
    if not harness.SANITIZED:
        assert daemon.rss() - before < 3 * MEGABYTE
    daemon.stop()
    assert spool.names("incoming") == []
    if way == "away":
        daemon = start(kept(one))
        one.wait_messages(2)
        if not harness.SANITIZED:
            assert daemon.rss() < before + 3 * MEGABYTE
        daemon.stop()
    assert len(one.messages) == 2
    large = max((m.body for m in one.messages), key=len)
    assert large.endswith(STUFFED)
    spool.assert_empty()


@pytest.mark.parametrize("end", ["close", "reset", "quit"])
def test_client_vanishes_in_a_large_message(end, start, kept, relay, spool):
    """Nothing of it stays, while the daemon runs."""
    one = relay()
    daemon = start(kept(one))
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        client.send(STUFFED[:2 * MEGABYTE])
        until(lambda: spool.names("incoming"))
        if end == "quit":  # it is content, not a command
            client.send(b"\r\nQUIT\r\n")
        if end == "reset":
            client.reset()
    until(lambda: not spool.names("incoming"))
    assert send(daemon).code == 250
    daemon.stop()
    assert len(one.messages) == 1
    spool.assert_empty()


def test_large_messages_side_by_side(start, kept, relay, spool):
    """Each in a file of its own."""
    one = relay()
    daemon = start(kept(one))
    texts = [MIME + message(body=f"<n{n}>", newline="\r\n") +
             b"%d\r\n" % n * (MEGABYTE // 4) for n in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda text: send(daemon, text=text), texts))
    assert all(reply.code == 250 for reply in replies), replies
    daemon.stop()
    for text in texts:
        assert sum(m.body.endswith(text) for m in one.messages) == 1
    spool.assert_empty()


@pytest.mark.parametrize("size", [100000, MEGABYTE])
@pytest.mark.parametrize("over", [0, 1])
def test_max_message(size, over, start, kept, relay, spool):
    """What we add to the header does not count, whether the message is in
    memory or in its file when it comes."""
    one = relay()
    daemon = start(kept(one, {"listen": {"max_message": size}}))
    head = b"Subject: x\r\n\r\n"  # Received, Date and others are added
    text = head + b"0123456789abcd\r\n" * (size // 16)
    text = text[:size + over - 2] + b"\r\n"
    reply = send(daemon, text=text)
    assert reply.code == (552 if over else 250), reply
    assert send(daemon).code == 250
    daemon.stop()
    assert sum(m.text == text[len(head):] for m in one.messages) == 1 - over
    spool.assert_empty()


# ---- A disk without room ---------------------------------------------

HUGE = {"queue": {"min_free": "1000000G"}}


def test_no_room_and_the_relay_is_there(start, kept, relay, spool):
    """What cannot be kept goes to all of its recipients at once, or to
    nobody."""
    one = relay(recipients={"no@example.test": UNKNOWN,
                            "later@example.test": "450 4.2.1 busy"})
    daemon = start(kept(one, HUGE))
    assert send(daemon, "both", ["x@example.test", "y@example.test"]).code \
        == 250
    reply = send(daemon, "no", ["x@example.test", "no@example.test"])
    assert reply.code == 550 and "no@example.test" in reply.text, reply
    reply = send(daemon, "later", ["x@example.test", "later@example.test"])
    assert reply.code == 450 and "later@example.test" in reply.text, reply
    text = message(body="<large>\r\n" + "x" * 70, newline="\r\n") + \
        b"0123456789\r\n" * 50000
    assert send(daemon, text=text).code == 250
    daemon.stop()
    assert [one.copies(b"<%s>" % marker) for marker in
            (b"both", b"no", b"later", b"large")] == [1, 0, 0, 1]
    spool.assert_empty()


@pytest.mark.parametrize("way", ["away", "queue"])
def test_no_room_and_no_relay(way, start, kept, relay, nobody_there, spool):
    """Then it is refused before its content is sent."""
    one = relay()
    daemon = start(kept(nobody_there if way == "away" else one, HUGE))
    if way == "away":  # that is not known yet
        assert send(daemon).code == 451
    else:
        daemon.stop()
        daemon = start(kept(one, harness.merge(
            HUGE, {"queue": {"delivery": "queue"}})))
    for _ in range(2):
        with daemon.connect() as client:
            client.ehlo()
            reply = client.expect(452, f"MAIL FROM:<{SENDER}>")
            assert reply.enhanced == "4.3.1"
            client.expect(503, "RCPT TO:<b@example.test>")
            client.expect(221, "QUIT")
    daemon.stop()
    assert not one.messages
    spool.assert_empty()


def test_the_size_that_is_said_counts(disk, start, kept, relay):
    """RFC 1870: a message that would leave too little room is refused at
    once; one that says nothing is looked at when it comes."""
    small = disk("size=20m")
    one = relay()
    daemon = start(kept(one, {"queue": {"min_free": "10M",
                                        "delivery": "queue"}}),
                   wrapper=small.wrapper)
    with daemon.connect() as client:
        client.ehlo()
        for size, code in [(1, 250), (9 * MEGABYTE, 250),
                           (11 * MEGABYTE, 452), (49 * MEGABYTE, 452)]:
            client.expect(code, f"MAIL FROM:<{SENDER}> SIZE={size}")
            client.expect(250, "RSET")
        client.expect(250, f"MAIL FROM:<{SENDER}>")
    daemon.stop()


@pytest.mark.parametrize("options", ["size=64k", "size=1m,nr_inodes=12"])
def test_a_notice_and_a_full_disk(options, disk, start, kept, nobody_there,
                                  relay):
    """The sender is told when there is room, and the message is not tried
    again until then."""
    small = disk(options)
    daemon = start(kept(nobody_there, SMALL), wrapper=small.wrapper)
    send_queued(daemon)
    daemon.stop()
    small.fill()
    fillers = []
    while "nr_inodes" in options:
        try:
            fillers.append(small.spool.path / f"filler{len(fillers)}")
            fillers[-1].touch()
        except OSError:
            fillers.pop()
            break
    one = relay(recipients={"b@example.test": UNKNOWN})
    daemon = start(kept(one, SMALL), wrapper=small.wrapper)
    daemon.wait_event("message", text=re.compile("cannot store the notice"))
    daemon.stop()
    [path] = small.spool.files()
    assert states(path) == "N" and not one.messages
    one.recipients = {}  # it would be taken now, but that was said
    for name in (small.spool.path / "filler", *fillers):
        name.unlink()
    small.spool.make_due()
    drain(start, kept(one, SMALL), one, 1, wrapper=small.wrapper)
    assert [m.recipients for m in one.messages] == [[SENDER]]
    small.spool.assert_empty()


# ---- Senders, storms and a slow relay --------------------------------

def test_held_is_refused(start, kept, relay, spool):
    """With held = refuse whoever the relay does not know hears it, now and
    while his pause lasts; for others nothing changes."""
    one = relay(replies={"dot": UNVERIFIED})
    daemon = start(kept(one, {"queue": {"held": "refuse"}}))
    for _ in range(3):
        reply = send(daemon)
        assert reply.code == 554 and "not verified" in reply.text, reply
    asked = sum(session.said("MAIL") for session in one.sessions)
    assert asked == 1
    one.replies = {}
    with daemon.connect() as client:
        client.ehlo()
        client.envelope("other@example.test")
        client.send(message(newline="\r\n") + b".\r\n")
        client.expect(250)
    daemon.stop()
    # each refusal is in the log
    assert len({event["id"] for event in daemon.events("refused")} |
               {event["id"] for event in daemon.events("deferred")}) == 3
    assert len(one.messages) == 1
    spool.assert_empty()


def test_a_storm_of_notices(start, kept, stored, relay, spool):
    """Ten at once, the others stay owed; a restart loses none of them."""
    [path] = stored("m")
    copies_of(path, 39)
    one = relay(recipients={"b@example.test": UNKNOWN})
    config = kept(one)
    daemon = start(config)
    one.wait_messages(10)
    until(lambda: all(states(path) == "N" for path in spool.files()))
    daemon.stop()
    assert len(one.messages) == 10
    assert len(spool.names()) == 30 and spool.names("failed") == []
    assert all(in_the_future(path) for path in spool.files())
    for told in (20, 30, 40):
        spool.make_due()
        drain(start, config, one, told)
        assert len(one.messages) == told
        assert len(spool.names()) == 40 - told
    assert sum(session.text.count("<b@") for session in one.sessions) == 40
    ids = [re.search(rb"queue ID\r\n(\w+)\.", m.body)[1]
           for m in one.messages]
    assert len(set(ids)) == 40
    spool.assert_empty()


class Turnstile(BadRelay):
    """Lets one message through at a time, when the test says so."""

    def __init__(self):
        self.came, self.may = threading.Semaphore(0), threading.Semaphore(0)
        super().__init__()

    def take(self, step):
        if step == "dot":
            self.came.release()
            self.may.acquire(timeout=WAIT * 3)
        return super().take(step)

    def turn(self):
        """The message that is there is taken, and the next one has come."""
        self.may.release()
        assert self.came.acquire(timeout=WAIT)


def test_sessions_do_not_wait_for_the_backlog(start, kept, stored):
    """Two thousand are stored, and the relay is slow: it takes one when it is
    told to."""
    [path] = stored("m")
    copies_of(path, 2000)
    with Turnstile() as one:
        daemon = start(kept(one, {"upstream": {"connections": 1}}))
        assert one.came.acquire(timeout=WAIT)
        one.turn()
        for number in range(5):
            marker = b"<n%d>" % number
            with daemon.connect(daemon.socket) as client:
                client.ehlo()
                client.envelope()
                client.send_drained(message(
                    body=marker.decode(), newline="\r\n") + b".\r\n")
                turns = 0
                while not one.copies(marker):
                    one.turn()
                    turns += 1
                reply = client.expect(250)
            assert not QUEUED.match(reply.text), reply
            assert turns <= 4  # the one that was there, and then in turn
        one.may.release(10 ** 6)
        daemon.stop()


@pytest.mark.parametrize("fault", ["421 4.3.2 go away", "drop"])
def test_a_poison_message(fault, start, kept, nobody_there, relay, spool):
    """One that always loses the connection, among a hundred that do not."""
    daemon = start(kept(nobody_there))
    send_queued(daemon, "m")
    send_queued(daemon, "poison", ["poison@example.test"])
    daemon.stop()
    good, poison = spool.files()
    copies_of(good, 50)
    os.utime(poison, (1, 1))
    last = copies_of(poison, 1)[0]
    poison.unlink()
    text = good.read_bytes()
    for path in copies_of(last, 49):
        path.write_bytes(text.replace(good.name.encode(),
                                      path.name.encode()))
        os.utime(path, (2, 2))
    one = Choking("poison@example.test", fault)
    try:
        daemon = start(kept(one))
        one.wait_messages(100)
        daemon.stop()
        assert one.copies(b"<m>") == len(one.messages) == 100
        assert len(daemon.events("deferred")) == 1
        assert not daemon.events("upstream_down")
        assert spool.names() == [last.name] and in_the_future(last)
    finally:
        one.close()


class Choking(BadRelay):
    """Ends the connection when that recipient is named."""

    def __init__(self, address, fault):
        super().__init__(recipients={} if fault == "drop" else
                         {address: fault})
        self.address = address if fault == "drop" else None

    def take(self, step):
        if step == "rcpt" and self.address and \
                self.sessions_with(f"RCPT TO:<{self.address}>"):
            return Fault("rcpt", "drop")
        return super().take(step)

    def sessions_with(self, text):
        """Whether the session that asks has just said that."""
        return any(session.thread is threading.current_thread() and
                   session.commands[-1].decode() == text
                   for session in list(self.sessions))


# ---- Stopped, killed, away -------------------------------------------

def submit_many(daemon, replies, number, markers):
    """Sends one message after the other; replies[marker] is what was heard."""
    for marker in markers:
        name = f"n{number}-{marker}"
        try:
            replies[name] = send(daemon, name)
        except (OSError, AssertionError, AttributeError):
            replies[name] = None
        if not replies[name]:
            return  # it has gone


def test_stopped_under_load(start, kept, spool, patient):
    """SIGTERM with fifty submissions in flight: in time, with 0, and whoever
    heard 250 can rely on it."""
    one = patient("dot")
    daemon = start(kept(one, {"smarthost": {"stop_timeout": "2s"},
                              "upstream": {"connections": 8},
                              "queue": {"direct_wait": "60s"}}))
    replies = {}
    sent = threading.Semaphore(0)

    def submit(number):
        name = f"n{number}-0"
        with daemon.connect(daemon.socket) as client:
            client.ehlo()
            client.envelope()
            client.send_drained(message(body=f"<{name}>", newline="\r\n") +
                                b".\r\n")
            sent.release()
            replies[name] = client.reply()
    threads = [threading.Thread(target=submit, args=(number,))
               for number in range(50)]
    for thread in threads:
        thread.start()
    one.wait_sessions(8)
    assert one.waiting.wait(WAIT)
    for _ in threads:
        assert sent.acquire(timeout=WAIT)
    began = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - began < 2 + WAIT / 2
    for thread in threads:
        thread.join()
    one.crashed = True
    one.release.set()
    one.wait_ended()
    one.slow_step = None
    yes = {name for name, reply in replies.items()
           if reply and reply.code == 250}
    assert len(yes) >= 42, replies  # all but those whom the couriers had
    assert spool.names("incoming") == [] and not one.messages
    spool.make_due()
    daemon = start(kept(one))
    until(lambda: not spool.names())
    daemon.stop()
    for name in yes:
        assert one.copies(b"<%s>" % name.encode()) == 1, name
    spool.assert_empty()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ended_at_full_speed(number, start, kept, relay, spool):
    """The same in the middle of a good day; with a kill some may come twice,
    but those are few: what the relay was just about to answer."""
    one = relay()
    daemon = start(kept(one))
    replies = {}
    threads = [threading.Thread(target=submit_many, args=(
        daemon, replies, n, range(10 ** 6))) for n in range(8)]
    for thread in threads:
        thread.start()
    one.wait_messages(200)
    daemon.signal(number)
    assert daemon.wait_exit() in (0, -signal.SIGKILL)
    for thread in threads:
        thread.join()
    one.wait_ended()
    spool.make_due()
    daemon = start(kept(one))
    until(lambda: not spool.names())
    daemon.stop()
    for name, reply in replies.items():
        copies = one.copies(b"<%s>" % name.encode())
        assert copies <= 1 or number == signal.SIGKILL
        assert copies >= (reply is not None and reply.code == 250), name
    spool.assert_empty()


@needs_root
def test_postfix_stopped_under_load(start, for_postfix, postfix, spool):
    """Nothing is lost, and nothing comes twice but what the log calls
    perhaps delivered."""
    config = for_postfix("plain", {"queue": {"directory": spool.path}})
    daemon = start(config)
    names = [f"load{number}@example.test" for number in range(150)]
    done = threading.Semaphore(0)

    def submit(name):
        reply = send(daemon, recipients=[name])
        done.release()
        return reply
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = pool.map(submit, names)
        for _ in range(40):
            assert done.acquire(timeout=WAIT)
        postfix.stop()
        for _ in range(40):
            assert done.acquire(timeout=WAIT)
        postfix.start()
        replies = list(replies)
    assert all(reply.code == 250 for reply in replies), replies
    daemon.wait_event("upstream_down")
    until(lambda: harness.run("-c", daemon.config, "queue", "retry") and
          not spool.names())
    daemon.wait_event("upstream_up")
    daemon.stop()
    unsure = {event["to"] for event in
              daemon.events("deferred", note="may be delivered")}
    postfix.settled()
    copies = collections.Counter(name for name, _ in {
        (one.recipient, one.queue_id) for one in postfix.all_messages()
        if one.recipient in names})
    for name in names:
        assert copies[name] == 1 or (
            copies[name] == 2 and name in unsure), (name, copies[name])
    spool.assert_empty()


@pytest.mark.skipif("SMARTHOST_SLOW" not in os.environ,
                    reason="takes a minute; SMARTHOST_SLOW=1 runs it")
def test_a_file_put_into_the_queue_by_hand(start, kept, nobody_there, relay,
                                           spool):
    """DU-27: nobody has told the daemon of it."""
    daemon = start(kept(nobody_there))
    send_queued(daemon)
    daemon.stop()
    path = spool.files()[0]
    away = path.parent.parent / "rescued"
    path.rename(away)
    one = relay()
    daemon = start(kept(one))
    assert send(daemon, "first").code == 250
    away.rename(path)
    until(lambda: one.copies() == 1)
    daemon.stop()
    spool.assert_empty()
