# SPDX-License-Identifier: ISC
"""The listener's CHUNKING (RFC 3030): BDAT, taken and refused, and a whole
dialogue with it cut anywhere."""

import socket

import pytest

from harness import Conversation
from test_listener import clean

TEXT = b"Subject: t\r\n\r\none\r\n.\r\n..two\r\nthree\r\n"
COMMANDS = b"\r\n.\r\nMAIL FROM:<evil@x.test>\r\nDATA\r\nQUIT\r\n"


@pytest.fixture
def daemon(start, sections, relay):
    one = relay()
    daemon = start(sections(one))
    daemon.relay = one
    return daemon


@pytest.fixture
def client(daemon):
    with daemon.connect(daemon.socket) as conversation:
        conversation.ehlo()
        yield conversation


def envelope(client):
    client.expect(250, "MAIL FROM:<a@example.test>")
    client.expect(250, "RCPT TO:<b@example.test>")


def bdat(data, last=False):
    return b"BDAT %d%s\r\n%s" % (len(data), b" LAST" * last, data)


def in_step(client):
    """The next answer is that to the next command."""
    client.expect(252, "VRFY x")


def test_offered(client):
    assert client.ehlo()["CHUNKING"] == []


def test_one_chunk(client, daemon):
    envelope(client)
    client.send(bdat(TEXT, True))
    client.expect(250)
    in_step(client)
    [taken] = daemon.relay.messages
    assert taken.text == TEXT.partition(b"\r\n\r\n")[2]
    assert b"Subject: t\r\n" in taken.header
    clean(taken)


def test_commands_in_a_chunk_are_content(client, daemon):
    """SM-34: and the dot is stuffed where it goes on by DATA."""
    envelope(client)
    client.send(bdat(b"Subject: t\r\n\r\nx" + COMMANDS, True))
    client.expect(250)
    in_step(client)
    [taken] = daemon.relay.messages
    assert taken.text == b"x" + COMMANDS
    assert taken.recipients == ["b@example.test"]
    clean(taken)


def test_two_chunks_cut_anywhere(client, daemon):
    """CR and LF, or a dot and its line, in two chunks."""
    for cut in range(len(TEXT) + 1):
        envelope(client)
        client.send(bdat(TEXT[:cut]))
        assert client.expect(250).text == f"2.0.0 {cut} bytes"
        client.send(bdat(TEXT[cut:], True))
        client.expect(250)
    taken = daemon.relay.messages
    assert len(taken) == len(TEXT) + 1
    assert {one.text for one in taken} == {TEXT.partition(b"\r\n\r\n")[2]}


@pytest.mark.parametrize("chunks, text", [
    ([b""], b""), ([TEXT, b""], TEXT.partition(b"\r\n\r\n")[2]),
    ([b"", b"\r\nx", b"", b""], b"x\r\n")])
def test_empty_chunks(client, daemon, chunks, text):
    envelope(client)
    for chunk in chunks[:-1]:
        client.send(bdat(chunk))
        client.expect(250)
    client.send(bdat(chunks[-1], True))
    client.expect(250)
    [taken] = daemon.relay.messages
    assert taken.text == text


