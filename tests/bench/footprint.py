# SPDX-License-Identifier: ISC
"""What the daemon needs: room on a disk, memory for a large message, and
anything at all when there is nothing to do."""
import os
import pathlib
import re
import time

from figure import Figure, at_most
from harness import ROOT
from run import workplace_and_sink
from sink import send
from smarthost import Smarthost

KILOBYTE = 1000
MEGABYTE = 1 << 20
BIG = 100 * MEGABYTE
STATIC = ROOT / "smarthost-static"
IDLE_SECONDS = 60
SETTLE_SECONDS = 7  # the courier leaves after 5 s without work


def big():
    """How much the daemon's highest resident memory grows while a message of
    100 MB goes through it, delivery = direct, with a spool, after one of the
    ordinary size."""
    with workplace_and_sink() as (place, sink), \
            Smarthost(place, sink.port,
                      {"listen": {"max_message": "200M"}}) as daemon:
        send(daemon.port, 1)
        before = daemon.memory("VmHWM")
        send(daemon.port, 1, size=BIG)
        growth = daemon.memory("VmHWM") - before
        sink.wait(2)
    return [at_most("memory for a 100 MB message", 1, growth / MEGABYTE,
                    " MB")]


def size():
    """The static binary as a file. The floor is what the program as it was
    first thought of would have."""
    if not STATIC.exists():
        return [Figure("static: size", "<= 300 KB", "skipped",
                       note="there is no smarthost-static; run make static")]
    return [at_most("static: size", 300, STATIC.stat().st_size / KILOBYTE,
                    " KB")]


def wakeups(pid):
    """How often its threads have been given a processor so far."""
    return sum(
        int(count)
        for task in os.listdir(f"/proc/{pid}/task")
        for count in re.findall(
            r"voluntary_ctxt_switches:\s+(\d+)",
            pathlib.Path(f"/proc/{pid}/task/{task}/status").read_text()))


def idle():
    """The static binary a while after its first message: proportional set
    size (its own share of the memory, by the kernel's count), and how often
    any of its threads runs in a minute."""
    if not STATIC.exists():
        return [Figure("idle", "<= 1.2 MB, 1 wake-up", "skipped",
                       note="there is no smarthost-static; run make static")]
    with workplace_and_sink() as (place, sink), \
            Smarthost(place, sink.port, binary=STATIC) as daemon:
        send(daemon.port, 1)
        sink.wait(1)
        time.sleep(SETTLE_SECONDS)
        before = wakeups(daemon.pid)
        time.sleep(IDLE_SECONDS)
        woken = wakeups(daemon.pid) - before
        memory = daemon.memory("Pss", "smaps_rollup")
    return [at_most("idle, static: memory (PSS)", 1.2, memory / MEGABYTE,
                    " MB"),
            at_most("idle, static: wake-ups", 1, woken, " a minute")]
