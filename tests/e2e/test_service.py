# SPDX-License-Identifier: ISC
"""The daemon under a service manager: sockets that it inherits
(sd_listen_fds(3)), what it tells (sd_notify(3)), and the units."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import signal
import socket
import subprocess

import pytest

from harness import (CONFIG, ROOT, WAIT, WRAPPER, Daemon, sendmail,
                     wait_for)

MESSAGE = b"Subject: test\n\nhello\n"
HIGH = 100  # descriptors from here on are nobody's


@contextlib.contextmanager
def handed_over(*sockets, names=""):
    """Arguments for a daemon that finds them as its descriptors 3, 4, ..."""
    fds = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, HIGH) for one in sockets]
    moves = " ".join(f"{3 + at}<&{fd}" for at, fd in enumerate(fds))
    script = (f"exec {moves}; export LISTEN_PID=$$ LISTEN_FDS={len(fds)} "
              f'LISTEN_FDNAMES={names}; exec "$@"')
    yield {"wrapper": ["bash", "-c", script, "sh", *WRAPPER], "pass_fds": fds}
    for fd in fds:
        os.close(fd)


def unix_socket(path):
    one = socket.socket(socket.AF_UNIX)
    one.bind(str(path))
    one.listen()
    return one


def test_inherited_sockets(start, sections, relay, place):
    """Each is served in place of what the configuration names, or beside it;
    the names of unix sockets stay when the daemon goes."""
    one = relay()
    public, control = unix_socket(place / "pub"), unix_socket(place / "adm")
    tcp, more = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    ports = {each.getsockname()[1] for each in (tcp, more)}
    named = f"127.0.0.1:{tcp.getsockname()[1]}"
    with handed_over(public, tcp, control, more,
                     names="x:y:control:z") as how:
        daemon = start(sections(one, {"listen": {
            "address": named, "socket": place / "pub"}}), **how)
    assert {port for _, port in daemon.addresses} == ports
    assert len(daemon.addresses) == 2
    for address in daemon.addresses:
        with daemon.connect(address) as client:
            client.ehlo()
    assert sendmail("-f", "a@example.com", "b@example.com", stdin=MESSAGE,
                    socket_path=place / "pub").status == 0
    with daemon.connect(place / "adm") as client:
        assert "XQUEUE" not in client.ehlo()
    assert daemon.stop() == 0
    assert (place / "pub").is_socket() and (place / "adm").is_socket()


def test_socket_activation(sections, relay, place):
    """systemd's own tool: the daemon starts when somebody comes."""
    one = relay()
    config = sections(one, {"listen": {"address": None}})
    daemon = Daemon(place, config, wrapper=[
        "systemd-socket-activate", "-l", str(place / "socket"), *WRAPPER])
    try:
        wait_for(lambda: b"Listening on" in daemon.log.raw)
        assert sendmail("-f", "a@example.com", "b@example.com",
                        stdin=MESSAGE, socket_path=place / "socket",
                        ).status == 0
        daemon.wait_event("sent", to="b@example.com")
    finally:
        assert daemon.stop() == 0


@pytest.mark.parametrize("address, sections_more, status", [
    ("0.0.0.0", {}, CONFIG), ("0.0.0.0", {"allow": "private"}, 0),
    ("127.0.0.1", {}, 0)])
def test_inherited_address_is_no_open_relay(
        start, sections, address, sections_more, status):
    tcp = socket.create_server((address, 0))
    with handed_over(tcp) as how:
        daemon = start(sections(25, {"listen": {
            "address": None, **sections_more}}), ready=status == 0, **how)
    if status:
        assert daemon.wait_exit() == status
        assert b"write [listen] allow" in daemon.log.raw


def test_inherited_that_is_no_listener(start, sections):
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with handed_over(datagrams) as how:
        daemon = start(sections(25), ready=False, **how)
    assert daemon.wait_exit() == CONFIG
    assert b"descriptor 3 is no listening stream socket" in daemon.log.raw


def test_second_public_socket(start, sections, place):
    with handed_over(unix_socket(place / "a"), unix_socket(place / "b")) as how:
        daemon = start(sections(25), ready=False, **how)
    assert daemon.wait_exit() == CONFIG
    assert b"is a second public socket" in daemon.log.raw


@pytest.mark.parametrize("name", ["{place}/notify", "@smarthost-{pid}"])
def test_tells_the_manager(start, sections, place, name):
    name = name.format(place=place, pid=os.getpid())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if name[0] == "@" else name)
        manager.settimeout(WAIT)
        daemon = start(sections(25), env={
            "NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000"})
        assert manager.recv(100) == b"READY=1"
        for _ in range(3):
            assert manager.recv(100) == b"WATCHDOG=1"
        daemon.signal(signal.SIGTERM)
        told = b"WATCHDOG=1"
        while told == b"WATCHDOG=1":
            told = manager.recv(100)
        assert told == b"STOPPING=1"
        assert daemon.wait_exit() == 0


def is_asleep(daemon):
    """Whether its first thread waits for something."""
    stat = pathlib.Path(f"/proc/{daemon.process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "S"


def test_busy_manager(start, sections, place):
    """It has many others to listen to, and hears of the start all the
    same."""
    name = str(place / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
        manager.bind(name)
        manager.settimeout(WAIT)
        others.connect(name)
        others.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                others.send(b"STATUS=x")
        daemon = start(sections(25), env={"NOTIFY_SOCKET": name})
        wait_for(lambda: is_asleep(daemon))
        told = b"STATUS=x"
        while told == b"STATUS=x":
            told = manager.recv(100)
        assert told == b"READY=1"


def test_watchdog_of_another_process(start, sections, place):
    """What is meant for who started us is not for us."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place / "notify"))
        manager.settimeout(WAIT)
        daemon = start(sections(25), env={
            "NOTIFY_SOCKET": place / "notify", "WATCHDOG_USEC": "1000",
            "WATCHDOG_PID": "1", "LISTEN_FDS": "1", "LISTEN_PID": "1"})
        assert manager.recv(100) == b"READY=1"
        assert daemon.stop() == 0
        assert manager.recv(100) == b"STOPPING=1"


@pytest.mark.skipif(not shutil.which("systemd-analyze"),
                    reason="needs systemd's tools")
def test_units(place):
    """systemd knows every directive in them, and finds the service tight."""
    for unit in (ROOT / "conf").glob("smarthost.s[eo][rc]*"):
        text = unit.read_text()
        text = text.replace("/usr/local/sbin/smarthost", "/bin/true")
        text = "".join(line + "\n" for line in text.splitlines()
                       if not line.startswith("Documentation="))
        (place / unit.name).write_text(text)
    units = sorted(map(str, place.glob("smarthost.*")))
    assert len(units) == 2
    done = subprocess.run(["systemd-analyze", "verify", *units],
                          capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25",
         units[0]], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()
