# SPDX-License-Identifier: ISC
"""smarthost queue, mailq, sendmail -q and XQUEUE: who sees and does what
(CL-31, CL-60), with a daemon and without one, with a long queue, with odd and
vanishing files (CL-58), and what callers expect of exit statuses (CL-59)."""

import array
import calendar
import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import termios
import threading
import time

import pytest

import harness
from badrelay import Fault
from harness import (CONFIG, NOBODY, TEMPORARY, USAGE, WAIT, message, run,
                     sendmail)
# pylint: disable=unused-import
from test_queue import (ROOT, Spool, disk, kept, needs_root, patient,
                        send_queued, spool)

ALICE, BOB = 12345, 12346
NO_SUCH_ID = "0" * 32
BAD_INPUT = harness.BAD_INPUT


def queue(where, *words, **more):
    """smarthost queue with a configuration file; or, for who may not read
    it, with the path of the socket."""
    if more.get("uid"):
        env = {"SMARTHOST_LISTEN_SOCKET": where.parent / "socket"}
        return run("queue", *words, env=env, **more)
    return run("-c", where, "queue", *words, **more)


def listed(where, *words, **more):
    """What queue list --json says."""
    done = queue(where, "list", "--json", *words, **more)
    assert (done.status, done.text) == (0, "")
    assert re.fullmatch(rb"[\n\x20-\x7e]*", done.stdout)
    return json.loads(done.stdout)


def timeless(found):
    """Without the next try, which is a pause from now, in whole seconds."""
    return [{**one, "next_attempt": None} for one in found]


def ids(where, **more):
    return [one["id"] for one in listed(where, **more)]


def submit(daemon, *recipients, uid=None, sender="a@example.test", **more):
    """With sendmail through the daemon; it has to be taken."""
    done = sendmail("-i", "-f", sender, *(recipients or ["b@example.test"]),
                    socket_path=daemon.socket, uid=uid,
                    stdin=more.get("text", message()))
    assert done.status == 0, done.text


def ask(daemon, *questions, path=None):
    """The last reply on the control socket, or on another one."""
    with daemon.connect(path or str(daemon.place / "control")) as client:
        for question in questions:
            reply = client.command(question)
        return reply


def make_file(spool, number, *, owner="-", reply="", recipients=1, state="W",
              age=0):
    """A message in queue/ that never was in the daemon's hands."""
    name = f"{number:016x}{number:016x}"
    content = b"Subject: x\r\n\r\n<m>\r\n"
    lines = ["smarthost 1", f"id {name}",
             f"arrived {int(time.time()) - age}", f"owner {owner}", f"sender {number}@example.test",
             "envelope-id -", "return -", "utf8 0", "eight-bit 0",
             "header 12", f"content {len(content):020}"]
    lines += [f"recipient {state} 000 {reply:200} 0 - {n}@example.test"
              for n in range(recipients)]
    draft = spool.path / name  # nobody sees half of it
    draft.write_bytes("\n".join([*lines, "end", ""]).encode() + content)
    draft.chmod(0o600)
    os.utime(draft, (0, 0))
    draft.rename(spool.path / "queue" / name)
    return name


@pytest.fixture
def away(start, kept, nobody_there):
    """A daemon whose relay is away."""
    daemon = start(kept(nobody_there))
    send_queued(daemon)
    daemon.wait_event("accepted")
    return daemon


# ---- What is said ----------------------------------------------------

def test_nothing(start, kept, relay):
    daemon = start(kept(relay()))
    assert queue(daemon.config).stdout == b"Mail queue is empty\n"
    assert listed(daemon.config) == []
    daemon.stop()
    assert queue(daemon.config).stdout == b"Mail queue is empty\n"
    assert listed(daemon.config) == []


def test_no_spool(start, sections, relay, place):
    """[queue] directory = none, with the daemon and without."""
    daemon = start(sections(relay()))
    for _ in range(2):
        assert listed(daemon.config) == []
        done = queue(daemon.config, "retry")
        assert done.status == 0, done.text
        done = queue(daemon.config, "drop", NO_SUCH_ID)
        assert done.status == BAD_INPUT
        daemon.stop()


def test_json(start, kept, relay):
    one = relay(recipients={"later@example.test": "450 4.2.1 \"busy\"",
                            "no@example.test": "550 5.1.1 who?"})
    daemon = start(kept(one))
    before = int(time.time())
    submit(daemon, "x@example.test", "later@example.test", "no@example.test")
    # a notice about the refused one may be there too, or be gone
    [found] = [one for one in listed(daemon.config) if one["sender"]]
    reply = {r["address"]: (r["state"], r["reply"])
             for r in found["recipients"]}
    assert reply["later@example.test"] == ("waiting", '450 4.2.1 "busy"')
    assert reply["no@example.test"] == ("refused", "550 5.1.1 who?")
    assert reply["x@example.test"][0] == "sent"
    assert re.fullmatch(r"[0-9a-f]{32}", found["id"])
    assert found["sender"] == "a@example.test"
    assert (found["outcome"], found["upstream"]) == ("later", "default")
    assert found["hint"] is None
    assert set(found) == {"id", "arrived", "size", "sender", "recipients",
                          "next_attempt", "outcome", "hint", "upstream"}
    form = "%Y-%m-%dT%H:%M:%SZ"
    arrived = time.strptime(found["arrived"], form)
    planned = time.strptime(found["next_attempt"], form)
    assert before - 1 <= calendar.timegm(arrived) <= time.time() + 1
    assert calendar.timegm(planned) - calendar.timegm(arrived) >= 40
    assert calendar.timegm(planned) <= time.time() + 80
    assert found["size"] == len(queue(daemon.config, "show", found["id"])
                                .stdout.partition(b"\n\n")[2]
                                .replace(b"\n", b"\r\n"))


