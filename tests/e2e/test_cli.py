# SPDX-License-Identifier: ISC
"""The modes of sendmail beside the sending of one message, what hostile
arguments can do, and thousands of recipients."""

import os
import re
import signal
import subprocess

import pytest

import harness
from harness import BAD_INPUT, NOBODY, USAGE, sendmail, wait_for
from test_queue import disk, kept, spool  # noqa: F401

TEXT = b"Subject: t\n\nbody\n"
B = "b@example.test"
PROTOCOL = 76
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


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


# ---- -bs -------------------------------------------------------------

def session(*messages, end=b"QUIT\r\n"):
    """What a client says that sends these (recipient, body)."""
    said = b"EHLO client.test\r\n"
    for recipient, body in messages:
        said += (f"MAIL FROM:<a@example.test>\r\nRCPT TO:<{recipient}>\r\n"
                 f"DATA\r\nSubject: t\r\n\r\n{body}\r\n.\r\n").encode()
    return said + end


def codes(result):
    return [int(line[:3]) for line in result.stdout.splitlines()
            if line[3:4] == b" "]


@pytest.mark.parametrize("daemonless", [True, False])
def test_session(daemonless, start, sections, one, send):
    """CL-56: the recipients of one message are not those of the next."""
    text = session(("b@x.test", "one"), ("c@x.test", "..two"))
    if daemonless:
        result = send("-bs", stdin=text)
    else:
        result = sendmail("-bs", stdin=text,
                          socket_path=start(sections(one)).socket)
    assert result.status == 0, result.text
    assert codes(result) == [220, 250, *([250, 250, 354, 250] * 2), 221]
    assert [(m.recipients, m.text) for m in one.messages] == [
        (["b@x.test"], b"one\r\n"), (["c@x.test"], b".two\r\n")]
    assert b"Date: " in one.messages[0].header


@pytest.mark.parametrize("daemonless", [True, False])
def test_session_hears_the_relay(daemonless, start, sections, one, send):
    one.recipients = {"no@x.test": "550 5.1.1 no such user"}
    text = session(("no@x.test", "one"), ("b@x.test", "two"))
    if daemonless:
        result = send("-bs", stdin=text)
    else:
        result = sendmail("-bs", stdin=text,
                          socket_path=start(sections(one)).socket)
    assert result.status == 0, result.text
    assert codes(result) == [220, 250, 250, 250, 354, 550, 250, 250, 354,
                             250, 221]
    assert b"5.1.1" in result.stdout and b"no such user" in result.stdout
    assert [m.text for m in one.messages] == [b"two\r\n"]


def test_session_for_the_maildrop(start, kept, one, spool, place):  # noqa
    """Nobody's session, while the daemon is away, with no configuration that
    he could read."""
    daemon = start(kept(one))
    path = daemon.socket
    daemon.stop()
    result = sendmail("-bs", stdin=session((B, "left"), (B, "behind")),
                      socket_path=path, uid=NOBODY, env={
                          "SMARTHOST_CONFIG": daemon.config,
                          "SMARTHOST_QUEUE_DIRECTORY": spool.path})
    assert codes(result)[-5:] == [250, 250, 354, 250, 221], result.stdout
    assert result.status == 0, result.text
    assert one.copies() == 0
    start(kept(one))
    wait_for(lambda: one.copies() == 2)
    assert {m.text for m in one.messages} == {b"left\r\n", b"behind\r\n"}
    assert all(m.sender == "a@example.test" for m in one.messages)


def test_session_without_anybody(place):
    """Refused for now, each message; the client knows."""
    result = sendmail("-bs", stdin=session((B, "x")),
                      socket_path=place / "none",
                      env={"SMARTHOST_CONFIG": place / "none.conf"})
    assert codes(result) == [220, 250, 250, 250, 354, 451, 221]
    assert result.status == 0


