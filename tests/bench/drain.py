# SPDX-License-Identifier: ISC
"""What a queue does when the relay is back after an outage."""
import os
import time

from figure import at_least, spread
from fill import fill_postfix, fill_smarthost
from postfix_relay import Postfix
from run import ROUNDS, Clock, clocks_note, ratio, workplace_and_sink
from smarthost import Smarthost

COUNT = int(os.environ.get("BENCH_DRAIN", "20000"))
# Postfix's rate does not depend on it, and a round of 20000 takes a minute.
PEER_COUNT = int(os.environ.get("BENCH_DRAIN_PEER", "4000"))


def drain_smarthost(place, sink, times):
    """Messages a second from the start of the daemon to the last arrival.
    Afterwards the queue has to be empty."""
    before = sink.messages
    with Smarthost(place, sink.port) as daemon:
        sink.wait(before + COUNT)
        seconds = time.monotonic() - daemon.began
        times.append(daemon.cpu() / COUNT * 1e6)
    left = daemon.queued()
    assert left == 0, f"{left} messages were not removed"
    return COUNT / seconds


def drain_postfix(postfix, sink, times):
    """The same, from `postqueue -f` on an instance that is up."""
    before = sink.messages
    with postfix, Clock(postfix, PEER_COUNT, times):
        began = time.monotonic()
        postfix.command("postqueue", "-f")
        sink.wait(before + PEER_COUNT)
        return PEER_COUNT / (time.monotonic() - began)


def drain():
    """Draining 20,000 queued messages of 4 KiB over 20 connections, each
    marked and removed as it goes. For smarthost the time includes a whole
    start with the reading of the queue; Postfix is up already and is told to
    flush. Not compared: Postfix does not sync what it has delivered, so after
    a crash it sends some of it again; smarthost does not."""
    ours, theirs, times = [], [], ([], [])
    with workplace_and_sink() as (place, sink):
        # All the queues first: some file systems are slow to make files where
        # others have just been removed.
        for number in range(ROUNDS):
            fill_smarthost(place / f"ours{number}", COUNT)
        peers = [Postfix(place / f"theirs{number}", sink.port)
                 for number in range(ROUNDS)]
        for postfix in peers:
            fill_postfix(postfix, PEER_COUNT, sink.port)
        for number, postfix in enumerate(peers):
            ours.append(drain_smarthost(place / f"ours{number}", sink,
                                        times[0]))
            theirs.append(drain_postfix(postfix, sink, times[1]))
    return [at_least("draining after an outage", 8, ratio(ours, theirs),
                     " x Postfix", "Postfix",
                     f"messages a second, median (lowest-highest) of "
                     f"{ROUNDS}: smarthost {spread(ours)} ({COUNT} messages),"
                     f" Postfix {spread(theirs)} ({PEER_COUNT})"
                     f"{clocks_note(*times)}")]