def test_text_is_that_of_mailq(away):
    name = ids(away.config)[0]
    text = queue(away.config).stdout.decode()
    assert run("sendmail", "-C", away.config, "-bp").stdout.decode() == text
    first, second, *_, last = text.splitlines()
    assert re.match(r"-Queue ID- +--Size-- -+Arrival Time-+ "
                    r"-Sender/Recipient-+$", first)
    assert re.match(name + r" +\d+ \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d  "
                    r"a@example\.test$", second)
    assert "Connection refused)\n                b@example.test\n" in text
    assert re.search(r"\nupstream default: away, next try in \d+ s: ", text)
    assert last == "-- 1 Kbytes in 1 Request."


def test_addresses_beyond_ascii(away):
    """As they are, for people and for programs, with a daemon and without."""
    green = "gr\u00fcn@gr\u00fcn.example"
    with away.connect() as client:
        client.ehlo()
        client.expect(250, f"MAIL FROM:<{green}> SMTPUTF8")
        client.expect(250, f"RCPT TO:<{green}>")
        client.expect(354, "DATA")
        client.send(message(newline="\r\n") + b".\r\n")
        client.expect(250)
    for _ in range(2):
        name = [one["id"] for one in listed(away.config)
                if one["sender"] == green][0]
        assert queue(away.config).stdout.decode().count(green) == 2
        assert queue(away.config, "show", name).stdout.decode().count(
            f"<{green}>") == 2
        away.stop()


def test_what_waits_for_the_upstream(away):
    """Its file says nothing of the relay's trouble; the daemon does."""
    [found] = listed(away.config)
    assert "Connection refused" in found["recipients"][0]["reply"]
    assert found["outcome"] == "later"
    planned = time.strptime(found["next_attempt"], "%Y-%m-%dT%H:%M:%SZ")
    assert time.time() < calendar.timegm(planned) < time.time() + 65
    away.stop()
    [found] = listed(away.config)
    assert found["recipients"][0]["reply"] is None


def test_a_wrong_password_is_a_hold(start, kept, relay, tls):
    one = relay(tls=tls, mechanisms=("PLAIN",))
    daemon = start(kept(one, {"upstream": {"password": "wrong"}}))
    submit(daemon)
    [found] = listed(daemon.config)
    assert found["outcome"] == "hold"
    assert "5.7.8" in found["recipients"][0]["reply"]
    assert found["hint"].startswith("check user and password ")
    text = queue(daemon.config).stdout.decode()
    assert f"{found['id']}!" in text and f"({found['hint']})" in text


def test_show(away):
    body = "one\n.\n..two\n\n" + ("x" * 900 + "\n") * 99 + "\x1b[2J\u00fc"
    submit(away, text=message(body=body))
    name = ids(away.config)[1]
    with_daemon = queue(away.config, "show", name)
    away.stop()
    without = queue(away.config, "show", name)
    for done in with_daemon, without:
        assert (done.status, done.text) == (0, "")
        envelope, _, content = done.stdout.partition(b"\n\n")
        header, _, rest = content.partition(b"\n\n")
        assert f"ID: {name}\n".encode() in envelope
        assert b"\nSender: <a@example.test>\n" in envelope
        assert b"\nRecipient: <b@example.test> waiting" in envelope
        assert b"\nSubject: test\n" in header and b"\r" not in content
        assert rest.decode() == body + "\n"


