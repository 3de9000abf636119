# SPDX-License-Identifier: ISC
"""Replies whose code lies: what providers really say, at the step at which
they say it, with a spool and without. Every reply of the catalogue is in
tests/unit/test_catalogue.c; here is what becomes of the mail."""

import os
import re
import time

import pytest

import harness
from badrelay import Fault
from harness import REFUSED, TEMPORARY, sendmail
from test_answers import send

UNVERIFIED = ("554 Message rejected: Email address is not verified. The "
              "following identities failed the check in region EU-WEST-1: "
              "a@example.test")
CREDITS = "451 Authentication failed: Maximum credits exceeded"
DAILY = ("550-5.4.5 Daily user sending limit exceeded. For more information "
         "on Gmail\r\n550 5.4.5 sending limits go to support.google.com")
TOO_FAST = "454 Throttling failure: Maximum sending rate exceeded."
NOBODY, SOMEBODY = "nobody@example.test", "b@example.test"
UNKNOWN = "550 5.1.1 no such user"

HELD = re.compile(r"2\.0\.0 ([0-9a-f]{32}) held: ")
QUEUED = re.compile(r"2\.0\.0 ([0-9a-f]{32}) queued: ")


@pytest.fixture
def queue(place):
    """The directory of queued messages, when there is a spool."""
    return place / "spool" / "queue"


@pytest.fixture
def kept(place, sections):
    """sections() with a spool."""
    def make(relay, changes=None):
        spool = {"queue": {"directory": place / "spool"}}
        return harness.merge(sections(relay, spool), changes)
    return make


def said(relay, verb):
    """How often that command came, over all connections."""
    return sum(session.said(verb) for session in relay.sessions)


def drain(start, config, relay, count):
    """Makes all of it due and has it delivered by another daemon, until the
    relay has so many messages."""
    for path in (config["queue"]["directory"] / "queue").iterdir():
        os.utime(path, (0, 0))
    daemon = start(config)
    relay.wait_messages(count)
    assert daemon.stop() == 0
    return daemon


# ---- The upstream is at its limit, whatever the recipient ------------

UPSTREAM = {
    "login": (("PLAIN",), {"auth": CREDITS}, "451", "Maximum credits"),
    "sender": ((), {"mail": "550 Unauthenticated senders not allowed"}, "550",
               "Unauthenticated"),
    "recipient": ((), {"rcpt": DAILY}, "550", "Daily user sending limit"),
    "data": ((), {"data": "421 Domain mg.example.test is not allowed to send:"
                          " Account disabled"}, "421", "Account disabled"),
    "end": ((), {"dot": "454 Throttling failure: Daily message quota "
                        "exceeded."}, "454", "Daily message quota"),
}


@pytest.mark.parametrize("case", UPSTREAM)
@pytest.mark.parametrize("pipelining", [True, False])
def test_held_upstream(case, pipelining, start, kept, queue, relay):
    """One message finds out, the next is not tried; no file changes, nobody
    is told that it failed, and afterwards all of it arrives once."""
    mechanisms, replies, code, text = UPSTREAM[case]
    one = relay(mechanisms=mechanisms, replies=replies, pipelining=pipelining)
    daemon = start(kept(one))
    for _ in range(3):
        reply = send(daemon)
        assert reply.code == 250 and HELD.match(reply.text), reply
        assert text in reply.text
    daemon.stop()
    down = daemon.events("upstream_down")
    assert [event["code"] for event in down] == [code]
    assert text in down[0]["reply"] and down[0]["hint"]
    held = daemon.events("held")
    assert len(held) == 3 and all(event["hint"] for event in held)
    assert daemon.events("deferred")[0]["hint"]
    assert len(one.sessions) == 1
    assert said(one, "MAIL") == (0 if case == "login" else 1)
    paths = list(queue.iterdir())
    assert len(paths) == 3
    for path in paths:
        assert b"\nrecipient W " in path.read_bytes()
        assert path.stat().st_mtime < time.time() + 30
    good = relay()
    drain(start, kept(good), good, 3)
    assert len(good.messages) == 3
    assert not list(queue.iterdir())


