# SPDX-License-Identifier: ISC
"""The queue: once the daemon has said 250 a message arrives, whole and once,
whatever the relay, the disk, the clock and the operator do in between.

A due retry is not waited for: the mtime of a file in queue/ is the time of
its next try, so a test sets it back and starts the daemon again."""

import concurrent.futures
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

import badrelay
import harness
from badrelay import BadRelay, Fault
from harness import CONFIG, NOBODY, WAIT, message, sendmail
from test_kill import TRACED, can_trace, strace, trace_options

ACCEPTED = re.compile(r"2\.0\.0 ([0-9a-f]{32}) ")
QUEUED = re.compile(ACCEPTED.pattern + "queued: ")
HELD = re.compile(ACCEPTED.pattern + "held: ")
ROOT = os.getuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="needs root")


class Patient(BadRelay):
    """Says nothing at one step until release is set, then what it should.
    waiting is set when it has come there."""

    def __init__(self, step, **options):
        self.slow_step = step
        self.crashed = False  # what it was about to take is not taken
        self.waiting = threading.Event()
        super().__init__(**options)

    def take(self, step):
        if step == self.slow_step:
            self.waiting.set()
            self.release.wait(WAIT * 3)
            if self.crashed:
                raise badrelay.Gone("crashed")
        return super().take(step)


class Spool:
    """The spool directory, seen from outside."""

    def __init__(self, path):
        self.path = path

    def names(self, directory="queue"):
        try:
            return sorted(os.listdir(self.path / directory))
        except FileNotFoundError:
            return []

    def files(self):
        return [self.path / "queue" / name for name in self.names()]

    def make(self):
        """As the daemon makes it, before there is one."""
        for name in (".", "incoming", "queue", "failed"):
            (self.path / name).mkdir(mode=0o700)
        return self

    def make_due(self):
        """All that is in the queue is to be tried now."""
        for path in self.files():
            os.utime(path, (0, 0))

    def assert_empty(self):
        for directory in ("incoming", "queue", "failed"):
            assert self.names(directory) == []


@pytest.fixture
def spool(place):
    return Spool(place / "spool")


@pytest.fixture
def kept(sections, spool):
    """sections() with a spool."""
    def make(relay_or_port, changes=None):
        base = sections(relay_or_port, {"queue": {"directory": spool.path}})
        return harness.merge(base, changes)
    return make


@pytest.fixture
def patient():
    relays = []

    def start_one(step, **options):
        relays.append(Patient(step, **options))
        return relays[-1]
    yield start_one
    for one in relays:
        one.close()


def send(daemon, marker="m", recipients=("b@example.test",), text=None):
    """Sends by SMTP; returns the reply to the end of data."""
    with daemon.connect() as client:
        client.ehlo()
        reply = client.command("MAIL FROM:<a@example.test>")
        if reply.code == 452:  # the disk is full
            return reply
        for recipient in recipients:
            assert client.command(f"RCPT TO:<{recipient}>").code == 250
        assert client.command("DATA").code == 354
        client.send(text or message(body=f"<{marker}>", newline="\r\n"))
        client.send(b".\r\n")
        return client.reply()


def send_queued(daemon, *args, **more):
    """As send(); it has to be kept. Returns its queue ID."""
    reply = send(daemon, *args, **more)
    found = QUEUED.match(reply.text)
    assert reply.code == 250 and found, reply
    return found[1]


def send_taken(daemon, *args, **more):
    """As send(); it has to be accepted. Returns its queue ID."""
    reply = send(daemon, *args, **more)
    assert reply.code == 250, reply
    return ACCEPTED.match(reply.text)[1]


def drain(start, config, relay, count, **options):
    """Starts a daemon, lets it deliver until count messages are there, and
    stops it."""
    daemon = start(config, **options)
    relay.wait_messages(count)
    assert daemon.stop() == 0
    return daemon


def copies_by_recipient(relay):
    """{recipient: how many copies}."""
    result = {}
    for one in relay.messages:
        for name in one.recipients:
            result[name] = result.get(name, 0) + 1
    return result


# ---- The relay is away -----------------------------------------------

# Of 8-bit text, and of what is not yet all there, we would say what it is.
MIME = b"MIME-Version: 1.0\r\n"
TEXTS = {
    "small": message(newline="\r\n"),
    "nothing": b"",
    "header only": b"Subject: <m>\r\n",
    "dots": message(newline="\r\n") + b"..\r\n...\r\n..x\r\n",
    "8-bit": MIME + message(newline="\r\n") + bytes(range(128, 256)) + b"\r\n",
    "like an envelope": b"\r\nsmarthost 1\r\nid 0\r\nend\r\n\r\nend\r\n",
    "32 KiB": message(newline="\r\n") + b"0123456789abcd\r\n" * 2048,
    "spilled": message(newline="\r\n") + b"0123456789abcd\r\n" * 65536,
}


@pytest.mark.parametrize("delivery", ["direct", "queue"])
@pytest.mark.parametrize("case", TEXTS)
def test_relay_away(case, delivery, start, kept, spool, nobody_there, relay):
    daemon = start(kept(nobody_there, {"queue": {"delivery": delivery}}))
    name = send_queued(daemon, text=TEXTS[case])
    assert spool.names() == [name]
    assert daemon.stop() == 0
    assert spool.names() == [name] and spool.names("incoming") == []
    mode = os.stat(spool.path / "queue" / name).st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert stat.S_IMODE(os.stat(spool.path).st_mode) == 0o711
    one = relay()
    for _ in range(2):
        drain(start, kept(one), one, 1)
    assert one.copies() == 1
    assert TEXTS[case] in one.messages[0].body
    assert case == "header only" or one.messages[0].body.endswith(TEXTS[case])
    assert (one.messages[0].sender, one.messages[0].recipients) == (
        "a@example.test", ["b@example.test"])
    spool.assert_empty()


