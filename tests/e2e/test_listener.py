# SPDX-License-Identifier: ISC
"""The SMTP server: where a message ends, what commands are taken, what
happens to clients that misbehave, limits, and the orderly stop."""

import contextlib
import os
import pathlib
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

from badrelay import Fault
from harness import (CONFIG, NOBODY, SANITIZED, WAIT, WRAPPER, Conversation,
                     as_user, message, run, sendmail, wait_for)

GOOD_END = b"\r\n.\r\n"
NEXT = (b"MAIL FROM:<evil@example.test>\r\nRCPT TO:<evil@example.test>\r\n"
        b"DATA\r\nsmuggled\r\n.\r\n")


@pytest.fixture
def daemon(start, sections, relay):
    """A daemon whose relay takes everything: daemon.relay."""
    one = relay()
    daemon = start(sections(one))
    daemon.relay = one
    return daemon


@pytest.fixture
def client(daemon):
    """A connection to it, greeted."""
    with daemon.connect() as conversation:
        conversation.ehlo()
        yield conversation


# ---- End of data -----------------------------------------------------

# What stands in the middle of the body, between "one" and "two"; all of it
# is content, of one message.
NO_END = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CRLF.CR": b"\r\n.\r",
    "CR.CR": b"\r.\r",
    "CR.LF": b"\r.\n",
    "LF.CR": b"\n.\r",
    "CR.CRLF": b"\r.\r\n",
    "CRLF.CRCRLF": b"\r\n.\r\r\n",
    "CRCRLF.CRLF": b"\r\r\n.\r\r\n",
    "CRLF. CRLF": b"\r\n. \r\n",
    "CRLF.TABCRLF": b"\r\n.\t\r\n",
    "CRLF..CRLF": b"\r\n..\r\n",
    "CRLF.NULCRLF": b"\r\n.\0\r\n",
    "CRLFLF.LF": b"\r\n\n.\n",
    "LFLF.LF": b"\n\n.\n",
    "CRLF .CRLF": b"\r\n .\r\n",
}


def converse(address, body, drained=False, cut=None):
    """Sends a message with those bytes behind DATA, in one piece, in two,
    or byte by byte; QUIT follows.  Returns the codes of the replies."""
    with Conversation(address) as client:
        client.ehlo()
        client.envelope()
        if drained:
            for at in range(len(body)):
                client.send_drained(body[at:at + 1])
        elif cut is not None:
            client.send_drained(body[:cut])
            client.send(body[cut:])
        else:
            client.send(body)
        client.sock.shutdown(socket.SHUT_WR)
        return [reply.code for reply in client.rest()]


@pytest.mark.parametrize("case", NO_END)
@pytest.mark.parametrize("how", ["whole", "bytes"])
def test_not_the_end(case, how, daemon):
    """One message (or one refusal), and what follows is its content."""
    body = b"Subject: t\r\n\r\none" + NO_END[case] + NEXT[:-5] + b"\r\n.\r\n"
    codes = converse(daemon.socket, body, drained=how == "bytes")
    assert len(codes) == 1 and codes[0] in (250, 550, 554)
    assert daemon.relay.copies() == (codes[0] == 250)
    for taken in daemon.relay.messages:
        assert taken.recipients == ["b@example.test"]
        assert taken.content.count(b"RCPT TO") == 1
        assert b"smuggled" in taken.content
        clean(taken)


def clean(taken):
    """On the wire to the relay: no bare CR or LF, every dot stuffed."""
    lines = taken.body.split(b"\r\n")
    assert b"\r" not in b"".join(lines) and b"\n" not in b"".join(lines)
    assert not any(line.startswith(b".") and not line.startswith(b"..")
                   for line in lines)
    assert all(len(line) <= 998 + line.startswith(b".") for line in lines)


@pytest.mark.parametrize("case", NO_END)
def test_cut_at_every_offset(case, daemon):
    """It makes no difference where a segment ends."""
    body = b"Subject: t\r\n\r\none" + NO_END[case] + b"two" + GOOD_END
    whole = converse(daemon.socket, body)
    for cut in range(1, len(body)):
        assert converse(daemon.socket, body, cut=cut) == whole, cut
    texts = {taken.text for taken in daemon.relay.messages}
    assert len(texts) == (whole == [250]), texts


def test_true_end_cut_at_every_offset(daemon):
    """SM-01: exactly one message, wherever the end is cut."""
    body = b"Subject: t\r\n\r\nx" + GOOD_END
    for cut in range(1, len(body)):
        assert converse(daemon.socket, body, cut=cut) == [250]
    assert converse(daemon.socket, body, drained=True) == [250]
    assert daemon.relay.copies() == len(body)


# The very first bytes behind 354 (SM-18): the end only as ".\r\n".
FIRST = {".LF": b".\n", ".CR": b".\r", "LF.CRLF": b"\n.\r\n",
         "CR.CRLF": b"\r.\r\n", "..CRLF": b"..\r\n", ". CRLF": b". \r\n"}


@pytest.mark.parametrize("case", FIRST)
def test_first_bytes(case, daemon):
    codes = converse(daemon.socket, FIRST[case] + b"x" + GOOD_END)
    assert len(codes) == 1 and codes[0] in (250, 550, 554)
    assert daemon.relay.copies() == (codes[0] == 250)
    for taken in daemon.relay.messages:
        clean(taken)
        assert b"x" in taken.content


@pytest.mark.parametrize("drained", [False, True])
def test_dot_at_once(drained, daemon):
    """SM-19: an empty message, one answer."""
    codes = converse(daemon.socket, b".\r\n", drained=drained)
    assert len(codes) == 1
    assert daemon.relay.copies() == (codes[0] == 250)


@pytest.mark.parametrize("size", sorted(
    edge + by for by in (-2, -1, 0, 1, 2)
    for edge in (512, 998, 1000, 1024, 2048, 4096, 8192, 16384, 32768,
                 65536)))
