# SPDX-License-Identifier: ISC
"""sendmail while the daemon is down, starting, stopping, sick or full: every
message that it has said yes to arrives, once (DU-26); and what strangers put
into the maildrop does no harm (CL-27)."""

import concurrent.futures
import contextlib
import functools
import itertools
import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

import conftest
import harness
from badrelay import BadRelay, Fault
from harness import (BAD_INPUT, NOBODY, TEMPORARY, WAIT, Daemon, message,
                     sendmail, wait_for)
from test_kill import (TRACED, Submission, Tracer, can_trace,
                       kill_at_every_call, most_calls, trace_options)
from test_queue import (Spool, disk, kept, patient,  # noqa: F401
                        spool)

pytestmark = pytest.mark.skipif(os.getuid() != 0,
                                reason="needs root, to be others")
needs_strace = pytest.mark.skipif(not can_trace(), reason="needs strace")
B = "b@example.test"
OTHER = 4321
NAME = re.compile(r"[0-9a-f]{24}")
ID = re.compile(r"[0-9a-f]{32}")
HELD = re.compile(r"sendmail: [0-9a-f]{32} held: (.*)\n")


class Host:
    """A host whose daemon runs as nobody, and whose configuration only root
    can read."""

    def __init__(self, place, spool, start):  # noqa: F811
        self.place, self.spool, self.start = place, spool, start
        self.drop = spool.path / "maildrop"
        self.config = place / "root.conf"
        os.chown(place, NOBODY, NOBODY)

    def make(self):
        """What package and daemon leave behind when the daemon stops."""
        for name in ("", "incoming", "queue", "failed", "maildrop"):
            (self.spool.path / name).mkdir(mode=0o700, exist_ok=True)
        for path in (self.spool.path, *self.spool.path.iterdir()):
            os.chown(path, NOBODY, NOBODY)
        self.spool.path.chmod(0o711)
        self.drop.chmod(0o3733)
        return self

    def configure(self, sections):
        self.sections = sections
        harness.write_config(self.config, sections)
        return self

    def run(self, **options):
        return self.start(self.sections, uid=NOBODY, **options)

    def env(self, **changes):
        return {"SMARTHOST_CONFIG": self.config,
                "SMARTHOST_LISTEN_SOCKET": self.place / "socket",
                "SMARTHOST_QUEUE_DIRECTORY": self.spool.path, **changes}

    def send(self, marker="m", *args, uid=OTHER, env=None, to=(B,), text=None,
             **more):
        env = self.env(**(env or {}))
        return sendmail("-i", *args, *to,
                        stdin=text or message(body=f"<{marker}>"), uid=uid,
                        env=env, **more)

    def leave(self, *args, **more):
        """Sends; it has to be taken, without a word."""
        result = self.send(*args, **more)
        assert (result.status, result.text) == (0, "")

    def drops(self):
        return sorted(os.listdir(self.drop))

    def put(self, name, data=b"", mode=0o640, uid=OTHER, gid=NOBODY):
        """A file in the maildrop, made by hand."""
        path = self.drop / name
        path.write_bytes(data)
        os.chown(path, uid, gid)
        path.chmod(mode)
        return path

    def empty(self):
        """Waits until the daemon has taken in what there is."""
        wait_for(lambda: not any(map(NAME.fullmatch, self.drops())))

    def assert_clean(self):
        assert self.drops() == []
        self.spool.assert_empty()


@pytest.fixture
def host(place, spool, kept, relay, start):  # noqa: F811
    host = Host(place, spool, start).make()
    host.relay = relay()
    return host.configure(kept(host.relay))


@pytest.fixture
def away(host, kept, nobody_there):  # noqa: F811
    """The same, and its relay cannot be reached."""
    return host.configure(kept(nobody_there))


def owners(spool):  # noqa: F811
    return {path.stat().st_uid for path in spool.files()}


# ---- No daemon -------------------------------------------------------

def test_anybody(host):
    """No daemon, no readable configuration, no privilege."""
    host.leave(wrapper=["setpriv", "--no-new-privs"])
    [name] = host.drops()
    assert NAME.fullmatch(name)
    found = os.stat(host.drop / name)
    assert (found.st_uid, found.st_gid) == (OTHER, NOBODY)
    assert stat.S_IMODE(found.st_mode) == 0o640
    daemon = host.run()
    host.relay.wait_messages(1)
    event = daemon.wait_event("accepted", client=f"uid {OTHER}")
    daemon.stop()
    host.assert_clean()
    [taken] = host.relay.messages
    assert taken.recipients == [B]
    assert taken.sender == f"uid{OTHER}@client.example.test"
    assert taken.text == b"<m>\r\n"
    assert re.search(rb"(?m)^Received: from local \(uid %d\)\r\n\tby "
                     rb"client.example.test with local id %s;" %
                     (OTHER, event["id"].encode()), taken.header)
    assert taken.header.count(b"Received:") == 1


def test_nobody_else_reads_it(host):
    """Names cannot be listed, nor files read or removed."""
    host.leave(uid=OTHER)
    [name] = host.drops()

    def shell(command):
        return subprocess.run(["sh", "-c", command], cwd="/", check=False,
                              stderr=subprocess.DEVNULL,
                              **harness.as_user(OTHER + 1)).returncode
    assert shell(f"ls {host.drop}")
    assert shell(f"cat {host.drop / name}")
    assert shell(f"rm -f {host.drop / name}")
    assert shell(f"mv {host.drop / name} {host.drop / 'x'}")
    assert host.drops() == [name]


TEXTS = {
    "nothing": b"", "header only": b"Subject: <m>\n",
    "dots": b"Subject: <m>\n\n.\n..\n.x\n", "no newline": b"a: b\n\nx",
    "8-bit": b"Subject: <m>\n\n" + bytes(range(128, 256)) + b"\n",
    "like an envelope": b"\nsmarthost 1\nid 0\nend\n\nend\n",
    "spilled": b"Subject: <m>\n\n" + b"0123456789abcde\n" * 65536,
    "long line": b"Subject: <m>\n\n" + b"x" * 5000 + b"\n",
}