REFUSED = {
    "no transaction": [],
    "no recipient": [("MAIL FROM:<a@x.test>", 250)],
    "after RSET": [("MAIL FROM:<a@x.test>", 250),
                   ("RCPT TO:<b@x.test>", 250), ("BDAT 0", 250),
                   ("RSET", 250)],
    "after EHLO": [("MAIL FROM:<a@x.test>", 250),
                   ("RCPT TO:<b@x.test>", 250), ("BDAT 0", 250),
                   ("EHLO x.test", 250)],
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("last", [False, True])
def test_a_refused_chunk_is_thrown_away(case, last, client, daemon):
    for line, code in REFUSED[case]:
        client.expect(code, line)
    client.send(bdat(COMMANDS, last) + b"VRFY x\r\n")
    client.expect(503)
    client.expect(252)
    client.expect(250, "RSET")
    envelope(client)
    client.send(bdat(TEXT, True))
    client.expect(250)
    assert len(daemon.relay.messages) == 1


def test_no_other_way_in_between(client, daemon):
    envelope(client)
    client.send(bdat(TEXT))
    client.expect(250)
    client.expect(503, "DATA")
    client.expect(503, "RCPT TO:<c@example.test>")
    client.expect(503, "MAIL FROM:<c@example.test>")
    client.expect(250, "NOOP")
    client.send(bdat(b"four\r\n", True))
    client.expect(250)
    [taken] = daemon.relay.messages
    assert taken.recipients == ["b@example.test"]
    assert taken.text.endswith(b"three\r\nfour\r\n")


@pytest.mark.parametrize("sizes", [[5000], [3000, 3000], [3000, 2000, 9000]])
def test_larger_than_max_message(sizes, start, sections, relay):
    """552 once, at the chunk that is too much; those behind it are refused
    and read."""
    one = relay()
    daemon = start(sections(one, {"listen": {"max_message": "4K"}}))
    with daemon.connect() as client:
        client.ehlo()
        envelope(client)
        data = [b"NOOP\r\n" * (size // 6) for size in sizes]
        client.send(b"".join(bdat(chunk, at == len(data) - 1)
                             for at, chunk in enumerate(data)))
        codes = [client.reply().code for _ in data]
        whole = 0
        for size, code in zip(sizes, codes):
            before, whole = whole, whole + size
            assert code == (250 if whole < 4096 else
                            552 if before < 4096 else 503)
        in_step(client)
        envelope(client)
        client.send(bdat(TEXT, True))
        client.expect(250)
    assert len(one.messages) == 1


@pytest.mark.parametrize("arguments", [
    b"", b" x", b" -1", b" +3", b" 0x3", b" 3x", b" 3 FIRST", b" 3LAST",
    b" 3 LAST LAST", b" LAST", b" 99999999999999999999", b" 1" + b"0" * 300])
def test_senseless_size(arguments, client, daemon):
    """What follows may be a chunk or not: nothing of it is obeyed."""
    envelope(client)
    client.send(b"BDAT" + arguments + b"\r\nRSET\r\n" + COMMANDS)
    assert [reply.code for reply in client.rest()] == [521]
    assert not daemon.relay.messages


@pytest.mark.parametrize("line", [b"bdat %d last", b"BDAT  %d   LAST  "])
def test_spelling(line, client, daemon):
    envelope(client)
    client.send(line % len(TEXT) + b"\r\n" + TEXT)
    client.expect(250)
    assert len(daemon.relay.messages) == 1


@pytest.mark.parametrize("how", ["close", "reset", "half"])
@pytest.mark.parametrize("sent", [b"BDAT 100 LAST\r\nx\r\n",
                                  b"BDAT 3\r\nx\r\n", b"BDAT 3\r\nx\r\nBDAT"])
def test_vanishes(how, sent, daemon):
    """SM-28: without LAST and all of its chunk, there is no message."""
    with daemon.connect() as client:
        client.ehlo()
        envelope(client)
        client.send(sent)
        if how == "reset":
            client.reset()
        elif how == "half":
            client.sock.shutdown(socket.SHUT_WR)
            assert [reply.code for reply in client.rest()] == (
                [250] * (b"100" not in sent))
    with daemon.connect() as client:  # others are served
        client.ehlo()
        envelope(client)
        client.send(bdat(TEXT, True))
        client.expect(250)
    assert len(daemon.relay.messages) == 1
    assert len(daemon.events("accepted")) == 1


def test_bare_newline(start, sections, relay):
    one = relay()
    daemon = start(sections(one, {"listen": {"bare_newline": "reject"}}))
    with daemon.connect() as client:
        client.ehlo()
        for text in (b"\r\na\nb\r\n", b"\r\na\rb\r\n", b"\r\na\r"):
            envelope(client)
            client.send(bdat(text[:4]) + bdat(text[4:], True))
            client.expect(250)
            client.expect(550)
    assert not one.messages


@pytest.mark.parametrize("name, change", [
    ("spool", {"delivery": "queue"}), ("direct", {"delivery": "direct"})])
def test_large_message(name, change, start, sections, relay, place):
    """Larger than what is kept in memory: through a file."""
    one = relay()
    daemon = start(sections(one, {"queue": {
        "directory": place / name, "min_free": "1", **change}}))
    line = b"0123456789abcde\r\n"
    with daemon.connect() as client:
        client.ehlo()
        envelope(client)
        client.send(bdat(b"\r\n"))
        for _ in range(64):
            client.send(bdat(line * 1000))
        client.send(bdat(b"", True))
        for _ in range(66):
            client.expect(250)
    [taken] = one.wait_messages()
    assert taken.text == line * 64000


def test_what_the_relay_refuses(start, sections, relay):
    one = relay(replies={"dot": "550 5.7.1 spam"})
    daemon = start(sections(one))
    with daemon.connect() as client:
        client.ehlo()
        envelope(client)
        client.send(bdat(TEXT, True))
        assert "spam" in client.expect(550).text
        client.send(bdat(TEXT, True))
        client.expect(503)
        in_step(client)


# ---- A whole dialogue, cut anywhere ----------------------------------

DIALOGUE = (
    b"EHLO client.test\r\n"
    b"MAIL FROM:<a@x.test> SIZE=50\r\nRCPT TO:<b@x.test>\r\n"
    b"DATA\r\n\r\n..one\n.\r\n.\r\n"
    b"BDAT 6\r\nNOOP\r\n"
    b"MAIL FROM:<c@x.test>\r\nRCPT TO:<d@x.test>\r\n"
    b"BDAT 8\r\n\r\n.\r\n.\r\r"
    b"BDAT 6 LAST\r\n\nQUIT\n"
    b"RSET\r\nNOOP x\nEXPN x\r\nXYZZY\r\n"
    b"QUIT\r\nNOOP\r\n")
CODES = [250, 250, 250, 354, 250, 503, 250, 250, 250, 250, 250, 250, 502,
         500, 221]
TEXTS = [b".one\r\n.\r\n", b".\r\n. \r\nQUIT\r\n"]


def converse(daemon, *pieces):
    """The dialogue in those pieces, each read before the next one comes: the
    codes that are answered, and what the relay got meanwhile."""
    before = len(daemon.relay.messages)
    with Conversation(daemon.socket) as client:
        for piece in pieces:
            client.send_drained(piece)
        codes = [reply.code for reply in client.rest()]
    taken = daemon.relay.messages[before:]
    return codes, [one.text for one in taken]


def test_dialogue_in_one_piece(daemon):
    assert converse(daemon, DIALOGUE) == (CODES, TEXTS)


def test_dialogue_byte_by_byte(daemon):
    until = DIALOGUE.index(b"QUIT\r\nNOOP") + 6
    assert converse(daemon, *[DIALOGUE[at:at + 1] for at in range(until)]) \
        == (CODES, TEXTS)


def test_dialogue_cut_at_every_offset(daemon):
    until = DIALOGUE.index(b"QUIT\r\nNOOP") + 6
    for cut in range(1, until):
        assert converse(daemon, DIALOGUE[:cut], DIALOGUE[cut:until]) == (
            CODES, TEXTS), DIALOGUE[:cut]