def on_terminal(stream, until, *command):
    """What the command writes to a terminal, up to those bytes, and its exit
    status."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([str(word) for word in command],
                          **{stream: theirs}) as process:
        text = b""
        while until not in text:
            text += os.read(ours, 65536)
    os.close(theirs)
    os.close(ours)
    return text, process.returncode


def test_terminal(away):
    """On a terminal a message cannot play tricks."""
    submit(away, text=message(body="\x1b]0;x\x07\x7f<end>"))
    name = ids(away.config)[1]
    assert b"\x1b]0;x\x07\x7f<end>" in queue(away.config, "show",
                                             name).stdout
    text, status = on_terminal("stdout", b"<end>", harness.BIN, "-c",
                               away.config, "queue", "show", name)
    assert status == 0
    assert b"?]0;x??<end>" in text and b"\x1b" not in text


def test_progress(start, kept, relay):
    """Long runs say how far they are, with the daemon and without."""
    one = relay(Fault("connect", "rst", times=1))
    daemon = start(kept(one))
    for number in range(3):
        send_queued(daemon, f"n{number}")
    text, status = on_terminal(
        "stderr", b"\r0 of 3 left", harness.BIN, "-c", daemon.config,
        "queue", "retry", "--wait")
    assert status == 0 and text.startswith(b"\r3 of 3 left")
    one.fault = Fault("rcpt", "451", times=9)
    submit(daemon)
    daemon.stop()
    text, status = on_terminal(
        "stderr", b"1 message is left", harness.BIN, "-c", daemon.config,
        "queue", "retry")
    assert status == TEMPORARY and text.startswith(b"\r1 of 1 left")


def test_failed(start, kept, relay, spool):
    """A message that nobody can be told about."""
    one = relay(recipients={"no@example.test": "550 5.1.1 who?"})
    daemon = start(kept(one, {"queue": {"delivery": "queue"}}))
    submit(daemon, "no@example.test", sender="<>")
    name = daemon.wait_event("bounced")["id"]
    for _ in range(2):
        while not spool.names("failed"):
            daemon.connect().close()
        assert listed(daemon.config) == []
        [found] = listed(daemon.config, "--failed")
        assert (found["id"], found["outcome"]) == (name, "failed")
        assert found["recipients"] == [
            {"address": "no@example.test", "state": "refused",
             "reply": "550 5.1.1 who?"}]
        assert b"State: failed\n" in queue(daemon.config, "show",
                                           name).stdout
        daemon.stop()


# ---- Who may ---------------------------------------------------------

def test_modes(away, place):
    for name, mode in (("socket", 0o666), ("control", 0o600)):
        found = os.lstat(place / name)
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == mode
    away.stop()
    assert not (place / "socket").exists()
    assert not (place / "control").exists()


@needs_root
def test_control_goes_to_run_as(start, kept, relay, place, spool):
    spool.path.mkdir(mode=0o700)
    os.chown(spool.path, NOBODY, NOBODY)
    start(kept(relay(), {"smarthost": {"run_as": "nobody"}}))
    found = os.lstat(place / "control")
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (NOBODY, 0o600)


@needs_root
def test_everybody_sees_what_is_his(away):
    """CL-31. The overflow uid is that of many, and owns nothing."""
    for uid in (ALICE, ALICE, BOB, NOBODY):
        submit(away, f"{uid}@example.test", uid=uid)
    everything = listed(away.config)
    assert [one["recipients"][0]["address"] for one in everything] == [
        "b@example.test", *(f"{uid}@example.test"
                            for uid in (ALICE, ALICE, BOB, NOBODY))]
    names = [one["id"] for one in everything]
    assert timeless(listed(away.config, uid=ALICE)) == timeless(
        everything[1:3])
    assert timeless(listed(away.config, uid=BOB)) == timeless(everything[3:4])
    assert listed(away.config, uid=NOBODY) == []
    text = queue(away.config, uid=ALICE).stdout.decode()
    assert text.endswith("-- 1 Kbytes in 2 Requests. (only your own messages "
                         "are shown)\n")
    text = queue(away.config, uid=NOBODY).stdout.decode()
    assert text.endswith("Mail queue is empty (only your own messages are "
                         "shown)\n")
    for uid, name in ((ALICE, names[3]), (BOB, names[1]), (ALICE, names[0]),
                      (NOBODY, names[4]), (NOBODY, names[0])):
        for verb in "show", "drop", "retry":
            done = queue(away.config, verb, name, uid=uid)
            assert done.status == BAD_INPUT, (uid, verb)
            assert done.text == ("smarthost: There is no such message of "
                                 "yours\n")
            assert done.stdout == b""
    assert ids(away.config) == names
    assert queue(away.config, "drop", names[1], uid=ALICE).status == 0
    assert ids(away.config) == names[:1] + names[2:]
    assert not away.events("retry")
    [event] = away.events("dropped")
    assert event["id"] == names[1]
    assert event["client"] == f"uid {ALICE}"
    assert event["to"] == f"{ALICE}@example.test"


@needs_root
@pytest.mark.parametrize("command", [("sendmail", "-bp"), ("mailq",)])
def test_mailq_as_a_user(command, away, place):
    """Also for a uid that has no name (CL-60)."""
    submit(away, uid=ALICE)
    env = {"SMARTHOST_LISTEN_SOCKET": away.socket, "HOME": ""}
    binary = harness.BIN
    if command == ("mailq",):
        binary, command = place / "mailq", ()
        binary.symlink_to(harness.BIN)
    done = run(*command, env=env, uid=ALICE, binary=binary)
    assert (done.status, done.text) == (0, "")
    assert b" in 1 Request." in done.stdout


@needs_root
def test_a_user_may_not_control(away, place):
    with pytest.raises(PermissionError):
        os.seteuid(ALICE)
        try:
            harness.Conversation(place / "control")
        finally:
            os.seteuid(0)


def test_not_over_the_network(away):
    for question in "XQUEUE", "XQUEUE LIST", "xqueue status":
        with away.connect() as client:
            reply = client.command(question)
            assert (reply.code, reply.text) == (502, client.command(
                "NONSENSE").text)


# ---- Without a daemon ------------------------------------------------

def test_the_spool_itself(away, relay, kept, place):
    for _ in range(2):
        submit(away)
    names = ids(away.config)
    away.stop()
    assert ids(away.config) == names
    assert queue(away.config, "drop", names[1]).status == 0
    assert ids(away.config) == [names[0], names[2]]
    done = queue(away.config, "drop", names[1], names[2])
    assert done.status == BAD_INPUT
    assert ids(away.config) == names[:1]
    done = queue(away.config, "retry")
    assert done.status == TEMPORARY
    assert "upstream default is away: connect to " in done.text
    assert done.text.endswith("1 message is left; smarthost queue says why\n")
    one = relay()
    config = harness.write_config(place / "smarthost.conf", kept(one))
    done = queue(config, "retry")
    assert (done.status, one.copies()) == (0, 1), done.text
    assert listed(config) == []


def test_a_run_tries_each_message_once(kept, relay, spool, place):
    """Those that are not due, too; and the notice about a refused one."""
    one = relay(recipients={"1@example.test": "451 4.3.0 later",
                            "2@example.test": "550 5.1.1 who?"})
    spool.make()
    for number in range(1, 21):
        path = spool.path / "queue" / make_file(spool, number, recipients=3)
        os.utime(path, (time.time() + 1000, time.time() + 1000))
    config = harness.write_config(place / "smarthost.conf", kept(one))
    done = queue(config, "retry")
    assert done.status == TEMPORARY
    assert done.text.endswith("20 messages are left; smarthost queue says "
                              "why\n")
    told = [m for m in one.messages if m.sender == ""]
    assert len(one.messages) - len(told) == 20
    assert 1 <= len(told) <= 20
    first = listed(config)[0]
    assert [r["state"] for r in first["recipients"]] == [
        "sent", "waiting", "refused"]
    one.recipients = {}
    before = len(one.messages)
    done = queue(config, "retry", first["id"])
    assert done.status == 0, done.text
    assert one.messages[before].recipients == ["1@example.test"]
    assert first["id"] not in ids(config)


@pytest.mark.skipif(time.monotonic() < 3660, reason="the machine has been "
                    "started in the last hour, its clock may be wrong")
def test_a_run_gives_up_what_is_too_old(kept, relay, spool, place):
    """Or it would stay for ever, where there never is a daemon."""
    spool.make()
    make_file(spool, 1, age=6 * 86400)
    make_file(spool, 2)
    one = relay(Fault("rcpt", "451", times=2))
    config = harness.write_config(place / "smarthost.conf", kept(one))
    done = queue(config, "retry")
    assert done.status == TEMPORARY
    [notice] = one.messages
    assert (notice.sender, notice.recipients) == ("", ["1@example.test"])
    assert [found["sender"] for found in listed(config)] == [
        "2@example.test"]
    assert spool.names("failed") == []


@pytest.mark.parametrize("word", ["-q", "-q1h", "-qI"])
def test_sendmail_q_without_a_daemon(word, kept, relay, spool, place):
    """It is a success when the run is over, as it always was (CL-59)."""
    spool.make()
    names = [make_file(spool, number) for number in (1, 2)]
    faulty = relay(Fault("dot", "451", times=10))
    config = harness.write_config(place / "smarthost.conf", kept(faulty))
    if word == "-qI":
        word += names[1]
    done = run("sendmail", "-C", config, word)
    assert (done.status, done.stdout, done.text) == (0, b"", "")
    assert ids(config) == names
    good = relay()
    harness.write_config(config, kept(good))
    done = run("sendmail", "-C", config, word)
    assert (done.status, done.text) == (0, "")
    assert ids(config) == ([names[0]] if "I" in word else [])


@needs_root
def test_root_leaves_the_spool_to_its_owner(kept, relay, spool, place):
    """The daemon has to be able to use what a run of root's has made."""
    spool.make()
    make_file(spool, 1, recipients=2)
    for directory, _, files in os.walk(spool.path):
        for name in (".", *files):
            os.chown(os.path.join(directory, name), ALICE, ALICE)
    one = relay(recipients={"0@example.test": "550 5.1.1 who?"},
                replies={"mail": "250 ok"})
    config = harness.write_config(place / "smarthost.conf", kept(one))
    os.chown(config, ALICE, ALICE)
    one.recipients["1@example.test"] = "451 4.3.0 later"
    assert queue(config, "retry").status == TEMPORARY
    for directory, _, files in os.walk(spool.path):
        for name in (".", *files):
            found = os.lstat(os.path.join(directory, name))
            assert found.st_uid == ALICE, name
    assert "lock" in os.listdir(spool.path)