@pytest.mark.parametrize("case", TEXTS)
def test_it_is_what_the_daemon_would_have_sent(case, host):
    """The same bytes, but for who says so and when."""
    text = b"Date: x\nMessage-ID: <x@y>\nFrom: a@b.test\n" + TEXTS[case]
    daemon = host.run()
    host.leave(text=text)
    daemon.stop()
    host.leave(text=text)
    assert len(host.drops()) == 1
    daemon = host.run()
    host.relay.wait_messages(2)
    daemon.stop()
    first, second = host.relay.messages
    received = re.compile(rb"\AReceived: .*\r\n(?:[\t ].*\r\n)*")
    assert received.sub(b"", first.body) == received.sub(b"", second.body)
    assert (first.sender, first.recipients, first.parameters) == (
        second.sender, second.recipients,
        second.parameters.replace(
            f"SIZE={len(second.content)}", f"SIZE={len(first.content)}"))


def test_many_recipients(host):
    names = [f"r{number}@example.test" for number in range(1000)]
    host.leave(to=names)
    daemon = host.run()
    host.relay.wait_messages(10)  # a hundred recipients each
    host.empty()
    daemon.stop()
    assert sorted(name for one in host.relay.messages
                  for name in one.recipients) == sorted(names)


def test_wishes_and_unusual_addresses(host, relay, kept):  # noqa: F811
    """What the sender asks of notices, and addresses beyond ASCII, survive."""
    one = relay(keywords=("DSN", "SMTPUTF8"))
    host.configure(kept(one))
    host.leave("m", "-N", "success,delay", "-R", "hdrs", "-V", "x+y",
               to=("grün@example.test", "b@example.test"))
    daemon = host.run()
    one.wait_messages(1)
    daemon.stop()
    said = one.sessions[0].text
    assert re.search(r"MAIL FROM:<\S+>.* SMTPUTF8", said)
    assert " RET=HDRS" in said and " ENVID=x+2By" in said
    assert said.count(" NOTIFY=SUCCESS,DELAY") == 2
    host.assert_clean()


def test_while_it_runs(away, relay, kept):  # noqa: F811
    """The daemon sees at once what is left while it is there."""
    daemon = away.run()
    away.leave(env={"SMARTHOST_LISTEN_SOCKET": away.place / "none"})
    daemon.wait_event("accepted", client=f"uid {OTHER}")
    daemon.stop()
    assert away.drops() == []
    assert len(away.spool.names()) == 1
    one = relay()
    daemon = away.configure(kept(one)).run()
    one.wait_messages(1)
    daemon.stop()
    away.assert_clean()


def test_without_inotify(host):
    """It is missing in some sandboxes: what was left before is taken in."""
    if not can_trace():
        pytest.skip("needs strace")
    host.leave()
    daemon = host.start(host.sections, wrapper=[
        "strace", "-D", "-f", "-qqq", "-o", "/dev/null", "-e",
        "inject=inotify_init1:error=EMFILE"])
    daemon.wait_event("message", text=re.compile("no inotify"))
    host.relay.wait_messages(1)
    daemon.stop()
    host.assert_clean()


# ---- No daemon, and the spool is ours --------------------------------

@pytest.mark.parametrize("uid", [None, NOBODY])
def test_owner_of_the_spool(uid, host):
    """Root becomes the owner; the relay's answer is the answer."""
    os.chown(host.config, NOBODY, NOBODY)
    host.leave(uid=uid)
    assert host.relay.copies() == 1
    host.assert_clean()
    name = "root" if uid is None else "nobody"
    assert host.relay.messages[0].sender == f"{name}@client.example.test"
    assert re.search(rb"\AReceived: from %s \(uid %d\)" %
                     (name.encode(), uid or 0), host.relay.messages[0].body)


@pytest.mark.parametrize("delivery", ["direct", "queue"])
@pytest.mark.parametrize("kind", ["away", "451", "drop", "421"])
def test_kept_by_root(kind, delivery, host, away, relay, kept):  # noqa: F811
    """Stored as the owner, tried once, and sent by the daemon."""
    changes = {"queue": {"delivery": delivery}}
    one = relay()
    if kind != "away":
        one.fault = Fault("dot" if kind == "drop" else "rcpt", kind)
        host.configure(kept(one, changes))
    host.leave(uid=None)
    assert len(host.spool.names()) == 1
    assert owners(host.spool) == {NOBODY}
    assert host.drops() == [] == host.spool.names("incoming")
    assert one.copies() == 0 and len(one.sessions) == (kind != "away")
    assert (host.spool.files()[0].stat().st_mtime > time.time() + 5) == (
        kind != "away")
    assert re.search(rb"\nowner 0\n", host.spool.files()[0].read_bytes())
    host.spool.make_due()
    daemon = host.configure(kept(one, changes)).run()
    one.wait_messages(1)
    daemon.stop()
    assert one.copies() == 1
    host.assert_clean()


def test_success_notice(host):
    """Who asks for one of a relay that makes none gets ours."""
    host.leave("m", "-N", "success", uid=None)
    assert host.relay.copies(b"<m>") == 1
    [path] = host.spool.files()
    assert b"multipart/report" in path.read_bytes()
    assert owners(host.spool) == {NOBODY}


def test_verbose_says_that_it_is_queued(away):
    result = away.send("m", "-v", uid=None)
    assert result.status == 0
    assert re.search(r"(?m)^sendmail: [0-9a-f]{32} queued: .*refused",
                     result.text)


def test_verbose_says_that_it_is_in_the_maildrop(away):
    result = away.send("m", "-v")
    assert result.status == 0
    assert f"sendmail: left in {away.drop} for the daemon" in result.text


def test_some_are_refused(host, relay, kept):  # noqa: F811
    """Everybody has a result of his own, and the sender is told."""
    one = relay(recipients={"no@example.test": "550 5.1.1 no such user",
                            "wait@example.test": "451 4.2.1 not now"})
    host.configure(kept(one))
    host.leave(uid=None, to=(B, "no@example.test", "wait@example.test"))
    assert [taken.recipients for taken in one.messages] == [[B]]
    texts = sorted((path.read_bytes() for path in host.spool.files()),
                   key=lambda text: b"multipart/report" in text)
    assert len(texts) == 2 and owners(host.spool) == {NOBODY}
    assert [b"multipart/report" in text for text in texts] == [False, True]
    assert re.search(rb"recipient S 250 .*%s\n" % B.encode(), texts[0])
    assert re.search(rb"recipient R 550 .*no@example.test\n", texts[0])
    assert re.search(rb"recipient L 451 .*wait@example.test\n", texts[0])