def test_it_is_what_would_have_been_sent_at_once(start, kept, nobody_there,
                                                 relay):
    """The message from the spool is the message from memory."""
    direct, later = relay(), relay()
    text = message(newline="\r\n") + b"..\r\n\x80\xff\r\n" * 1000
    daemon = start(kept(direct))
    assert send(daemon, text=text).code == 250
    daemon.stop()
    daemon = start(kept(nobody_there))
    send_queued(daemon, text=text)
    daemon.stop()
    drain(start, kept(later), later, 1)
    own = re.compile(rb"(?s)\AReceived:.*?\r\n(?=[!-9;-~]+:)")
    first, second = direct.messages[0], later.messages[0]
    assert own.search(first.body) and own.search(second.body)
    assert own.sub(b"", first.body) == own.sub(b"", second.body)
    assert first.parameters == second.parameters


@pytest.mark.parametrize("sender", ["", "a@example.test",
                                    '"a b\\"<>@"@example.test'])
def test_the_envelope_survives(sender, start, kept, nobody_there, relay):
    recipients = ['"x y"@example.test', "'!#$%&*+-/=?^_`{|}~@example.test",
                  '"\\\\ "@example.test', "b@[192.0.2.1]",
                  "c" * 64 + "@" + "d" * 60 + ".example.test"]
    daemon = start(kept(nobody_there))
    with daemon.connect() as client:
        client.ehlo()
        client.envelope(sender, recipients)
        client.send(message(newline="\r\n") + b".\r\n")
        assert QUEUED.match(client.expect(250).text)
    daemon.stop()
    one = relay()
    daemon = start(kept(one))
    session = one.wait_sessions()[0]
    one.wait_messages()
    daemon.stop()
    said = session.text
    assert f"MAIL FROM:<{sender}>" in said
    for recipient in recipients:
        assert said.count(f"RCPT TO:<{recipient}>") == 1


def test_sendmail_through_the_daemon(start, kept, nobody_there, relay):
    daemon = start(kept(nobody_there))
    result = sendmail("-i", "b@example.test", stdin=message(),
                      socket_path=daemon.socket)
    assert result.status == 0, result.text
    daemon.stop()
    one = relay()
    drain(start, kept(one), one, 1)
    assert one.copies() == 1


def test_many_recipients(start, kept, nobody_there, relay, spool):
    """An envelope of several reads, in as many transactions as it takes."""
    names = [f"recipient-{number}@example.test" for number in range(1000)]
    daemon = start(kept(nobody_there))
    send_queued(daemon, recipients=names)
    daemon.stop()
    one = relay()
    drain(start, kept(one), one, 10)
    assert copies_by_recipient(one) == {name: 1 for name in names}
    spool.assert_empty()


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("delivery", ["direct", "queue"])
def test_the_relay_takes_few_at_a_time(delivery, pipelining, start, kept,
                                       relay, spool):
    """UX-24: who has no place in a transaction is in the next one, at once;
    a refusal among them is one recipient's."""
    names = [f"r{number}@example.test" for number in range(8)]
    one = relay(recipients_max=3, pipelining=pipelining,
                recipients={names[4]: "550 5.1.1 no such user"})
    daemon = start(kept(one, {"queue": {"delivery": delivery}}))
    reply = send(daemon, recipients=names)
    assert reply.code == 250, reply
    one.wait_messages(4)
    daemon.stop()
    sent = [message.recipients for message in one.messages]
    assert sent[:3] == [names[:3], [names[3], *names[5:7]], names[7:]]
    assert sent[3] == ["a@example.test"]
    spool.assert_empty()


@pytest.mark.parametrize("delivery", ["direct", "queue"])
def test_the_relay_is_there(delivery, start, kept, relay, spool):
    """Nothing stays behind; delivery = queue is as prompt."""
    one = relay()
    daemon = start(kept(one, {"queue": {"delivery": delivery}}))
    for number in range(300):
        reply = send(daemon, f"n{number}")
        assert reply.code == 250
        assert bool(QUEUED.match(reply.text)) == (delivery == "queue"), reply
    one.wait_messages(300)
    daemon.stop()
    assert all(one.copies(b"<n%d>" % n) == 1 for n in range(300))
    spool.assert_empty()


def test_no_storm(start, kept, spool, relay):
    """LO-04: the number of connections grows with time, not with the queue;
    and afterwards each message arrives once."""
    away = relay(Fault("connect", "rst", times=10 ** 6))
    daemon = start(kept(away))
    for number in range(200):
        send_queued(daemon, f"n{number}")
    daemon.stop()
    assert len(away.sessions) <= 3
    assert len(spool.names()) == 200
    daemon = start(kept(away))
    daemon.wait_event("upstream_down")
    daemon.stop()
    assert len(away.sessions) <= 6
    one = relay()
    for _ in range(2):
        drain(start, kept(one), one, 200)
    assert len(one.messages) == 200
    assert all(one.copies(b"<n%d>" % n) == 1 for n in range(200))
    spool.assert_empty()


# ---- What the relay said ---------------------------------------------

def in_the_future(path):
    return path.stat().st_mtime > time.time() + 5


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
@pytest.mark.parametrize("kind", ["451", "drop", "421"])
def test_not_now(step, kind, start, kept, spool, relay):
    """It has been tried, so it waits: not even one try at once."""
    one = relay(Fault(step, kind))
    daemon = start(kept(one))
    name = send_queued(daemon)
    assert spool.names() == [name]
    assert one.copies() == 0, "tried again at once"
    assert in_the_future(spool.files()[0]), "it is due at once"
    send(daemon, "other")
    daemon.stop()
    assert one.copies(b"<m>") == 0
    # a restart does not make it due either
    daemon = start(kept(one))
    assert send(daemon, "other").code == 250
    daemon.stop()
    assert one.copies(b"<m>") == 0
    spool.make_due()
    before = len(one.messages)
    drain(start, kept(one), one, before + 1)
    assert one.copies(b"<m>") == 1
    spool.assert_empty()