def test_who_has_the_lock_keeps_it(kept, relay, spool, place):
    """A message in somebody's hands is neither dropped nor sent."""
    spool.make()
    names = [make_file(spool, number) for number in (1, 2)]
    one = relay()
    config = harness.write_config(place / "smarthost.conf", kept(one))
    with open(spool.path / "queue" / names[0], "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = queue(config, "drop", names[0])
        assert done.status == TEMPORARY
        assert "is in delivery" in done.text
        assert ids(config) == names
        assert queue(config, "retry").status == TEMPORARY
        assert ids(config) == names[:1]
        assert one.copies() == 1
    assert queue(config, "retry").status == 0
    assert one.copies() == 2


def test_a_daemon_without_control(start, kept, nobody_there, spool):
    """The files can be read, and a message be dropped; but there is one
    daemon a spool."""
    daemon = start(kept(nobody_there, {"listen": {"control": "none"}}))
    for _ in range(2):
        send_queued(daemon)
    names = ids(daemon.config)
    assert names == spool.names()
    assert queue(daemon.config, "show", names[0]).status == 0
    assert queue(daemon.config, "drop", names[0]).status == 0
    assert ids(daemon.config) == names[1:]
    done = queue(daemon.config, "retry")
    assert done.status == TEMPORARY
    assert "is in use by a daemon" in done.text
    assert not (daemon.place / "control").exists()


@needs_root
def test_a_stranger_without_a_daemon(away):
    away.stop()
    for words in (), ("retry",), ("drop", NO_SUCH_ID), ("show", NO_SUCH_ID):
        done = queue(away.config, *words, uid=ALICE)
        assert done.status == TEMPORARY
        assert re.fullmatch(r"smarthost: no daemon at .*\n", done.text)
        assert done.stdout == b""
    env = {"SMARTHOST_LISTEN_SOCKET": away.place / "socket"}
    for word in "-bp", "-q":
        done = run("sendmail", word, env=env, uid=ALICE)
        assert (done.status, done.stdout) == (TEMPORARY, b"")
        assert re.fullmatch(r"sendmail: no daemon at .*\n", done.text)


@contextlib.contextmanager
def fake_daemon(path, *says):
    """Says each of it to one client that has asked, and hangs up."""
    def serve():
        for text in says:
            client = server.accept()[0]
            with client:
                client.sendall(text)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(8)
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(WAIT)


@pytest.mark.parametrize("says, status, out", [
    (b"", TEMPORARY, b""),
    (b"421 4.7.0 Too many connections\r\n", TEMPORARY, b""),
    (b"220 x\r\n", TEMPORARY, b""),
    (b"220 x\r\n250-one\r\n250-tw", TEMPORARY, b"one\ntw"),
    (b"220-x\r\n220 y\r\n250-one\r\n250-\r\n250 2.0.0 Ok\r\n", 0, b"one\n\n"),
    (b"220 x\n250-" + b"x" * 100000 + b"\n250 Ok\n", 0,
     b"x" * 100000 + b"\n"),
    (b"220 x\r\n451 4.3.0 not now\r\n", TEMPORARY, b""),
    (b"220 x\r\n502 5.5.2 what?\r\n", BAD_INPUT, b""),
])
def test_another_daemon(says, status, out, place, kept, relay):
    """One that stops in the middle, or that is of another version."""
    config = harness.write_config(place / "smarthost.conf", kept(relay()))
    with fake_daemon(place / "control", says):
        done = queue(config)
    assert (done.status, done.stdout) == (status, out)
    assert (done.text == "") == (status == 0)
    assert done.text.count("\n") <= 1


# ---- retry and drop --------------------------------------------------

def test_retry_ends_the_pause(start, kept, relay):
    one = relay(Fault("connect", "rst", times=1))
    daemon = start(kept(one))
    for number in range(5):
        send_queued(daemon, f"n{number}")
    done = queue(daemon.config, "retry", "--wait")
    assert (done.status, done.stdout) == (0, b""), done.text
    assert all(one.copies(b"<n%d>" % n) == 1 for n in range(5))
    daemon.wait_event("upstream_up")
    assert daemon.wait_event("retry")["client"] == f"uid {os.getuid()}"


def test_retry_without_waiting(start, kept, relay):
    one = relay(Fault("connect", "rst", times=1))
    daemon = start(kept(one))
    name = send_queued(daemon)
    done = queue(daemon.config, "retry", name)
    assert (done.status, done.stdout.decode(), done.text) == (
        0, f"{name} is due now\n", "")
    one.wait_messages(1)
    assert daemon.wait_event("retry")["id"] == name


def test_retry_when_it_is_still_away(away):
    submit(away)
    done = queue(away.config, "retry", "--wait")
    assert done.status == TEMPORARY
    assert re.search(r"upstream default: away, next try in \d+ s: ",
                     done.text)
    assert done.text.endswith(
        "2 messages are left; smarthost queue says why\n")


def test_retry_of_what_was_put_off(start, kept, relay):
    """Those that were asked for, and no others."""
    one = relay(Fault("rcpt", "451", times=3))
    daemon = start(kept(one))
    names = [send_queued(daemon, f"n{number}") for number in range(3)]
    done = queue(daemon.config, "retry", "--wait", names[2], NO_SUCH_ID,
                 names[0])
    assert done.status == BAD_INPUT
    assert done.text == "smarthost: There is no such message\n"
    assert [one.copies(b"<n%d>" % n) for n in range(3)] == [1, 0, 1]
    assert ids(daemon.config) == [names[1]]
    done = queue(daemon.config, "retry", names[0])
    assert done.status == BAD_INPUT
    assert done.text == "smarthost: There is no such message\n"


def test_retry_that_is_refused_again(start, kept, relay):
    """Tried is tried: it does not wait for the next time."""
    one = relay(Fault("rcpt", "451", times=3))
    daemon = start(kept(one))
    name = send_queued(daemon)
    done = queue(daemon.config, "retry", "--wait", name)
    assert done.status == TEMPORARY
    assert done.text.splitlines()[-1] == ("smarthost: 1 message is left; "
                                          "smarthost queue says why")
    assert "451" in listed(daemon.config)[0]["recipients"][0]["reply"]


@needs_root
def test_retry_by_a_user(start, kept, relay):
    """His own, and only as far as the relay may be tried at all."""
    one = relay(Fault("rcpt", "451", times=2))
    daemon = start(kept(one))
    for uid in ALICE, BOB:
        submit(daemon, f"{uid}@example.test", uid=uid)
    done = run("sendmail", "-q", uid=ALICE,
               env={"SMARTHOST_LISTEN_SOCKET": daemon.socket})
    assert (done.status, done.stdout, done.text) == (0, b"", "")
    one.wait_messages(1)
    assert one.messages[0].recipients == [f"{ALICE}@example.test"]
    assert queue(daemon.config, "retry", "--wait", uid=BOB).status == 0
    assert one.messages[1].recipients == [f"{BOB}@example.test"]


@needs_root
def test_a_user_does_not_end_a_pause(start, kept, relay):
    """A provider bans hosts that hammer."""
    one = relay(Fault("connect", "rst", times=1))
    daemon = start(kept(one))
    submit(daemon, uid=ALICE)
    sessions = len(one.sessions)
    for words in ("retry",), ("retry", *ids(daemon.config)):
        done = queue(daemon.config, *words, uid=ALICE)
        assert done.status == 0, done.text
    done = queue(daemon.config, "retry", "--wait", uid=ALICE)
    assert done.status == TEMPORARY
    assert "upstream default: away, next try" in done.text
    assert len(one.sessions) == sessions
    assert queue(daemon.config, "retry", "--wait").status == 0
    one.wait_messages(1)


def test_drop_in_delivery_is_refused(start, kept, patient):
    one = patient("dot")
    daemon = start(kept(one, {"queue": {"delivery": "queue"}}))
    name = send_queued(daemon)
    assert one.waiting.wait(WAIT)
    done = queue(daemon.config, "drop", name)
    assert done.status == TEMPORARY
    assert done.text == (f"smarthost: {name} is in delivery, or about to be; "
                         "try again later\n")
    one.release.set()
    one.wait_messages(1)
    daemon.wait_event("sent", id=name)
    assert not daemon.events("dropped")


def test_what_is_dropped_is_gone(start, kept, relay):
    one = relay(Fault("connect", "rst", times=1))
    daemon = start(kept(one))
    names = [send_queued(daemon, f"n{number}") for number in range(4)]
    done = queue(daemon.config, "drop", names[0], NO_SUCH_ID, names[2])
    assert done.status == BAD_INPUT
    assert done.text == "smarthost: There is no such message\n"
    assert [e["id"] for e in daemon.events("dropped")] == names[::2]
    assert ids(daemon.config) == names[1::2]
    assert queue(daemon.config, "retry", "--wait").status == 0
    assert [one.copies(b"<n%d>" % n) for n in range(4)] == [0, 1, 0, 1]
    assert not daemon.events("message", level="error")


def test_to_ask_leaves_no_line(away):
    before = len(away.log.events)
    name = ids(away.config)[0]
    queue(away.config)
    queue(away.config, "show", name)
    queue(away.config, "list", "--failed")
    queue(away.config, "show", NO_SUCH_ID)
    run("-c", away.config, "health", "--relay")
    ask(away, "XQUEUE STATUS")
    away.stop()
    assert [e["event"] for e in away.log.events[before:]] == [
        "stopping", "stopped"]


# ---- A long queue ----------------------------------------------------

MANY = 20000


@pytest.fixture
def memory(place):
    """A directory without a disk, which would take its time to forget so
    many files; or where there is little memory, with one."""
    path = "/dev/shm"
    if not os.path.isdir(path) or shutil.disk_usage(path).free < 256 << 20:
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="sh-", dir=path) as path:
        yield pathlib.Path(path)


