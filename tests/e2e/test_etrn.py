# SPDX-License-Identifier: ISC
"""ETRN (RFC 1985): a client has the queue run."""

from badrelay import Fault
from test_queue import in_the_future, kept, send, spool  # noqa: F401


def test_etrn_replies(start, kept, nobody_there):
    with start(kept(nobody_there)).connect() as client:
        client.expect(501, "ETRN")
        client.ehlo()
        assert client.expect(250, "ETRN example.test").enhanced == "2.0.0"
        client.expect(250, "ETRN @example.test")
        client.expect(250, "etrn #anything")
        client.expect(250, "MAIL FROM:<a@x.test>")
        client.expect(503, "ETRN example.test")
        client.expect(250, "RCPT TO:<b@x.test>")


def test_etrn_tries_what_waits(start, kept, spool, relay):
    """It was put off by at least 40 seconds, and comes at once."""
    one = relay(Fault("dot", "451"))
    daemon = start(kept(one))
    assert send(daemon).code == 250
    assert in_the_future(spool.files()[0]) and not one.messages
    with daemon.connect() as client:
        client.ehlo()
        client.expect(250, "ETRN example.test")
    one.wait_messages(1)
    daemon.stop()
    assert one.copies() == 1
    spool.assert_empty()


def test_etrn_ends_a_pause(start, kept, spool, relay):
    """The relay was away, and the next try would be in a minute."""
    one = relay(Fault("connect", "rst"))
    daemon = start(kept(one))
    for number in range(5):
        assert send(daemon, f"n{number}").code == 250
    assert not one.messages and len(spool.names()) == 5
    with daemon.connect() as client:
        client.ehlo()
        client.expect(250, "ETRN example.test")
    one.wait_messages(5)
    daemon.wait_event("upstream_up")
    daemon.stop()
    assert all(one.copies(b"<n%d>" % n) == 1 for n in range(5))
    spool.assert_empty()


def test_etrn_is_no_way_to_hammer(start, kept, spool, relay):
    """Anybody on the host may say it, so a refused login stays where it is;
    and other mail is not tried for it."""
    one = relay(mechanisms=("PLAIN",))
    daemon = start(kept(one, {"upstream": {"password": "wrong"}}))
    assert send(daemon, "n0").code == 250
    with daemon.connect() as client:
        client.ehlo()
        for _ in range(5):
            client.expect(250, "ETRN example.test")
    reply = send(daemon, "n1")
    assert "next try in" in reply.text, reply
    daemon.stop()
    assert sum(session.said("AUTH") for session in one.sessions) == 1
    assert len(spool.names()) == 2