@pytest.mark.parametrize("case", UPSTREAM)
def test_held_upstream_without_a_spool(case, start, sections, relay):
    mechanisms, replies, _, text = UPSTREAM[case]
    one = relay(mechanisms=mechanisms, replies=replies)
    daemon = start(sections(one))
    for _ in range(3):
        reply = send(daemon, recipients=[SOMEBODY, "c@example.test"])
        assert reply.code == 451 and reply.enhanced == "4.7.0", reply
        assert text in reply.text
    result = sendmail(SOMEBODY, socket_path=daemon.socket,
                      stdin=harness.message())
    assert result.status == TEMPORARY, result.text
    daemon.stop()
    assert len(daemon.events("upstream_down")) == 1
    assert len(one.sessions) == 1


def test_a_stored_message_meets_it(start, kept, queue, relay):
    """Nobody waits for the answer, and still nothing changes."""
    one = relay(replies={"rcpt": DAILY})
    daemon = start(kept(one, {"queue": {"delivery": "queue"}}))
    assert send(daemon).code == 250
    daemon.wait_event("upstream_down")
    assert send(daemon).code == 250
    daemon.stop()
    assert said(one, "RCPT") == 1
    for path in queue.iterdir():
        assert b"\nrecipient W " in path.read_bytes()
    assert len(list(queue.iterdir())) == 2
    assert not daemon.events("bounced")


def test_another_upstream_gets_it(start, sections, relay):
    """What the first says of itself at RCPT is no reason not to ask the
    second."""
    first, second = relay(replies={"rcpt": DAILY}), relay()
    config = sections(first)
    config["upstream first"] = config.pop("upstream")
    config["upstream second"] = {**config["upstream first"],
                                 "port": second.port}
    daemon = start(config)
    for number in (1, 2):
        assert send(daemon).code == 250
        assert len(second.messages) == number
    assert said(first, "RCPT") == 1


def test_relaying_denied_to_one(start, kept, queue, relay):
    """Anybody here can name such a recipient: his message waits for an
    administrator, and nobody else's."""
    denied = "454 4.7.1 <foreign@example.test>: Relay access denied"
    one = relay(recipients={"foreign@example.test": denied})
    daemon = start(kept(one))
    reply = send(daemon, recipients=["foreign@example.test"])
    assert reply.code == 250 and HELD.match(reply.text), reply
    reply = send(daemon, recipients=[SOMEBODY])
    assert reply.code == 250 and "held" not in reply.text, reply
    daemon.stop()
    assert not daemon.events("upstream_down")
    assert "login" in daemon.events("held")[0]["hint"]
    [path] = queue.iterdir()
    assert path.stat().st_mtime > time.time() + 1800
    one.recipients = {}
    drain(start, kept(one), one, 2)
    assert len(one.messages) == 2


def retry(daemon):
    result = harness.run("-c", daemon.config, "queue", "retry")
    assert result.status == 0, result.text


def test_refused_logins_for_an_hour(start, kept, queue, relay):
    """Each time that somebody says so there is one login, and none between,
    whatever is submitted; when the account is open again all arrives."""
    one = relay(mechanisms=("PLAIN",), replies={"auth": "535 5.7.8 no"})
    daemon = start(kept(one, {"upstream": {"connections": 4}}))
    for number in range(8):
        if number:
            retry(daemon)
            harness.wait_for(lambda: said(one, "AUTH") > number)
        for _ in range(3):
            reply = send(daemon)
            assert reply.code == 250 and HELD.match(reply.text), reply
        one.wait_ended()
        assert said(one, "AUTH") == number + 1
    assert said(one, "MAIL") == 0
    assert not daemon.events("bounced") and len(list(queue.iterdir())) == 24
    one.replies = {}
    retry(daemon)
    one.wait_messages(24)
    daemon.wait_event("upstream_up")
    harness.wait_for(lambda: not list(queue.iterdir()))
    daemon.stop()
    assert len(one.messages) == 24
    assert said(one, "AUTH") <= 8 + 4