@pytest.fixture
def long_queue(memory, start, kept, nobody_there):
    """A daemon with MANY messages in its spool: daemon.spool."""
    spool = Spool(memory / "many").make()
    for number in range(MANY):
        make_file(spool, number + 1, owner=ALICE if number % 2 else BOB)
    daemon = start(kept(nobody_there, {"queue": {"directory": spool.path}}))
    daemon.wait_event("upstream_down")
    daemon.spool = spool
    return daemon


def test_many_messages(long_queue):
    """All of them, in order, and the daemon does not grow by more than their
    names (CL-58)."""
    before = long_queue.rss()
    found = listed(long_queue.config)
    assert [one["id"] for one in found] == long_queue.spool.names()
    assert len(found) == MANY
    done = queue(long_queue.config)
    assert done.stdout.decode().endswith(f" in {MANY} Requests.\n")
    if ROOT:
        assert len(listed(long_queue.config, uid=ALICE)) == MANY // 2
    if not harness.SANITIZED:
        assert long_queue.rss() - before < 8 * 1024 * 1024


def test_a_client_that_does_not_read(long_queue):
    """It holds up nobody but itself, and its answer is not kept ready."""
    before = long_queue.rss()
    control = str(long_queue.place / "control")
    with long_queue.connect(control) as idle:
        idle.send(b"XQUEUE LIST JSON\r\n")
        waiting = array.array("i", [0])
        while waiting[0] < 4096:
            fcntl.ioctl(idle.sock, termios.FIONREAD, waiting)
        assert len(listed(long_queue.config)) == MANY
        if not harness.SANITIZED:
            assert long_queue.rss() - before < 8 * 1024 * 1024