@pytest.mark.parametrize("kind", ["drop", "rst", "malformed", "451"])
def test_perhaps_delivered(kind, start, kept, spool, relay):
    """AMBIG (UX-34): one more copy an attempt, and none at once."""
    one = relay(Fault("dot", "accept_" + kind))
    daemon = start(kept(one))
    send_queued(daemon)
    assert one.copies() == 1
    assert in_the_future(spool.files()[0])
    send(daemon, "other")
    daemon.stop()
    assert one.copies(b"<m>") == 1
    if kind != "451":
        assert daemon.events("deferred", note="may be delivered")
    spool.make_due()
    drain(start, kept(one), one, len(one.messages) + 1)
    mine = [m for m in one.messages if b"<m>" in m.body]
    assert len(mine) == 2
    ids = [re.search(rb"(?mi)^message-id: (.*)\r$", m.body)[1] for m in mine]
    assert ids[0] == ids[1]
    spool.assert_empty()


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
def test_never(step, start, kept, spool, relay):
    """The client is there to hear it, and nothing is kept."""
    one = relay(replies={step: "550 5.7.1 go away"})
    daemon = start(kept(one))
    reply = send(daemon)
    assert reply.code == 550, reply
    assert "go away" in reply.text
    daemon.stop()
    assert one.copies() == 0
    spool.assert_empty()


def test_too_large_for_the_relay(start, kept, spool, relay):
    one = relay(replies={"mail": "552 5.3.4 too big"})
    daemon = start(kept(one))
    reply = send(daemon)
    assert reply.code == 552, reply
    daemon.stop()
    spool.assert_empty()


def test_one_recipient_later(start, kept, spool, relay):
    """LO-08: the others once, the one alone."""
    one = relay(recipients={"later@example.test": "450 4.2.1 busy"})
    names = ["x@example.test", "later@example.test", "y@example.test"]
    daemon = start(kept(one))
    name = send_taken(daemon, recipients=names)
    assert [m.recipients for m in one.messages] == [[names[0], names[2]]]
    assert spool.names() == [name] and in_the_future(spool.files()[0])
    daemon.stop()
    # again and again, while it says the same
    for _ in range(3):
        spool.make_due()
        daemon = start(kept(one))
        daemon.wait_event("deferred", to="later@example.test")
        daemon.stop()
        assert len(one.messages) == 1
        assert in_the_future(spool.files()[0])
    one.recipients = {}
    spool.make_due()
    before = len(one.sessions)
    drain(start, kept(one), one, 2)
    assert one.messages[1].recipients == ["later@example.test"]
    assert all(s.said("RCPT") == 1 for s in one.sessions[before:])
    assert copies_by_recipient(one) == {name: 1 for name in names}
    spool.assert_empty()


@pytest.mark.parametrize("state", ["S 250", "N 550", "R 550"])
def test_another_relay_repeats_nobody(state, start, kept, spool, nobody_there,
                                      relay):
    """Who is done stays done when the first relay is away."""
    names = ["x@example.test", "y@example.test"]
    daemon = start(kept(nobody_there))
    send_queued(daemon, recipients=names)
    daemon.stop()
    path = spool.files()[0]
    path.write_bytes(path.read_bytes().replace(
        b"recipient W 000", b"recipient " + state.encode(), 1))
    spool.make_due()
    one = relay()
    config = kept(nobody_there)
    first = config.pop("upstream")
    config["upstream first"] = first
    config["upstream second"] = {**first, "port": one.port}
    daemon = start(config)
    daemon.wait_event("sent", to=names[1])
    daemon.stop()
    copies = copies_by_recipient(one)
    assert copies[names[1]] == 1
    assert names[0] not in copies
    assert not any(f"RCPT TO:<{names[0]}>" in session.text
                   for session in one.sessions)


def test_mixed_recipients(start, kept, spool, relay):
    """UX-26: 250, 550 and 450 in one envelope; the sender gets one notice."""
    one = relay(recipients={"no@example.test": "550 5.1.1 no such user",
                            "later@example.test": "450 4.2.1 busy"})
    daemon = start(kept(one))
    send_taken(daemon, recipients=["x@example.test", "no@example.test",
                                   "later@example.test"])
    one.wait_messages(2)
    assert copies_by_recipient(one) == {"x@example.test": 1,
                                        "a@example.test": 1}
    daemon.wait_event("refused", to="no@example.test")
    daemon.stop()
    one.recipients = {}  # a refused one is not asked again, even so
    for _ in range(2):
        spool.make_due()
        drain(start, kept(one), one, 3)
    assert copies_by_recipient(one) == {
        "x@example.test": 1, "a@example.test": 1, "later@example.test": 1}
    assert spool.names() == []


def test_everybody_refused(start, kept, spool, relay):
    one = relay(replies={"rcpt": "550 5.1.1 no such user"})
    daemon = start(kept(one))
    reply = send(daemon, recipients=["x@example.test", "y@example.test"])
    assert reply.code == 550, reply
    daemon.stop()
    spool.assert_empty()


def test_a_stored_one_refused(start, kept, spool, nobody_there, relay):
    """Nobody waits for the answer: it is not tried again, its sender is told,
    and then nothing is left."""
    daemon = start(kept(nobody_there))
    send_queued(daemon)
    daemon.stop()
    one = relay(recipients={"b@example.test": "550 5.7.1 spam"})
    for _ in range(2):
        drain(start, kept(one), one, 1)
        one.recipients = {}
    assert copies_by_recipient(one) == {"a@example.test": 1}
    assert one.messages[0].sender == ""
    spool.assert_empty()


@pytest.mark.skipif(not can_trace(), reason="needs strace")
def test_a_notice_does_not_overtake_what_it_is_about(start, kept, spool,
                                                     relay, nobody_there):
    """Its delivery removes the message in failed/, which has to be there by
    then: a courier's second rename, the first is the notice's commit, takes
    its time, and the other courier has nothing else to do."""
    daemon = start(kept(nobody_there))
    for name in ["no"] + ["b"] * 5:
        send_queued(daemon, recipients=[name + "@example.test"])
    daemon.stop()
    one = relay(recipients={"no@example.test": "550 5.1.1 no such user"})
    daemon = start(kept(one), env=TRACED, wrapper=strace(
        *trace_options("renameat", "delay_enter=500000", 2)))
    one.wait_messages(6)
    daemon.wait_event("sent", to="a@example.test")
    daemon.stop()
    spool.assert_empty()


