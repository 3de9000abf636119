# SPDX-License-Identifier: ISC
"""What goes in comes out: bodies and headers of every kind, by both inlets,
to the byte."""

import json
import re
import resource
import subprocess

import pytest

import harness
from harness import sendmail

HEAD = (b"From: a@example.test\nTo: b@example.test\nSubject: t\n"
        b"Date: Mon, 1 Jan 2024 00:00:00 +0000\n"
        b"Message-ID: <1@example.test>\n")


@pytest.fixture(params=["smtp", "daemon", "daemonless"])
def inlet(request, start, sections, relay, place):
    """inlet(text): sends it with LF line ends to a sane relay; returns the
    message that the relay got (inlet.relay is the relay)."""
    one = relay()
    daemon = None
    if request.param != "daemonless":
        daemon = start(sections(one))
    config = harness.write_config(place / "conf", sections(one))

    def by_smtp(text, recipients):
        body = text if text.endswith(b"\n") else text + b"\n"
        body = re.sub(rb"(?m)^\.", b"..", body)
        body = body.replace(b"\n", b"\r\n")
        with daemon.connect() as client:
            client.ehlo()
            client.envelope("a@example.test", recipients)
            client.send(body + b".\r\n")
            client.expect(250)

    def send(text, recipients=("b@example.test",)):
        if request.param == "smtp":
            by_smtp(text, recipients)
        else:
            how = {"config": config} if not daemon else \
                {"socket_path": daemon.socket}
            result = sendmail("-i", "-f", "a@example.test", "--",
                              *recipients, stdin=text, **how)
            assert result.status == 0, result.text
        taken = one.messages[-1]
        check_wire(taken, inlet_longest(send))
        return taken
    send.relay, send.daemon, send.name = one, daemon, request.param
    send.long_lines = False
    return send


def inlet_longest(send):
    return 1 << 20 if send.long_lines else 998


def check_wire(taken, longest=998):
    """RFC 5321: CRLF only, dots stuffed, no line over 998, the end of the
    last line there."""
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", taken.body)
    assert taken.body == b"" or taken.body.endswith(b"\r\n")
    assert not re.search(rb"(?m)^\.(?!\.)", taken.body)
    # the dot that stuffs is not counted (RFC 5321 section 4.5.3.1.6)
    assert max(map(len, taken.content.split(b"\r\n"))) <= longest
    assert b"\0" not in taken.body


def fields(taken):
    """The header as [(lower-case name, value)], unfolded."""
    text = re.sub(rb"\r\n(?=[ \t])", b"", taken.header)
    pairs = [line.split(b":", 1) for line in text.split(b"\r\n") if line]
    return [(name.strip().lower().decode(), value.strip().decode("latin-1"))
            for name, value in pairs]


BODIES = {
    "text": b"hello\n",
    "no final newline": b"hello",
    "blank lines at the end": b"hello\n\n\n\n",
    "only blank lines": b"\n\n\n",
    "dot": b".\n",
    "dots": b".\n..\n...\n.x\nx.\n . \n..x\n\n.\n",
    "dot at the end": b"x\n.",
    "dots only": b".\n" * 1000,
    "8-bit": "grüße, 日本\n".encode() + bytes(range(128, 256)) + b"\n",
    "looks like a header": b"Bcc: x@example.test\nX: y\n\nz\n",
    "From line": b"From someone\n>From other\n",
    "998": b"x" * 998 + b"\n",
    "998 dots": b"." * 997 + b"\n",
    "control": b"\x01\x02\x07\x08\x0b\x0c\x1b\x7f\n",
    "tabs and blanks": b"\t\n \n x \n",
    "quit": b"QUIT\nRSET\nDATA\n",
}


@pytest.mark.parametrize("case", BODIES)
def test_body(case, inlet):
    """Byte for byte, but for the line ends."""
    taken = inlet(HEAD + b"\n" + BODIES[case])
    wanted = BODIES[case]
    if not wanted.endswith(b"\n"):
        wanted += b"\n"
    assert taken.text == wanted.replace(b"\n", b"\r\n")