def test_throttled(start, kept, queue, relay):
    """SES has too much for now, whoever asks: one message in a while finds
    out, the others are not offered, and nothing is lost or doubled."""
    one = relay(replies={"dot": TOO_FAST})
    daemon = start(kept(one))
    began = time.monotonic()
    for number in range(20):
        assert send(daemon).code == 250
    retry(daemon)
    harness.wait_for(lambda: said(one, "MAIL") >= 2)
    for number in range(20):
        assert send(daemon).code == 250
    assert said(one, "MAIL") <= 3 + (time.monotonic() - began) / 4
    assert not daemon.events("bounced") and len(list(queue.iterdir())) == 40
    one.replies = {}
    harness.wait_for(lambda: retry(daemon) or len(one.messages) >= 40)
    harness.wait_for(lambda: not list(queue.iterdir()))
    daemon.stop()
    assert len(one.messages) == 40


def test_greylisting(start, kept, queue, relay):
    """UX-48: each waits on its own, over the same connection, and arrives
    once with the second attempt."""
    names = [f"r{number}@example.test" for number in range(30)]
    one = relay(recipients={
        name: "450 4.2.0 Greylisted, see http://x.example" for name in names})
    daemon = start(kept(one))
    for name in names:
        reply = send(daemon, recipients=[name])
        assert reply.code == 250 and QUEUED.match(reply.text), reply
        assert not one.messages
    assert len(one.sessions) <= 2 and not daemon.events("upstream_down")
    assert all(path.stat().st_mtime > time.time() + 20
               for path in queue.iterdir())
    one.recipients = {}
    harness.wait_for(lambda: retry(daemon) or len(one.messages) == 30)
    harness.wait_for(lambda: not list(queue.iterdir()))
    daemon.stop()
    assert sorted(m.recipients[0] for m in one.messages) == sorted(names)
    assert len(one.sessions) <= 4 + len(one.messages) / 10


def test_seconds_are_seconds(start, kept, queue, relay):
    """SES asks for a little patience, and gets no more than that."""
    one = relay(Fault("dot", "raw", data=TOO_FAST.encode() + b"\r\n"))
    daemon = start(kept(one))
    reply = send(daemon)
    assert reply.code == 250 and QUEUED.match(reply.text), reply
    assert daemon.wait_event("upstream_down")["hint"]
    daemon.wait_event("upstream_up")
    one.wait_messages(1)
    daemon.stop()
    assert one.copies() == 1
    assert not list(queue.iterdir())


@pytest.mark.parametrize("delivery", ["direct", "queue"])
def test_refused_for_good_beside_a_quota(delivery, start, kept, queue, relay):
    """The refused recipient stays refused and its sender is told; the other
    waits for the upstream."""
    one = relay(recipients={NOBODY: UNKNOWN, SOMEBODY: DAILY})
    daemon = start(kept(one, {"queue": {"delivery": delivery}}))
    reply = send(daemon, recipients=[NOBODY, SOMEBODY])
    assert reply.code == 250, reply
    daemon.wait_event("bounced", to=NOBODY)
    daemon.stop()
    assert daemon.events("upstream_down")
    assert len(daemon.events("bounced")) == 1
    assert len(daemon.events("refused", to=NOBODY, code=550)) == 1
    assert sorted(len(re.findall(rb"\nrecipient W ", path.read_bytes()))
                  for path in queue.iterdir()) == [1, 1]
    good = relay()
    drain(start, kept(good), good, 2)
    assert sorted(m.recipients for m in good.messages) == [
        ["a@example.test"], [SOMEBODY]]
    assert said(good, "RCPT") == 2
    assert not list(queue.iterdir())


