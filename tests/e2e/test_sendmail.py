# SPDX-License-Identifier: ISC
"""The sendmail command: its options, its exit statuses, hostile callers."""

import concurrent.futures
import dataclasses
import email
import email.policy
import os
import re
import resource
import signal
import subprocess
import sys

import pytest

import harness
from badrelay import Fault
from harness import (BAD_INPUT, CONFIG, NOBODY, REFUSED, TEMPORARY, USAGE,
                     message, sendmail)

TEXT = b"Subject: t\n\nbody\n"
B = "b@example.test"


@pytest.fixture
def one(relay):
    return relay()


@pytest.fixture
def send(one, sections, place):
    """Runs sendmail without a daemon, with a relay that takes everything."""
    config = harness.write_config(place / "conf", sections(one))

    def run(*args, stdin=TEXT, **more):
        return sendmail(*args, config=config, stdin=stdin, **more)
    run.config = config
    return run


# ---- Options ---------------------------------------------------------

# All of these deliver to B, whatever the option is (CL-08).
OPTIONS = [
    [], ["-i"], ["-oi"], ["-bm"], ["-m"], ["-n"], ["-U"], ["-G"],
    ["-odb"], ["-odi"], ["-odq"], ["-em"], ["-e", "m"], ["-oem"], ["-oee"],
    ["-oep"], ["-o", "i"], ["-om"], ["-B8BITMIME"], ["-B", "8BITMIME"],
    ["-B7BIT"], ["-N", "never"], ["-Nnever"], ["-R", "hdrs"], ["-Rfull"],
    ["-V", "id"], ["-Vid"], ["-h", "5"], ["-h5"], ["-f", "a@x.test"],
    ["-fa@x.test"], ["-r", "a@x.test"], ["-ra@x.test"], ["-F", "A B"],
    ["-FA B"], ["-L", "tag"], ["-Ltag"], ["-p", "SMTP:host"], ["-v"],
    ["-im"], ["-Am"], ["-Ac"],
    ["-i", "-oem", "-f", "a@x.test", "-F", "A"], ["--"],
    ["-i", "--"], ["-O", "DeliveryMode=b"], ["-OTimeout=1s"],
    ["-oQ/nonexistent"], ["-OQueueDirectory=/nonexistent"],
    ["-odd"], ["-oeq"], ["-oew"], ["-x"], ["-s"], ["-Mrv"], ["-M", "rv"],
    ["-D", "log"], ["-Qwhy"], ["-d0.1"], ["-a", "account"], ["-S", "host"],
    ["-H", "true"], ["-w", "5"], ["-q15m"], ["-q"],
]


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_options(options, send, one):
    """Taken as sendmail takes them; the value of one that is ignored is
    never a recipient."""
    result = send(*options, B)
    assert result.status == 0, result.text
    [taken] = one.messages
    assert taken.recipients == [B]
    assert taken.text == b"body\r\n"
    if "-v" not in options:
        assert result.stderr == b"" == result.stdout


@pytest.mark.parametrize("options, sender", [
    (["-f", "a@x.test"], "a@x.test"), (["-fa@x.test"], "a@x.test"),
    (["-r", "a@x.test"], "a@x.test"), (["-ra@x.test"], "a@x.test"),
    (["-f", "<a@x.test>"], "a@x.test"), (["-f", "<>"], ""),
    (["-f", ""], ""), (["-f", '"a b"@x.test'], '"a b"@x.test'),
    (["-f", "a@x.test", "-f", "b@x.test"], "b@x.test")])
def test_sender(options, sender, send, one):
    """CL-10: <> and nothing are the null sender."""
    result = send(*options, B)
    assert result.status == 0, result.text
    assert one.messages[0].sender == sender


def test_sender_by_default(send, one):
    """The caller's name, qualified with the host's."""
    assert send(B).status == 0
    assert one.messages[0].sender == "root@client.example.test"


@pytest.mark.parametrize("name", ["A B", "Grün", 'A "q" B', "A, B", "a.b",
                                  "(x)", "\\", "<x>"])
