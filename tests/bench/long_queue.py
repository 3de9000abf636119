# SPDX-License-Identifier: ISC
"""Starts with a queue that is already there, and a relay that is not."""
import os
import shutil
import socket
import threading
import time

from downrelay import DownRelay
from figure import Figure, at_most
from fill import fill_smarthost
from run import DIRECTORY, workplace
from smarthost import Smarthost

MILLION = int(os.environ.get("BENCH_MILLION", "1000000"))
MEGABYTE = 1 << 20
BLOCK = 4096           # what the smallest file takes
START_PATIENCE = 120
OUTAGE_QUEUE = 10000
OUTAGE_SECONDS = 60


def roomy_directory(count):
    """Where so many files fit, in memory if they do there: the figure is for
    a warm cache. None if nowhere."""
    for directory in ("/dev/shm", DIRECTORY):
        if not os.path.isdir(directory):
            continue
        room = os.statvfs(directory)
        if (room.f_bavail * room.f_frsize > 1.5 * count * BLOCK and
                (room.f_files == 0 or room.f_favail > 1.1 * count)):
            return directory
    return None


class Knocker:
    """Asks the listener for its greeting again and again, and remembers how
    long the first and the slowest took."""

    def __init__(self, port, began):
        self.first, self.slowest = None, 0.0
        self._address, self._began = ("127.0.0.1", port), began
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(0.02):
            asked = time.monotonic()
            try:
                with socket.create_connection(self._address, 5) as sock:
                    sock.settimeout(START_PATIENCE)
                    if not sock.recv(512).startswith(b"220"):
                        continue
                    sock.sendall(b"QUIT\r\n")
            except OSError:
                continue
            now = time.monotonic()
            if self.first is None:
                self.first = now - self._began
            self.slowest = max(self.slowest, now - asked)


def time_start(place, relay):
    """Seconds to the first attempt, highest memory, and what a knocker at
    the listener saw."""
    daemon = Smarthost(place, relay.port)
    knocker = Knocker(daemon.port, daemon.began)
    try:
        first = relay.wait_first(START_PATIENCE)
        if first is None:
            raise AssertionError("no attempt was made")
        return first - daemon.began, daemon.memory("VmHWM"), knocker
    finally:
        knocker.stop()
        daemon.stop()


def start():
    """A start with 1,000,000 due messages: seconds from the start of the
    process to the first connection to the relay, resident memory at its
    highest until then, and whether the listener answers meanwhile. The files
    have just been written, so the page cache is warm. No peer: Postfix does
    not read its queue at once. One round only: the files take long."""
    directory = roomy_directory(MILLION)
    if not MILLION or not directory:
        why = "BENCH_MILLION is 0" if directory else "no room for the files"
        return [Figure("start with 1,000,000", "<= 5 s", "skipped", note=why)]
    with workplace(directory) as place, DownRelay() as relay:
        fill_smarthost(place, MILLION, size=200, spread=7 * 86400)
        seconds, memory, knocker = time_start(place, relay)
    answered = knocker.first is not None and knocker.first <= 1 and \
        knocker.slowest <= 1
    shown = "never" if knocker.first is None else \
        f"after {knocker.first:.2f} s, then {knocker.slowest:.2f} s at most"
    name = f"start with {MILLION:,}"
    return [
        at_most(f"{name}: first attempt", 5, seconds, " s",
                note=f"the files are in {directory}"),
        at_most(f"{name}: memory", 64, memory / MEGABYTE, " MB"),
        Figure(f"{name}: the listener answers", "within 1 s", shown, "",
               answered),
    ]


def outage():
    """Connections to a relay that accepts and hangs up, in the first minute
    with 10,000 messages due. The floor of 12 in the first hour is held by
    tests/unit/test_health.c, with a clock that need not be waited for; here
    the real clock is looked at for a minute, in which no more may be made."""
    with workplace() as place, DownRelay() as relay:
        fill_smarthost(place, OUTAGE_QUEUE)
        with Smarthost(place, relay.port) as daemon:
            first = relay.wait_first(START_PATIENCE)
            time.sleep(OUTAGE_SECONDS)
            connects = [f"{at - first:.0f}" for at in relay.connects]
            left = daemon.queued()
    assert left == OUTAGE_QUEUE, f"{left} of {OUTAGE_QUEUE} are still there"
    return [at_most("probes of a relay that is away", 12, len(connects),
                    " in a minute", "",
                    f"{OUTAGE_QUEUE} messages queued; at seconds "
                    + " ".join(connects))]
