# SPDX-License-Identifier: ISC
"""The daemon as a process: its user, its password_command, the orphans of a
container (CO-10), and a stop that no name server can hold up."""

import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import threading

import pytest

import harness
from badrelay import PASSWORD, USER
from harness import (CONFIG, WAIT, WRAPPER, run, wait_for, with_mounts,
                     write_config)

needs_root = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("unshare"),
    reason="namespaces need root")


def name_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None


def children(pid):
    """The pids of all children of a process, whichever thread's, but for the
    one that runs commands."""
    found = []
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in path.read_text().split()]
    return [one for one in found if name_of(one) != "smarthost-cmds"]


class ProcessOne(harness.Daemon):
    """`smarthost run` as process 1 of its own namespace."""

    def __init__(self, place, sections):
        script = 'mount -t proc proc /proc && exec "$@"'
        super().__init__(place, sections, wrapper=[
            "unshare", "--mount", "--pid", "--fork", "--kill-child",
            "--propagation", "private", "sh", "-c", script, "sh", *WRAPPER])

    @property
    def pid(self):
        [pid] = children(self.process.pid)
        return pid

    def signal(self, number):
        os.kill(self.pid, number)


@pytest.fixture
def process_one(place):
    """Starts one: process_one(sections)."""
    running = []

    def run(sections):
        running.append(ProcessOne(place, sections))
        return running[-1].wait_ready()
    yield run
    for one in running:
        print(one.log.raw.decode(errors="replace"))
        assert one.stop() == 0


@pytest.mark.parametrize("user, status", [
    ("nobody", 0), ("no-such-user", CONFIG), (None, 0)])
def test_check_looks_up_run_as(user, status, sections, place):
    config = write_config(place / "smarthost.conf",
                          sections(25, {"smarthost": {"run_as": user}}))
    result = run("-c", config, "check", "--config")
    assert result.status == status, result.text
    if status:
        assert result.text == (
            "smarthost: run_as: there is no user no-such-user\n")


@needs_root
def test_run_as(start, sections, relay):
    """It gives up root, with all groups, and sends."""
    one = relay()
    daemon = start(sections(one, {"smarthost": {"run_as": "nobody"}}),
                   wrapper=["setpriv", "--groups", "4,24", *WRAPPER])
    path = pathlib.Path(f"/proc/{daemon.process.pid}/status")
    status = dict(line.split(":", 1)
                  for line in path.read_text().splitlines())
    user = pwd.getpwnam("nobody")
    assert status["Uid"].split() == [str(user.pw_uid)] * 4
    assert status["Gid"].split() == [str(user.pw_gid)] * 4
    assert not status["Groups"].strip()
    assert send(daemon) == 250


@needs_root
def test_run_as_nobody_known(start, sections):
    daemon = start(sections(25, {"smarthost": {"run_as": "no-such-user"}}),
                   ready=False)
    assert daemon.wait_exit() == CONFIG
    assert b"no user no-such-user" in daemon.log.raw


def login(command, **more):
    """The changes to a configuration that get the password from it."""
    return {"upstream": {"user": USER, "password": None,
                         "password_command": command, **more}}


def send(daemon):
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        client.send(b"\r\nx\r\n.\r\n")
        return client.reply().code


@needs_root
def test_orphans_are_taken_away(process_one, sections, relay):
    """What the command leaves behind becomes a child of process 1, and no
    zombie when it ends."""
    command = f"sh -c 'setsid sleep 1000 >/dev/null & echo {PASSWORD}'"
    one = relay(mechanisms=("PLAIN",))
    daemon = process_one(sections(one, login(command)))
    assert send(daemon) == 250
    [orphan] = wait_for(lambda: children(daemon.pid))
    os.kill(orphan, signal.SIGKILL)

    def gone():
        daemon.connect().close()  # it looks when somebody comes
        return not children(daemon.pid)
    wait_for(gone)
    assert send(daemon) == 250


@needs_root
def test_exit_statuses_are_not_stolen(process_one, sections, relay):
    """Commands end in couriers while the main thread looks for orphans."""
    one = relay(mechanisms=("PLAIN",))
    daemon = process_one(sections(one, login(
        f"echo {PASSWORD}", messages_per_connection="1", connections="8")))
    codes = []

    def send_some():
        for _ in range(25):
            codes.append(send(daemon))
    threads = [threading.Thread(target=send_some) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        daemon.connect().close()
    assert codes == [250] * 200
    assert not children(daemon.pid)


def test_stop_cuts_the_password_command(start, sections, relay, place):
    """It and what it has started are killed; nobody waits for it."""
    pids = place / "pids"
    command = f"sh -c 'sleep 1000 & echo $$ $! >{pids}; sleep 1000'"
    one = relay(mechanisms=("PLAIN",))
    daemon = start(sections(one, {**login(command), "smarthost": {
        "stop_timeout": "1h"}}))
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        client.send(b"\r\nx\r\n.\r\n")
        started = wait_for(lambda: pids.exists() and pids.read_text().split())
        assert daemon.stop() == 0
    for pid in started:
        path = pathlib.Path(f"/proc/{pid}/stat")
        wait_for(lambda: not path.exists() or ") Z " in path.read_text())


@needs_root
def test_stop_in_a_black_hole(start, sections, place):
    """The resolver waits for a name server that never answers; the stop
    does not, beyond stop_timeout."""
    resolv = place / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.4\noptions timeout:30\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind(("127.0.0.4", 53))
        except OSError:
            pytest.skip("something answers there")
        server.settimeout(WAIT)
        daemon = start(sections(25, {
            "upstream": {"host": "relay.black-hole.test"},
            "smarthost": {"stop_timeout": "2s"}}),
            wrapper=with_mounts((resolv, "/etc/resolv.conf")))
        with daemon.connect() as client:
            client.ehlo()
            client.envelope()
            client.send(b"\r\nx\r\n.\r\n")
            assert b"black-hole" in server.recv(512)
            assert daemon.stop() == 0
            assert [reply.code for reply in client.rest()] == [451, 421]
    assert daemon.events("stopped", note=re.compile("cut off"))