def test_full_name(name, send, one):
    """-F gives the name in a From that has to be made."""
    result = send("-f", "a@x.test", "-F", name, B)
    assert result.status == 0, result.text
    parsed = email.message_from_bytes(one.messages[0].content,
                                      policy=email.policy.default)
    [address] = parsed["From"].addresses
    assert address.addr_spec == "a@x.test"
    if name.isascii():
        assert address.display_name == name


@pytest.mark.parametrize("letter", ["x", '"', "ä", "€", "😀"])
def test_long_full_name(letter, send, one):
    """It is cut, between two characters, and the line is none too long."""
    assert send("-f", "a@x.test", "-F", letter * 2000, B).status == 0
    [taken] = one.messages
    parsed = email.message_from_bytes(taken.content,
                                      policy=email.policy.default)
    [address] = parsed["From"].addresses
    assert address.addr_spec == "a@x.test"
    # Python keeps the blanks between encoded words
    name = address.display_name.replace(" ", "")
    assert 190 <= len(name.encode()) <= 200
    assert name == letter * len(name)
    assert max(map(len, taken.header.split(b"\r\n"))) <= 998


def test_full_name_does_not_change_a_from(send, one):
    assert send("-F", "Other", B, stdin=b"From: x@y.test\n\nz\n").status == 0
    assert b"From: x@y.test\r\n" in one.messages[0].header
    assert b"Other" not in one.messages[0].header


@pytest.mark.parametrize("option", ["-f", "-r"])
@pytest.mark.parametrize("value", [
    "a@s\nRCPT TO:<z@z.test>", "a@s\r\nRCPT TO:<z@z.test>", "a@s\rb", "a b",
    "a@s>\nRCPT TO:<z@z.test", "-x@y.test", "a@@b"])
def test_hostile_sender(option, value, send, one):
    """CL-09: refused, or harmless; never a second recipient."""
    result = send(option, value, B)
    assert result.status in (USAGE, BAD_INPUT, *REFUSED), result.text
    assert one.copies() == 0
    assert b"z@z.test" not in b"".join(s.received for s in one.sessions)


def test_hostile_name(send, one):
    """CL-11: -F never makes a second field."""
    result = send("-F", "A\nBcc: z@z.test\r\nX-Evil: 1", B)
    for taken in one.messages:
        assert taken.recipients == [B]
        assert not re.search(rb"(?im)^(bcc|x-evil)\s*:", taken.header)
    assert result.status in (0, USAGE, BAD_INPUT)


@pytest.mark.parametrize("address", [
    "b@x.test\nc@y.test", "b@x.test\r\nDATA", "b@x.test\r", "\nb@x.test"])
def test_hostile_recipient(address, send, one):
    """CL-14: refused, or recipients of their own."""
    result = send(address)
    for taken in one.messages:
        assert set(taken.recipients) <= {"b@x.test", "c@y.test"}
    assert result.status in (0, USAGE, BAD_INPUT, *REFUSED)
    for session in one.sessions:
        assert session.said("DATA") <= len(one.messages)


@pytest.mark.parametrize("address", [
    "-bs", "-oQDIR", "-C/etc/passwd", "-t", "-v", "--", "-x@y.test"])
def test_option_as_recipient(address, send, one):
    """CL-01: behind -- never an option; refused."""
    result = send("-i", "--", address, stdin=b"To: c@x.test\n\nx\n")
    if address == "--":
        assert result.status != 0
    assert result.status in (USAGE, BAD_INPUT, *REFUSED), result.text
    assert one.copies() == 0


@pytest.mark.parametrize("address", ["-bs", "-x@y.test", "<-x@y.test>"])
def test_option_as_recipient_in_the_header(address, send, one):
    """CL-02: the same from -t."""
    result = send("-t", stdin=f"To: {address}\n\nx\n".encode())
    assert result.status in (USAGE, BAD_INPUT, *REFUSED), result.text
    assert one.copies() == 0


