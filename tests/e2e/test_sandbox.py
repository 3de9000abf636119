# SPDX-License-Identifier: ISC
"""What the daemon cannot do once it serves: see also ALARMS in harness.py,
which fails every test in which it makes a system call that is not foreseen."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

import harness
from badrelay import PASSWORD, USER
from harness import CONFIG, ROOT, SANITIZED, WAIT, sendmail, wait_for
from test_process import name_of
from test_reload import reload
# pylint: disable=unused-import
from test_queue import kept, send, send_queued, spool  # noqa: F401

STATIC = ROOT / "smarthost-static"
unsanitized = pytest.mark.skipif(SANITIZED, reason="a sanitizer needs more")


def status_of(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.M))


@unsanitized
def test_state(start, sections, relay):
    """No privileges, none to be had, and both filters, in every thread."""
    daemon = start(sections(relay()))
    assert send(daemon).code == 250
    pid = daemon.process.pid
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            status = status_of(f"{pid}/task/{thread}")
        except OSError:
            continue  # it has ended
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        assert status["Seccomp"] == "2"
    assert status_of(pid)["CoreDumping"] == "0"


# A library that is loaded into the daemon and tries, when the first client
# comes, what somebody would who has taken it over.
THIEF = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void
say(const char *what, long result)
{
	dprintf(2, "thief: %s: %s\n", what,
	    result < 0 ? strerrorname_np(errno) : "done");
}

static void
steal(void)
{
	char *const argv[] = {"true", NULL};

	say("read secret", open(getenv("THIEF_SECRET"), O_RDONLY));
	say("read beside", open(getenv("THIEF_BESIDE"), O_RDONLY));
	say("write beside", open(getenv("THIEF_BESIDE"), O_WRONLY));
	say("write etc", open("/etc/thief", O_WRONLY | O_CREAT, 0600));
	say("run", execv("/bin/true", argv));
	say("fork", syscall(SYS_fork));
	say("clone", syscall(SYS_clone, 17, 0, 0, 0, 0));
	say("packets", socket(AF_PACKET, SOCK_RAW, 0));
	say("trace", ptrace(PTRACE_TRACEME, 0, 0, 0));
	say("mount", syscall(SYS_mount, "a", "b", "c", 0, 0));
	say("mount again", syscall(SYS_mount, "a", "b", "c", 0, 0));
}

int
accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	static int came;

	if (!came++)
		steal();
	return syscall(SYS_accept4, fd, address, len, flags);
}
"""
FOUND = {
    "read secret": "EACCES", "read beside": "done", "write beside": "EACCES",
    "write etc": "EACCES", "run": "ENOSYS", "fork": "ENOSYS",
    "clone": "EPERM", "packets": "EAFNOSUPPORT", "trace": "ENOSYS",
    "mount": "ENOSYS", "mount again": "ENOSYS"}


@unsanitized
def test_thief(sections, relay, place):
    """He gets no file but those beside what the configuration names, starts
    nothing, and is told of, once a call."""
    (place / "thief.c").write_text(THIEF)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", place / "thief.so",
                    place / "thief.c"], check=True)
    secret, home = place / "home" / "secret", place / "etc"
    secret.parent.mkdir()
    home.mkdir()
    secret.write_text("secret")
    (home / "ca.pem").write_text((harness.ROOT / "LICENSE").read_text())
    config = sections(relay(), {"listen": {
        "socket": place / "run" / "socket"}})
    (place / "run").mkdir()
    daemon = harness.Daemon(home, config, env={
        "LD_PRELOAD": place / "thief.so", "THIEF_SECRET": secret,
        "THIEF_BESIDE": home / "ca.pem", "TMPDIR": place / "run"})
    daemon.wait_ready()
    assert send(daemon).code == 250
    with pytest.raises(AssertionError, match="is not among"):
        daemon.stop()
    log = daemon.log.raw.decode()
    assert dict(re.findall(r"^thief: (.+): (\w+)$", log, re.M)) == FOUND
    told = re.findall(r"system call (\d+) is not among", log)
    assert len(told) == len(set(told)) == 4
    assert daemon.process.returncode == 0


def children_of(daemon):
    """The processes that it has started, as words."""
    pid = daemon.process.pid
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def log_in(command):
    return {"upstream": {"user": USER, "password": None,
                         "password_command": command}}


def test_commands_are_run_by_another_process(start, sections, relay, place):
    """Which knows those of the start, and no others; and ends with the
    daemon."""
    one = relay(mechanisms=("PLAIN",))
    (place / "password").write_text(PASSWORD + "\n")
    config = sections(one, log_in(f"cat {place}/password"))
    daemon = start(config)
    pids = children_of(daemon)
    assert [name_of(pid) for pid in pids] == ["smarthost-cmds"]
    assert send(daemon).code == 250
    reload(daemon, place, config)
    assert send(daemon).code == 250
    other = sections(one, log_in(f"cat '{place}/password'  "))
    reload(daemon, place, other)  # the same words
    assert send(daemon).code == 250
    reload(daemon, place, sections(one, log_in("echo x")), good=False)
    daemon.wait_event("message", text="the old configuration stays: "
                      "[upstream] password_command has changed, which needs "
                      "a restart")
    assert send(daemon).code == 250
    assert daemon.stop() == 0
    wait_for(lambda: name_of(pids[0]) != "smarthost-cmds")