@pytest.mark.parametrize("delivery, status, stored", [
    ("direct", 67, 0), ("queue", 0, 1)])
def test_all_are_refused(delivery, status, stored, host, relay,
                         kept):  # noqa: F811
    """The caller is there to hear it; or a notice is on its way."""
    one = relay(recipients={B: "550 5.1.1 no such user"})
    host.configure(kept(one, {"queue": {"delivery": delivery}}))
    result = host.send(uid=None)
    assert result.status == status
    assert ("no such user" in result.text) == (status == 67)
    assert len(host.spool.names()) == len(host.spool.names("failed")) == stored


def test_refused_login(host, relay, kept, tls):  # noqa: F811
    """One line on stderr, and yes: it is kept."""
    one = relay(tls=tls, mechanisms=("PLAIN",))
    host.configure(kept(one, {"upstream": {"password": "wrong"}}))
    result = host.send(uid=None)
    assert result.status == 0
    assert HELD.fullmatch(result.text)[1] == "bad user name or password"
    assert len(host.spool.names()) == 1
    daemon = host.run()
    result = host.send("n")
    daemon.stop()
    assert (result.status, bool(HELD.fullmatch(result.text))) == (0, True)


def test_password_that_the_owner_cannot_read(host, relay, kept,  # noqa: F811
                                             tls):
    """Secrets are read as the daemon's user; the message is kept for when
    that is mended."""
    one = relay(tls=tls, mechanisms=("PLAIN",))
    secret = host.place / "secret"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    host.configure(kept(one, {"upstream": {"password": None,
                                           "password_file": secret}}))
    result = host.send(uid=None)
    assert result.status == 0
    assert str(secret) in HELD.fullmatch(result.text)[1]
    assert one.sessions == []
    os.chown(secret, NOBODY, NOBODY)
    daemon = host.run()
    one.wait_messages(1)
    daemon.stop()
    host.assert_clean()


def test_usual_spool_is_not_made_on_the_way(host, kept, place,  # noqa: F811
                                            nobody_there):
    """A spool that nobody looks into keeps nothing: it has to be there. One
    that is written out is wanted."""
    host.configure(kept(nobody_there, {"queue": {
        "directory": place / "new"}}))
    host.leave(uid=None, env={"SMARTHOST_QUEUE_DIRECTORY": ""})
    assert len(os.listdir(place / "new" / "queue")) == 1
    code = (harness.ROOT / "ways.c").read_text()
    assert re.search(r'usual_spool\[\] = "/var/spool/smarthost"', code)
    if os.path.exists("/var/spool/smarthost"):
        pytest.skip("this host has a spool")
    host.configure(kept(nobody_there, {"queue": {"directory": None}}))
    result = host.send(uid=None, env={"SMARTHOST_QUEUE_DIRECTORY": ""})
    assert result.status == TEMPORARY
    assert not os.path.exists("/var/spool/smarthost")


def test_configuration_of_ones_own(host):
    """-C: this process and that file; no daemon, no maildrop, and nothing
    into the spool that a daemon has."""
    config = host.place / "own.conf"
    shutil.copy(host.config, config)
    config.chmod(0o644)  # root's, and everybody may read it
    result = host.send(config=config)
    assert (result.status, host.relay.copies()) == (0, 1)
    host.relay.fault = Fault("rcpt", "451")
    assert host.send(config=config).status == TEMPORARY
    daemon = host.run()
    host.relay.fault = Fault("rcpt", "451")
    result = host.send(uid=None, config=host.config)
    assert result.status == TEMPORARY and "451" in result.text
    assert not daemon.events("accepted")
    host.assert_clean()


@pytest.mark.parametrize("uid", [None, OTHER])
def test_too_large(uid, host, kept):  # noqa: F811
    host.configure(kept(host.relay, {"listen": {"max_message": "10K"}}))
    host.config.chmod(0o644)
    result = host.send(uid=uid, text=b"x\n\n" + b"x" * 70 * 1024)
    assert result.status == BAD_INPUT
    assert "max_message" in result.text and "10240" in result.text
    host.assert_clean()
    assert host.relay.sessions == []


def test_too_large_for_the_daemon(host, kept):  # noqa: F811
    """LO-15: the same status as without one, and no word about the relay."""
    host.configure(kept(host.relay, {"listen": {"max_message": "10K"}}))
    daemon = host.run()
    result = host.send(text=message() + b"x" * 20000)
    assert result.status == BAD_INPUT
    assert re.fullmatch(r"sendmail: the daemon: 552 5.3.4 [^()]*max_message\n",
                        result.text)
    daemon.stop()
    host.assert_clean()


def test_no_maildrop(away):
    """No daemon has ever run here: that is no yes."""
    away.drop.rmdir()
    result = away.send()
    assert result.status == TEMPORARY
    assert result.text.count("\n") == 1
    assert "maildrop" not in result.text


@pytest.mark.parametrize("what", ["closed", "file", "symlink", "own"])
def test_what_is_no_maildrop(what, away):
    away.drop.rmdir()
    if what == "file":
        away.drop.write_text("")
    elif what == "symlink":
        (away.place / "else").mkdir()
        (away.place / "else").chmod(0o3733)
        away.drop.symlink_to(away.place / "else")
    else:
        away.drop.mkdir()
        away.drop.chmod(0o3711 if what == "closed" else 0o777)
    assert away.send().status == TEMPORARY
    assert what == "file" or os.listdir(away.drop) == []


def as_other(disk):  # noqa: F811
    return [*disk.wrapper, "setpriv", f"--reuid={OTHER}", f"--regid={OTHER}",
            "--clear-groups"]