@pytest.mark.parametrize("how", ["joined", "apart"])
def test_no_transcript(how, send, place):
    """CL-03: -X never makes a file."""
    path = place / "transcript"
    option = [f"-X{path}"] if how == "joined" else ["-X", str(path)]
    result = send(*option, B, stdin=b"Subject: <?php x ?>\n\nx\n")
    assert not path.exists()
    assert result.status in (0, USAGE)


@pytest.mark.parametrize("option", ["-Z", "-bx", "-f", "-F", "--help-me"])
def test_bad_usage(option, send, one):
    """Unknown, or without its value: says so, sends nothing."""
    result = send(option)
    assert result.status == USAGE, result.text
    assert result.stderr
    assert one.copies() == 0


def test_verbose_shows_the_dialogue(send):
    result = send("-v", B)
    assert result.status == 0
    shown = result.text + result.stdout.decode()
    for word in ("220", "EHLO", "MAIL FROM", "RCPT TO", "DATA", "250"):
        assert word in shown


def test_verbose_shows_no_password(relay, sections, place, tls):
    one = relay(tls=tls, mechanisms=("PLAIN", "LOGIN", "CRAM-MD5"))
    for auth in ("plain", "login", "cram-md5"):
        config = harness.write_config(place / "conf", sections(
            one, {"upstream": {"auth": auth}}))
        result = sendmail("-v", B, config=config, stdin=TEXT)
        assert result.status == 0, result.text
        shown = result.stderr + result.stdout
        assert b"AUTH" in shown
        for secret in (b"correct horse", b"Y29ycmVjdCBob3JzZQ",
                       b"Y29ycmVjdCBob3JzZ", b"Y3QgaG9yc2U", b"aG9yc2U"):
            assert secret not in shown


# ---- Recipients ------------------------------------------------------

# -t: header, and who gets it (CL-43).
HEADERS = {
    "to": ("To: b@x.test", ["b@x.test"]),
    "three": ("To: b@x.test\nCc: c@x.test\nBcc: d@x.test",
              ["b@x.test", "c@x.test", "d@x.test"]),
    "several": ("To: b@x.test\nTo: c@x.test", ["b@x.test", "c@x.test"]),
    "folded": ("To: b@x.test,\n c@x.test,\n\td@x.test",
               ["b@x.test", "c@x.test", "d@x.test"]),
    "names": ('To: B <b@x.test>, "C, c" <c@x.test>',
              ["b@x.test", "c@x.test"]),
    "comments": ("To: b@x.test (B, b), (c) c@x.test",
                 ["b@x.test", "c@x.test"]),
    "group": ("To: friends: b@x.test, c@x.test;, d@x.test",
              ["b@x.test", "c@x.test", "d@x.test"]),
    "empty group": ("To: undisclosed-recipients:;\nCc: b@x.test",
                    ["b@x.test"]),
    "trailing comma": ("To: b@x.test,", ["b@x.test"]),
    "commas": ("To: ,,b@x.test,,c@x.test", ["b@x.test", "c@x.test"]),
    "encoded": ("To: =?utf-8?q?Gr=C3=BCn?= <b@x.test>", ["b@x.test"]),
    "8-bit name": ("To: Grün <b@x.test>", ["b@x.test"]),
    "quoted": ('To: "b b"@x.test', ['"b b"@x.test']),
    "route": ("To: <@r.test:b@x.test>", ["b@x.test"]),
    "twice": ("To: b@x.test\nCc: b@x.test", ["b@x.test"]),
    "case": ("TO: b@x.test\ncC: c@x.test", ["b@x.test", "c@x.test"]),
    "blank": ("To : b@x.test", ["b@x.test"]),
}


@pytest.mark.parametrize("case", HEADERS)
def test_recipients_of_the_header(case, send, one):
    header, people = HEADERS[case]
    result = send("-t", stdin=header.encode() + b"\n\nx\n")
    assert result.status == 0, result.text
    [taken] = one.messages
    assert sorted(taken.recipients) == sorted(people)


