# SPDX-License-Identifier: ISC
"""Clients that mean no good, and what they cost."""

import os
import socket
import time

import pytest

from harness import SANITIZED, WAIT, Conversation, wait_for
from test_listener import converse

GOOD = b"\r\nx\r\n.\r\n"


@pytest.fixture
def daemon(start, sections, relay):
    one = relay()
    daemon = start(sections(one))
    daemon.relay = one
    return daemon


@pytest.fixture
def hasty(start, sections, relay):
    """A daemon that waits two seconds for a client."""
    one = relay()
    daemon = start(sections(one, {"listen": {"session_timeout": "2s"}}))
    daemon.relay = one
    return daemon


def flood(client, line, count):
    """Says the line so often, in pieces, and hears every answer; the
    codes, in order, up to the end of the connection."""
    codes = []
    try:
        for _ in range(count // 100):
            client.send((line.encode() + b"\r\n") * 100)
            for _ in range(100):
                reply = client.reply()
                if reply is None:
                    return codes
                codes.append(reply.code)
    except OSError:
        pass
    return codes


@pytest.mark.parametrize("line, code", [
    ("NOOP", 250), ("RSET", 250), ("HELP", 214), ("VRFY x", 252),
    ("EHLO client.test", 250), ("HELO client.test", 250)])
def test_chatter_ends(line, code, daemon):
    """SE-06, SE-08: what leads nowhere may be said a hundred times, and
    some more."""
    with daemon.connect() as client:
        client.ehlo()
        codes = flood(client, line, 1000)
        assert 100 <= len(codes) < 200 and codes.pop() == 421
        assert set(codes) == {code}


def test_chatter_between_messages_does_not(daemon):
    with daemon.connect() as client:
        client.ehlo()
        for _ in range(5):
            assert flood(client, "NOOP", 100) == [250] * 100
            client.envelope()
            client.send(GOOD)
            client.expect(250)
            # the hundred belong to the message that has gone
        assert len(daemon.relay.messages) == 5


@pytest.mark.parametrize("line, code", [
    ("XYZZY", 500), ("EXPN x", 502), ("MAIL FROM:<", 501), ("DATA", 503),
    ("BDAT 0", 503), ("RCPT TO:<b@x.test>", 503)])
def test_errors_end_it(line, code, daemon):
    """SE-06: at the twentieth."""
    with daemon.connect() as client:
        client.ehlo()
        assert flood(client, line, 100) == [code] * 19 + [421]


def test_the_body_behind_a_refused_DATA(daemon):
    """SE-32: it is taken for commands, as the client wants it, but not for
    long."""
    with daemon.connect() as client:
        client.ehlo()
        client.expect(250, "MAIL FROM:<a@x.test>")
        client.send(b"DATA\r\n" + b"some text\r\n" * 1000 + b".\r\nNOOP\r\n")
        assert [reply.code for reply in client.rest()] == (
            [503] + [500] * 18 + [421])
    assert not daemon.relay.messages


def test_endless_recipients(daemon):
    """SE-04: 452 from the limit on, each of them, in bounded memory."""
    with daemon.connect() as client:
        client.ehlo()
        client.expect(250, "MAIL FROM:<a@x.test>")
        for number in range(100):
            client.expect(250, f"RCPT TO:<b{number}@x.test>")
        codes = flood(client, "RCPT TO:<c@x.test>", 20000)
        assert codes == sorted(codes) and len(codes) == 20000
        assert set(codes) <= {250, 452}
        client.expect(354, "DATA")
        client.send(GOOD)
        client.expect(250)
    assert SANITIZED or daemon.rss() < 32 << 20


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
def test_no_reply_is_longer_than_512(step, start, sections, relay):
    """RFC 5321 section 4.5.3.1.5, whatever the relay says."""
    one = relay(replies={step: "554 5.7.1 " + "a word and " * 300})
    daemon = start(sections(one))
    with daemon.connect() as client:
        client.ehlo()
        client.envelope(recipients=["b" * 64 + "@" + "c" * 63 + ".test"])
        client.send(GOOD)
        line = client.line()
        assert line.startswith(b"554 5.7.1 ") and len(line) <= 512


def test_quit_behind_the_dot(daemon):
    """SE-17: the message before it is kept, what is behind it ignored."""
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        client.send(GOOD + b"QUIT\r\nQUIT\r\nMAIL FROM:<c@x.test>\r\n")
        assert [reply.code for reply in client.rest()] == [250, 221]
    assert len(daemon.relay.messages) == 1


def test_never_reads(hasty):
    """SE-10: whoever does not take his answers is let go."""
    with hasty.connect() as client:
        client.ehlo()
        client.expect(250, "MAIL FROM:<a@x.test>")
        lines = b"RCPT TO:<b@x.test>\r\n" * 1000
        with pytest.raises(OSError):
            for _ in range(100000):
                client.send(lines)
    assert converse(hasty.address, GOOD) == [250]


@pytest.mark.parametrize("where", ["command", "message", "chunk"])
def test_a_byte_now_and_then(where, hasty):
    """SE-09: bytes that come one by one buy no time to speak of."""
    with hasty.connect() as client:
        client.ehlo()
        if where == "message":
            client.envelope()
        if where == "chunk":
            client.expect(250, "MAIL FROM:<a@x.test>")
            client.expect(250, "RCPT TO:<b@x.test>")
            client.send(b"BDAT 100000 LAST\r\n")
        until = time.monotonic() + WAIT
        with pytest.raises(OSError):
            while time.monotonic() < until:
                client.send(b"x")
                client.sock.settimeout(0.1)
                try:
                    if not client.sock.recv(1000):
                        raise ConnectionError
                except TimeoutError:
                    pass
    assert converse(hasty.address, GOOD) == [250]
    assert len(hasty.relay.messages) == 1


def test_thousands_of_connections(daemon):
    """SE-13: closed at once, or reset: nothing is left of them."""
    used = f"/proc/{daemon.process.pid}/fd"
    assert converse(daemon.address, GOOD) == [250]
    before = wait_for(lambda: len(os.listdir(used)))
    for number in range(3000):
        client = Conversation(daemon.address, greet=False)
        if number % 2:
            client.close()
        else:
            client.reset()
    assert converse(daemon.address, GOOD) == [250]
    wait_for(lambda: len(os.listdir(used)) <= before + 1)
    assert not daemon.events("message", level="warn")
    assert not daemon.events("message", level="error")


OPENERS = {
    "TLS": b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03" + bytes(300),
    "TLS of old": b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10" + bytes(40),
    "SSH": b"SSH-2.0-OpenSSH_9.9\r\n",
    "HTTP": b"POST /x HTTP/1.1\r\nHost: localhost:25\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "SIP": b"OPTIONS sip:x SIP/2.0\r\n",
    "RTSP": b"DESCRIBE rtsp://x RTSP/1.0\r\n",
    "RDP": b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03"
           b"\x00\x00\x00",
    "FTP": b"USER anonymous\r\n", "IMAP": b"a1 CAPABILITY\r\n",
    "POP": b"CAPA\r\n", "Redis": b"*1\r\n$4\r\nPING\r\n",
    "LDAP": b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00",
}
# These cannot be sent by a browser, and what is behind them might be meant.
MEANT = ("FTP", "IMAP", "POP", "Redis", "LDAP", "RDP", "TLS of old",
         "RTSP", "SIP")


@pytest.mark.parametrize("name", OPENERS)
@pytest.mark.parametrize("apart", [False, True])
def test_other_protocols(name, apart, daemon):
    """SE-14, SE-15: with a whole submission behind the first words.  What a
    browser can send ends there; of the others each line has one answer."""
    mail = (b"\r\nEHLO x\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\n"
            b"DATA\r\n\r\nx\r\n.\r\nQUIT\r\n")
    with daemon.connect(daemon.socket) as client:
        try:
            if apart:
                client.send_drained(OPENERS[name])
            else:
                client.send(OPENERS[name])
            client.send(mail)
            client.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        try:
            codes = [reply.code for reply in client.rest()]
        except OSError:
            codes = []
    if name not in MEANT:
        assert codes in ([421], [])
        assert not daemon.relay.messages
    else:
        assert set(codes) <= {250, 354, 221, 500, 421}
    assert converse(daemon.address, GOOD) == [250]