@pytest.fixture
def small_host(disk, place, start, kept, nobody_there):  # noqa: F811
    """Makes hosts with a spool on a small disk, and no relay."""
    def make(options, changes=None):
        small = disk(options)
        host = Host(place, small.spool, start).make()
        host.disk = small
        host.small = {"SMARTHOST_QUEUE_DIRECTORY": small.path}
        return host.configure(kept(nobody_there, changes))
    return make


def test_full_disk(small_host, relay, kept):  # noqa: F811
    """75, and not a byte of it: the last of the disk is not the submitter's,
    and the daemon can take in what there is."""
    changes = {"listen": {"max_message": "10K"}}
    host = small_host("size=256k", changes)
    host.config.chmod(0o644)
    for yes in range(300):
        result = host.send(f"n{yes}", uid=None, env=host.small,
                           wrapper=as_other(host.disk))
        if result.status:
            break
    assert result.status == TEMPORARY
    assert "No space left" in result.text
    assert "cannot use the spool" not in result.text  # nor is it for others
    assert yes > 10 and len(host.drops()) == yes
    one = relay()
    daemon = host.start(kept(one, changes), wrapper=host.disk.wrapper)
    one.wait_messages(yes)
    host.empty()
    daemon.stop()
    assert all(one.copies(b"<n%d>" % number) == 1 for number in range(yes))
    host.assert_clean()


def test_full_disk_without_a_configuration(small_host):
    """Who does not know max_message leaves room for the usual one."""
    host = small_host("size=70m")
    result = host.send(uid=None, env=host.small, wrapper=as_other(host.disk))
    assert result.status == TEMPORARY and "No space left" in result.text
    assert host.drops() == []


@pytest.mark.parametrize("umask", [0, 0o777, 0o077])
@pytest.mark.parametrize("there", [True, False])
def test_umask(umask, there, away, kept, relay, spool):  # noqa: F811
    """CL-19: the daemon can use what root's sendmail has made."""
    if not there:
        shutil.rmtree(spool.path)
        spool.path.mkdir(0o711)
        os.chown(spool.path, NOBODY, NOBODY)
    result = away.send(uid=None, umask=umask)
    assert result.status == 0, result.text
    assert [stat.S_IMODE(path.stat().st_mode) for path in (
        spool.path / "incoming", spool.path / "queue", *spool.files())] == [
            0o700, 0o700, 0o600]
    one = relay()
    daemon = away.start(kept(one), uid=NOBODY)
    one.wait_messages(1)
    daemon.stop()
    spool.assert_empty()


@pytest.mark.parametrize("what", ["room", "file", "parent"])
def test_no_spool_and_no_relay(what, place, kept, nobody_there,  # noqa: F811
                               spool):  # noqa: F811
    """The sentence names both, or nobody would look at the disk."""
    where = spool.path / "x" / "y" if what == "parent" else spool.path
    if what == "file":
        spool.path.write_text("")
    config = harness.write_config(place / "conf", kept(nobody_there, {
        "queue": {"directory": where, "min_free": "1000000G"}}))
    done = sendmail(B, config=config, stdin=message())
    assert done.status == TEMPORARY
    assert str(where) in done.text and "Connection refused" in done.text
    assert ("min_free" if what == "room" else "directory") in done.text
    assert len(done.text.splitlines()) == 1


def test_spool_that_takes_nothing(kept, nobody_there, place,  # noqa: F811
                                  spool):  # noqa: F811
    """Nor does the relay: both are named, and neither for the other."""
    config = harness.write_config(place / "conf", kept(nobody_there))
    done = sendmail(B, config=config, stdin=message(), preexec_fn=lambda:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (9, 9)))
    assert done.status == TEMPORARY
    assert re.fullmatch(r"sendmail: the spool: 4\.3\.1 cannot keep the message: "
                        r"File too large; connect to .*: Connection refused\n",
                        done.text)
    assert spool.names() == spool.names("incoming") == []


# ---- A daemon that is sick -------------------------------------------

def test_daemon_that_does_not_answer(host):
    """It takes connections and never greets. 10 s later the message is
    elsewhere, and arrives once when the daemon comes to itself."""
    daemon = host.run()
    daemon.signal(signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        other = pool.submit(host.send, "other")
        root = pool.submit(host.send, "root", uid=None)
        for result in (other.result(), root.result()):
            assert (result.status, result.text) == (0, "")
    assert len(host.spool.names()) == 1
    assert owners(host.spool) == {NOBODY}
    left, announced = host.drops()
    if len(left) == 32:
        left, announced = announced, left
    assert NAME.fullmatch(left) and announced == host.spool.names()[0]
    assert host.relay.copies() == 0
    daemon.signal(signal.SIGCONT)
    host.relay.wait_messages(2)
    daemon.stop()
    host.assert_clean()
    assert host.relay.copies(b"<other>") == host.relay.copies(b"<root>") == 1


def connect_as(uid, path):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(WAIT)
    os.seteuid(uid)
    try:
        client.connect(path)
    finally:
        os.seteuid(0)
    return client


def test_full_daemon(host, kept):  # noqa: F811
    """421: at once the next way."""
    host.configure(kept(host.relay, {"listen": {"max_clients": 3}}))
    daemon = host.run()
    with contextlib.ExitStack() as stack:
        greeting = b""
        while not greeting.startswith(b"421"):
            client = stack.enter_context(connect_as(OTHER, daemon.socket))
            greeting = client.recv(100)
        host.leave("other")
        host.relay.wait_messages(1)
    daemon.stop()
    assert host.relay.copies(b"<other>") == 1
    assert daemon.events("accepted", client=f"uid {OTHER}")
    host.assert_clean()


REFUSALS = {"451": b"451 4.3.0 no\r\n", "452": b"452 4.3.1 full\r\n",
            "421": b"421 4.3.2 stopping\r\n", "none": b""}


@pytest.mark.parametrize("step", ["greeting", "mail", "dot"])
@pytest.mark.parametrize("kind", REFUSALS)
def test_what_the_daemon_says(kind, step, host, relay):
    """4xx, or a loss: the next way, with the same Message-ID; also behind the
    dot, where a second copy is better than none."""
    words = REFUSALS[kind] or None
    fault = Fault("banner" if step == "greeting" else step, "raw", data=words)
    if not words:
        fault = Fault(fault.step, "drop")
    daemon = relay(fault)  # as good as any
    path = host.place / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0o666)

        def splice():
            client, _ = server.accept()
            out = socket.create_connection(("127.0.0.1", daemon.port))
            back = threading.Thread(target=pump, args=(out, client))
            back.start()
            pump(client, out)
            back.join()
            client.close()
            out.close()
        thread = threading.Thread(target=splice)
        thread.start()
        host.leave()
        thread.join()
    [name] = host.drops()
    path.unlink()
    host.run()
    host.relay.wait_messages(1)
    assert host.relay.copies(b"<m>") == 1


def pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def test_5xx_of_the_daemon_is_final(host, relay):
    host.relay.fault = Fault("rcpt", "550")
    host.run()
    assert host.send().status in harness.REFUSED
    assert host.drops() == []


# ---- No daemon at all ------------------------------------------------

def test_queue_run(away, relay, kept):  # noqa: F811
    """sendmail -q, as root: what is in the queue and in the maildrop."""
    away.leave("other")
    away.leave("root", uid=None)
    assert len(away.spool.names()) == len(away.drops()) == 1
    one = relay()
    away.configure(kept(one))
    done = sendmail("-q", env=away.env())
    assert (done.status, done.text) == (0, "")
    assert one.copies(b"<other>") == one.copies(b"<root>") == 1
    away.assert_clean()
    [taken] = [one for one in one.messages if b"<other>" in one.content]
    assert b"Received: from local (uid %d)" % OTHER in taken.header


def test_queue_run_with_the_relay_away(away):
    """It is in the queue then, as the spool's owner."""
    away.leave("other")
    sendmail("-q", env=away.env())
    assert away.drops() == [] and len(away.spool.names()) == 1
    assert owners(away.spool) == {NOBODY}


def test_queue_runs_side_by_side(away, relay, kept):  # noqa: F811
    """Each message once, and each run ends."""
    count = 20
    for number in range(count):
        away.leave(f"n{number}.", uid=None if number % 2 else OTHER)
    one = relay()
    away.configure(kept(one))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(sendmail, "-q", env=away.env())
                for _ in range(4)]
        codes = {done.result().status for done in runs}
    assert codes <= {0, TEMPORARY} and 0 in codes
    sendmail("-q", env=away.env())
    assert all(one.copies(b"<n%d.>" % number) == 1
               for number in range(count))
    away.assert_clean()


def test_announced_to_a_queue_run(away, relay, kept,  # noqa: F811
                                  patient):
    """While sendmail -q has the spool, root's message is stored for whoever
    comes next; the run that is at work does not look for more."""
    away.leave("first", uid=None)
    slow = patient("banner")
    away.configure(kept(slow))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        run = pool.submit(sendmail, "-q", env=away.env())
        assert slow.waiting.wait(WAIT)
        away.leave("second", uid=None)
        slow.release.set()
        assert run.result().status == 0
    assert len(slow.sessions) == 1
    one = relay()
    daemon = away.configure(kept(one)).run()
    one.wait_messages(1)
    daemon.stop()
    assert slow.copies(b"<first>") + one.copies(b"<first>") == 1
    assert slow.copies(b"<second>") + one.copies(b"<second>") == 1
    away.assert_clean()


def test_daemon_waits_for_a_queue_run(away, kept, patient):  # noqa: F811
    """The run ends with what it has begun, and the daemon goes on: nobody is
    told twice, and nobody needs a second start."""
    for number in range(5):
        away.leave(f"n{number}.", uid=None)
    slow = patient("dot")
    away.configure(kept(slow, {"upstream": {"connections": 1}}))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        run = pool.submit(sendmail, "-q", env=away.env())
        assert slow.waiting.wait(WAIT)
        daemon = away.run(ready=False)
        daemon.wait_event("message", text=re.compile(
            f"waiting for a run.*{away.spool.path}"))
        assert daemon.process.poll() is None
        slow.release.set()
        assert run.result().status == 0
    daemon.wait_ready()
    slow.wait_messages(5)
    wait_for(lambda: not away.spool.names())
    daemon.stop()
    assert all(slow.copies(f"<n{number}.>".encode()) == 1
               for number in range(5))
    away.assert_clean()


# ---- Daemons that come and go ----------------------------------------

def test_daemon_comes_and_goes(host):
    """DU-26: each message that got a yes arrives exactly once, and in the end
    nothing is left, whatever the daemon did meanwhile."""
    over = threading.Event()
    yes, no = [], []

    def submit(number):
        for count in itertools.count():
            if over.is_set():
                return
            marker = f"w{number}.{count}."
            uid = None if number == 0 else OTHER + number
            result = host.send(marker, uid=uid)
            (no if result.status else yes).append(marker)
            assert result.status in (0, TEMPORARY), result.text
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        workers = [pool.submit(submit, number) for number in range(3)]
        for count in itertools.count():
            if any(worker.done() for worker in workers) or (
                    count >= 6 and len(yes) > 20):
                break
            host.run().stop()
        over.set()
        for worker in workers:
            worker.result()
    host.spool.make_due()
    daemon = host.run()
    host.empty()
    wait_for(lambda: not host.spool.names())
    daemon.stop()
    counts = {marker: host.relay.copies(f"<{marker}>".encode())
              for marker in yes}
    assert set(counts.values()) == {1}, counts
    host.assert_clean()


def test_daemon_starts_during_an_attempt(host, patient, kept,  # noqa: F811
                                         relay):
    """The daemon has read its queue when root's message comes into it: it is
    told, and sends it without a restart."""
    slow = patient("banner")
    host.configure(kept(slow, {"queue": {"direct_wait": "1h"}}))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waits = pool.submit(host.send, "m", uid=None)
        assert slow.waiting.wait(WAIT)
        daemon = host.configure(kept(host.relay)).run()
        slow.crashed = True
        slow.release.set()
        assert waits.result().status == 0
    host.relay.wait_messages(1)
    daemon.stop()
    assert host.relay.copies() == 1
    host.assert_clean()