def test_dot_behind_a_long_line(size, daemon):
    """SM-20: the start of a chunk is not the start of a line."""
    body = b"x" * size + b".\r\n"
    assert converse(daemon.socket, b"\r\n" + body + b".\r\n") == [250]
    [taken] = daemon.relay.messages
    clean(taken)
    assert taken.content.replace(b"\r\n ", b"").endswith(b"x" * size +
                                                         b".\r\n")


def test_commands_behind_a_long_line(daemon):
    """SM-26: no desync, however long the line."""
    body = b"\r\n" + b"x" * 100000 + b"\r\n" + NEXT
    codes = converse(daemon.socket, body)
    assert len(codes) == 1
    assert daemon.relay.copies() == (codes[0] == 250)


def test_many_messages_in_one_go(daemon):
    """Pipelined transactions, in order, with a QUIT behind the last dot."""
    with daemon.connect() as client:
        client.ehlo()
        for number in range(20):
            client.send(b"MAIL FROM:<a@example.test>\r\n"
                        b"RCPT TO:<b@example.test>\r\n")
            client.expect(250)
            client.expect(250)
            client.expect(354, "DATA")
            client.send(b"\r\nnumber %d\r\n.\r\n" % number)
            client.expect(250)
        client.send("QUIT\r\nQUIT\r\n")
        assert [reply.code for reply in client.rest()] == [221]
    bodies = [taken.text for taken in daemon.relay.messages]
    assert bodies == [b"number %d\r\n" % n for n in range(20)]


@pytest.mark.parametrize("case", ["LF.LF", "CR.CR", "CRLF.LF"])
def test_bare_newline_reject(case, start, sections, relay):
    one = relay()
    daemon = start(sections(one, {"listen": {"bare_newline": "reject"}}))
    body = b"Subject: t\r\n\r\none" + NO_END[case] + NEXT
    codes = converse(daemon.socket, body)
    assert codes and codes[0] // 100 == 5 and len(codes) == 1
    assert one.copies() == 0


# ---- Clients that vanish ---------------------------------------------

VANISH = {"nothing": b"", "header": b"Subject: t\r\n",
          "line": b"Subject: t\r\n\r\nx\r\n", "dot": b"\r\nx\r\n.",
          "dot CR": b"\r\nx\r\n.\r", "big": b"\r\n" + b"x\r\n" * 500000}


@pytest.mark.parametrize("case", VANISH)
@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_vanishes_in_data(case, how, daemon):
    """SM-28, SM-29: nothing is sent."""
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        try:
            client.send(VANISH[case])
            if how == "half":
                client.sock.shutdown(socket.SHUT_WR)
                assert all(reply.code >= 400 for reply in client.rest())
        finally:
            client.reset() if how == "reset" else client.close()
    # the next one is served, and the stop waits for all sessions
    assert converse(daemon.address, b"\r\nafter\r\n.\r\n") == [250]
    assert daemon.stop() == 0
    assert daemon.relay.copies() == daemon.relay.copies(b"after") == 1


def test_closes_without_reading_the_answer(daemon):
    """SE-18: behind the dot we have taken responsibility."""
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        client.send(b"\r\nx\r\n.\r\n")
    daemon.relay.wait_messages(1)
    assert daemon.stop() == 0
    assert daemon.relay.copies() == 1


def test_empty_connections_leave_no_line(daemon):
    for _ in range(3):
        daemon.connect(None).close()
        with daemon.connect() as client:
            client.expect(221, "QUIT")
        Conversation(daemon.address, greet=False).reset()
    before = daemon.log.raw
    assert daemon.stop() == 0
    assert b"listening" in before
    assert daemon.log.raw.startswith(before)
    names = {event["event"] for event in daemon.log.events}
    assert names <= {"listening", "upstream", "started", "stopping",
                     "stopped"}


# ---- Commands --------------------------------------------------------

# Before EHLO; a tuple of codes means that any of them will do.
BEFORE = {
    "EHLO": (501,), "EHLO ": (501,), "HELO": (501,),
    "EHLO client.test": (250,), "HELO client.test": (250,),
    "ehlo client.test": (250,), "EHLO [127.0.0.1]": (250,),
    "EHLO [IPv6:::1]": (250,), "EHLO localhost": (250,),
    "EHLO under_score": (250,), "RSET": (250,), "NOOP": (250,),
    "NOOP x y": (250,), "VRFY root": (252, 502), "EXPN root": (502, 550),
    "HELP": (214, 502, 500), "QUIT": (221,), "quit": (221,),
    "DATA": (503,), "RCPT TO:<b@x.test>": (503,), "": (500, 502),
    "TURN": (500, 502), "ETRN x": (500, 502), "DEBUG": (500, 502),
    "WIZ": (500, 502), "XCLIENT ADDR=1.2.3.4": (500, 502, 550),
    "XFORWARD ADDR=1.2.3.4": (500, 502, 550), "AUTH": (500, 501, 502, 503),
    "AUTH PLAIN AGEAYg==": (500, 502, 503, 504), "BDAT 0": (503,),
    "STARTTLS": (500, 502, 503, 454), "\x80\xff": (500, 502),
    "\x00": (500, 502), "EHLOX": (500, 502),
    "MAILX FROM:<a@x.test>": (500, 502),
}


@pytest.mark.parametrize("line", BEFORE)
def test_before_ehlo(line, daemon):
    with daemon.connect() as client:
        client.expect(BEFORE[line], line.encode("latin-1"))
        if not line.upper().startswith("QUIT"):
            client.expect(250, "NOOP")
            client.expect(250, "EHLO client.test")


def test_capabilities(client):
    offered = client.ehlo()
    assert "PIPELINING" in offered and "8BITMIME" in offered
    assert offered["SIZE"] == [str(50 * 1024 * 1024)] or \
        offered["SIZE"] == ["50000000"]
    assert "AUTH" not in offered and "STARTTLS" not in offered