def test_taken_beside_a_quota(start, kept, queue, relay):
    """What was taken is taken, once; the rest waits."""
    one = relay(recipients={SOMEBODY: DAILY})
    daemon = start(kept(one))
    assert send(daemon, recipients=[SOMEBODY, "c@example.test"]).code == 250
    daemon.stop()
    assert [m.recipients for m in one.messages] == [["c@example.test"]]
    assert not daemon.events("bounced")
    good = relay()
    drain(start, kept(good), good, 1)
    assert [m.recipients for m in good.messages] == [[SOMEBODY]]


@pytest.mark.parametrize("delivery", ["direct", "queue"])
def test_a_quota_in_the_second_transaction(delivery, start, kept, queue,
                                           relay):
    """Who got it in the first does not get it again."""
    one = relay(recipients={SOMEBODY: DAILY})
    config = kept(one, {"upstream": {"recipients_per_message": 1},
                        "queue": {"delivery": delivery}})
    daemon = start(config)
    assert send(daemon, recipients=["c@example.test", SOMEBODY,
                                    "d@example.test"]).code == 250
    assert daemon.wait_event("upstream_down")["code"] == "550"
    daemon.stop()
    assert len(daemon.events("sent")) == 1
    assert [m.recipients for m in one.messages] == [["c@example.test"]]
    [path] = queue.iterdir()
    assert re.findall(rb"\nrecipient (\w)", path.read_bytes()) == [
        b"S", b"W", b"W"]
    good = relay()
    drain(start, kept(good), good, 1)
    assert [m.recipients for m in good.messages] == [
        [SOMEBODY, "d@example.test"]]
    assert not list(queue.iterdir())


def test_what_is_final_is_said_once(start, kept, queue, relay):
    """The log does not say it again with each attempt for who still waits."""
    one = relay(recipients={NOBODY: UNKNOWN, SOMEBODY: "451 4.2.1 not now"})
    daemon = start(kept(one))
    everybody = [NOBODY, SOMEBODY, "c@example.test"]
    assert send(daemon, recipients=everybody).code == 250
    daemon.wait_event("bounced", to=NOBODY)
    for _ in range(2):
        harness.run("-c", daemon.config, "queue", "retry", "--wait")
    one.recipients.clear()
    harness.run("-c", daemon.config, "queue", "retry", "--wait")
    daemon.stop()
    assert not list(queue.iterdir())
    counts = {(name, who): len(daemon.events(name, to=who))
              for name in ("sent", "refused", "deferred") for who in everybody}
    assert counts.pop(("deferred", SOMEBODY)) >= 3
    assert {key for key, count in counts.items() if count} == {
        ("sent", SOMEBODY), ("sent", "c@example.test"), ("refused", NOBODY)}
    assert set(counts.values()) == {0, 1}


def test_what_was_taken_is_certain(start, kept, relay):
    """Also when it is not for those of the next transaction."""
    one = relay()
    take = one.add

    def add(message):
        take(message)
        one.fault = one.fault or Fault("dot", "accept_drop")
    one.add = add
    daemon = start(kept(one, {"upstream": {"recipients_per_message": 1}}))
    assert send(daemon, recipients=["c@example.test", SOMEBODY]).code == 250
    daemon.stop()
    [sent] = daemon.events("sent", to="c@example.test")
    [deferred] = daemon.events("deferred", to=SOMEBODY)
    assert deferred["note"] == "may be delivered" and "note" not in sent


# ---- The sender, and single messages ---------------------------------

SENDER = {
    "SES": ("dot", UNVERIFIED),
    "SendGrid": ("dot", "550 The from address does not match a verified "
                        "Sender Identity"),
    "Postfix": ("rcpt", "553 5.7.1 <a@example.test>: Sender address rejected:"
                        " not owned by user u"),
    "iCloud": ("mail", "550 5.7.0 From address is not one of your addresses"),
}