def test_root_daemon_becomes_the_owner(host):
    """Without run_as."""
    daemon = host.start(host.sections)
    daemon.wait_event("message", text=re.compile(
        f"became uid {NOBODY}.*{host.spool.path}"))
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as file:
        status = file.read()
    assert re.search(rf"(?m)^Uid:(\s+{NOBODY}){{4}}$", status)
    assert re.search(rf"(?m)^Gid:(\s+{NOBODY}){{4}}$", status)
    assert re.search(r"(?m)^Groups:\s*$", status)
    assert re.search(r"(?m)^CapEff:\s+0+$", status)
    host.leave()
    assert host.relay.copies() == 1


def test_maildrop_is_made(host):
    """Whatever was there; and everybody may pass through the spool."""
    shutil.rmtree(host.spool.path)
    daemon = host.run()
    assert stat.S_IMODE(host.drop.stat().st_mode) == 0o3733
    assert stat.S_IMODE(host.spool.path.stat().st_mode) == 0o711
    for name in ("queue", "incoming", "failed"):
        mode = (host.spool.path / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o700
    daemon.stop()
    host.spool.path.chmod(0o700)
    host.drop.chmod(0o777)
    host.run().stop()
    assert stat.S_IMODE(host.drop.stat().st_mode) == 0o3733
    assert stat.S_IMODE(host.spool.path.stat().st_mode) == 0o711


def test_maildrop_that_cannot_be_made(host):
    """Somebody else's is not touched; the daemon goes on without one."""
    os.chown(host.drop, 0, 0)
    host.put("0" * 24, b"x")
    daemon = host.run()
    daemon.wait_event("message", text=re.compile(f"{host.drop}.*Permission denied"))
    host.leave()
    assert host.relay.copies() == 1
    daemon.stop()
    assert host.drops() == ["0" * 24]


# ---- Strangers -------------------------------------------------------

def record(sender="a@example.test", recipients=(B,), content=None,
           start="smarthost 1", owner="0", lines=None, end="end\n",
           identifier="0" * 32, length=None):
    """A message's file, as spool.c describes it."""
    content = message(body="<x>", newline="\r\n") if content is None else content
    header = content.find(b"\r\n\r\n") + 2
    text = [start, f"id {identifier}", "arrived 1", f"owner {owner}",
            f"sender {sender}", "envelope-id -", "return -", "utf8 0",
            "eight-bit 0", f"header {header}",
            f"content {len(content) if length is None else length:020}"]
    text += [f"recipient W 000 {'':200} 0 - {one}" for one in recipients]
    text = "\n".join(text if lines is None else lines) + "\n" + end
    return text.encode("utf-8", "surrogateescape") + content


def name_of(number):
    return f"{number:024x}"


def judged(host, relay_count=1, junk=()):
    """Starts a daemon, and stops it when it has taken what is there, but for
    junk, and a good message beside it. Returns the daemon."""
    host.put("f" * 24, record(content=message(body="<last>",
                                              newline="\r\n")))
    daemon = host.run()
    host.relay.wait_messages(relay_count)
    wait_for(lambda: set(host.drops()) <= set(junk))
    if junk:  # there is one line about all of it
        daemon.wait_event("message")
    daemon.stop()
    assert host.relay.copies(b"<last>") == 1
    return daemon


def test_good_file(host):
    """The one that the others are like."""
    host.put(name_of(1), record())
    daemon = judged(host, 2)
    assert host.relay.copies(b"<x>") == 1
    assert not daemon.events("message")
    assert daemon.events("accepted", client=f"uid {OTHER}")
    host.assert_clean()


def plant_symlink(host):
    (host.drop / name_of(1)).symlink_to("/etc/shadow")


def plant_hard_link(host):
    secret = host.place / "secret"
    secret.write_bytes(record())
    os.chown(secret, NOBODY, NOBODY)
    os.link(secret, host.drop / name_of(1))


def plant_socket(host):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(host.drop / name_of(1)))


def plant_device(host):
    try:
        os.mknod(host.drop / name_of(1), stat.S_IFCHR | 0o666,
                 os.makedev(1, 5))
    except PermissionError:
        pytest.skip("cannot make devices here")


# What is left where it is.
JUNK = {
    "symlink": plant_symlink,
    "dangling symlink": lambda h: (h.drop / name_of(1)).symlink_to("x"),
    "hard link": plant_hard_link,
    "FIFO": lambda h: os.mkfifo(h.drop / name_of(1), 0o666),
    "directory": lambda h: (h.drop / name_of(1)).mkdir(mode=0o777),
    "full directory": lambda h: ((h.drop / name_of(1)).mkdir(),
                                 (h.drop / name_of(1) / name_of(2))
                                 .write_bytes(record())),
    "socket": plant_socket,
    "device": plant_device,
    "unreadable": lambda h: h.put(name_of(1), record(), mode=0o600),
    "another group": lambda h: h.put(name_of(1), record(), gid=OTHER),
    "long name": lambda h: h.put("a" * 255, record()),
    "newline": lambda h: h.put("a\nlevel=error event=x\n", record()),
    "not UTF-8": lambda h: h.put("\udcff\udcfe", record()),
    "upper case": lambda h: h.put("A" * 24, record()),
    "23 digits": lambda h: h.put("a" * 23, record()),
    "announcement": lambda h: h.put("a" * 32, b""),
    "unknown version": lambda h: h.put(
        name_of(1), record(start="smarthost 2")),
    "dot": lambda h: h.put(".x", record()),
}


@pytest.mark.parametrize("case", JUNK)
def test_junk(case, host):
    """Left alone, and one line says so."""
    JUNK[case](host)
    before = [(name, os.lstat(host.drop / name)) for name in host.drops()]
    daemon = judged(host, junk=host.drops())
    after = [(name, os.lstat(host.drop / name)) for name in host.drops()]
    assert [name for name, _ in after] == [name for name, _ in before]
    assert [one.st_mode for _, one in after] == [
        one.st_mode for _, one in before]
    [event] = daemon.events("message")
    assert "in the maildrop is no mail" in event["text"]
    assert event["text"].endswith("(1 in all)")
    assert not daemon.events("x")
    assert host.relay.copies(b"<x>") == 0 and len(host.relay.messages) == 1
    host.spool.assert_empty()