def test_helo_has_no_extensions(daemon):
    with daemon.connect() as client:
        assert "\n" not in client.expect(250, "HELO client.test").text


# MAIL commands: (what follows MAIL, codes)
MAIL = {
    " FROM:<a@x.test>": (250,), " FROM:<>": (250,),
    " from:<a@x.test>": (250,), " FROM: <a@x.test>": (250,),
    " FROM:<root>": (250,), " FROM:<a@[1.2.3.4]>": (250,),
    " FROM:<a@[IPv6:::1]>": (250,), ' FROM:<"a b"@x.test>': (250,),
    ' FROM:<"a\\"b"@x.test>': (250,), ' FROM:<"a>b"@x.test>': (250,),
    ' FROM:<""@x.test>': (250, 501, 553),
    " FROM:<a@x.test> SIZE=100": (250,), " FROM:<a@x.test> SIZE=0": (250,),
    " FROM:<a@x.test> BODY=8BITMIME": (250,),
    " FROM:<a@x.test> BODY=7BIT": (250,),
    " FROM:<a@x.test> body=8bitmime size=5": (250,),
    " FROM:<a@x.test> SIZE=999999999999999999999999999999": (552,),
    " FROM:<a@x.test> SIZE=99999999999": (552,),
    " FROM:<a@x.test> SIZE=00000000000000000100": (250,),
    " FROM:<a@x.test> SIZE=-1": (501,), " FROM:<a@x.test> SIZE=abc": (501,),
    " FROM:<a@x.test> SIZE=": (501,), " FROM:<a@x.test> SIZE": (501,),
    " FROM:<a@x.test> BODY=BINARYMIME": (501, 504, 555),
    " FROM:<a@x.test> BODY=FOO": (501, 504, 555),
    " FROM:<a@x.test> FOO=BAR": (555,), " FROM:<a@x.test> FOO": (555,),
    " FROM:<a@x.test> SIZE=1 SIZE=2": (501, 555),
    " FROM:<a@x.test>X": (501, 555), " FROM:<a@x.test": (501,),
    " FROM:a@x.test": (250, 501), " FROM:<a@x.test>>": (501, 555),
    " FROM:<a@@x.test>": (501, 553), " FROM:<@x.test>": (501, 553),
    " FROM:<a@>": (501, 553), " FROM:<a b@x.test>": (501, 553, 555),
    " FROM:<a@[]>": (501, 553), " FROM:<a@[x>": (501, 553),
    " FROM:<a@x..test>": (501, 553), " FROM:<.a@x.test>": (250, 501, 553),
    " FROM:<a..b@x.test>": (250, 501, 553),
    ' FROM:<"\\"@x.test>': (501, 553), ' FROM:<"a"b@x.test>': (501, 553),
    ' FROM:<"@"@x.test>': (250,), ' FROM:<"a\\\\"@x.test>': (250,),
    " FROM:<-a@x.test>": (501, 553, 550), " FROM:<gr\xfcn@x.test>": (501, 553),
    " FROM:<\xff@x.test>": (501, 553), " FROM:<a\x00b@x.test>": (500, 501, 553),
    " FROM:<a@x.test>\x00": (500, 501, 555), " FROM:<a\nb@x.test>": (500, 501),
    " FROM:<a@x.test>\rRCPT TO:<b@x.test>": (500, 501, 555),
    " FROM:<" + "a" * 64 + "@x.test>": (250,),
    " FROM:<" + "a" * 65 + "@x.test>": (501, 553),
    " FROM:<a@" + "b" * 63 + ".test>": (250,),
    " FROM:<a@" + "b" * 64 + ".test>": (501, 553),
    " FROM:<a@" + ("b" * 49 + ".") * 6 + "test>": (501, 553),
    "": (501,), " ": (501,), " FROM": (501,), " FROM:": (501,),
    " TO:<a@x.test>": (501,), "  FROM:<a@x.test>": (250, 500, 501),
    " FROM:<a@x.test> " + "x" * 600: (500, 501, 555),
    " FROM:<@r1.test,@r2.test:a@x.test>": (250, 501, 553),
}


@pytest.mark.parametrize("line", MAIL, ids=lambda line: line[:40])
def test_mail(line, client, daemon):
    """The right code, one answer; and what was taken comes out as it is."""
    reply = client.expect(MAIL[line], ("MAIL" + line).encode("latin-1"))
    if "\n" in line:  # the rest of it is another, bad, command
        client.reply()
    if reply.code != 250:
        client.expect(503, "RCPT TO:<b@x.test>")
        client.expect(250, "MAIL FROM:<ok@x.test>")
        return
    client.expect(250, "RCPT TO:<b@x.test>")
    client.expect(354, "DATA")
    client.send(b"\r\nx\r\n.\r\n")
    client.expect(250)
    path = line.partition("<")[2].rpartition(">")[0] if "<" in line \
        else "a@x.test"
    if path.startswith("@r1"):
        path = "a@x.test"
    [taken] = daemon.relay.messages
    assert taken.sender in (path, path + "@client.example.test")


# RCPT commands behind a good MAIL.
RCPT = {
    " TO:<b@x.test>": (250,), " to:<b@x.test>": (250,),
    " TO: <b@x.test>": (250,), " TO:<>": (501, 553),
    " TO:<b@[1.2.3.4]>": (250,), ' TO:<"a b"@x.test>': (250,),
    ' TO:<"a>b"@x.test>': (250,), ' TO:<"a\\"b"@x.test>': (250,),
    " TO:<-bs@x.test>": (501, 553, 550), " TO:<-oQx>": (501, 553, 550),
    " TO:<b@x.test": (501,), " TO:<b@x.test>X": (501, 555),
    " TO:<b@x.test> NOTIFY=NEVER": (555, 501),
    " TO:<b\xfc@x.test>": (501, 553), " TO:<b\x00@x.test>": (500, 501, 553),
    " TO:<b@@x.test>": (501, 553), " TO:<b@>": (501, 553), "": (501,),
    " FROM:<b@x.test>": (501,),
    " TO:<" + "b" * 65 + "@x.test>": (501, 553),
    " TO:<b@x.test>\rRCPT TO:<c@x.test>": (500, 501, 555),
    " TO:<@r1.test:b@x.test>": (250, 501, 553),
    " TO:<`id`@x.test>": (250,), " TO:<|sh@x.test>": (250,),
    " TO:<$(id)@x.test>": (501, 553), " TO:<%n%s@x.test>": (250,),
    " TO:<${run{id}}@x.test>": (250,), " TO:<a%b@x.test>": (250,),
    " TO:<a!b@x.test>": (250,),
}