def test_head(long_queue):
    """Who has seen enough closes the pipe: no sentence about that."""
    done = subprocess.run(
        f"'{harness.BIN}' -c '{long_queue.config}' queue | head -n 1",
        shell=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, check=False)
    assert done.stdout.startswith(b"-Queue ID-")
    assert done.stderr == b""


def test_messages_vanish_meanwhile(long_queue):
    """Removed, and added, while they are listed."""
    spool, over = long_queue.spool, threading.Event()

    def disturb():
        for path in spool.files()[::2]:
            if over.is_set():
                break
            path.unlink()
            make_file(spool, int(path.name[:16], 16) + 0x10000)
    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(3):
            found = listed(long_queue.config)
            assert len(found) >= MANY // 2
            assert all(one["sender"] for one in found)
    finally:
        over.set()
        thread.join()


def test_odd_files(away, spool):
    """One line for what is no message, and the rest goes on."""
    name = ids(away.config)[0]
    odd = {"1": b"", "2": b"smarthost 2\nid x\n", "3": b"\x1b]0;x\x07" * 99}
    for number, text in odd.items():
        (spool.path / "queue" / (number * 32)).write_bytes(text)
    os.mkfifo(spool.path / "queue" / ("4" * 32))
    (spool.path / "queue" / "foreign").write_bytes(b"x")
    for _ in range(2):
        found = listed(away.config)
        assert [one["id"] for one in found] == [
            name, *(number * 32 for number in "1234")]
        assert all(one["hint"].startswith("this file is ")
                   for one in found[1:])
        done = queue(away.config)
        assert done.status == 0 and b"\x1b" not in done.stdout
        assert done.stdout.count(b"(this file is ") == 4
        assert queue(away.config, "show", "3" * 32).status == 0
        away.stop()