def test_union_of_header_and_arguments(send, one):
    """CL-45."""
    assert send("-t", "c@x.test", stdin=b"To: b@x.test\n\nx\n").status == 0
    assert sorted(one.messages[0].recipients) == ["b@x.test", "c@x.test"]


@pytest.mark.parametrize("args, text", [
    ([], TEXT), (["-t"], TEXT), (["-t"], b""), (["-i"], b""),
    (["-t"], b"To: undisclosed-recipients:;\n\nx\n"),
    (["-t"], b"\nTo: b@x.test\n"), (["-t"], b"Bcc:\nTo:\n\nx\n")])
def test_no_recipients(args, text, send, one):
    """CL-46."""
    result = send(*args, stdin=text)
    assert result.status == USAGE, result.text
    assert b"recipient" in result.stderr.lower()
    assert one.copies() == 0


@pytest.mark.parametrize("bad", ["a@@b", "a b@x.test", "@x.test", "a@",
                                 "a@[x", '"a@x.test', "a@x..test",
                                 "a" * 65 + "@x.test", "gr\xfcn@x.test"])
def test_one_bad_recipient_among_good_ones(bad, send, one):
    """Nobody is left out silently: nobody gets it, and the name is said."""
    result = send(B, bad, "c@x.test")
    assert result.status in (USAGE, BAD_INPUT, *REFUSED)
    if bad.isascii():
        assert bad[:60] in result.text
    assert one.copies() == 0


@pytest.mark.parametrize("to", [
    "b@x.test, a@@b", "b@x.test, <a@x.test", "b@x.test, <@>, c@x.test",
    "b@x.test, a b c", "b@x.test,\n\tJoe a@x.test"])
def test_one_bad_recipient_in_the_header(to, send, one):
    """The same with -t, or a word about it (a header has more that is not
    an address than arguments have)."""
    result = send("-t", stdin=f"To: {to}\n\nx\n".encode())
    if result.status == 0:
        assert result.stderr, "left out without a word"
    else:
        assert result.status in (USAGE, BAD_INPUT, *REFUSED)
        assert one.copies() == 0
        assert f'"To: {" ".join(to.split())}"' in result.text


def test_the_same_recipient(send, one):
    """Once; of a domain, the case is no matter, of a local part it is."""
    result = send("-t", "b@EXAMPLE.test", "B@example.test",
                  stdin=b"To: b@example.test\nCc: b@example.test\n\nx\n")
    assert result.status == 0, result.text
    assert one.messages[0].recipients == ["b@example.test", "B@example.test"]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
@pytest.mark.parametrize("name", ["(none)", "a b", "a_b", "x>y", "h\xe9"])
def test_machine_without_a_name(name, start, sections, one):
    """What is no host name is in no field: (none) is what the kernel has
    before anybody has said one."""
    daemon = start(sections(one))
    result = sendmail(B, socket_path=daemon.socket, stdin=TEXT, wrapper=[
        "unshare", "--uts", sys.executable, "-c",
        "import os, socket, sys; socket.sethostname(sys.argv[1]); "
        "os.execv(sys.argv[2], sys.argv[2:])", name, *harness.WRAPPER])
    assert result.status == 0, result.text
    assert re.search(rb"\r\nMessage-ID: <[0-9a-f]+@localhost>\r\n",
                     one.messages[0].header)


# ---- Input -----------------------------------------------------------

@pytest.mark.parametrize("options, ends", [
    ([], True), (["-i"], False), (["-oi"], False), (["-bm"], True)])
def test_lone_dot(options, ends, send, one):
    """CL-42: the end of the message but with -i."""
    result = send(*options, B, stdin=b"Subject: t\n\none\n.\ntwo\n")
    assert result.status == 0, result.text
    wanted = b"one\r\n" if ends else b"one\r\n.\r\ntwo\r\n"
    assert one.messages[0].text == wanted