def test_wrong_password(start, kept, spool, relay):
    """UX-15: kept, not bounced, and no hammering."""
    one = relay(mechanisms=("PLAIN",))
    wrong = kept(one, {"upstream": {"password": "wrong", "connections": 1}})
    daemon = start(wrong)
    reply = send(daemon, "n0")
    assert reply.code == 250 and HELD.match(reply.text), reply
    for number in range(1, 10):
        assert send(daemon, f"n{number}").code == 250
    daemon.wait_event("held")
    daemon.stop()
    assert sum(s.said("AUTH") for s in one.sessions) == 1
    daemon = start(wrong)  # what is stored is no reason to try more
    daemon.wait_event("upstream_down")
    daemon.stop()
    assert sum(s.said("AUTH") for s in one.sessions) == 2
    assert len(spool.names()) == 10 and spool.names("failed") == []
    drain(start, kept(one), one, 10)
    assert all(one.copies(b"<n%d>" % n) == 1 for n in range(10))
    spool.assert_empty()


@pytest.mark.parametrize("steps", [["banner"], ["ehlo", "helo"]])
def test_nothing_before_mail_changes_a_file(steps, start, kept, spool,
                                            nobody_there, relay):
    """Rule 6, and it stays due: there was no attempt."""
    daemon = start(kept(nobody_there))
    send_queued(daemon)
    daemon.stop()
    path = spool.files()[0]
    before = path.read_bytes(), path.stat().st_mtime
    bad = relay(replies={step: "554 5.7.1 never" for step in steps})
    daemon = start(kept(bad))
    daemon.wait_event("upstream_down")
    daemon.stop()
    assert (path.read_bytes(), path.stat().st_mtime) == before
    one = relay()
    drain(start, kept(one), one, 1)
    spool.assert_empty()


# ---- Slower than direct_wait -----------------------------------------