# ---- The wire, and the command line -----------------------------------

def test_wire(away):
    reply = ask(away, "XQUEUE STATUS")
    lines = reply.text.split("\n")
    assert lines[:3] == ["messages 1", "held 0", "failed 0"]
    assert lines[3].startswith("upstream default: away, next try in ")
    assert lines[4:] == ["2.0.0 Ok"]
    name = ids(away.config)[0]
    reply = ask(away, "XQUEUE LIST BRIEF")
    assert re.match(name + r" \S+\nupstream default: away, .*\n2\.0\.0 ",
                    reply.text)
    reply = ask(away, "xqueue list json")
    assert reply.code == 250
    assert [one["id"] for one in json.loads(
        reply.text.rpartition("\n")[0])] == [name]
    assert ask(away, "XQUEUE  LIST\tBRIEF ").code == 250
    for question in ("XQUEUE", "XQUEUE LOST", "XQUEUE LIST XML",
                     "XQUEUE SHOW", "XQUEUE SHOW a b", "XQUEUE DROP",
                     f"XQUEUE DROP {name} {name}",
                     f"XQUEUE RETRY {name} {name}"):
        assert ask(away, question).code == 501, question
    for words in "../queue", "x", name[:-1], name + "0", NO_SUCH_ID:
        for verb in "SHOW", "DROP", "RETRY":
            assert ask(away, f"XQUEUE {verb} {words}").code == 550
    # mail can be sent there too, and a transaction is not disturbed
    with away.connect(str(away.place / "control")) as client:
        client.ehlo()
        client.expect(250, "MAIL FROM:<a@example.test>")
        client.expect(250, "XQUEUE LIST")
        client.expect(250, "RCPT TO:<b@example.test>")
        client.expect(354, "DATA")
        client.send(message(newline="\r\n") + b".\r\n")
        client.expect(250)
    assert len(ids(away.config)) == 2