def test_no_more_is_kept_than_may_be_sent(sections, one, place):
    """A program that never stops does not fill the disk: what is more than
    max_message is read and forgotten."""
    config = harness.write_config(place / "conf", sections(
        one, {"listen": {"max_message": "1M"}}))
    result = sendmail(B, config=config, stdin=TEXT + b"0123456789\n" * 1000000,
                      preexec_fn=lambda: resource.setrlimit(
                          resource.RLIMIT_FSIZE, (2 << 20, 2 << 20)))
    assert result.status == BAD_INPUT
    assert re.fullmatch(r"sendmail: [^\n]*max_message, 1048576 bytes\n",
                        result.text)
    assert one.copies() == 0


def test_rest_behind_the_dot_is_read(send, one):
    """The writer must not get SIGPIPE."""
    big = b"x" * 70 + b"\n"
    result = send(B, stdin=b"Subject: t\n\none\n.\n" + big * 20000)
    assert result.status == 0
    assert one.messages[0].text == b"one\r\n"


# CL-48: input, what the header must have, what the body must be.
SHAPES = {
    "no header": (b"just text\nmore\n", b"", b"just text\r\nmore\r\n"),
    "blank first": (b"\nSubject: no\n\nx\n", b"",
                    b"Subject: no\r\n\r\nx\r\n"),
    "line without colon": (b"Subject: t\nno field\nX: y\n\nz\n",
                           b"Subject: t\r\n",
                           b"no field\r\nX: y\r\n\r\nz\r\n"),
    "no blank line": (b"Subject: t\nbody starts here.\n", b"Subject: t\r\n",
                      b"body starts here.\r\n"),
    "From line": (b"From root Mon Jan  1 00:00:00 2024\nSubject: t\n\nx\n",
                  b"Subject: t\r\n", b"x\r\n"),
    "blank in name": (b"Not a field: x\n\ny\n", b"",
                      b"Not a field: x\r\n\r\ny\r\n"),
    "folded first": (b" folded\nSubject: t\n\nx\n", b"",
                     b" folded\r\nSubject: t\r\n\r\nx\r\n"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shapes(case, send, one):
    text, header, body = SHAPES[case]
    assert send("-i", B, stdin=text).status == 0
    [taken] = one.messages
    assert header in taken.header
    assert taken.text == body


def test_unreadable_input(send, one, place):
    """CL-55: a directory as stdin."""
    fd = os.open(place, os.O_RDONLY)
    try:
        result = subprocess.run(
            [*harness.WRAPPER, str(harness.BIN), "sendmail", "-C",
             str(send.config), B], stdin=fd, capture_output=True,
            env=harness.environment(), check=False)
    finally:
        os.close(fd)
    assert result.returncode in (74, 75)
    assert one.copies() == 0


# ---- Exit statuses ---------------------------------------------------

VERDICTS = [
    (Fault("rcpt", "550"), REFUSED), (Fault("mail", "550"), REFUSED),
    (Fault("dot", "550"), REFUSED), (Fault("rcpt", "451"), (TEMPORARY,)),
    (Fault("banner", "550"), (TEMPORARY,)), (Fault("ehlo", "421"),
                                             (TEMPORARY,)),
    (Fault("rcpt", "raw", data=b"550 5.1.1 no such user\r\n"), (67,)),
    (Fault("rcpt", "raw", data=b"550 5.7.1 denied\r\n"), (77,)),
    (Fault("dot", "raw", data=b"554 5.6.0 bad message\r\n"), (69,)),
]


@pytest.mark.parametrize("fault, allowed", VERDICTS,
                         ids=lambda v: f"{v.step}-{v.kind}-{v.data[4:9]}"
                         if isinstance(v, Fault) else "")
@pytest.mark.parametrize("daemonless", [True, False])
def test_verdicts(fault, allowed, daemonless, relay, sections, place, start):
    one = relay(dataclasses.replace(fault))
    if daemonless:
        config = harness.write_config(place / "conf", sections(one))
        result = sendmail(B, config=config, stdin=TEXT)
    else:
        result = sendmail(B, socket_path=start(sections(one)).socket,
                          stdin=TEXT)
    assert result.status in allowed, result.text
    assert result.text.count("\n") == 1, result.text
    assert one.copies() == 0


@pytest.mark.parametrize("text", [
    "[upstream]\nhost\n", "[upstream]\nhots = x\n", "host = x\n", "",
    "[upstream]\nhost = x\nport = 0\n", "[upstream\nhost = x\n"])
def test_bad_configuration(text, place):
    path = place / "conf"
    path.write_text(text)
    path.chmod(0o600)
    result = sendmail(B, config=path, stdin=TEXT)
    assert result.status == CONFIG
    assert result.stderr


def test_missing_configuration(place):
    result = sendmail(B, config=place / "none", stdin=TEXT)
    assert result.status == CONFIG
    assert str(place / "none") in result.text


def test_no_daemon_and_no_configuration(place):
    result = sendmail(B, socket_path=place / "none", stdin=TEXT)
    assert result.status in (TEMPORARY, CONFIG)
    assert result.stderr


# ---- As others -------------------------------------------------------

def test_nobody_through_the_daemon(start, sections, one):
    """No readable configuration is needed, only the socket."""
    daemon = start(sections(one))
    result = sendmail(B, stdin=TEXT, socket_path=daemon.socket, uid=NOBODY,
                      env={"SMARTHOST_CONFIG": daemon.config})
    assert result.status == 0, result.text
    assert re.fullmatch(r"nobody@[\w.-]+", one.messages[0].sender)


@pytest.mark.parametrize("uid", [NOBODY, 1234567])
def test_configuration_that_one_may_not_read(uid, send, one):
    result = send(B, uid=uid)
    assert result.status in (CONFIG, TEMPORARY)
    assert str(send.config) in result.text
    assert b"127.0.0.1" not in result.stderr
    assert one.copies() == 0


@pytest.mark.parametrize("daemonless", [True, False])
def test_uid_without_a_name(daemonless, start, sections, one, place):
    """CL-60: the number stands for it; HOME is not needed."""
    uid = 1234567
    if daemonless:
        config = harness.write_config(place / "conf", sections(one))
        os.chown(config, uid, uid)
        result = sendmail(B, stdin=TEXT, config=config, uid=uid)
    else:
        daemon = start(sections(one))
        result = sendmail(B, stdin=TEXT, socket_path=daemon.socket, uid=uid)
    assert result.status == 0, result.text
    assert str(uid) in one.messages[0].sender


@pytest.mark.parametrize("name", ["sendmail", "mail-sendmail/sendmail"])
def test_by_the_name_of_sendmail(name, start, sections, one, place):
    """A link named sendmail is enough."""
    daemon = start(sections(one))
    link = place / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(harness.BIN)
    result = harness.run(B, stdin=TEXT, binary=link, env={
        "SMARTHOST_LISTEN_SOCKET": daemon.socket})
    assert result.status == 0, result.text
    assert one.copies() == 1


def test_daemon_that_stops(start, sections, one):
    """Nothing answers at the socket: not lost, not said to be sent."""
    daemon = start(sections(one))
    path = daemon.socket
    daemon.stop()
    result = sendmail(B, stdin=TEXT, socket_path=path, uid=NOBODY)
    assert result.status in (TEMPORARY, CONFIG)
    assert one.copies() == 0


# ---- Hostile callers -------------------------------------------------

@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2)])
def test_closed_descriptors(closed, send, one):
    """CL-18: no connection ever gets 1 or 2 and text of ours."""
    def close():
        for fd in closed:
            os.close(fd)
    result = subprocess.run(
        [*harness.WRAPPER, str(harness.BIN), "sendmail", "-v", "-C",
         str(send.config), B], input=TEXT, env=harness.environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=close, check=False)
    assert result.returncode == 0
    [taken] = one.messages
    assert taken.text == b"body\r\n"
    for line in one.sessions[0].commands:
        assert not line.startswith((b">", b"<", b"smarthost"))