STEPS = ["banner", "ehlo", "mail", "rcpt", "data", "dot"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("wait", ["0", "300ms"])
def test_slow_relay(step, wait, start, kept, spool, patient):
    """It is kept, the answer counts when it comes, and there is no second
    attempt meanwhile."""
    one = patient(step)
    daemon = start(kept(one, {"queue": {"direct_wait": wait}}))
    name = send_queued(daemon)
    assert spool.names() == [name]
    one.release.set()
    one.wait_messages(1)
    daemon.wait_event("sent", id=name)
    daemon.stop()
    spool.assert_empty()
    daemon = start(kept(one))
    assert send(daemon, "other").code == 250
    daemon.stop()
    assert one.copies(b"<m>") == 1


def test_slow_relay_and_an_impatient_client(start, kept, spool, patient):
    """The client is gone before the answer, and before the commit."""
    one = patient("dot")
    daemon = start(kept(one, {"queue": {"direct_wait": "300ms"}}))
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        client.send(message(body="<m>", newline="\r\n") + b".\r\n")
        assert one.waiting.wait(WAIT)
        client.reset()
    daemon.wait_event("accepted")
    assert len(spool.names()) == 1
    one.release.set()
    one.wait_messages(1)
    daemon.stop()
    spool.assert_empty()
    daemon = start(kept(one))
    assert send(daemon, "other").code == 250
    daemon.stop()
    assert one.copies(b"<m>") == 1


@pytest.mark.parametrize("delivery", ["direct", "queue"])
@pytest.mark.parametrize("answer", [None, "550 5.1.1 no", "451 4.3.0 no"])
def test_answer_for_a_client_who_has_left(answer, delivery, start, kept,
                                          spool, patient):
    """Before direct_wait ends: one copy, or none of what was refused; where
    he heard nothing it may also be kept, and then it arrives once."""
    one = patient("dot", replies={"dot": answer} if answer else {})
    daemon = start(kept(one, {"queue": {"delivery": delivery}}))
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        client.send(message(body="<m>", newline="\r\n") + b".\r\n")
        assert one.waiting.wait(WAIT)
        client.reset()
    one.release.set()
    if not answer:
        one.wait_messages(1)
    elif delivery == "queue" and answer.startswith("550"):
        one.replies = {}  # the 250 was on its way: there is a notice
        harness.wait_for(lambda: one.messages or not spool.names())
    else:
        daemon.wait_event("refused" if answer[0] == "5" else "deferred")
    daemon.stop()
    one.replies = {}
    spool.make_due()
    daemon = start(kept(one))
    harness.wait_for(lambda: not spool.names())
    daemon.stop()
    allowed = {None: [1], "5": [0], "4": [0, 1]}[answer and answer[0]]
    assert one.copies(b"<m>") in (allowed if delivery == "direct" else
                                  allowed[-1:])
    spool.assert_empty()


def test_slow_and_then_not_now(start, kept, spool, patient):
    one = patient("dot", replies={"dot": "451 4.3.0 not now"})
    daemon = start(kept(one, {"queue": {"direct_wait": "300ms"}}))
    name = send_queued(daemon)
    one.release.set()
    daemon.wait_event("deferred", id=name)
    daemon.stop()
    assert spool.names() == [name] and in_the_future(spool.files()[0])
    one.replies = {}
    spool.make_due()
    drain(start, kept(one), one, 1)
    assert one.copies() == 1
    spool.assert_empty()


def test_slow_and_many(start, kept, spool, patient):
    """More than the couriers can take: each is kept, and sent once."""
    one = patient("dot")
    daemon = start(kept(one, {"queue": {"direct_wait": "100ms"}}))
    replies = [None] * 20

    def submit(number):
        replies[number] = send(daemon, f"n{number}")
    threads = [threading.Thread(target=submit, args=(number,))
               for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(reply.code == 250 for reply in replies), replies
    one.release.set()
    one.wait_messages(20)
    daemon.stop()
    assert all(one.copies(b"<n%d>" % n) == 1 for n in range(20))
    spool.assert_empty()


def test_answer_and_wait_end_together(start, kept, spool, relay):
    """The verdict and the end of direct_wait race; whoever wins, one copy,
    and a yes."""
    one = relay(Fault("dot", "slow", times=10 ** 6))
    daemon = start(kept(one, {"queue": {"direct_wait": "60ms"}}))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:  # connections
        replies = pool.map(lambda n: send(daemon, f"n{n}"), range(60))
    assert all(reply.code == 250 for reply in replies)
    one.wait_messages(60)
    daemon.stop()
    drained = start(kept(relay()))
    drained.stop()
    assert all(one.copies(b"<n%d>" % n) == 1 for n in range(60))
    spool.assert_empty()


# ---- One daemon ------------------------------------------------------

def test_two_daemons(start, kept, place, nobody_there):
    """DU-23."""
    first = start(kept(nobody_there))
    second = start(kept(nobody_there, {"listen": {
        "socket": place / "2", "control": "none"}}), ready=False)
    assert second.wait_exit() == CONFIG
    assert re.search(rb"(?m)^smarthost: another smarthost runs on the spool "
                     rb"\S+spool", second.log.raw)
    send_queued(first)
    first.signal(signal.SIGKILL)
    first.wait_exit()
    third = start(kept(nobody_there))
    send_queued(third)


def test_a_leftover_lock_file_locks_nothing(start, kept, spool,
                                            nobody_there):
    spool.make()
    (spool.path / "lock").write_text("1\n")
    send_queued(start(kept(nobody_there)))


@pytest.fixture
def stored(start, kept, spool, nobody_there):
    """Puts messages into the spool: stored(marker...) -> their paths."""
    def store(*markers):
        daemon = start(kept(nobody_there))
        names = [send_queued(daemon, marker) for marker in markers]
        daemon.stop()
        return [spool.path / "queue" / name for name in names]
    return store


def identifier(number):
    """The name of a message that came long ago, so before all others."""
    return f"{number:032x}"


def test_leftovers_of_crashed_writers(start, kept, spool, nobody_there):
    """DU-22."""
    spool.make()
    for number in range(10):
        (spool.path / "incoming" / identifier(number)).write_bytes(b"half")
    send_queued(start(kept(nobody_there)))
    assert spool.names("incoming") == []


# ---- Odd and damaged files -------------------------------------------

def sparse(path):
    with open(path, "wb") as out:
        out.truncate(4 << 30)


def copy_with(change):
    """A copy of a good message under another name, changed."""
    def make(path, good):
        text = good.read_bytes().replace(good.name.encode(),
                                         path.name.encode())
        path.write_bytes(change(text))
    return make


# Has the name of a message and is none, or none that is whole.
DAMAGED = {
    "empty": lambda path, good: path.write_bytes(b""),
    "NULs": lambda path, good: path.write_bytes(bytes(5000)),
    "sparse": lambda path, good: sparse(path),
    "text": lambda path, good: path.write_bytes(b"hello\n" * 10000),
    "name": lambda path, good: path.write_bytes(good.read_bytes()),
    "cut": copy_with(lambda text: text[:-1]),
    "cut in the envelope": copy_with(lambda text: text[:100]),
    "long": copy_with(lambda text: text + b"x"),
    "no recipient": copy_with(lambda text: re.sub(
        rb"(?m)^recipient .*\n", b"", text)),
    "odd state": copy_with(lambda text: text.replace(
        b"recipient W", b"recipient X")),
    "CRLF": copy_with(lambda text: text.replace(b"\n", b"\r\n")),
}

# None of our names, or not a file.
FOREIGN = {
    "directory": lambda path: path.mkdir(),
    "FIFO": os.mkfifo,
    "symlink": lambda path: path.symlink_to("/etc/passwd"),
    "dangling": lambda path: path.symlink_to("nothing"),
    "loop": lambda path: path.symlink_to(path),
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_file(case, start, kept, spool, stored, relay):
    """DU-14, DU-16: never sent, kept, reported, and the rest goes on."""
    good = stored("m")[0]
    bad = spool.path / "queue" / identifier(7)
    DAMAGED[case](bad, good)
    spool.make_due()
    one = relay()
    daemon = start(kept(one))
    one.wait_messages(1)
    daemon.wait_event("message", text=re.compile(bad.name))
    assert send(daemon, "other").code == 250
    daemon.stop()
    assert one.copies(b"<m>") == one.copies(b"<other>") == 1
    assert len(one.messages) == 2
    assert spool.names() == [] and spool.names("failed") == [bad.name]


@pytest.mark.parametrize("case", FOREIGN)
@pytest.mark.parametrize("name", [identifier(7), "odd"])
def test_foreign_file(name, case, start, kept, spool, stored, relay):
    stored("m")
    odd = spool.path / "queue" / name
    FOREIGN[case](odd)
    one = relay()
    daemon = start(kept(one))
    one.wait_messages(1)
    daemon.wait_event("message", text=re.compile("queue"), level="warn")
    assert send(daemon, "other").code == 250
    daemon.stop()
    assert one.copies(b"<m>") == one.copies(b"<other>") == 1
    assert os.path.lexists(odd)


def test_foreign_names(start, kept, spool, stored, relay):
    """Left alone, and said so once."""
    good = stored("m")[0]
    names = ["a\nb", "x" * 255, good.name.upper() + "G", good.name[:-1],
             good.name + "0", " ", "\udcff", "core", "-f"]
    for name in names:
        (good.parent / name).write_bytes(good.read_bytes())
    one = relay()
    daemon = start(kept(one))
    one.wait_messages(1)
    daemon.stop()
    assert len(one.messages) == 1
    assert spool.names() == sorted(names)
    assert len(daemon.events("message", text=re.compile(r"\b9 files"))) == 1


def test_hard_link(start, kept, spool, stored, relay):
    """Whatever is made of it: nobody gets it twice, and it is not lost."""
    good = stored("m")[0]
    os.link(good, good.parent / identifier(7))
    spool.make_due()
    one = relay()
    daemon = start(kept(one))
    assert send(daemon, "other").code == 250
    daemon.stop()
    assert one.copies(b"<m>") <= 1
    if not one.copies(b"<m>"):
        assert spool.names() + spool.names("failed")


def test_unknown_version(start, kept, spool, stored, relay):
    """DU-35: mail of a newer program is left where it is, and reported."""
    good, newer = stored("m", "newer")
    newer.write_bytes(newer.read_bytes().replace(b"smarthost 1\n",
                                                 b"smarthost 2\n", 1))
    before = newer.read_bytes()
    one = relay()
    daemon = start(kept(one))
    one.wait_messages(1)
    daemon.wait_event("message", text=re.compile(newer.name))
    assert send(daemon, "other").code == 250
    daemon.stop()
    assert not good.exists() and one.copies(b"<newer>") == 0
    assert spool.names("failed") == []
    assert newer.read_bytes() == before


@pytest.mark.skipif(not ROOT, reason="needs another user")
def test_unreadable_file(start, kept, spool, stored, relay, place):
    """One file of another owner: set aside, and the rest goes on (DU-39)."""
    spool.make()
    for name in (".", "incoming", "queue", "failed"):
        os.chown(spool.path / name, NOBODY, NOBODY)
    os.chown(place, NOBODY, NOBODY)
    other = spool.path / "queue" / identifier(7)
    other.write_bytes(b"")
    other.chmod(0o600)
    one = relay()
    daemon = start(kept(one), uid=NOBODY)
    daemon.wait_event("message", text=re.compile(other.name + ".*chown"))
    assert send(daemon).code == 250
    daemon.stop()
    assert spool.names() == []
    assert spool.names("failed") == [other.name]


def test_done_but_not_removed(start, kept, spool, stored, relay):
    """A crash between the mark and the unlink: removed at the next look, and
    the relay is not asked for anything."""
    path, other = stored("m", "other")
    text = path.read_bytes()
    assert text.count(b"\nrecipient W 000") == 1
    path.write_bytes(text.replace(b"\nrecipient W 000", b"\nrecipient S 250"))
    spool.make_due()
    one = relay()
    daemon = start(kept(one))
    one.wait_messages(1)
    daemon.stop()
    assert spool.names() == [] and spool.names("failed") == []
    assert one.copies(b"<m>") == 0 and one.copies(b"<other>") == 1
    said = "\n".join(session.text for session in one.sessions)
    assert said.count("MAIL FROM") == 1 and said.count("RCPT TO") == 1
    assert not other.exists()


# ---- Clocks ----------------------------------------------------------

FAR = {"a day": 86400, "ten years": 315360000, "2038": 2 ** 31,
       "2106": 2 ** 32}


@pytest.mark.parametrize("case", FAR)
def test_clock_was_wrong(case, start, kept, spool, stored, relay):
    """DU-32, DU-33: further ahead than the longest pause is due."""
    path = stored("m")[0]
    when = FAR[case] if FAR[case] >= 2 ** 31 else time.time() + FAR[case]
    os.utime(path, (when, when))
    one = relay()
    drain(start, kept(one), one, 1)
    assert one.copies() == 1
    spool.assert_empty()


def test_arrived_in_the_future(start, kept, spool, stored, relay):
    """DU-31: its age is negative, and it is put off and sent all the same."""
    path = stored("m")[0]
    path.write_bytes(re.sub(rb"\narrived (\d+)\n", rb"\narrived 9\1\n",
                            path.read_bytes()))
    one = relay(Fault("dot", "451"))
    daemon = start(kept(one))
    daemon.wait_event("deferred", id=path.name)
    daemon.stop()
    assert in_the_future(path)
    assert path.stat().st_mtime < time.time() + 120
    spool.make_due()
    drain(start, kept(one), one, 1)
    spool.assert_empty()


@pytest.mark.parametrize("days, low, high", [
    (0, 40, 80), (1 / 144, 200, 400), (1, 2700, 4500), (4, 2700, 4500)])
def test_pause(days, low, high, start, kept, spool, stored, relay):
    """Half its age, from a minute to an hour, and some jitter."""
    path = stored("m")[0]
    path.write_bytes(re.sub(
        rb"\narrived \d+\n", b"\narrived %d\n" % (time.time() - days * 86400),
        path.read_bytes()))
    one = relay(Fault("dot", "451"))
    began = time.time()
    daemon = start(kept(one))
    daemon.wait_event("deferred", id=path.name)
    daemon.stop()
    assert began + low <= path.stat().st_mtime <= time.time() + high
    assert spool.names() == [path.name]


def test_nothing_expires_at_start(start, kept, spool, stored, relay):
    """DU-31: the clock may be ahead; it is tried, and kept."""
    path = stored("m")[0]
    path.write_bytes(re.sub(rb"\narrived \d+\n", b"\narrived 1\n",
                            path.read_bytes()))
    one = relay(Fault("dot", "451"))
    daemon = start(kept(one))
    daemon.wait_event("deferred", id=path.name)
    daemon.stop()
    assert in_the_future(path)
    spool.make_due()
    drain(start, kept(one), one, 1)
    spool.assert_empty()


# ---- The end ---------------------------------------------------------

def test_stop_with_messages_in_every_state(start, kept, spool, patient):
    """DU-41: put off, never tried, in the hands of a courier, in line, half
    received: what was acknowledged arrives once, and nothing else stays."""
    # one is put off
    first = BadRelay(Fault("dot", "451"))
    daemon = start(kept(first))
    send_queued(daemon, "off")
    daemon.stop()
    first.close()
    # one is being sent, others wait behind it; a client is half-way
    one = patient("dot")
    config = kept(one, {"upstream": {"connections": 1},
                        "queue": {"direct_wait": "300ms"},
                        "smarthost": {"stop_timeout": "2s"}})
    daemon = start(config)
    said_yes = ["off"]
    for number in range(3):
        send_queued(daemon, f"n{number}")
        said_yes.append(f"n{number}")
    assert one.waiting.wait(WAIT)
    with daemon.connect() as half, daemon.connect() as waiting:
        half.ehlo()
        half.envelope()
        half.send(b"Subject: half\r\n\r\n<half>\r\n")
        waiting.ehlo()
        waiting.envelope()
        waiting.send(message(body="<wait>", newline="\r\n") + b".\r\n")
        daemon.signal(signal.SIGTERM)
        reply = waiting.reply()
        if reply and reply.code == 250:
            said_yes.append("wait")
        assert daemon.wait_exit() == 0
    one.crashed = True
    one.release.set()
    one.wait_ended()
    one.slow_step = None
    assert one.copies() == 0
    assert spool.names("incoming") == [] and spool.names("failed") == []
    assert len(spool.names()) == len(said_yes)
    spool.make_due()
    drain(start, kept(one), one, len(said_yes))
    assert len(one.messages) == len(said_yes)
    for marker in said_yes:
        assert one.copies(b"<%s>" % marker.encode()) == 1, marker
    assert one.copies(b"<half>") == 0
    spool.assert_empty()


def test_stop_waits_for_the_answer(start, kept, spool, patient):
    """A yes of the relay in stop_timeout still counts, and is marked."""
    one = patient("dot")
    daemon = start(kept(one, {"queue": {"direct_wait": "100ms"}}))
    send_queued(daemon)
    assert one.waiting.wait(WAIT)
    daemon.signal(signal.SIGTERM)
    daemon.wait_event("stopping")
    one.release.set()
    assert daemon.wait_exit() == 0
    assert one.copies() == 1
    spool.assert_empty()


@pytest.mark.parametrize("step", ["banner", "ehlo", "mail", "rcpt", "data"])
def test_stop_is_no_attempt(step, start, kept, spool, patient):
    """What our own stop cuts short is due at once when we are back, and the
    relay is not taken for away."""
    one = patient(step)
    daemon = start(kept(one, {"queue": {"delivery": "queue"}}))
    send_queued(daemon)
    assert one.waiting.wait(WAIT)
    assert daemon.stop() == 0
    assert not daemon.events("upstream_down")
    [path] = (spool.path / "queue").iterdir()
    assert b"\nrecipient W" in path.read_bytes()
    assert path.stat().st_mtime <= time.time()
    one.release.set()
    start(kept(one)).wait_event("sent")


# ---- Disks -----------------------------------------------------------

def lock_out(path):
    """Another's directory, which its user may only read."""
    os.chown(path, 0, 0)
    path.chmod(0o555)


UNWRITABLE = {
    "the spool": lambda s: lock_out(s.path),
    "a new one": lambda s: (subprocess.run(["rm", "-r", s.path], check=True),
                            lock_out(s.path.parent)),
    "incoming": lambda s: lock_out(s.path / "incoming"),
    "queue": lambda s: lock_out(s.path / "queue"),
    "failed": lambda s: lock_out(s.path / "failed"),
    "lock": lambda s: (s.path / "lock").mkdir(),
    "closed": lambda s: (os.chown(s.path, 0, 0), s.path.chmod(0o700)),
    "no directory": lambda s: ((s.path / "queue").rmdir(),
                               (s.path / "queue").write_text("")),
    "symlink": lambda s: (s.path / "lock").symlink_to("/etc/passwd"),
}


@needs_root
@pytest.mark.parametrize("case", UNWRITABLE)
def test_unwritable_spool(case, start, kept, spool, place, nobody_there):
    """78, with a sentence that names it; and nobody was told yes."""
    spool.make()
    for name in (".", "incoming", "queue", "failed"):
        os.chown(spool.path / name, NOBODY, NOBODY)
    os.chown(place, NOBODY, NOBODY)
    UNWRITABLE[case](spool)
    daemon = start(kept(nobody_there, {"listen": {"socket": "none"}}),
                   uid=NOBODY, ready=False)
    with contextlib.suppress(AssertionError):
        daemon.log.wait("started")
        raise RuntimeError("it has started")
    assert daemon.wait_exit() == CONFIG
    assert re.search(rf"(?m)^smarthost: .*{spool.path}".encode(),
                     daemon.log.raw)


class Disk:
    """A small file system in a mount namespace of its own, which lasts as
    long as this object."""

    script = ('mount -t tmpfs -o "$2" none "$1" && chmod 700 "$1" && '
              'echo ready && read end')

    def __init__(self, path, options):
        path.mkdir()
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", self.script, "sh", str(path),
             options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.holder.stdout.readline() != b"ready\n":
            self.holder.wait()
            pytest.skip("cannot mount here")
        self.path = path
        self.wrapper = ["nsenter", "-t", str(self.holder.pid), "-m", "--"]
        self.spool = Spool(pathlib.Path(f"/proc/{self.holder.pid}/root") /
                           path.relative_to("/"))

    def fill(self):
        """Not one more byte."""
        with contextlib.suppress(OSError):
            with open(self.spool.path / "filler", "wb", buffering=0) as out:
                while True:
                    out.write(bytes(512))

    def close(self):
        if self.holder.poll() is None:
            self.holder.communicate(b"\n")


@pytest.fixture
def disk(place):
    disks = []

    def mount(options):
        if not ROOT:
            pytest.skip("needs root")
        disks.append(Disk(place / "spool", options))
        return disks[-1]
    yield mount
    for one in disks:
        one.close()


SMALL = {"queue": {"min_free": "0"}}


@pytest.mark.parametrize("options", ["size=64k", "size=1m,nr_inodes=12"])
def test_full_disk(options, disk, start, kept, nobody_there, relay):
    """DU-08 to DU-10: 4xx, nothing half, and it drains with 0 bytes free."""
    small = disk(options)
    daemon = start(kept(nobody_there, SMALL), wrapper=small.wrapper)
    said_yes, refused = [], []
    for number in range(40):
        reply = send(daemon, f"n{number}",
                     text=message(body=f"<n{number}>\r\n" + "x" * 900,
                                  newline="\r\n"))
        (said_yes if reply.code == 250 else refused).append(number)
        assert reply.code == 250 or reply.code in (451, 452), reply
        assert reply.code == 250 or reply.enhanced == "4.3.1", reply
    assert said_yes and refused
    assert small.spool.names("incoming") == []
    assert len(small.spool.names()) == len(said_yes)
    daemon.stop()
    small.fill()
    one = relay(Fault("dot", "451"))
    daemon = start(kept(one, SMALL), wrapper=small.wrapper)
    daemon.wait_event("deferred")
    one.wait_messages(len(said_yes) - 1)
    daemon.stop()
    assert len(small.spool.names()) == 1
    assert in_the_future(small.spool.files()[0])
    small.spool.make_due()
    for _ in range(2):
        drain(start, kept(one, SMALL), one, len(said_yes), wrapper=small.wrapper)
    assert len(one.messages) == len(said_yes)
    for number in range(40):
        assert one.copies(b"<n%d>" % number) == (number in said_yes)
    assert small.spool.names() == small.spool.names("failed") == []


def test_full_disk_recovers(disk, start, kept, nobody_there, relay):
    """DU-09: without a restart."""
    small = disk("size=64k")
    daemon = start(kept(nobody_there, SMALL), wrapper=small.wrapper)
    send_queued(daemon)
    small.fill()
    assert send(daemon, "n").code in (451, 452)
    (small.spool.path / "filler").unlink()
    send_queued(daemon, "n")
    daemon.stop()
    one = relay()
    drain(start, kept(one, SMALL), one, 2, wrapper=small.wrapper)
    assert one.copies(b"<m>") == one.copies(b"<n>") == 1


def test_full_disk_and_the_relay_is_there(disk, start, kept, relay):
    """A good day needs no disk."""
    small = disk("size=64k")
    one = relay()
    daemon = start(kept(one, SMALL), wrapper=small.wrapper)
    small.fill()
    for number in range(10):
        assert send(daemon, f"n{number}").code == 250
    assert len(one.messages) == 10


def test_full_disk_and_a_slow_relay(disk, start, kept, patient):
    """The commit fails while a courier has it: its answer is waited for."""
    small = disk("size=64k")
    one = patient("dot")
    daemon = start(kept(one, {"queue": {"direct_wait": "500ms",
                                        "min_free": "0"}}),
                   wrapper=small.wrapper)
    small.fill()
    replies = []
    thread = threading.Thread(target=lambda: replies.append(send(daemon)))
    thread.start()
    assert one.waiting.wait(WAIT)
    thread.join(0.8)  # not to wait for something, but to see that it waits
    assert thread.is_alive()
    one.release.set()
    thread.join()
    assert replies[0].code == 250
    daemon.stop()
    assert one.copies() == 1
    assert small.spool.names() == small.spool.names("incoming") == []


def test_clock_beyond_all_bounds(disk, start, kept, nobody_there, relay):
    """Times that only such a file system can keep."""
    small = disk("size=1m")
    daemon = start(kept(nobody_there, SMALL), wrapper=small.wrapper)
    for number in range(4):
        send_queued(daemon, f"n{number}")
    daemon.stop()
    times = [2 ** 33, 2 ** 62, -1, -2 ** 62]
    for path, when in zip(small.spool.files(), times):
        os.utime(path, (when, when))
    one = relay()
    drain(start, kept(one, SMALL), one, 4, wrapper=small.wrapper)
    assert small.spool.names() == []


def test_disk_that_forgets(disk, start, kept, relay):
    """One warning: mail there does not outlive the container."""
    small = disk("size=1m")
    daemon = start(kept(relay()), wrapper=small.wrapper)
    [event] = daemon.events("message", level="warn",
                            text=re.compile("volume"))
    assert f"{small.path} is on tmpfs" in event["text"]


def test_read_only_disk(disk, start, kept, relay):
    """DU-29, at start."""
    small = disk("size=1m")
    daemon = start(kept(relay(), SMALL), wrapper=small.wrapper)
    daemon.stop()
    subprocess.run([*small.wrapper, "mount", "-o", "remount,ro",
                    str(small.path)], check=True)
    daemon = start(kept(relay(), SMALL), wrapper=small.wrapper, ready=False)
    assert daemon.wait_exit() == CONFIG
    assert b"Read-only" in daemon.log.raw


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("name", ["incoming", "queue"])
@pytest.mark.parametrize("size", [100, 60 * 1024 * 10])
def test_removed_directory(size, name, again, start, kept, nobody_there, relay,
                           spool):
    """DU-09: somebody cleans up under the daemon; what comes then is kept in
    what is there then, or made."""
    daemon = start(kept(nobody_there))
    assert send(daemon).code == 250
    shutil.rmtree(spool.path / name)
    if again:
        (spool.path / name).mkdir(0o700)
    text = message(body="<n>" + "\r\n" + "x" * 70, newline="\r\n")
    reply = send(daemon, text=text + b"0123456789\r\n" * (size // 12))
    assert reply.code == 250, reply
    daemon.wait_event("message", text=re.compile("removed directories"))
    daemon.stop()
    one = relay()
    drain(start, kept(one), one, 2 if name == "incoming" else 1)
    assert one.copies(b"<n>") == 1


@pytest.mark.parametrize("name", ["incoming", "queue"])
def test_removed_directory_of_many(name, start, kept, spool):
    """All who find it gone at once have what the first of them makes."""
    daemon = start(kept(25, {"queue": {"delivery": "queue"}}))
    everybody = threading.Barrier(16, timeout=WAIT)
    for _ in range(10):
        def submit(number):
            with daemon.connect(daemon.socket) as client:
                client.ehlo()
                client.envelope()
                client.send(message(newline="\r\n"))
                if everybody.wait() == 0:
                    shutil.rmtree(spool.path / name)
                everybody.wait()
                client.send(b".\r\n")
                return client.reply().code
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            assert set(pool.map(submit, range(16))) == {250}