@pytest.mark.parametrize("text, status", [
    (b"", 0), (b"QUIT\r\n", 0), (session(end=b""), 0),
    (session((B, "x"), end=b""), 0),
    (b"To: b@example.test\n\nA message, as PHP would send it.\n", PROTOCOL),
    (session((B, "x"))[:-15], PROTOCOL),
    (session((B, "x")).partition(b"RCPT")[0], PROTOCOL)])
def test_end_of_a_session(text, status, send, one):
    """What was no session is none with status 0."""
    result = send("-bs", stdin=text)
    assert result.status == status, result.text
    assert bool(result.stderr) == (status != 0)
    assert one.copies() == (b"250 2.0.0" in result.stdout)


@pytest.mark.parametrize("size", [1, 7, 100000])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_session_of_a_here_document(newline, size, send, one):
    """Who ends his first line with LF ends the others like that too; with
    CRLF, a dot between two LFs is content as everywhere (SM-02)."""
    other = "\n.\n" if newline == b"\r\n" else "\r\n..\r\n"
    text = session(("b@x.test", "a\r\n.." + other + "b"),
                   ("c@x.test", "c")).replace(b"\r\n", newline)
    process = subprocess.Popen(
        [*harness.WRAPPER, str(harness.BIN), "sendmail", "-C",
         str(send.config), "-bs"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, env=harness.environment())
    for at in range(0, len(text), size):
        process.stdin.write(text[at:at + size])
        process.stdin.flush()
    process.communicate()
    assert process.returncode == 0
    assert [m.text for m in one.messages] == [
        b"a\r\n.\r\n.\r\nb\r\n", b"c\r\n"]


def test_session_with_a_program_that_waits(send, one):
    """Each reply comes when it is due, not at the end."""
    process = subprocess.Popen(
        [*harness.WRAPPER, str(harness.BIN), "sendmail", "-C",
         str(send.config), "-bs"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, env=harness.environment())
    heard = [process.stdout.readline()]
    for word in (b"HELO x", b"MAIL FROM:<a@x.test>", b"RCPT TO:<b@x.test>",
                 b"DATA", b"x\r\n.", b"RSET", b"QUIT"):
        process.stdin.write(word + b"\r\n")
        process.stdin.flush()
        heard.append(process.stdout.readline())
    assert process.wait(harness.WAIT) == 0
    assert [line[:3] for line in heard] == [
        b"220", b"250", b"250", b"250", b"354", b"250", b"250", b"221"]
    assert one.copies() == 1


# ---- -bv, -bd, -q, -od, -oe ------------------------------------------

@pytest.mark.parametrize("args, text, named", [
    (["b@x.test", "c@x.test"], b"", ["b@x.test", "c@x.test"]),
    (["-t"], b"To: b@x.test\nBcc: c@x.test\n\n", ["b@x.test", "c@x.test"])])
def test_verify(args, text, named, send, one):
    result = send("-bv", *args, stdin=text)
    assert result.status == 0, result.text
    assert re.findall(r"^(\S+)\.\.\. deliverable: relay 127\.0\.0\.1 port "
                      r"\d+$", result.stdout.decode(), re.M) == named
    assert one.sessions == []


@pytest.mark.parametrize("args, status", [(["a@@b"], BAD_INPUT), ([], USAGE)])
def test_verify_what_is_no_address(args, status, send):
    result = send("-bv", *args)
    assert result.status == status and result.stdout == b""


@pytest.mark.parametrize("options", [["-bd"], ["-bd", "-q15m"], ["-bD"],
                                     ["-L", "sm-mta", "-q1h", "-bd"]])
def test_daemon(options, sections, one, place):
    """As init scripts start it; it stays in the foreground."""
    config = harness.write_config(place / "conf", sections(one))
    process = subprocess.Popen(
        [*harness.WRAPPER, str(harness.BIN), "sendmail", *options],
        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        env=harness.environment({"SMARTHOST_CONFIG": config}))
    log = harness.Log(process.stderr)
    log.wait("started")
    process.send_signal(signal.SIGTERM)
    assert process.wait(harness.WAIT) == 0
    log.join()


def test_daemon_takes_no_configuration_of_the_command_line(send):
    result = send("-bd", stdin=b"")
    assert result.status == USAGE
    assert "smarthost -c FILE run" in result.text


def test_queue_only(kept, one, spool, place):  # noqa: F811
    """-odq: nothing is tried before somebody runs the queue."""
    spool.make()
    config = harness.write_config(place / "conf", kept(one))
    result = sendmail("-odq", B, config=config, stdin=TEXT)
    assert (result.status, result.stderr) == (0, b"")
    assert one.sessions == [] and len(spool.names()) == 1
    assert sendmail("-qf", config=config).status == 0
    assert one.copies() == 1 and spool.names() == []


@pytest.mark.parametrize("option", ["-q", "-qf", "-q15m", "-qp5m", "-qRb@",
                                    "-qSa@", "-qGmain", "-q!Rx", "-qL"])
def test_a_run_ends(option, kept, one, spool, place):  # noqa: F811
    """One run, whatever stands behind the letter, though stdin stays open."""
    spool.make()
    config = harness.write_config(place / "conf", kept(one))
    assert sendmail("-odq", B, config=config, stdin=TEXT).status == 0
    process = subprocess.Popen(
        [*harness.WRAPPER, str(harness.BIN), "sendmail", "-C", str(config),
         option], stdin=subprocess.PIPE, env=harness.environment())
    assert process.wait(harness.WAIT) == 0
    process.stdin.close()
    assert one.copies() == 1


@pytest.mark.parametrize("option", ["-oeq", "-eq"])
def test_quiet(option, send, one):
    one.replies = {"mail": "550 5.7.1 no"}
    result = send(option, B)
    assert result.status == 77
    assert result.stderr == b"" == result.stdout


# ---- Hostile arguments -----------------------------------------------

def test_arguments_make_no_file(send, one, place):
    """CL-03, CL-04, CL-29."""
    path = place / "evil"
    for args in (f"-X{path}", f"-O QueueDirectory={path}", f"-oQ{path}",
                 f"-oP{path}", f"-D {path}", f"-d0.1 -X {path}",
                 f"-OPidFile={path}", f"-oT{path}", f"-a {path}",
                 f"-S {path}", f"-oA{path} -bi", f"-M {path}"):
        before = one.copies()
        result = send("-t", *args.split(), stdin=b"To: b@x.test\n\nx\n")
        assert result.status == 0, (args, result.text)
        assert one.copies() == before + (" -bi" not in args), args
        assert not path.exists(), args


COMMANDS = ["-H {}", "-oPROGRAM={}", "-OQueueDirectory=|{}", "-X|{}",
            "-be ${{run{{{}}}}}", "-D{}", "-oM{}"]


@pytest.mark.parametrize("args", COMMANDS)
def test_arguments_run_nothing(args, send, place):
    path = place / "ran"
    script = place / "script"
    script.write_text(f"#!/bin/sh\ntouch {path}\n")
    script.chmod(0o755)
    send(*args.format(script).split(), B)
    assert not path.exists()


@needs_root
@pytest.mark.parametrize("uid, mode", [(NOBODY, 0o600), (0, 0o622),
                                       (0, 0o620)])
@pytest.mark.parametrize("option", [[], ["-bs"], ["-bv"], ["-bp"], ["-q"],
                                    ["-bi"]])
def test_configuration_of_others(option, uid, mode, sections, one, place):
    """CL-05: who could only name a file, as with the fifth argument of PHP's
    mail(), could have it run a command of his own."""
    ran = place / "ran"
    config = harness.write_config(place / "conf", sections(one, {
        "upstream": {"user": "u", "tls": "none",
                     "password_command": f"touch {ran}"}}), mode=mode)
    os.chown(config, uid, uid)
    result = harness.run("sendmail", "-C", config, *option, B, stdin=TEXT,
                         uid=uid)
    assert result.status == harness.CONFIG
    assert "-C takes a file that is root's" in result.text
    assert not ran.exists() and one.sessions == []


@needs_root
def test_contents_of_a_secret_file_are_not_shown(place):
    """CL-05: root's -C of what is no configuration shows no secret in it."""
    path = place / "shadow"
    path.write_text("root:$y$j9T$secret/hash:19700:0:99999:7:::\n")
    path.chmod(0o600)
    result = harness.run("sendmail", "-C", path, B, stdin=TEXT)
    assert result.status == harness.CONFIG
    assert "secret" not in result.text


# ---- -t --------------------------------------------------------------

RESENT = {
    "one block": (b"Resent-From: r@x.test\nResent-To: b@x.test\n"
                  b"To: no@x.test\nBcc: no@x.test\n", ["b@x.test"]),
    "two blocks": (b"Resent-To: b@x.test\nResent-From: r@x.test\n"
                   b"Received: by x\nResent-To: no@x.test\n"
                   b"Resent-Cc: no@x.test\nTo: no@x.test\n", ["b@x.test"]),
    "side by side": (b"Resent-From: r@x.test\nResent-To: b@x.test\n"
                     b"Resent-Bcc: c@x.test\nResent-From: s@x.test\n"
                     b"Resent-To: no@x.test\n", ["b@x.test", "c@x.test"]),
    "twice in one": (b"Resent-To: b@x.test\nResent-Date: now\n"
                     b"resent-to: c@x.test\n", ["b@x.test", "c@x.test"]),
    "the first names nobody": (b"Resent-From: r@x.test\nTo: no@x.test\n"
                               b"Resent-To: b@x.test\n", ["b@x.test"]),
}


@pytest.mark.parametrize("case", RESENT)
def test_resent(case, send, one):
    header, people = RESENT[case]
    result = send("-t", stdin=header + b"Subject: t\n\nx\n")
    assert result.status == 0, result.text
    [taken] = one.messages
    assert taken.recipients == people
    assert b"Bcc" not in taken.header


def test_header_that_is_too_large(send, one):
    text = b"To: " + b"b@example.test,\n " * 20000 + b"c@x.test\n\nx\n"
    result = send("-t", stdin=text)
    assert result.status == BAD_INPUT and "256 KiB" in result.text
    assert one.copies() == 0


@pytest.mark.parametrize("where", ["header", "arguments", "maildrop"])
def test_ten_thousand_recipients(where, start, kept, one, spool):  # noqa
    """By whoever is a program of this host, whatever max_recipients is."""
    people = [f"recipient-number-{number}-of-the-list@example.test"
              for number in range(10000)]
    daemon = start(kept(one, {"listen": {"max_recipients": 50}}))
    path = daemon.socket
    if where == "maildrop":
        daemon.stop()
    if where == "arguments":
        args, text = ["-i", *people], TEXT
    else:
        args = ["-ti"]
        text = b"Bcc: " + ",\n ".join(people).encode() + b"\n" + TEXT
    result = sendmail(*args, stdin=text, socket_path=path, uid=NOBODY, env={
        "SMARTHOST_QUEUE_DIRECTORY": spool.path,
        "SMARTHOST_CONFIG": daemon.config})
    assert result.status == 0, result.text
    if where == "maildrop":
        start(kept(one))
    wait_for(lambda: sum(len(m.recipients) for m in one.messages) == 10000)
    assert {r for m in one.messages for r in m.recipients} == set(people)


def test_a_stranger_has_a_limit(start, kept, one):  # noqa: F811
    """max_recipients is for the network."""
    daemon = start(kept(one, {"listen": {"max_recipients": 3}}))
    with daemon.connect() as client:
        client.ehlo()
        client.expect(250, "MAIL FROM:<a@x.test>")
        for _ in range(3):
            client.expect(250, "RCPT TO:<b@x.test>")
        client.expect(452, "RCPT TO:<b@x.test>")