def test_command_that_fails(start, sections, relay):
    """Its fault is told as it is without another process."""
    one = relay(mechanisms=("PLAIN",))
    daemon = start(sections(one, log_in("false")))
    assert send(daemon).code == 451
    daemon.wait_event("deferred", reply=re.compile(
        "password_command false: exit status 1"))


def test_without_the_helper(start, sections, relay):
    """Somebody has killed it."""
    one = relay(mechanisms=("PLAIN",))
    daemon = start(sections(one, log_in(f"echo {PASSWORD}")))
    [helper] = children_of(daemon)
    os.kill(int(helper), 9)
    assert send(daemon).code == 451
    daemon.wait_event("deferred", reply=re.compile("does not answer"))


@unsanitized
@pytest.mark.parametrize("file", ["new/x.conf", "smarthost.conf"])
def test_files_replaced_in_place(start, sections, relay, place, file):
    """A password file that is renamed into its place, or reached by a link
    that is swapped, is read as before."""
    one = relay(mechanisms=("PLAIN",), password="right")
    (place / "data1").mkdir()
    (place / "data1" / "password").write_text("wrong")
    (place / "current").symlink_to("data1")
    daemon = start(sections(one, {"upstream": {
        "user": USER, "password": None,
        "password_file": place / "current" / "password"}}))
    assert send(daemon).code == 451
    (place / "data2").mkdir()
    (place / "data2" / "password").write_text("right")
    (place / "new").symlink_to("data2")
    os.rename(place / "new", place / "current")
    reload(daemon, place, sections(one, {"upstream": {
        "user": USER, "password": None,
        "password_file": place / "current" / "password"}}))
    assert send(daemon).code == 250


@pytest.mark.skipif(not STATIC.exists(), reason="needs make static")
def test_static_binary(start, kept, relay, place, spool, nobody_there):
    """Its C library makes other calls: every way through it, once."""
    one = relay(mechanisms=("PLAIN",))
    command = log_in(f"echo {PASSWORD}")
    daemon = start(harness.merge(kept(nobody_there), command), binary=STATIC)
    send_queued(daemon)
    config = harness.merge(kept(one), command)
    reload(daemon, place, config)
    one.wait_messages(1)
    wait_for(lambda: not spool.names())
    assert send(daemon, text=b"Subject: x\r\n\r\n" + b"0123456789\r\n" *
                100000).code == 250
    assert sendmail("b@example.com", stdin=b"Subject: x\n\nx\n",
                    socket_path=place / "socket").status == 0
    for words in (["health"], ["queue"], ["queue", "retry"]):
        assert harness.run("-c", daemon.config, *words).status == 0
    localhost = harness.merge(config, {"upstream": {"host": "localhost"}})
    reload(daemon, place, localhost)
    assert send(daemon).code == 250


def test_large_message_without_a_place(start, sections, relay):
    """No spool, and no directory for files without a name: they are in
    memory, and the relay gets all of the message."""
    one = relay()
    daemon = start(sections(one), env={"TMPDIR": "/nowhere"})
    text = b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 100000
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        client.send(text)
        assert client.command(".").code == 250
    assert one.messages[0].content.endswith(text[-1200000:])


@unsanitized
@pytest.mark.parametrize("keys", [
    {"upstream": {"provider": "capture", "host": None, "port": None,
                  "tls": None}},
    {"identity": {}}], ids=["capture", "aliases"])
def test_reload_with_another_directory(start, sections, relay, place, keys):
    """It is refused, not found out by the mail, and the log says what to
    do."""
    one = relay()
    first, other = place / "first", place / "other"
    first.mkdir()
    other.mkdir()
    (other / "aliases").write_text("root: a@example.test\n")
    if "upstream" in keys:
        keys["upstream"]["directory"] = other
    else:
        keys["identity"]["aliases"] = other / "aliases"
    base = sections(one, {"listen": {"socket": first / "socket"}})
    daemon = harness.Daemon(first, base, env={"TMPDIR": first})
    try:
        daemon.wait_ready()
        reload(daemon, first, harness.merge(base, keys), good=False)
        daemon.wait_event("message", text=re.compile(
            "the old configuration stays: .*Permission denied"))
        daemon.wait_event("message", text=re.compile("needs a restart"))
        assert send(daemon).code == 250
        assert len(one.messages) == 1
    finally:
        daemon.stop()
