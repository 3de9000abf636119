# SPDX-License-Identifier: ISC
"""Messages a second through smarthost, through Postfix, and through nothing,
each round one after the other."""
import re
import subprocess

from figure import Figure, at_least, at_most, spread
from postfix_relay import Postfix
from run import ROUNDS, Clock, clocks_note, rate, ratio, workplace_and_sink
from sink import send
from smarthost import Smarthost

# Enough for a second or more of each.
BARE, FAST, DURABLE, SLOW, WARM_UP = 20000, 15000, 5000, 2000, 300
TRACED = 100


def compare(settings, count):
    """Rates of nothing, smarthost with those settings, and Postfix; and the
    processor times of the last two."""
    bare, ours, theirs, times = [], [], [], ([], [])
    with workplace_and_sink() as (place, sink), \
            Smarthost(place / "ours", sink.port, settings) as daemon, \
            Postfix(place / "theirs", sink.port) as postfix:
        for port in (sink.port, daemon.port, postfix.port):
            rate(port, sink, WARM_UP)
        for _ in range(ROUNDS):
            bare.append(rate(sink.port, sink, BARE))
            with Clock(daemon, count, times[0]):
                ours.append(rate(daemon.port, sink, count))
            with Clock(postfix, SLOW, times[1]):
                theirs.append(rate(postfix.port, sink, SLOW))
    return bare, ours, theirs, times


def rates_note(bare, ours, theirs, times):
    return (f"messages a second, median (lowest-highest) of {ROUNDS}: no "
            f"relay {spread(bare)}, smarthost {spread(ours)}, Postfix "
            f"{spread(theirs)}{clocks_note(*times)}")


def relay():
    """The relay rate, delivery = direct with a spool: 20 client connections
    used again and again, 4 KiB messages, no TLS, logs in files. Compared is
    the arrival at the relay. Not compared is the promise: Postfix has each
    message on disk before it answers; smarthost answers what the relay did."""
    found = compare({}, FAST)
    bare, ours, theirs, _ = found
    return [
        at_least("relay rate, direct", 10, ratio(ours, theirs),
                 " x Postfix", "Postfix", rates_note(*found)),
        at_least("relay rate, direct, of none", 40,
                 100 * ratio(ours, bare), "%", "client straight into relay"),
    ]


def count_syncs():
    """How often so many messages were synced, one after the other, by system
    call: file and directory before the answer, the mark after the relay's.
    (Of those that come at once several share a sync of the directory.) strace
    slows, so nothing is timed here."""
    with workplace_and_sink() as (place, sink):
        trace = place / "trace"
        wrapper = ["strace", "-f", "-qq", "-o", trace, "-e",
                   "trace=fsync,fdatasync,sync_file_range,syncfs,sync"]
        with Smarthost(place / "ours", sink.port,
                       {"queue": {"delivery": "queue"}},
                       wrapper=wrapper) as daemon:
            before = len(trace.read_text().splitlines())
            send(daemon.port, TRACED, sessions=1)
            sink.wait(TRACED)
            daemon.stop()
        text = "\n".join(trace.read_text().splitlines()[before:])
    # one that was interrupted by another thread's has two lines
    return [len(re.findall(rf"\d+ +{name}\(", text))
            for name in ("fsync", "fdatasync")]


def queue():
    """The same, delivery = queue: here both make the same promise, on disk
    before the answer. A second run under strace counts the syncs."""
    found = compare({"queue": {"delivery": "queue"}}, DURABLE)
    commits, marks = count_syncs()
    return [
        at_least("relay rate, queue", 4, ratio(found[1], found[2]),
                 " x Postfix", "Postfix", rates_note(*found)),
        Figure("syncs to commit", "2 a message",
               f"{commits / TRACED:g} a message", "",
               commits == 2 * TRACED),
        Figure("syncs to mark", "1 a message",
               f"{marks / TRACED:g} a message", "", marks == TRACED),
    ]


def cpu():
    """Processor time of the daemon a message, delivery = direct, with the
    spool against `directory = none`. On a good day the spool is not touched,
    so it may cost little. Compared with itself, not with Postfix."""
    spool, none = [], []
    with workplace_and_sink() as (place, sink), \
            Smarthost(place / "spool", sink.port) as with_spool, \
            Smarthost(place / "none", sink.port,
                      {"queue": {"directory": "none"}}) as without:
        for daemon in (with_spool, without):
            rate(daemon.port, sink, WARM_UP)
        for _ in range(ROUNDS):
            for daemon, found in ((with_spool, spool), (without, none)):
                before = daemon.cpu()
                rate(daemon.port, sink, FAST)
                found.append((daemon.cpu() - before) / FAST * 1e6)
    return [at_most("processor time, spool there", 1.1, ratio(spool, none),
                    " x none", "directory = none",
                    f"microseconds a message: with the spool {spread(spool)},"
                    f" without {spread(none)}")]