def test_pipelined(away):
    with away.connect(str(away.place / "control")) as client:
        client.send(b"XQUEUE LIST\r\nXQUEUE STATUS\r\nNOOP\r\n" * 20)
        for _ in range(20):
            assert "in 1 Request" in client.expect(250).text
            assert "messages 1" in client.expect(250).text
            client.expect(250)


@pytest.mark.parametrize("words", [
    ("lost",), ("list", "x"), ("list", "--xml"), ("show",), ("drop",),
    ("show", "a", "b"), ("show", "x"), ("drop", "../x"), ("retry", "--x"),
    ("retry", "x"), ("drop", NO_SUCH_ID, "X" * 32), ("--json", "list"),
])
def test_usage(words, away):
    done = queue(away.config, *words)
    assert (done.status, done.stdout) == (USAGE, b"")
    assert done.text.count("\n") == 1
    assert len(ids(away.config)) == 1


def test_no_such_configuration(place):
    done = queue(place / "nonexistent.conf")
    assert done.status == CONFIG
    assert "nonexistent.conf: cannot be read" in done.text


def test_output_that_cannot_be_written(away):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [str(harness.BIN), "-c", away.config, "queue"], stdout=full,
            stderr=subprocess.PIPE, check=False)
    assert done.returncode == 74
    assert done.stderr == b"smarthost: cannot write the output\n"


# ---- health --relay --------------------------------------------------

def health(daemon):
    return run("-c", daemon.config, "health", "--relay")


def test_healthy(start, kept, relay, place):
    for control in place / "control", "none":
        daemon = start(kept(relay(), {"listen": {"control": control}}))
        done = health(daemon)
        assert (done.status, done.stdout, done.text) == (0, b"", "")
        daemon.stop()
        assert health(daemon).status == 1


def test_unhealthy_while_the_relay_is_away(away):
    done = health(away)
    assert done.status == 1
    assert re.match(r"smarthost: upstream default: away, ", done.text)
    assert run("-c", away.config, "health").status == 0


def test_unhealthy_with_held_or_failed_mail(start, kept, relay, spool):
    spool.make()
    name = make_file(spool, 1, state="H", reply="5.7.1 not verified")
    path = spool.path / "queue" / name
    os.utime(path, (time.time() + 600, time.time() + 600))
    daemon = start(kept(relay()))
    done = health(daemon)
    assert done.status == 1 and "mail is held" in done.text
    [found] = listed(daemon.config)
    assert found["outcome"] == "hold"
    path.rename(spool.path / "failed" / name)
    done = health(daemon)
    assert done.status == 1 and "failed messages" in done.text
    (spool.path / "failed" / name).unlink()
    assert health(daemon).status == 0


# ---- health ----------------------------------------------------------

@pytest.mark.parametrize("how", ["full", "readable", "moved"])
def test_unhealthy_spool(how, disk, start, kept, relay):  # noqa: F811
    """A daemon that could keep nothing; it goes on when it can, and logs
    nothing about it."""
    small = disk("size=64k")
    os.chown(small.spool.path, NOBODY, NOBODY)
    daemon = start(kept(relay(), {"smarthost": {"run_as": "nobody"},
                                  "queue": {"min_free": "0"}}),
                   wrapper=small.wrapper)
    incoming = small.spool.path / "incoming"

    def ask(*words):
        return run("-c", daemon.config, "health", *words)
    assert (ask().status, ask().text) == (0, "")
    before = daemon.log.raw
    if how == "full":
        small.fill()
    elif how == "readable":
        incoming.chmod(0o500)
    else:
        (small.spool.path / "queue").rename(small.spool.path / "old")
    done = ask()
    assert done.status == 1 and done.stdout == b""
    assert re.fullmatch(r"smarthost: the spool .*\n", done.text), done.text
    assert ("start it again" if how == "moved" else "written") in done.text
    assert ask("--relay").status == 1
    if how == "full":
        (small.spool.path / "filler").unlink()
    elif how == "readable":
        incoming.chmod(0o700)
    else:
        (small.spool.path / "old").rename(small.spool.path / "queue")
    assert ask().status == 0 and os.listdir(incoming) == []
    assert daemon.log.raw == before


def test_no_daemon_is_named(sections, relay, place):
    for listen, where in [
            ({}, rf"{place}/socket, nor at 127\.0\.0\.1:0"),
            ({"address": "none"}, f"{place}/socket"),
            ({"socket": "none", "control": "none"}, r"127\.0\.0\.1:0")]:
        config = harness.write_config(place / "conf", sections(
            relay(), {"listen": listen}))
        done = run("-c", config, "health")
        assert done.status == 1
        assert re.fullmatch(
            f"smarthost: the daemon does not answer at {where}\n", done.text)


def test_spool_that_is_none(sections, relay, place):
    """What is wrong with it is not always a lack of rights."""
    (place / "spool").write_text("")
    config = harness.write_config(place / "conf", sections(
        relay(), {"queue": {"directory": place / "spool"}}))
    done = run("-c", config, "queue")
    assert done.status == TEMPORARY
    assert f"spool {place}/spool cannot be read: Not a dir" in done.text
