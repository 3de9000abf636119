# SPDX-License-Identifier: ISC
"""What a client of the daemon hears, and what the log says of it: the
relay's verdict is the client's verdict, and without a spool a message is all
or nothing."""

import os
import re
import time

import pytest

from badrelay import Fault
from harness import WAIT, message


# The next message comes by the connection of the last one; else it may be so
# early that the courier is still at work, and another one takes it.
ONE = {"connections": "1"}


def send(daemon, recipients=("b@example.test",), text=None,
         sender="a@example.test"):
    """Sends by SMTP; returns the reply to the end of data."""
    with daemon.connect() as client:
        client.ehlo()
        client.envelope(sender, recipients)
        client.send(text or message(newline="\r\n"))
        client.send(b".\r\n")
        return client.reply()


# The relay's reply, our code, what is repeated of it.
REPEATED = [
    ("250 2.0.0 ok queued as X1", 250, ""),
    ("450 4.2.0 try later", 450, "4.2.0"),
    ("451 4.3.0 oops", 451, "4.3.0"),
    ("452 4.2.2 full", 452, "4.2.2"),
    ("455 4.5.0 parameters", 451, "4"),
    ("421 4.3.2 bye", 451, "4"),
    ("430 odd", 451, ""),
    ("550 5.7.1 spam", 550, "5.7.1"),
    ("551 5.1.6 moved", 551, "5.1.6"),
    ("552 5.3.4 too big", 552, "5.3.4"),
    ("553 5.1.3 bad", 553, "5.1.3"),
    ("554 5.6.0 no", 554, "5.6.0"),
    ("550 no code", 550, ""),
    ("571 5.7.1 odd", 554, "5.7.1"),
    ("521 5.3.2 no mail", 554, "5.3.2"),
    ("599 what", 554, ""),
]


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
@pytest.mark.parametrize("reply, code, enhanced", REPEATED)
def test_repeated(step, reply, code, enhanced, start, sections, relay):
    if reply.startswith("250"):
        if step == "data":
            pytest.skip("not an answer to DATA")
    one = relay(replies={step: reply})
    answer = send(start(sections(one)))
    assert answer.code == code, answer
    assert enhanced in answer.text
    assert answer.enhanced is None or answer.enhanced[0] == str(code)[0]
    if code != 250:
        assert reply.split(" ")[-1] in answer.text
    assert one.copies() == (code == 250)


@pytest.mark.parametrize("step", ["banner", "mail", "rcpt", "data", "dot"])
@pytest.mark.parametrize("reply", ["451", "550 ", "451-\r\n451"])
def test_without_a_text(step, reply, start, sections, relay):
    """What a person reads is a sentence all the same."""
    daemon = start(sections(relay(replies={step: reply})))
    assert "gives no reason" in send(daemon).text
    [event] = daemon.events("refused") + daemon.events("deferred")
    assert "gives no reason" in event["reply"]


def test_long_text_is_cut(start, sections, relay):
    one = relay(Fault("rcpt", "raw", data=b"550 5.1.1 " + b"\x1b[1mx\x00" +
                      b"y" * 5000 + b"\r\n"))
    answer = send(start(sections(one)))
    assert answer.code == 550
    assert len(answer.text) < 600
    assert re.fullmatch(r"[\x20-\x7e\n]+", answer.text)


def test_many_lines_are_kept_in_reply_form(start, sections, relay):
    one = relay(Fault("dot", "raw", data=b"550-5.7.1 first\r\n"
                      b"550-5.7.1 second\r\n550 5.7.1 third\r\n"))
    answer = send(start(sections(one)))
    assert answer.code == 550
    assert "first" in answer.text


NO, LATER = "550 5.1.1 no such user", "450 4.2.1 mailbox busy"
FULL, HARD = "452 4.2.2 full", "553 5.1.3 bad name"