@pytest.mark.parametrize("case", SENDER)
def test_held_sender(case, start, kept, queue, relay):
    """Held and not bounced, with long pauses, and the upstream stays up for
    other senders."""
    step, text = SENDER[case]
    one = relay(replies={step: text})
    daemon = start(kept(one))
    reply = send(daemon)
    assert reply.code == 250 and HELD.match(reply.text), reply
    [path] = queue.iterdir()
    assert b"\nrecipient H 5" in path.read_bytes()
    assert path.stat().st_mtime > time.time() + 1800
    one.replies = {}
    assert send(daemon, sender="c@example.test").code == 250
    daemon.stop()
    held = daemon.events("held")
    assert len(held) == 1 and held[0]["hint"]
    assert daemon.events("deferred")[0]["hint"] == held[0]["hint"]
    assert not daemon.events("upstream_down")
    assert len(one.messages) == 1
    drain(start, kept(one), one, 2)
    assert not list(queue.iterdir())


@pytest.mark.parametrize("case", SENDER)
def test_held_sender_without_a_spool(case, start, sections, relay):
    step, text = SENDER[case]
    one = relay(replies={step: text})
    daemon = start(sections(one))
    reply = send(daemon)
    assert reply.code == 451 and reply.enhanced == "4.7.0", reply
    one.replies = {}
    assert send(daemon, sender="c@example.test").code == 250


# ---- What means what it says -----------------------------------------

FINAL = {
    "address": ("rcpt", UNKNOWN, "does not exist"),
    "size": ("mail", "552 5.3.4 Message size exceeds fixed limit", "larger"),
    "hops": ("dot", "554 5.4.6 Message exceeded 50 hops, this may indicate a "
                    "mail loop.", "circle"),
    "content": ("dot", "550 5.6.0 too many parts", None),
}


class Once(dict):
    """Replies that are given once: the notice about it is taken."""

    def __getitem__(self, step):
        return self.pop(step)


@pytest.mark.parametrize("case", FINAL)
def test_final(case, start, kept, queue, relay):
    """To the client that waits, and in a notice, with the hint."""
    step, text, hint = FINAL[case]
    one = relay(replies={step: text})
    daemon = start(kept(one))
    reply = send(daemon)
    assert str(reply.code) == text[:3], reply
    daemon.stop()
    assert not list(queue.iterdir())

    one.replies = Once(one.replies)
    daemon = start(kept(one, {"queue": {"delivery": "queue"}}))
    assert send(daemon).code == 250
    event = daemon.wait_event("bounced")
    daemon.stop()
    assert ("hint" in event) == bool(hint)
    drain(start, kept(one), one, 1)
    notice = one.messages[0].text.decode()
    assert one.messages[0].recipients == ["a@example.test"]
    assert text[4:] in notice
    found = re.search(r"(?m)^    Hint: (.*(?:\r\n    .*)*)\r$", notice)
    assert bool(found) == bool(hint), notice
    if hint:
        assert hint in found[1]
        assert re.sub(r"\r\n +", " ", found[1]) == event["hint"]


def test_the_daemons_refusal_is_final(start, sections, relay):
    """The relay's 5xx that is final stays so on its way through the daemon,
    though as another code it would have been curable."""
    one = relay(replies={"dot": "571 too many of these"})
    daemon = start(sections(one))
    result = sendmail(SOMEBODY, socket_path=daemon.socket,
                      stdin=harness.message())
    assert result.status in REFUSED, result.text
    daemon.stop()
    assert said(one, "MAIL") == 1


def test_hint_of_the_command(place, sections, relay):
    """sendmail without a daemon says it in its sentence."""
    one = relay(replies={"dot": UNVERIFIED})
    config = harness.write_config(place / "smarthost.conf", sections(one))
    result = sendmail(SOMEBODY, config=config, stdin=harness.message())
    assert result.status == TEMPORARY, result.text
    assert "Email address is not verified" in result.text
    assert "(verify the address" in result.text