@pytest.mark.parametrize("line", RCPT, ids=lambda line: line[:40])
def test_rcpt(line, client, daemon):
    client.expect(250, "MAIL FROM:<a@x.test>")
    reply = client.expect(RCPT[line], ("RCPT" + line).encode("latin-1"))
    if reply.code != 250:
        client.expect((503, 554), "DATA")
        client.expect(250, "RCPT TO:<ok@x.test>")
        line = " TO:<ok@x.test>"
    client.expect(354, "DATA")
    client.send(b"\r\nx\r\n.\r\n")
    client.expect(250)
    path = line.partition("<")[2].rpartition(">")[0]
    if path.startswith("@r1"):
        path = "b@x.test"
    [taken] = daemon.relay.messages
    assert taken.recipients == [path]


# Commands in an order, and the code of each.
ORDERS = {
    "mail twice": [("MAIL FROM:<a@x.test>", 250),
                   ("MAIL FROM:<b@x.test>", 503)],
    "rcpt first": [("RCPT TO:<b@x.test>", 503)],
    "data first": [("DATA", 503)],
    "data without rcpt": [("MAIL FROM:<a@x.test>", 250),
                          ("DATA", (503, 554))],
    "rset": [("MAIL FROM:<a@x.test>", 250), ("RSET", 250),
             ("RCPT TO:<b@x.test>", 503)],
    "ehlo resets": [("MAIL FROM:<a@x.test>", 250),
                    ("RCPT TO:<b@x.test>", 250), ("EHLO x.test", 250),
                    ("DATA", 503)],
    "noop does not": [("MAIL FROM:<a@x.test>", 250), ("NOOP", 250),
                      ("RCPT TO:<b@x.test>", 250), ("VRFY x", (252, 502)),
                      ("DATA", 354)],
    "data with argument": [("MAIL FROM:<a@x.test>", 250),
                           ("RCPT TO:<b@x.test>", 250), ("DATA x", 501)],
    "rset with argument": [("RSET x", (250, 501)), ("NOOP", 250)],
}


@pytest.mark.parametrize("case", ORDERS)
def test_order(case, client):
    for line, code in ORDERS[case]:
        client.expect(code, line)


def test_envelope_ends_with_a_refusal(start, sections, relay):
    """SM-38: after a refusal at the end of data nothing is left."""
    one = relay(replies={"dot": "550 5.7.1 spam"})
    daemon = start(sections(one))
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        client.send(b"\r\nx\r\n.\r\n")
        client.expect(550)
        client.expect(503, "RCPT TO:<b@example.test>")
        client.expect(503, "DATA")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_commands_that_end_by_lf(newline, daemon):
    """SM-33: netcat and health checks."""
    with daemon.connect() as client:
        for line in ("EHLO x.test", "MAIL FROM:<a@x.test>",
                     "RCPT TO:<b@x.test>"):
            client.send(line + newline)
            client.expect(250)
        client.send("DATA" + newline)
        client.expect(354)


@pytest.mark.parametrize("size", [512, 1000])
def test_long_commands_that_fit(size, client):
    client.expect(250, "NOOP " + "x" * (size - 7))


@pytest.mark.parametrize("size", [20000, 65535, 1000000])
def test_long_commands(size, client):
    """SE-01: one 500, and the session goes on, or it ends."""
    try:
        client.send(b"NOOP " + b"x" * size + b"\r\n")
        reply = client.reply()
    except (BrokenPipeError, ConnectionResetError):
        return
    assert reply.code in (500, 501, 421)
    if reply.code != 421:
        client.expect(250, "NOOP")


def test_a_line_without_end(daemon):
    """SE-02: memory stays bounded, inside DATA and before."""
    chunk = b"x" * (1 << 20)
    for in_data in (False, True):
        with daemon.connect() as client:
            client.ehlo()
            if in_data:
                client.envelope()
            try:
                for _ in range(64):
                    client.send(chunk)
                client.sock.shutdown(socket.SHUT_WR)
                client.rest()
            except OSError:
                pass
    assert SANITIZED or daemon.rss() < 64 << 20
    assert daemon.relay.copies() == 0


def test_junk_ends_the_session(client):
    """SE-06: errors count."""
    codes = []
    try:
        for _ in range(500):
            reply = client.command("JUNK")
            if reply is None:
                break
            codes.append(reply.code)
            if reply.code == 421:
                break
    except OSError:
        pass
    assert len(codes) < 500
    assert set(codes) <= {500, 502, 421}


def test_refused_messages_do_not_end_the_session(start, sections, relay):
    """An application may send a list of addresses over one connection, and
    the relay may refuse most of them."""
    one = relay(replies={"rcpt": "550 5.1.1 no such user"})
    daemon = start(sections(one, {"listen": {"max_message": "1K"}}))
    with daemon.connect() as client:
        client.ehlo()
        for _ in range(50):
            client.envelope()
            client.send(b"\r\nx\r\n.\r\n")
            client.expect(550)
            client.envelope()
            client.send(b"\r\n" + b"x\r\n" * 500 + b".\r\n")
            client.expect(552)
        del one.replies["rcpt"]
        client.envelope()
        client.send(b"\r\nx\r\n.\r\n")
        client.expect(250)