# Replies to the recipients in order; our code, and whose name it has.
ENVELOPES = [
    (["", NO], 550, 1), ([NO, ""], 550, 0), (["", LATER], 450, 1),
    ([LATER, ""], 450, 0), ([LATER, NO], 550, 1), ([NO, LATER], 550, 0),
    (["", LATER, "", NO, ""], 550, 3), ([NO, HARD], 550, 0),
    ([HARD, NO], 553, 0), ([LATER, FULL], 450, 0), ([FULL, ""], 452, 0),
    (["", "", FULL], 452, 2), ([NO], 550, None), ([LATER], 450, None),
    (["", "452 4.5.3 too many recipients"], 452, 1),
    (["", "421 4.3.2 bye"], 451, None),
]


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("replies, code, which", ENVELOPES)
def test_all_or_nothing(replies, code, which, pipelining, start, sections,
                        relay):
    names = [f"r{number}@example.test" for number in range(len(replies))]
    one = relay(pipelining=pipelining, recipients={
        name: reply for name, reply in zip(names, replies) if reply})
    daemon = start(sections(one))
    answer = send(daemon, names)
    assert answer.code == code, answer
    if which is not None:
        assert names[which] in answer.text or len(names) == 1
        assert replies[which].split(" ", 2)[2] in answer.text
    assert one.copies() == 0
    assert not any(session.said("DATA") for session in one.sessions) or \
        len(names) == 1
    # and the connection, or a new one, is as good as before
    one.recipients = {}
    assert send(daemon, names).code == 250
    assert one.messages[0].recipients == names


def test_refused_transaction_is_not_left_open(start, sections, relay):
    """RSET (or the end of the connection) follows the refusal, not the next
    message: the relay keeps a file open for it."""
    one = relay(recipients={"no@example.test": NO})
    daemon = start(sections(one, {"upstream": {"idle": "10m"}}))
    answer = send(daemon, ["b@example.test", "no@example.test"])
    assert answer.code == 550
    assert one.rset_seen.wait(WAIT) or one.sessions[0].ended.is_set()


@pytest.mark.parametrize("kind", ["hang", "drop", "rst", "550", "421"])
def test_reset_goes_wrong(kind, start, sections, relay):
    """UX-40: the next message goes over a new connection, and does not wait
    long for the old one."""
    one = relay(Fault("rset", kind), recipients={"no@example.test": NO})
    daemon = start(sections(one, {"upstream": {"connections": "1"}}))
    assert send(daemon, ["b@example.test", "no@example.test"]).code == 550
    answer = send(daemon)
    assert answer.code == 250, answer
    assert one.fault_hit == 1
    assert len(one.sessions) == 2
    assert not daemon.events("upstream_down")


def test_more_than_one_transaction(start, sections, relay):
    """recipients_per_message: more would need a second transaction, which
    cannot be all or nothing with the first; so the client is told."""
    one = relay()
    daemon = start(sections(one, {"upstream": {
        "recipients_per_message": "10"}}))
    names = [f"r{number}@example.test" for number in range(12)]
    with daemon.connect() as client:
        client.ehlo()
        client.expect(250, "MAIL FROM:<a@example.test>")
        for name in names[:10]:
            client.expect(250, f"RCPT TO:<{name}>")
        for name in names[10:]:
            reply = client.expect(452, f"RCPT TO:<{name}>")
            assert reply.enhanced == "4.5.3"
        client.expect(354, "DATA")
        client.send(message(newline="\r\n") + b".\r\n")
        client.expect(250)
    [taken] = one.messages
    assert taken.recipients == names[:10]


def test_direct_wait_cuts_before_the_end_of_data(start, sections, relay):
    one = relay(Fault("data", "hang"))
    daemon = start(sections(one, {"queue": {"direct_wait": "1s"}}))
    answer = send(daemon)
    assert answer.code == 451
    assert one.copies() == 0
    assert send(daemon).code in (250, 451)


@pytest.mark.parametrize("step, kind", [
    ("mail", "malformed"), ("rcpt", "mixed"), ("data", "double"),
    ("data", "hang"), ("dot", "malformed"), ("dot", "extra")])
def test_connection_that_failed_is_closed_at_once(step, kind, start,
                                                  sections, relay):
    """It is of no use any more, and takes a place at the relay."""
    one = relay(Fault(step, kind))
    daemon = start(sections(one, {
        "upstream": {"idle": "10m"},
        "queue": {"direct_wait": "1s" if kind == "hang" else "60s"}}))
    assert send(daemon).code == (250 if kind == "extra" else 451)
    one.wait_ended()


def test_direct_wait_does_not_cut_behind_it(start, sections, relay):
    for seconds in (1, 10):
        one = relay(Fault("dot", "slow"), replies={
            "dot": "250 2.0.0 " + "x" * 500 * seconds})
        daemon = start(sections(one, {
            "listen": {"socket": "none"},
            "queue": {"direct_wait": f"{seconds}s"}}))
        answer = send(daemon)
        if one.dot_seen.is_set():
            break  # else this is a slow machine
    assert answer.code == 250
    assert one.copies() == 1