def test_a_lot_of_junk(host):
    """The log has one line, and mail gets through."""
    for number in range(2000):
        os.mkfifo(host.drop / name_of(number))
    daemon = judged(host, junk=host.drops())
    [event] = daemon.events("message")
    assert event["text"].endswith("(2000 in all)")


# What is no message, whoever wrote it: set aside.
BAD = {
    "empty": b"",
    "half": record()[:100],
    "no end": record(end=""),
    "cut": record()[:-1],
    "longer": record() + b"x",
    "NUL": record().replace(b"sender a", b"sender \0a"),
    "NULs": bytes(5000),
    "no recipients": record(recipients=()),
    "LF in an address": record(recipients=["b@example.test\nend\n"]),
    "CR in an address": record(recipients=["b@example.test\r"]),
    "blank in an address": record(recipients=["b c@example.test"]),
    "command in an address": record(recipients=["b@x>\rRCPT TO:<c@x"]),
    "8-bit address": record(recipients=["\udcff@example.test"]),
    "option": record(recipients=["-b@example.test"]),
    "bad sender": record(sender="a b"),
    "bad ENVID": record().replace(b"envelope-id -", b"envelope-id a=b"),
    "control byte in ORCPT": record().replace(
        b" 0 - b@", b" 0 rfc822;a\rRSET b@"),
    "no type in ORCPT": record().replace(b" 0 - b@", b" 0 abc b@"),
    "never and more": record().replace(b" 0 - b@", b" 3 - b@"),
    "CR in the sender": record(sender="a@x\rb"),
    "huge sender": record(sender="a" * 70000),
    "negative": record(length=0).replace(b"content 0", b"content -"),
    "other length": record(length=7),
    "huge length": record(length=2 ** 63),
    "no ID": record(identifier=""),
    "long ID": record(identifier="0" * 33),
    "mail": b"From: a\nTo: b@example.test\n\nx\n",
    "huge envelope": record(recipients=[B] * 20000),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_content(case, host):
    """In failed/, as it was, and one line about it."""
    path = host.put(name_of(1), BAD[case])
    daemon = judged(host)
    assert not path.exists()
    [name] = host.spool.names("failed")
    assert ID.fullmatch(name)
    assert (host.spool.path / "failed" / name).read_bytes() == BAD[case]
    [event] = daemon.events("message", level="error")
    assert name in event["text"] and name_of(1) in event["text"]
    assert f"uid {OTHER}" in event["text"]
    assert len(host.relay.messages) == 1
    assert host.drops() == [] == host.spool.names()


def test_sparse_file(host):
    """4 GB of nothing are not read."""
    path = host.put(name_of(1), record())
    os.truncate(path, 4 << 30)
    judged(host)
    assert not path.exists() and len(host.spool.names("failed")) == 1


# What is a message, and claims what is not so; or has content that smuggles.
CLAIMS = {
    "owner": record(owner="0"),
    "sent already": record().replace(b"recipient W 000", b"recipient S 250"),
    "refused already": record().replace(b"recipient W 000",
                                        b"recipient N 550"),
    "future": record().replace(b"arrived 1\n", b"arrived 99999999999\n"),
    "utf8": record().replace(b"utf8 0", b"utf8 1"),
    "header length": re.sub(rb"header \d+", b"header 3", record()),
    "bare LF": record(content=b"Subject: <x>\n\nx\n.\nMAIL FROM:<e@v>\n"),
    "end of data": record(content=b"Subject: <x>\r\n\r\n.\r\n.\r\nDATA"),
    "bare CR": record(content=b"Subject: <x>\r\r\n\r\n.\r\r\n"),
    "Bcc": record(content=b"Bcc: c@x.test\r\nSubject: <x>\r\n\r\n"),
    "no header": record(content=b"<x>"),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_claims(case, host):
    """It is sent as what it is, and nobody believes the rest."""
    host.put(name_of(1), CLAIMS[case])
    daemon = judged(host, 2)
    assert host.relay.copies(b"<x>") == 1
    [taken] = [one for one in host.relay.messages if b"<x>" in one.content]
    assert taken.recipients == [B]
    assert b"(uid %d)" % OTHER in taken.header
    assert b"Bcc" not in taken.content
    assert b"\r\n" in taken.content
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", taken.body)
    assert "SMTPUTF8" not in taken.parameters
    assert all(session.said("DATA") == len(
        [one for one in host.relay.messages if one.session is session])
        for session in host.relay.sessions)
    assert all("replaced" in event["text"]
               for event in daemon.events("message"))
    host.assert_clean()


REFUSED = {
    "too large": (record(content=b"Subject: x\r\n\r\n" + b"x" * 200000),
                  "5.3.4"),
    "much too large": (record(content=b"Subject: x\r\n\r\n" +
                              b"x" * 8000000), "5.3.4"),
    "too many": (record(recipients=[f"r{n}@x.test" for n in range(10001)]),
                 "5.5.3"),
    "NUL in the header": (record(content=b"Subject: \0\r\n\r\nx\r\n"),
                          "5.6.0"),
    "loop": (record(content=b"Received: x\r\n" * 60 + b"\r\nx"), "5.4.6"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, host, kept):  # noqa: F811
    """sendmail has said yes to it, so its sender is told."""
    data, code = REFUSED[case]
    host.configure(kept(host.relay, {"listen": {
        "max_message": "100K", "max_recipients": 10}}))
    host.put(name_of(1), data)
    daemon = judged(host, 2)
    [notice] = [one for one in host.relay.messages if not one.sender]
    assert notice.recipients == ["a@example.test"]
    assert b"multipart/report" in notice.content
    assert code.encode() in notice.content
    assert daemon.events("bounced", note="its sender is told")
    host.assert_clean()


def test_refused_and_nobody_to_tell(host, kept):  # noqa: F811
    """It stays in failed/, and the log says so."""
    host.configure(kept(host.relay))
    host.put(name_of(1), record(sender="", recipients=[B, "c@x.test"],
                                content=b"Subject: \0\r\n\r\nx\r\n"))
    daemon = judged(host)
    assert len(host.spool.names("failed")) == 1
    assert len(daemon.events("bounced")) == 2


def test_foreign_uid(host):
    """The owner of the file is who sent it, whatever user that is; the
    overflow uid is nobody in particular."""
    host.put(name_of(1), record(), uid=77, gid=NOBODY)
    daemon = judged(host, 2)
    assert daemon.events("accepted", client="uid 77")


def test_leftovers(host):
    """What a submitter left that died is not touched for a day: see
    test_collect.c for what happens then."""
    half = "." + name_of(1)
    host.put(half, b"half")
    host.put(name_of(2), record())
    daemon = host.run()
    host.relay.wait_messages(1)
    wait_for(lambda: host.drops() == [half])
    daemon.stop()
    assert not daemon.events("message")


def test_files_that_move(host):
    """Their names change while they are taken in: none is lost."""
    daemon = host.run()
    for number in range(100):
        path = host.put("." + name_of(number), record())
        path.rename(host.drop / name_of(number))
        with contextlib.suppress(FileNotFoundError):
            (host.drop / name_of(number)).rename(host.drop / name_of(
                number + 1000))
    daemon.stop()
    host.run()
    host.relay.wait_messages(100)
    host.empty()
    assert host.relay.copies(b"<x>") >= 100


# ---- Killed ----------------------------------------------------------

@needs_strace
def test_kill_at_every_call_of_a_submission(host):
    """DU-17: no yes without a message; and whatever was left, the daemon takes
    in what is whole, once."""
    user = ["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}",
            "--clear-groups", "strace"]
    output = host.place / "trace"
    output.touch()
    os.chown(output, OTHER, OTHER)
    host.leave("traced", uid=None, env=TRACED,
               wrapper=[*user, "-f", "-o", str(output)])
    calls = most_calls(output, None)
    assert calls["fsync"] and calls["syncfs"] and calls["renameat"]

    def submit(call, what, number):
        result = host.send("%s.%d." % (call, number), uid=None, env=TRACED,
                           wrapper=[*user, "-f", "-qqq", *trace_options(
                               call, what, number)])
        assert result.status in (0, -signal.SIGKILL), result
        return Submission(result.status != 0, None)
    yes = {job: not one.cut_off
           for job, one in kill_at_every_call(submit, calls).items()}
    assert not any(yes[call, numbers[0]]
                   for call, numbers in calls.items() if numbers)
    names = host.drops()
    leftovers = [name for name in names if name[0] == "."]
    whole = len(names) - len(leftovers)
    assert whole > list(yes.values()).count(True)
    daemon = host.run()
    host.relay.wait_messages(whole)
    host.empty()
    daemon.stop()
    assert len(host.relay.messages) == whole
    for job, said_yes in yes.items():
        copies = host.relay.copies(b"<%s.%d.>" % (job[0].encode(), job[1]))
        assert copies == 1 or (copies == 0 and not said_yes), job
    assert host.drops() == leftovers
    host.spool.assert_empty()
    assert not daemon.events("message")


@contextlib.contextmanager
def collecting(certs, *options):
    """A host whose relay is away, and whose daemon takes in a message under
    strace."""
    place = conftest.make_place("sh-drop-")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        host = Host(place, Spool(place / "spool"), None).make()
        host.relay = stack.enter_context(contextlib.closing(BadRelay()))
        nobody = stack.enter_context(socket.socket())
        nobody.bind(("127.0.0.1", 0))
        queue = {"queue": {"directory": host.spool.path}}
        away = conftest.base_sections(place, nobody.getsockname()[1],
                                      certs.ca)
        host.configure(harness.merge(conftest.base_sections(
            place, host.relay, certs.ca), queue))
        daemon = Daemon(place, harness.merge(away, queue), env=TRACED)
        tracer = Tracer(daemon.wait_ready(), *options)
        path = host.put("." + name_of(1), record())
        path.rename(host.drop / name_of(1))
        with contextlib.suppress(AssertionError):
            daemon.wait_event("accepted")
        yield host, daemon, tracer


def killed_collector(certs, call, what, number):
    """A daemon is killed while it takes a message in; the next one ends
    that."""
    with collecting(certs, *trace_options(call, what, number)) as (
            host, daemon, _):
        if daemon.process.poll() is None:
            daemon.signal(signal.SIGTERM)
        status = daemon.wait_exit()
        assert status in (0, -signal.SIGKILL), status
        there = len(host.spool.names()), len(host.drops())
        assert there in ((0, 1), (1, 1), (1, 0)), there
        with harness.running(host.place, host.sections):
            host.relay.wait_messages(1)
            wait_for(lambda: not host.spool.names())
        assert host.relay.copies(b"<x>") == 1
        host.assert_clean()
        return Submission(status != 0, there)


@needs_strace
def test_kill_at_every_call_of_taking_in(certs, place):
    """Exactly one copy, wherever the crash is: also where the message is in
    the maildrop and in the queue."""
    output = place / "trace"
    with collecting(certs, "-o", str(output)) as (_, daemon, tracer):
        tracer.end()
        daemon.stop()
        calls = most_calls(output)
    assert calls["unlinkat"] and calls["renameat"]
    results = kill_at_every_call(
        functools.partial(killed_collector, certs), calls)
    for call, number, there in [("renameat", 1, (0, 1)),
                                ("unlinkat", 1, (1, 1)), ("fsync", 3, (1, 0))]:
        assert results[call, number] == (True, there), call


@needs_strace
def test_crash_before_the_removal(certs):
    """The next daemon removes it from the maildrop before it sends anything,
    however slow its look around is."""
    with collecting(certs, *trace_options("unlinkat", "signal=KILL", 1)) as (
            host, daemon, _):
        assert daemon.wait_exit() == -signal.SIGKILL
        assert (len(host.spool.names()), len(host.drops())) == (1, 1)
        with harness.running(host.place, host.sections, env=TRACED, wrapper=[
                "strace", "-D", "-f", "-qqq", "-o", "/dev/null", "-e",
                "inject=getdents64:delay_enter=700000:when=1"]):
            host.relay.wait_messages(1)
            host.empty()
        assert host.relay.copies(b"<x>") == 1
        host.assert_clean()