@pytest.mark.parametrize("first", [
    b"POST / HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<a@x.test>\r\n",
    b"GET / HTTP/1.0\r\n\r\nNOOP\r\n", b"CONNECT x:25 HTTP/1.1\r\nNOOP\r\n",
    b"PUT / HTTP/1.1\r\nNOOP\r\n", b"HEAD / HTTP/1.1\r\nNOOP\r\n",
    b"OPTIONS * HTTP/1.1\r\nNOOP\r\n", b"DELETE / HTTP/1.1\r\nNOOP\r\n",
    b"PATCH / HTTP/1.1\r\nNOOP\r\n", b"TRACE / HTTP/1.1\r\nNOOP\r\n",
    b"SEARCH /?q=1 HTTP/1.1\r\nNOOP\r\n", b"NOOP / HTTP/1.1\r\nNOOP\r\n",
    b"x / http/1.0 \r\nNOOP\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nNOOP\r\n",
    b"GET /\r\nNOOP\r\n", b"DELETE /\r\nNOOP\r\n",
    b"POST /" + b"x" * 5000 + b" HTTP/1.1\r\nNOOP\r\n",
    b"SEARCH /" + b"x" * 70000 + b" HTTP/1.1\r\nNOOP\r\n"],
    ids=lambda first: first[:12].decode())
def test_http_is_cut_off(first, daemon):
    """SE-15: nothing of a browser's request is obeyed."""
    codes = []
    with daemon.connect() as client:
        try:
            client.send(first)
            client.sock.shutdown(socket.SHUT_WR)
            while reply := client.reply():
                codes.append(reply.code)
        except ConnectionError:
            pass
    assert codes in ([421], [])