def test_possibly_delivered_is_said(start, sections, relay):
    """The connection is lost between the dot and its answer."""
    one = relay(Fault("dot", "accept_drop"))
    daemon = start(sections(one))
    answer = send(daemon)
    assert answer.code == 451
    assert one.copies() == 1
    daemon.stop()
    events = [event for event in daemon.log.events
              if event["event"] in ("deferred", "refused", "message")]
    assert any("deliver" in str(event) for event in events), events


@pytest.mark.parametrize("kind", ["drop", "421", "rst"])
@pytest.mark.parametrize("step", ["mail", "rset", "rcpt"])
def test_fault_on_a_kept_connection(step, kind, start, sections, relay):
    """A connection that went away while idle is no attempt: the first
    command of the second message finds it gone, and reconnects."""
    one = relay()
    daemon = start(sections(one, {"upstream": {**ONE, "idle": "60s"}}))
    assert send(daemon).code == 250
    one.fault = Fault(step, kind)
    answer = send(daemon)
    if step == "rcpt" and not one.sessions[0].said("RSET"):
        assert answer.code in (250, 451)
    else:
        assert answer.code == 250, answer
        assert one.copies() == 2
        daemon.stop()
        assert not daemon.events("deferred")
        assert not daemon.events("upstream_down")


@pytest.mark.parametrize("goodbye", [b"", b"421 4.4.2 idle too long\r\n"])
def test_idle_connection_closed_by_the_relay(goodbye, start, sections,
                                             relay):
    """UX-39: the next message opens a new one."""
    one = relay()
    daemon = start(sections(one, {"upstream": {**ONE, "idle": "60s"}}))
    for count in range(1, 4):
        assert send(daemon).code == 250
        assert one.copies() == count
        if goodbye:
            one.sessions[-1].wire.send_raw(goodbye)
        one.close_sessions()
    daemon.stop()
    assert not daemon.events("deferred")


def test_unasked_bytes_on_an_idle_connection(start, sections, relay):
    """They never serve as an answer to the next message."""
    one = relay()
    daemon = start(sections(one, {"upstream": {**ONE, "idle": "60s"}}))
    assert send(daemon).code == 250
    one.sessions[0].wire.send_raw(b"250 unasked\r\n" * 4)
    one.replies = {"dot": "550 5.7.1 no"}
    answer = send(daemon)
    assert answer.code == 550
    assert one.copies() == 1


def test_connection_that_was_out_of_step_is_not_used_again(
        start, sections, relay):
    """S+C of the matrix."""
    one = relay(Fault("dot", "extra"))
    daemon = start(sections(one, {"upstream": {**ONE, "idle": "60s"}}))
    assert send(daemon).code == 250
    assert send(daemon).code == 250
    assert one.sessions[0].said("MAIL") == 1
    assert one.copies() == 2


def test_messages_per_connection(start, sections, relay):
    one = relay()
    daemon = start(sections(one, {"upstream": {
        **ONE, "messages_per_connection": "3", "idle": "60s"}}))
    for _ in range(7):
        assert send(daemon).code == 250
    assert [session.said("MAIL") for session in one.sessions] == [3, 3, 1]


def test_trouble_of_the_upstream_is_logged_once(start, sections, relay):
    one = relay(replies={"ehlo": "421 4.7.0 busy"})
    daemon = start(sections(one))
    for _ in range(3):
        assert send(daemon).code == 451
    daemon.stop()
    assert len(daemon.events("upstream_down")) == 1
    assert "busy" in str(daemon.events("upstream_down"))


@pytest.mark.skipif("SMARTHOST_SLOW" not in os.environ,
                    reason="takes a minute; SMARTHOST_SLOW=1 runs it")
def test_upstream_comes_back(start, sections, relay):
    """The first pause is a minute, and one success ends it."""
    one = relay(Fault("banner", "451"))
    daemon = start(sections(one))
    assert send(daemon).code == 451
    until = time.monotonic() + 100
    while send(daemon).code != 250:
        assert time.monotonic() < until
        time.sleep(1)
    daemon.wait_event("upstream_up")


def test_null_sender(start, sections, relay):
    one = relay()
    assert send(start(sections(one)), sender="").code == 250
    assert one.messages[0].sender == ""


def test_second_upstream(start, sections, relay, nobody_there):
    """In order of preference: the second when the first is away."""
    one = relay()
    config = sections(nobody_there)
    config["upstream backup"] = {**config["upstream"], "port": one.port}
    daemon = start(config)
    assert send(daemon).code == 250
    assert one.copies() == 1