@pytest.mark.parametrize("size", [998, 999, 1000, 1996, 10000, 1000000])
@pytest.mark.parametrize("prefix", [b"", b"."])
def test_long_lines_are_folded(size, prefix, inlet):
    """Nothing is lost: CRLF and a blank are put in, as Postfix does."""
    line = (prefix + b"0123456789" * (size // 10 + 1))[:size]
    taken = inlet(HEAD + b"\n" + line + b"\nnext\n")
    assert taken.text.replace(b"\r\n ", b"") == line + b"\r\nnext\r\n"


LONG = {
    "words": (b"Comments: start" + b" word" * 1000, b""),
    "references": (b"References: <a@b>" + b" <0123456789@x.test>" * 200, b""),
    "recipients": (b"X-To: a@x.test" + b",b@x.test" * 300, b" "),
    "one word": (b"X-Token: " + b"0123456789" * 300, b" "),
    "json": (b'X-SMTPAPI: {"to":["a@x.test"' + b',"b, c@x.test"' * 200 +
             b"]}", b" "),
    "json in one piece": (b'X-SMTPAPI: {"t":"' + b"0123456789" * 300 + b'"}',
                          None),
}


@pytest.mark.parametrize("case", LONG)
def test_long_header_lines(case, inlet):
    """Folded where white space is, unfolded the same again; JSON is never
    cut."""
    line, blank = LONG[case]
    inlet.long_lines = blank is None
    taken = inlet(HEAD + line + b"\n\nx\n")
    text = taken.header
    assert text.count(b"\r\nX-") <= 1
    found = text[text.index(line[:8]):]
    if blank is None:
        assert line in found.replace(b"\r\n", b"")
        return
    found = re.split(rb"\r\n(?![ \t])", found)[0]
    pieces = found.split(b"\r\n")
    assert len(pieces) > 2 and all(piece.strip() for piece in pieces)
    back = found.replace(b"\r\n", b"")
    assert back == line or found.replace(b"\r\n ", b"") == line or \
        re.sub(rb"\r\n ?", b"", found) == line.replace(b": ", b":", 1)
    if case == "json":
        assert json.loads(back.partition(b":")[2])["to"][-1] == "b, c@x.test"


def test_eight_bit_text_without_mime(inlet):
    taken = inlet(HEAD + "\nGrüße\n".encode())
    names = dict(fields(taken))
    assert names["mime-version"] == "1.0"
    assert names["content-type"] == "text/plain; charset=utf-8"
    assert names["content-transfer-encoding"] == "8bit"
    taken = inlet(HEAD + b"\nGr\xfc\xdfe\n")
    assert dict(fields(taken))["content-type"].endswith("=unknown-8bit")
    taken = inlet(HEAD + b"Content-Type: text/html\n\nGr\xfc\xdfe\n")
    assert [value for name, value in fields(taken)
            if name.startswith(("content-", "mime"))] == [
                "text/html", "1.0", "8bit"]
    taken = inlet(HEAD + b"MIME-Version: 1.0\n\nGr\xfc\xdfe\n")
    assert "content-type" not in dict(fields(taken))


def test_large_eight_bit_text_without_mime(inlet):
    """The header of a message that does not fit into memory is written
    before its end is known."""
    line = "Grüße und mehr\n".encode()
    taken = inlet(HEAD + b"\n" + line * 40000)
    assert dict(fields(taken))["content-type"] == "text/plain; charset=utf-8"
    assert taken.text == line.replace(b"\n", b"\r\n") * 40000


def test_loop(start, sections, relay):
    """SE-43: the relay sends it back here."""
    one = relay()
    own = b"Received: from x\r\n\tby client.example.test with ESMTP id 1;\r\n"
    with start(sections(one)).connect() as client:
        client.ehlo()
        for count, code in ((4, 250), (5, 554)):
            client.envelope()
            client.send(own * count + b"\r\nx\r\n.\r\n")
            assert client.reply().code == code
    assert one.copies() == 1


@pytest.mark.parametrize("host, listen", [
    ("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"),
    ("127.0.0.1", "0.0.0.0"), ("localhost", "[::]")])
def test_configured_as_its_own_relay(host, listen, sections, place):
    config = harness.write_config(place / "conf", sections(2525, {
        "upstream": {"host": host},
        "listen": {"address": f"{listen}:2525", "allow": "loopback"}}))
    result = harness.run("-c", config, "check", "--config")
    assert result.status == harness.CONFIG
    assert "this daemon itself" in result.text


@pytest.mark.parametrize("signature", [b"DKIM-Signature: v=1\n",
                                       b"Content-Type: multipart/signed\n"])
def test_broken_lines_of_what_is_signed_are_named(signature, start, sections,
                                                  relay):
    daemon = start(sections(relay()))
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        client.send((HEAD + signature + b"\n" + b"x" * 2000 +
                     b"\n").replace(b"\n", b"\r\n") + b".\r\n")
        client.expect(250)
    assert daemon.events("message", level="warn",
                         text=re.compile("998 bytes broken.*signed"))


EMPTY = {
    "nothing": b"", "header only": HEAD, "header and blank": HEAD + b"\n",
    "newline": b"\n", "header without end": HEAD[:-1],
}


@pytest.mark.parametrize("case", EMPTY)
def test_no_body(case, inlet):
    """SO-10: header, blank line, dot."""
    taken = inlet(EMPTY[case])
    assert b"\r\n\r\n" in taken.content
    assert taken.text.strip() == b""
    names = [name for name, _ in fields(taken)]
    assert names.count("subject") == EMPTY[case].count(b"Subject:")


def test_missing_fields_are_added(inlet):
    """CL-51."""
    taken = inlet(b"Subject: t\n\nx\n")
    names = dict(fields(taken))
    assert re.fullmatch(r"\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d "
                        r"[+-]\d{4}.*", names["date"])
    assert re.fullmatch(r"<[^<>@ ]+@[^<>@ ]+>", names["message-id"])
    assert "a@example.test" in names["from"]
    assert taken.text == b"x\r\n"


def test_present_fields_are_untouched(inlet):
    """Bit for bit, order and folding and case too."""
    head = (b"x-first:no blank\nRECEIVED: from elsewhere\n"
            b"date:   1 Jan 24 1:00 EST\n"
            b"FROM: \"A\" (c) <A@Example.TEST>,\n\tB\n"
            b"message-Id:<odd>\nSender: s@example.test\n"
            b"To: undisclosed-recipients:;\nCc:\nX-Empty:\n"
            b"X-Folded: a\n b\n\tc\n  d\nSubject: =?utf-8?q?x?=\n"
            b"DKIM-Signature: v=1; a=rsa-sha256;\n\tb=AbC\n"
            b"X-Same: 1\nX-Same: 2\nMIME-Version: 1.0\n"
            b"Content-Type: multipart/mixed; boundary=\"=_x\"\n")
    taken = inlet(head + b"\nx\n")
    assert head.replace(b"\n", b"\r\n") in taken.header
    rest = taken.header.replace(head.replace(b"\n", b"\r\n"), b"")
    assert not rest or rest.lower().startswith(b"received:")


def test_8bit_header(inlet):
    """Not ours to change."""
    taken = inlet(HEAD + "X-Name: Grün\n".encode() + b"\nx\n")
    assert "X-Name: Grün\r\n".encode() in taken.header


def test_received_has_no_secrets(inlet):
    taken = inlet(HEAD + b"\nx\n")
    received = dict(fields(taken)).get("received", "")
    assert "b@example.test" not in received or \
        len(taken.recipients) == 1


# Bcc in many forms (SO-26): the field and its folded lines go.
BCC = {
    "plain": b"Bcc: secret@example.test\n",
    "lower": b"bcc: secret@example.test\n",
    "upper": b"BCC: secret@example.test\n",
    "blank": b"Bcc : secret@example.test\n",
    "tab": b"Bcc\t: secret@example.test\n",
    "folded": b"Bcc:\n secret@example.test,\n\tsecret2@example.test\n",
    "repeated": b"Bcc: secret@example.test\nBcc: secret2@example.test\n",
    "resent": b"Resent-Bcc: secret@example.test\n",
    "empty": b"Bcc:\n",
}


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("case", BCC)
def test_bcc_with_t(case, last, start, sections, relay, place):
    """Removed, and its people get the message."""
    one = relay()
    config = harness.write_config(place / "conf", sections(one))
    text = HEAD + BCC[case] + b"\n" if last else BCC[case] + HEAD + b"\n"
    result = sendmail("-t", config=config, stdin=text + b"Bcc: body\n")
    assert result.status == 0, result.text
    [taken] = one.messages
    assert b"secret" not in taken.content
    assert not re.search(rb"(?im)^(resent-)?bcc\s*:", taken.header)
    assert taken.text == b"Bcc: body\r\n"
    secrets = re.findall(rb"secret\d?@example.test", BCC[case])
    if case != "resent":
        assert set(taken.recipients) == {"b@example.test"} | {
            secret.decode() for secret in secrets}


NUL = {"body": HEAD + b"\na\0b\n", "header": HEAD + b"X-N: a\0b\n\nx\n",
       "first": b"\0" + HEAD + b"\nx\n", "name": HEAD + b"X\0N: a\n\nx\n",
       "last": HEAD + b"\nx\n\0"}


@pytest.mark.parametrize("case", NUL)
@pytest.mark.parametrize("how", ["smtp", "daemonless"])
def test_nul(case, how, start, sections, relay, place):
    """CL-50: replaced or refused, never passed, never cut there."""
    one = relay()
    if how == "smtp":
        with start(sections(one)).connect() as client:
            client.ehlo()
            client.envelope()
            client.send(NUL[case].replace(b"\n", b"\r\n") + b"\r\n.\r\n")
            code = client.reply().code
            assert code == 250 or code // 100 == 5
            taken = code == 250
    else:
        config = harness.write_config(place / "conf", sections(one))
        result = sendmail("b@example.test", config=config, stdin=NUL[case])
        assert result.status in (0, harness.BAD_INPUT, *harness.REFUSED)
        taken = result.status == 0
    assert one.copies() == taken
    if taken:
        check_wire(one.messages[0])
        if case == "body":
            assert re.match(rb"a.?b", one.messages[0].text)


@pytest.mark.parametrize("text", [
    b"Subject: t\r\n\r\nCRLF\r\n.\r\nend\r\n", b"Subject: t\r\n\r\nno end",
    b"Subject: t\n\na\rb\n", b"Subject: t\n\na\r\r\nb\n",
    b"Subject: t\n\nlast\r", b"Subject: t\r\n\nmixed\r\n\n",
    b"Subject: t\r\rx\r\r\n"])
def test_line_ends_of_sendmail(text, sections, relay, place):
    """SO-03 to SO-06: CRLF on the wire and nothing else, nothing lost."""
    one = relay()
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail("-i", "b@example.test", config=config, stdin=text)
    assert result.status == 0, result.text
    [taken] = one.messages
    check_wire(taken)
    for word in re.findall(rb"\w{2,}", text):
        assert word in taken.content, word
    if text.startswith(b"Subject: t\r\n\r\nCRLF"):
        assert taken.text == b"CRLF\r\n.\r\nend\r\n"


def test_big(inlet):
    """20 MB, whole, and in bounded memory in the daemon."""
    line = b"0123456789abcdef" * 4 + b"\n"
    count = 20 * 1024 * 1024 // len(line)
    taken = inlet(HEAD + b"\n" + line * count)
    assert taken.text == (line * count).replace(b"\n", b"\r\n")
    if inlet.daemon and not harness.SANITIZED:
        assert inlet.daemon.rss() < 32 << 20
    inlet.relay.messages.clear()


def test_hundred_recipients(inlet):
    names = [f"r{number}@example.test" for number in range(100)]
    taken = inlet(HEAD + b"\nx\n", recipients=names)
    assert sorted(taken.recipients) == sorted(names)
    assert len(inlet.relay.messages) == 1


QUOTED = ['"a b"@x.test', '"a\\"b"@x.test', '"a>b"@x.test', '"a,b"@x.test',
          '"a@b"@x.test', '"a\\\\"@x.test', '"<a>"@x.test', "a+b@x.test",
          "o'neil@x.test", "a=b/c!d@x.test", "a@[192.0.2.1]", "{}|@x.test"]


@pytest.mark.parametrize("address", QUOTED)
def test_quoted_local_parts(address, inlet):
    """SO-20: in the form they had."""
    taken = inlet(HEAD + b"\nx\n", recipients=[address])
    assert taken.recipients == [address]


def test_duplicate_recipients(inlet):
    """Each recipient has one copy."""
    taken = inlet(HEAD + b"\nx\n",
                  recipients=["b@example.test", "b@example.test",
                              "c@example.test"])
    assert set(taken.recipients) == {"b@example.test", "c@example.test"}
    assert len(inlet.relay.messages) == 1


# ---- provider = capture ----------------------------------------------

def test_capture(start, place):
    """Each message is a file with its envelope in front."""
    (place / "mail").mkdir()
    daemon = start({
        "smarthost": {"hostname": "client.example.test"},
        "upstream": {"provider": "capture", "directory": place / "mail"},
        "listen": {"socket": place / "socket", "address": "127.0.0.1:0"},
        "queue": {"directory": "none"}})
    for number in range(3):
        with daemon.connect() as client:
            client.ehlo()
            client.envelope("a@example.test", ["b@x.test", "c@x.test"])
            client.send(b"Subject: n%d\r\n\r\n..x\r\n.\r\n" % number)
            client.expect(250)
    files = sorted((place / "mail").iterdir())
    assert len(files) == 3
    assert all(path.suffix == ".eml" for path in files)
    texts = [path.read_bytes() for path in files]
    for text in texts:
        text = text.replace(b"\r\n", b"\n")
        assert b"X-Envelope-From: a@example.test\n" in text.replace(
            b"<", b"").replace(b">", b"")
        assert re.search(rb"X-Envelope-To: <?b@x.test>?,\s*<?c@x.test>?\n",
                         text)
        assert text.endswith(b"\n\n.x\n")
    assert {re.search(rb"Subject: (n\d)", text)[1] for text in texts} == {
        b"n0", b"n1", b"n2"}


def test_capture_after_a_crash(start, place):
    """What a killed daemon had begun to write stops nothing."""
    sections = {
        "smarthost": {"hostname": "client.example.test"},
        "upstream": {"provider": "capture", "directory": place / "mail"},
        "listen": {"socket": place / "socket"},
        "queue": {"directory": place / "spool"}}
    (place / "spool").mkdir()
    (place / "mail").mkdir()
    daemon = start(sections)
    (place / "mail").rename(place / "away")
    done = sendmail("-i", "b@example.test", socket_path=daemon.socket,
                    stdin=b"Subject: x\n\nx\n")
    assert done.status == 0, done.text
    [waiting] = (place / "spool" / "queue").iterdir()
    (place / "away" / f".{waiting.name}.tmp").write_text("half")
    (place / "away").rename(place / "mail")
    assert harness.run("-c", daemon.config, "queue", "retry").status == 0
    daemon.wait_event("sent")
    assert [path.name for path in (place / "mail").iterdir()] == [
        f"{waiting.name}.eml"]


@pytest.mark.skipif(harness.SANITIZED, reason="a sanitizer needs more files")
@pytest.mark.parametrize("files", [4, 5, 6])
def test_capture_without_files(place, files):
    """Too few descriptors are nothing that the configuration is to blame
    for."""
    (place / "spool").mkdir()
    config = harness.write_config(place / "conf", {
        "smarthost": {"hostname": "client.example.test"},
        "upstream": {"provider": "capture", "directory": place},
        "queue": {"directory": place / "spool"}})
    done = subprocess.run(
        [harness.BIN, "sendmail", "-C", config, "b@example.test"],
        input=b"Subject: x\n\n" + b"x\n" * 100000, capture_output=True,
        check=False,
        env=harness.environment({"SMARTHOST_SOCKET": place / "none"}),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                              (files, files)))
    assert done.returncode in (0, harness.TEMPORARY), done.stderr


@pytest.mark.parametrize("mode", ["missing", "file"])
def test_capture_without_its_directory(mode, place):
    if mode == "file":
        (place / "mail").write_text("x")
    config = harness.write_config(place / "conf", {
        "upstream": {"provider": "capture", "directory": place / "mail"},
        "queue": {"directory": "none"}})
    result = sendmail("b@example.test", config=config, stdin=HEAD)
    if mode == "missing" and result.status == 0:  # it may make it
        assert len(list((place / "mail").iterdir())) == 1
    else:
        assert result.status in (harness.TEMPORARY, harness.CONFIG)
        assert str(place / "mail") in result.text