@pytest.mark.parametrize("data", [
    bytes(range(256)) * 256, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-OpenSSH_9\r\n", b"\r\n" * 100, b"\n" * 100, b"\0" * 70000],
    ids=["random", "TLS", "SSH", "CRLF", "LF", "NUL"])
def test_garbage(data, daemon):
    """SE-14: refused in printable replies; others are served."""
    with daemon.connect() as client:
        try:
            client.send(data)
            client.sock.shutdown(socket.SHUT_WR)
            for reply in client.rest():
                assert reply.code in (500, 501, 502, 421)
        except OSError:
            pass
    assert converse(daemon.address, b"\r\nx\r\n.\r\n") == [250]


@pytest.mark.parametrize("name", [
    "x" * 10000, "<script>", "a\x00b", "gr\xfcn", "a\rb", "a b c"])
def test_odd_names(name, daemon):
    """SE-41: refused, or only in safe form in Received."""
    with daemon.connect() as client:
        reply = client.command(b"EHLO " + name.encode("latin-1"))
        if reply is None or reply.code != 250:
            return
        client.envelope()
        client.send(b"\r\nx\r\n.\r\n")
        client.expect(250)
    [taken] = daemon.relay.messages
    header = taken.header
    assert all(c in b"\t\r\n" or 32 <= c < 127 for c in header), header
    assert header.lower().count(b"received:") <= 1
    assert b"<script>" not in header


# ---- Limits ----------------------------------------------------------

@pytest.mark.parametrize("sized", [True, False])
def test_max_message(sized, start, sections, relay):
    """LO-15: over the limit is 552, at MAIL with SIZE, else at the end;
    and the session is still in step."""
    one = relay()
    daemon = start(sections(one, {"listen": {"max_message": "100K"}}))
    limit = int(daemon.connect().ehlo()["SIZE"][0])
    line = b"0123456789" * 7 + b"\r\n"
    small = b"\r\n" + line * ((limit - 100) // len(line))
    large = b"\r\n" + line * (limit // len(line) + 1)
    with daemon.connect() as client:
        client.ehlo()
        for body, code in ((large, 552), (small, 250), (large, 552)):
            size = f" SIZE={len(body)}" if sized else ""
            mail = f"MAIL FROM:<a@x.test>{size}"
            if sized and code == 552:
                client.expect(552, mail)
                continue
            client.expect(250, mail)
            client.expect(250, "RCPT TO:<b@x.test>")
            client.expect(354, "DATA")
            client.send(body + b".\r\n")
            client.expect(code)
    assert one.copies() == 1


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("chunks", [True, False])
@pytest.mark.parametrize("line", [b"x" * 70, b"." * 70, b"x" * 5000, b"."],
                         ids=lambda line: f"{len(line)} {line[:1]}")
def test_at_the_limit(line, chunks, over, start, sections, relay):
    """Neither the dots that are doubled nor the breaks in long lines count
    (RFC 1870)."""
    one = relay()
    daemon = start(sections(one, {"listen": {"max_message": "100000"}}))
    body = b"Subject: x\r\n\r\n"
    body += (line + b"\r\n") * ((100000 + over - len(body)) //
                                (len(line) + 2) - 1)
    body += b"y" * (100000 + over - len(body) - 2) + b"\r\n"
    with daemon.connect() as client:
        client.ehlo()
        client.expect(250, "MAIL FROM:<a@x.test>")
        client.expect(250, "RCPT TO:<b@x.test>")
        if chunks:
            client.send(b"BDAT %d LAST\r\n" % len(body) + body)
        else:
            client.expect(354, "DATA")
            client.send(re.sub(rb"(?m)^\.", b"..", body) + b".\r\n")
        client.expect(552 if over else 250)
    assert one.copies() == 1 - over
    if over:
        daemon.wait_event("refused", code=552, to="b@x.test",
                          reply=re.compile(r"^5\.3\.4 "))


def test_huge_message_is_read_to_its_end(start, sections, relay):
    """Twenty times the limit: 552 behind the dot, in bounded memory."""
    one = relay()
    daemon = start(sections(one, {"listen": {"max_message": "1M"}}))
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        for _ in range(20):
            client.send((b"x" * 70 + b"\r\n") * 14564)
        client.send(b".\r\n")
        client.expect(552)
        client.expect(250, "NOOP")
    assert SANITIZED or daemon.rss() < 32 << 20
    assert one.copies() == 0


def test_max_recipients(start, sections, relay):
    """452 4.5.3 from the limit on, and those before it are kept."""
    one = relay()
    daemon = start(sections(one, {"listen": {"max_recipients": "5"}}))
    with daemon.connect() as client:
        client.ehlo()
        client.expect(250, "MAIL FROM:<a@x.test>")
        for number in range(5):
            client.expect(250, f"RCPT TO:<b{number}@x.test>")
        for number in range(3):
            reply = client.expect(452, f"RCPT TO:<c{number}@x.test>")
            assert reply.enhanced == "4.5.3"
        client.expect(354, "DATA")
        client.send(b"\r\nx\r\n.\r\n")
        client.expect(250)
    assert one.messages[0].recipients == [f"b{n}@x.test" for n in range(5)]


def test_max_clients(start, sections, relay):
    """One more is told 421; the unix socket is served all the same; and a
    place that becomes free is used again."""
    one = relay()
    daemon = start(sections(one, {"listen": {"max_clients": "5"}}))
    clients = []
    while len(clients) < 10:
        client = daemon.connect()
        if client.greeting.code == 421:
            assert client.reply() is None
            break
        assert client.greeting.code == 220
        clients.append(client)
    assert 3 <= len(clients) <= 5
    assert daemon.connect(daemon.socket).greeting.code == 220
    clients[0].expect(221, "QUIT")
    assert clients[0].reply() is None
    until = time.monotonic() + WAIT
    while daemon.connect().greeting.code != 220:
        assert time.monotonic() < until
    for client in clients:
        client.close()


CROWD = """
import socket, sys
crowd = []
for _ in range(int(sys.argv[2])):
    one = socket.socket(socket.AF_UNIX)
    one.connect(sys.argv[1])
    crowd.append(one)
print(*(one.recv(3).decode() for one in crowd), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def crowd(path, count, uid):
    """So many connections of that user; yields the codes of the greetings."""
    with subprocess.Popen(
            [sys.executable, "-c", CROWD, path, str(count)], cwd="/",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            **as_user(uid)) as process:
        yield process.stdout.readline().decode().split()
        process.stdin.close()


@pytest.mark.skipif(os.getuid() != 0, reason="needs more than one user")
def test_one_user_cannot_take_all_places(start, sections, relay):
    """A quarter; others, root and the liveness probe still get through."""
    one = relay()
    daemon = start(sections(one))
    with crowd(daemon.socket, 300, NOBODY) as codes:
        assert codes == ["220"] * 64 + ["421"] * 236
        with daemon.connect() as client:
            assert client.greeting.code == 220
        for uid in (0, 1234):
            result = sendmail("b@example.test", uid=uid, stdin=message(),
                              socket_path=daemon.socket)
            assert result.status == 0, result.text
        assert run("-c", daemon.config, "health").status == 0
    assert one.copies() == 2


@pytest.mark.skipif(os.getuid() != 0, reason="needs more than one user")
def test_root_gets_through(start, sections, relay):
    """However many others there are."""
    one = relay()
    daemon = start(sections(one, {"listen": {"max_clients": "16"}}))
    with contextlib.ExitStack() as stack:
        for uid in (1001, 1002, 1003, 1004):
            assert stack.enter_context(crowd(daemon.socket, 5, uid)) == [
                "220"] * 4 + ["421"]
        assert daemon.connect().greeting.code == 421
        assert run("-c", daemon.config, "health").status == 0
        with crowd(daemon.socket, 1, 1005) as codes:
            assert codes == ["421"]
        result = sendmail("b@example.test", stdin=message(),
                          socket_path=daemon.socket)
        assert result.status == 0, result.text
    assert one.copies() == 1


def test_session_timeout(start, sections, relay):
    """A silent client, or one in the middle of a line or of a message, is let
    go."""
    one = relay()
    daemon = start(sections(one, {"listen": {"session_timeout": "3s"}}))
    with daemon.connect() as silent, daemon.connect() as line, \
            daemon.connect() as data:
        for client in (silent, line, data):
            client.ehlo()
        line.send("MAIL FR")
        data.envelope()
        data.send(b"\r\nx\r\n")
        for client in (silent, line, data):
            assert [reply.code for reply in client.rest()] in ([421], [])
    assert daemon.stop() == 0
    assert one.copies() == 0


def test_slow_client_does_not_hold_up_others(daemon):
    with daemon.connect() as slow:
        slow.ehlo()
        slow.envelope()
        slow.send(b"Sub")
        assert converse(daemon.address, b"\r\nx\r\n.\r\n") == [250]
        slow.send(b"ject: t\r\n\r\nslow\r\n.\r\n")
        slow.expect(250)
    assert daemon.relay.copies() == 2


def test_many_clients_at_once(daemon):
    """Each message once, whatever the order."""
    def send(number):
        codes = converse(daemon.address, b"\r\nnumber %d.\r\n.\r\n" % number)
        results.append(codes)
    results = []
    threads = [threading.Thread(target=send, args=(number,))
               for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[250]] * 60
    for number in range(60):
        assert daemon.relay.copies(b"number %d." % number) == 1
    assert len(daemon.relay.sessions) <= 2 * 2  # connections = 2


def descriptor_limit(daemon):
    limits = pathlib.Path(f"/proc/{daemon.process.pid}/limits").read_text()
    return int(re.search(r"Max open files +(\d+)", limits)[1])


@pytest.mark.parametrize("limit, changes, now, warned", [
    ("256:2000", {}, 2000, False), ("256:65537", {}, 65536, False),
    ("65537:65537", {}, 65537, False), ("256:256", {}, 256, True),
    ("256:2000", {"listen": {"max_clients": "700"}}, 2000, True),
    ("256:2000", {"upstream": {"connections": "300"}}, 2000, True)])
def test_descriptor_limit(limit, changes, now, warned, start, sections,
                          relay):
    """Raised as far as is allowed and sane; a warning if it is too low."""
    if int(limit.split(":")[1]) > resource.getrlimit(
            resource.RLIMIT_NOFILE)[1]:
        pytest.skip("our own limit is lower")
    daemon = start(sections(relay(), changes), wrapper=[
        "prlimit", "--nofile=" + limit, *WRAPPER])
    assert descriptor_limit(daemon) == now
    found = daemon.events("message", text=re.compile("LimitNOFILE"))
    assert len(found) == warned


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.skipif(SANITIZED, reason="needs descriptors of its own")
def test_out_of_descriptors(host, start, sections, relay):
    """Our own trouble is not the relay's: 451, and the next message finds
    it as good as before."""
    one = relay()
    daemon = start(sections(one, {"upstream": {"host": host}}),
                   wrapper=["prlimit", "--nofile=30:30", *WRAPPER])
    used = f"/proc/{daemon.process.pid}/fd"
    with daemon.connect() as client, contextlib.ExitStack() as stack:
        client.ehlo()
        client.envelope()
        while len(os.listdir(used)) < 30:
            stack.enter_context(socket.create_connection(daemon.address))
        client.send(b"\r\nx\r\n.\r\n")
        reply = client.expect(451)
        assert "Too many open files" in reply.text
    wait_for(lambda: len(os.listdir(used)) < 20)
    assert converse(daemon.address, b"\r\nx\r\n.\r\n") == [250]
    assert not daemon.events("upstream_down")
    assert one.copies() == 1


def greeting_code(address):
    with Conversation(address) as client:
        return client.greeting.code


@pytest.mark.parametrize("megabytes", [64, 200])
@pytest.mark.skipif(SANITIZED, reason="wants terabytes of addresses")
def test_out_of_memory(megabytes, start, sections, relay):
    """Those who are there are served, others are turned away until there is
    room, and nobody has to start it again."""
    one = relay()
    daemon = start(sections(one, {"listen": {"max_clients": 1000}}),
                   # Others set 64 MB of addresses aside for each thread.
                   env={"MALLOC_ARENA_MAX": "1"}, wrapper=[
                       "prlimit", f"--as={megabytes << 20}", *WRAPPER])
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Conversation(daemon.address))]
        while clients[-1].greeting.code == 220:
            clients.append(stack.enter_context(Conversation(daemon.address)))
        refused = clients.pop().greeting
        assert refused.code == 421 and "No memory" in refused.text
        assert run("-c", daemon.config, "health").status == 0
        assert len(clients) > 20
        for client in clients[::5]:
            client.ehlo()
            client.envelope()
            client.expect(250, 2000 * (b"x" * 70 + b"\r\n") + b".")
    wait_for(lambda: greeting_code(daemon.address) == 220)
    assert converse(daemon.address, b"\r\nx\r\n.\r\n") == [250]
    assert len(one.messages) == len(clients[::5]) + 1


# ---- Addresses -------------------------------------------------------

@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_open_relay_is_refused(address, start, sections, relay):
    """Neither allow nor auth_file: it does not start."""
    one = relay()
    daemon = start(sections(one, {"listen": {"address": address}}),
                   ready=False)
    assert daemon.wait_exit() == CONFIG
    assert b"allow" in daemon.log.raw


@pytest.mark.parametrize("allow, served", [
    ("private", True), ("198.51.100.0/24", True), ("anyone", True),
    ("loopback", True)])
def test_loopback_may_always(allow, served, start, sections, relay):
    one = relay()
    daemon = start(sections(one, {"listen": {"address": "0.0.0.0:0",
                                             "allow": allow}}))
    assert (Conversation(("127.0.0.1", daemon.port)).greeting.code ==
            220) == served


def own_address():
    """An address of this host that is not loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return probe.getsockname()[0]


@pytest.mark.parametrize("allow, served", [
    ("198.51.100.0/24", False), ("{own}", True), ("{own}/32", True),
    ("anyone", True)])
def test_allow(allow, served, start, sections, relay):
    own = own_address()
    if not own or own.startswith("127."):
        pytest.skip("no address but loopback")
    one = relay()
    daemon = start(sections(one, {"listen": {
        "address": "0.0.0.0:0", "allow": allow.format(own=own)}}))
    with Conversation((own, daemon.port), greet=False) as client:
        greeting = client.reply()
        if not served:
            if greeting and greeting.code == 220:
                client.ehlo()
                greeting = client.command("MAIL FROM:<a@x.test>")
                client.expect(greeting.code, "MAIL FROM:<b@x.test>")
            assert greeting is None or greeting.code // 100 == 5
            daemon.wait_event("refused", code=greeting.code,
                              client=re.compile("^" + re.escape(own)))
            assert len(daemon.events("refused")) == 1
        else:
            assert greeting.code == 220


def test_several_listeners(start, sections, relay):
    one = relay()
    daemon = start(sections(one, {"listen": {
        "address": "127.0.0.1:0, 127.0.0.2:0"}}))
    assert len(daemon.addresses) == 2
    for address in [*daemon.addresses, daemon.socket]:
        assert converse(address, b"\r\nx\r\n.\r\n") == [250]


def test_mapped_address(start, sections, relay):
    """An IPv4-mapped address is the IPv4 one: served, and loopback."""
    daemon = start(sections(relay(), {"listen": {
        "address": "[::ffff:127.0.0.1]:0"}}))
    assert daemon.address[0] == "127.0.0.1"
    assert converse(daemon.address, b"\r\nx\r\n.\r\n") == [250]


@pytest.mark.parametrize("listen", ["127.0.0.1", "[::1]",
                                    "[::ffff:127.0.0.1]", "0.0.0.0"])
def test_health_through_the_address(listen, start, sections, relay):
    """Where there is no socket."""
    family = socket.AF_INET6 if listen == "[::1]" else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((listen.strip("[]").replace("::ffff:", ""), 0))
        except OSError:
            pytest.skip("no such address here")
        port = probe.getsockname()[1]
    daemon = start(sections(relay(), {"listen": {
        "socket": "none", "allow": "loopback",
        "address": f"{listen}:{port}"}}))
    assert run("-c", daemon.config, "health").status == 0
    assert daemon.stop() == 0
    assert run("-c", daemon.config, "health").status == 1


def test_port_in_use(start, sections, relay):
    one = relay()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        daemon = start(sections(one, {"listen": {
            "address": f"127.0.0.1:{port}"}}), ready=False)
        assert daemon.wait_exit() != 0
        assert str(port).encode() in daemon.log.raw


def test_socket_is_for_everyone(daemon):
    assert stat.S_IMODE(os.stat(daemon.socket).st_mode) == 0o666


def test_stale_socket_is_replaced(start, sections, relay, place):
    """A daemon that was killed leaves its socket behind."""
    one = relay()
    first = start(sections(one))
    first.signal(signal.SIGKILL)
    first.process.wait()
    second = start(sections(one))
    assert converse(second.socket, b"\r\nx\r\n.\r\n") == [250]


def test_second_daemon_does_not_steal_the_socket(start, sections, relay):
    one = relay()
    first = start(sections(one))
    second = start(sections(one), ready=False)
    assert second.wait_exit() != 0
    assert b"socket" in second.log.raw
    assert converse(first.socket, b"\r\nx\r\n.\r\n") == [250]


# ---- Stopping --------------------------------------------------------

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_when_idle(number, daemon):
    with daemon.connect() as client:
        client.ehlo()
        daemon.signal(number)
        assert [reply.code for reply in client.rest()] in ([421], [])
    assert daemon.wait_exit() == 0


def test_stop_lets_data_finish(daemon):
    """421 at the next command, but a DATA being received may finish; that
    no attempt begins after the stop may make it a 451."""
    with daemon.connect() as idle, daemon.connect() as busy:
        idle.ehlo()
        busy.ehlo()
        busy.envelope()
        busy.send(b"\r\nx\r\n")
        daemon.signal(signal.SIGTERM)
        # the stop has begun when the idle one has heard of it
        idle.send("NOOP\r\n")
        assert {reply.code for reply in idle.rest()} <= {250, 421}
        busy.send(b"y\r\n.\r\n")
        code = busy.rest()[0].code
        assert code in (250, 451)
    assert daemon.wait_exit() == 0
    assert daemon.relay.copies() == (code == 250)


def test_stop_waits_for_the_answer_to_the_dot(start, sections, relay):
    """Behind the end of data the attempt is waited for."""
    one = relay(Fault("dot", "slow"))
    daemon = start(sections(one))
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        client.send(b"\r\nx\r\n.\r\n")
        assert one.dot_seen.wait(WAIT)
        daemon.signal(signal.SIGTERM)
        client.expect(250)
    assert daemon.wait_exit() == 0
    assert one.copies() == 1


def test_stop_cuts_what_is_before_the_end_of_data(start, sections, relay):
    """451, and the relay never sees a dot."""
    one = relay(Fault("data", "hang"))
    daemon = start(sections(one, {"smarthost": {"stop_timeout": "2s"}}))
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        client.send(b"\r\nx\r\n.\r\n")
        assert one.holding.wait(WAIT)
        daemon.signal(signal.SIGTERM)
        replies = client.rest()
        assert not replies or replies[0].code in (451, 421)
    assert daemon.wait_exit() == 0
    assert one.copies() == 0


def test_stop_with_a_stuck_client(start, sections, relay):
    """stop_timeout ends the wait for a client that never goes on."""
    one = relay()
    daemon = start(sections(one, {"smarthost": {"stop_timeout": "1s"}}))
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        client.send(b"\r\nx")
        assert daemon.stop() == 0
    assert one.copies() == 0


def test_sockets_are_removed(daemon, place):
    path = daemon.socket
    assert daemon.stop() == 0
    with pytest.raises(OSError):
        Conversation(path)


# ---- Bad configurations at start -------------------------------------

BAD = {
    "no upstream": {"upstream": None},
    "unknown key": {"upstream": {"hots": "x"}},
    "bad port": {"upstream": {"port": "65536"}},
    "bad time": {"upstream": {"timeout": "soon"}},
    "bad tls": {"upstream": {"tls": "maybe"}},
    "unknown section": {"upstraem": {"host": "x"}},
    "bad listener": {"listen": {"address": "127.0.0.1"}},
    "bad size": {"listen": {"max_message": "huge"}},
    "bad allow": {"listen": {"allow": "300.0.0.0/8"}},
}


@pytest.mark.parametrize("case", BAD)
def test_bad_configuration(case, start, sections):
    config = sections(2525, {key: value for key, value in BAD[case].items()
                             if value})
    for key, value in BAD[case].items():
        if value is None:
            del config[key]
    daemon = start(config, ready=False)
    assert daemon.wait_exit() == CONFIG
    for changed in BAD[case].values():
        for key in changed or ():
            assert key.encode() in daemon.log.raw


def test_log_as_json(start, sections, relay):
    one = relay()
    daemon = start(sections(one, {"smarthost": {"log_format": "json"}}))
    with daemon.connect() as client:
        client.ehlo()
        client.envelope(sender='"a \\"q"@x.test')
        client.send(message(newline="\r\n") + b".\r\n")
        client.expect(250)
    sent = daemon.wait_event("sent")
    assert sent["from"] == '"a \\"q"@x.test'
    assert sent["to"] == "b@example.test"
    assert sent["id"]


def test_log_of_a_delivery(daemon):
    with daemon.connect() as client:
        client.ehlo()
        client.envelope(recipients=["b@example.test"])
        client.send(message(newline="\r\n") + b".\r\n")
        reply = client.expect(250)
    sent = daemon.wait_event("sent")
    assert sent["from"] == "a@example.test" and sent["to"] == "b@example.test"
    assert sent["code"] == "250" and "ok taken" in sent["reply"]
    assert sent["id"] in reply.text or "ok taken" in reply.text