def test_closed_stdin(send, one):
    result = subprocess.run(
        [*harness.WRAPPER, str(harness.BIN), "sendmail", "-C",
         str(send.config), B], env=harness.environment(),
        preexec_fn=lambda: os.close(0), capture_output=True, check=False)
    assert result.returncode in (0, BAD_INPUT, 74, TEMPORARY)
    assert one.copies() == (result.returncode == 0)


@pytest.mark.parametrize("umask", [0, 0o777, 0o077])
def test_umask(umask, send, one):
    """CL-19: also for a message that has to go through a file."""
    result = send(B, stdin=TEXT + b"x" * 70 + b"\n" * 400000, umask=umask)
    assert result.status == 0, result.text
    assert one.copies() == 1


@pytest.mark.parametrize("limit, value", [
    ("RLIMIT_FSIZE", 1024), ("RLIMIT_NOFILE", 8), ("RLIMIT_NOFILE", 4)])
def test_limits_of_the_caller(limit, value, send, one):
    """CL-21: complete, or not at all and 75; never half."""
    def lower():
        resource.setrlimit(getattr(resource, limit), (value, value))
    text = TEXT + b"x" * 70 + b"\n" * 400000
    result = send(B, stdin=text, preexec_fn=lower)
    assert result.status in (0, TEMPORARY), (result.status, result.text)
    assert one.copies() == (result.status == 0)
    for taken in one.messages:
        assert taken.text.count(b"\r\n") == text[12:].count(b"\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM,
                                    signal.SIGHUP, signal.SIGPIPE,
                                    signal.SIGALRM, signal.SIGXFSZ])
