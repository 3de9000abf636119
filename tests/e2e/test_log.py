# SPDX-License-Identifier: ISC
"""Where the log goes, and that mail goes on when it goes nowhere: DU-40."""

import fcntl
import os
import re
import shutil
import socket
import time

import pytest

from harness import WAIT, Conversation, parse_log_line, with_mounts


class Syslogd:
    """Something at /dev/log; the daemon's /dev, as no other one has it."""

    def __init__(self, place):
        self.dev = place / "dev"
        self.dev.mkdir()
        self.mounts = []
        for name in ("null", "random", "urandom"):
            (self.dev / name).touch()
            self.mounts.append((f"/dev/{name}", self.dev / name))
        self.mounts.append((self.dev, "/dev"))
        self.start()

    def start(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.settimeout(WAIT)
        self.sock.bind(str(self.dev / "log"))
        (self.dev / "log").chmod(0o666)

    def stop(self):
        self.sock.close()
        (self.dev / "log").unlink()

    def line(self):
        return self.sock.recv(65536).decode()

    def wait(self, event):
        """The next line of that event, as a dict, and the head before it."""
        while True:
            head, _, text = self.line().partition("]: ")
            pairs = parse_log_line(text)
            if pairs and pairs["event"] == event:
                return pairs, head

    def fill(self):
        """As if it had much to do: its queue takes no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            try:
                while True:
                    sender.sendto(b"noise", str(self.dev / "log"))
            except BlockingIOError:
                pass


@pytest.fixture
def syslogd(place):
    if os.getuid() != 0 or not shutil.which("unshare"):
        pytest.skip("a /dev of one's own needs root")
    one = Syslogd(place)
    yield one
    one.sock.close()


@pytest.fixture
def daemon(syslogd, start, sections, relay):
    """A daemon that logs to it and has started; daemon.relay."""
    one = relay()
    daemon = start(sections(one, {"smarthost": {"log": "syslog"}}),
                   ready=False, wrapper=with_mounts(*syslogd.mounts))
    daemon.relay = one
    daemon.started = syslogd.wait("started")
    return daemon


def send(path):
    """A message; the code of the answer."""
    with Conversation(path) as client:
        client.ehlo()
        client.envelope()
        client.send(b"\r\nx\r\n.\r\n")
        return client.reply().code


def test_syslog_line(daemon, syslogd, place):
    """RFC 3164, for mail, with the time of day here and the pid."""
    pairs, head = daemon.started
    assert pairs["level"] == "info" and "time" not in pairs
    found = re.fullmatch(r"<(\d+)>(\w{3} [ \d]\d \d\d:\d\d:\d\d) "
                         r"smarthost\[(\d+)", head)
    assert int(found[1]) == 2 * 8 + 6  # mail.info
    now = time.localtime()
    said = time.strptime(f"{now.tm_year} {found[2]}", "%Y %b %d %H:%M:%S")
    assert abs(time.mktime(said) - time.mktime(now)) < 3600
    assert int(found[3]) == daemon.process.pid
    daemon.relay.replies["rcpt"] = "550 5.1.1 no\x1b such user"
    assert send(place / "socket") == 550
    pairs, head = syslogd.wait("refused")
    assert head.startswith("<20>")  # mail.warning
    assert pairs["to"] == "b@example.test" and "\x1b" not in str(pairs)


def test_syslogd_does_not_read(daemon, syslogd, place):
    """Neither mail nor the stop waits for it; it hears of what it missed."""
    syslogd.fill()
    for _ in range(3):
        assert send(place / "socket") == 250
    while syslogd.line() != "noise":
        pass
    syslogd.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            assert syslogd.line() == "noise"
    syslogd.sock.settimeout(WAIT)
    assert send(place / "socket") == 250
    pairs, _ = syslogd.wait("sent")
    assert int(pairs["lost_lines"]) == 6  # sent and accepted
    syslogd.fill()
    assert daemon.stop() == 0
    assert daemon.relay.copies() == 4


def test_syslogd_is_started_anew(daemon, syslogd, place):
    syslogd.stop()
    assert send(place / "socket") == 250
    syslogd.start()
    assert send(place / "socket") == 250
    pairs, _ = syslogd.wait("sent")
    assert pairs["lost_lines"] == "2"


def test_nobody_reads_stderr(start, sections, relay, place):
    """The pipe is full; mail and the stop go on, and when somebody reads
    again he is told how much he has missed."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    one = relay()
    daemon = start(sections(one), ready=False, stderr=writer)
    log = b""
    while b"event=started" not in log:
        log += os.read(reader, 4096)
    # another description of the same pipe: O_NONBLOCK is not for the daemon
    own = os.open(f"/proc/self/fd/{writer}", os.O_WRONLY | os.O_NONBLOCK)
    os.close(writer)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(own, b"\n" * 4096)
    for _ in range(3):
        assert send(place / "socket") == 250
    os.read(reader, 4096)
    assert send(place / "socket") == 250
    assert b"event=sent" in (line := os.read(reader, 4096))
    assert b"lost_lines=6" in line
    with pytest.raises(BlockingIOError):
        while True:
            os.write(own, b"\n" * 4096)
    os.close(own)
    assert daemon.stop() == 0
    os.close(reader)
    assert one.copies() == 4
