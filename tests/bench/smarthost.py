# SPDX-License-Identifier: ISC
"""smarthost as it is measured: no TLS, twenty connections to the relay, the
log in a file."""
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time

from harness import BIN, environment, merge, write_config
from postfix import free_ports
from sink import TICK, await_port

CONNECTIONS = 20
TICKS = os.sysconf("SC_CLK_TCK")


def sections(place, relay, port, changes=None):
    return merge({
        "smarthost": {"hostname": "host.bench.test"},
        "upstream": {"host": "127.0.0.1", "port": relay, "tls": "none",
                     "connections": CONNECTIONS},
        "listen": {"socket": place / "socket",
                   "address": f"127.0.0.1:{port}"},
        "queue": {"directory": place / "spool"},
    }, changes)


class Smarthost:
    """`smarthost run` below place, for the length of a with block."""

    def __init__(self, place, relay, changes=None, *, binary=BIN, wrapper=()):
        self.place, self.port = pathlib.Path(place), free_ports(1)[0]
        self.place.mkdir(parents=True, exist_ok=True)
        self.log = self.place / "log"
        config = write_config(
            self.place / "smarthost.conf",
            sections(self.place, relay, self.port, changes))
        self.began = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*map(str, wrapper), str(binary), "-c", str(config), "run"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=log, env=environment(), cwd="/")

    def __enter__(self):
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        self.process.wait()

    def wait_ready(self):
        await_port(self.port, lambda: self.process.poll() is None)
        return self

    def wait_log(self, pattern, patience):
        """Waits for that in the log; returns the seconds since the start."""
        until = time.monotonic() + patience
        while not re.search(pattern, self.log.read_bytes()):
            if time.monotonic() > until or self.process.poll() is not None:
                raise AssertionError(f"no {pattern} in {self.log}")
            time.sleep(TICK)
        return time.monotonic() - self.began

    @property
    def pid(self):
        """Of the daemon itself, also under a wrapper."""
        children = pathlib.Path(
            f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        inner = children.read_text().split()
        return int(inner[0]) if inner else self.process.pid

    def cpu(self):
        """Seconds of processor time so far, of all its threads."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text()
        user, system = fields.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / TICKS

    def memory(self, field, name="status"):
        """A field of /proc/PID/status or smaps_rollup, in bytes."""
        text = pathlib.Path(f"/proc/{self.pid}/{name}").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M)[1]) * 1024

    def queued(self):
        return count_files(self.place / "spool" / "queue")


def count_files(directory):
    """Files below it, without sorting or reading them."""
    count, todo = 0, [directory]
    while todo:
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(todo.pop()):
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                else:
                    count += 1
    return count