@pytest.mark.parametrize("step", ["banner", "mail", "dot"])
def test_signals(number, step, relay, sections, place):
    """CL-22: killed before the answer: not 0, or one message and 0."""
    one = relay(Fault(step, "hang"))
    config = harness.write_config(place / "conf", sections(one))
    process = subprocess.Popen(
        [*harness.WRAPPER, str(harness.BIN), "sendmail", "-C", str(config),
         B], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=harness.environment())
    process.stdin.write(TEXT)
    process.stdin.close()
    process.stdin = None
    assert one.holding.wait(harness.WAIT)
    process.send_signal(number)
    one.release.set()
    _, err = process.communicate(timeout=harness.WAIT)
    harness.check_alarms(err)
    if process.returncode == 0:
        assert one.copies() == 1
    one.wait_ended()
    assert one.copies() in (0, 1)


@pytest.mark.parametrize("ignored", ["SIGCHLD", "SIGPIPE", "SIGTERM"])
def test_ignored_and_blocked_signals(ignored, send, one):
    def ignore():
        signal.signal(getattr(signal, ignored), signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    assert send(B, preexec_fn=ignore).status == 0
    assert one.copies() == 1


@pytest.mark.parametrize("variable, value", [
    ("TZ", ":/etc/shadow"), ("TZ", "x" * 100000), ("LANG", "tr_TR.UTF-8"),
    ("HOSTALIASES", "/etc/passwd"), ("RES_OPTIONS", "debug"),
    ("IFS", "/"), ("HOME", ""), ("USER", "a\nBcc: z@z.test"),
    ("LOGNAME", "a\nBcc: z@z.test"), ("NAME", "x\nBcc: z@z.test")])
def test_odd_environment(variable, value, send, one):
    """CL-24."""
    result = send(B, env={variable: value})
    assert result.status == 0, result.text
    [taken] = one.messages
    assert taken.recipients == [B]
    assert b"z@z.test" not in taken.content


def test_password_is_nowhere(relay, sections, place, tls):
    """CL-62: not in the arguments nor in the environment of the process,
    nor in what it says."""
    one = relay(Fault("auth", "hang"), tls=tls, mechanisms=("PLAIN",))
    config = sections(one, {"upstream": {"password": None}})
    path = harness.write_config(place / "conf", config)
    process = subprocess.Popen(
        [*harness.WRAPPER, str(harness.BIN), "sendmail", "-C", str(path), B],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=harness.environment({
            "SMARTHOST_UPSTREAM_PASSWORD": "correct horse"}))
    process.stdin.write(TEXT)
    process.stdin.close()
    process.stdin = None
    assert one.holding.wait(harness.WAIT)
    for name in ("cmdline", "environ"):
        with open(f"/proc/{process.pid}/{name}", "rb") as file:
            assert b"correct horse" not in file.read()
    one.release.set()
    out, err = process.communicate(timeout=harness.WAIT)
    assert process.returncode == TEMPORARY
    assert b"correct horse" not in out + err
    assert b"Y29ycmVjdC" not in out + err


def test_password_in_a_file_that_others_read(sections, relay, place, tls):
    """CL-61: refused, naming the file, not the content."""
    one = relay(tls=tls, mechanisms=("PLAIN",))
    config = harness.write_config(place / "conf", sections(one), mode=0o644)
    result = sendmail(B, config=config, stdin=TEXT)
    assert result.status == CONFIG
    assert str(config) in result.text
    assert b"correct horse" not in result.stderr
    assert one.sessions == []


@pytest.mark.parametrize("source", ["file", "command", "credential"])
def test_password_sources(source, relay, sections, place, tls):
    one = relay(tls=tls, mechanisms=("PLAIN",))
    secret = place / "secret"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    changes = {"file": {"password_file": secret},
               "command": {"password_command": f"cat '{secret}'"},
               "credential": {"password_file": "credential:secret"}}[source]
    config = harness.write_config(place / "conf", sections(
        one, {"upstream": {"password": None, **changes}}))
    result = sendmail(B, config=config, stdin=TEXT,
                      env={"CREDENTIALS_DIRECTORY": place})
    assert result.status == 0, result.text
    assert one.sessions[0].login == ("PLAIN", "sender", "correct horse")


@pytest.mark.parametrize("password", [
    "foo ;bar", "#x", "a=b", "a:b", 'with "quotes"', "grün", "x" * 150,
    " lead", "trail "])
def test_odd_passwords(password, relay, sections, place, tls):
    """CO-02: whole, or a loud error; from a file always whole."""
    one = relay(tls=tls, mechanisms=("PLAIN",), password=password)
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail(B, config=config, stdin=TEXT)
    if password == password.strip() or result.status == 0:
        assert result.status in (0, CONFIG), result.text
    secret = place / "secret"
    secret.write_text(password + "\n")
    secret.chmod(0o600)
    config = harness.write_config(place / "conf", sections(one, {
        "upstream": {"password": None, "password_file": secret}}))
    result = sendmail(B, config=config, stdin=TEXT)
    assert result.status == 0, result.text


def test_fifty_at_once(start, sections, one):
    """Each message once, all by one daemon."""
    daemon = start(sections(one))

    def submit(number):
        return sendmail(B, stdin=b"Subject: t\n\nnumber %d.\n" % number,
                        socket_path=daemon.socket).status
    with concurrent.futures.ThreadPoolExecutor(25) as pool:
        assert list(pool.map(submit, range(50))) == [0] * 50
    for number in range(50):
        assert one.copies(b"number %d." % number) == 1


def test_big_message_through_the_daemon_is_complete_before_it_connects(
        start, sections, one):
    """A writer that dies in the middle of a message sends nothing."""
    daemon = start(sections(one))
    process = subprocess.Popen(
        [*harness.WRAPPER, str(harness.BIN), "sendmail", B],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        env=harness.environment({"SMARTHOST_LISTEN_SOCKET": daemon.socket}))
    process.stdin.write(message("x\n" * 1000))
    process.stdin.flush()
    process.kill()
    process.communicate()
    assert daemon.stop() == 0
    assert one.copies() == 0
    assert one.sessions == []
