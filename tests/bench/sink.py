# SPDX-License-Identifier: ISC
"""The relay that takes everything, smtp-sink(1), and the client that sends as
fast as it may, smtp-source(1): both from Postfix's package, so that what is
compared is only what stands between them."""
import fcntl
import os
import re
import socket
import subprocess
import time

PATIENCE = 300  # seconds: the longest wait for anything
TICK = 0.002
PIPE_SIZE = 1 << 20  # holds what the sink says between two looks, and more


def await_port(port, alive=lambda: True):
    """Waits until somebody accepts connections there."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            if time.monotonic() > until or not alive():
                raise
            time.sleep(TICK)


class Sink:
    """smtp-sink on that port, or another program that counts as it does. Its
    running counters come through a pipe that is looked into now and then, so
    that counting costs the machine little: a reader that blocks would be woken
    for every message."""

    def __init__(self, port, command=None):
        self.port, self._text = port, b""
        self._sessions = self._messages = 0
        self.process = subprocess.Popen(
            command or ["smtp-sink", "-c", "-m", "1000", "-u", "nobody",
                        f"127.0.0.1:{port}", "1024"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        self._pipe = self.process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        await_port(port, lambda: self.process.poll() is None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def _look(self):
        try:
            self._text = self._text[-200:] + os.read(self._pipe, PIPE_SIZE)
        except BlockingIOError:
            return
        found = re.findall(rb"sess=(\d+)[^\r\n]*mesg=(\d+)[\r\n]", self._text)
        if found:
            self._sessions, self._messages = map(int, found[-1])

    @property
    def messages(self):
        self._look()
        return self._messages

    @property
    def sessions(self):
        """Sessions that have ended."""
        self._look()
        return self._sessions

    def wait(self, count, patience=PATIENCE):
        """Waits until it has taken so many messages since its start."""
        until = time.monotonic() + patience
        while self.messages < count:
            if time.monotonic() > until:
                raise AssertionError(f"{self.messages} of {count} arrived")
            time.sleep(TICK)


def send(port, count, size=4096, sessions=20):
    """Sends count messages over so many connections, each of which is used
    again and again. Returns when the last one has its answer."""
    subprocess.run(
        ["smtp-source", "-d", "-s", str(min(sessions, count)), "-m",
         str(count), "-l", str(size), "-f", "a@bench.test", "-t",
         "b@bench.test", f"127.0.0.1:{port}"],
        check=True, timeout=PATIENCE)
