# SPDX-License-Identifier: ISC
"""What every measurement gets: where to work, how often, and one relay."""
import contextlib
import os
import pathlib
import shutil
import statistics
import tempfile
import time

from figure import spread
from postfix import free_ports
from sink import Sink, send

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
# On a disk: on tmpfs a sync costs nothing, and a queue would look too fast.
DIRECTORY = os.environ.get("BENCH_DIR", "/var/tmp")


@contextlib.contextmanager
def workplace(directory=DIRECTORY):
    place = pathlib.Path(tempfile.mkdtemp(prefix="sh-bench-", dir=directory))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place)


@contextlib.contextmanager
def workplace_and_sink():
    with workplace() as place, Sink(free_ports(1)[0]) as sink:
        yield place, sink


def rate(port, sink, count):
    """Messages a second, from the first connection to the last arrival at
    the relay."""
    before, began = sink.messages, time.monotonic()
    send(port, count)
    sink.wait(before + count)
    return count / (time.monotonic() - began)


class Clock:
    """Processor time of a daemon, in microseconds for each of so many
    messages that are sent inside a with block."""

    def __init__(self, daemon, count, found):
        self.daemon, self.count, self.found = daemon, count, found

    def __enter__(self):
        self.before = self.daemon.cpu()

    def __exit__(self, *_):
        self.found.append((self.daemon.cpu() - self.before) /
                          self.count * 1e6)


def clocks_note(ours, theirs):
    """What stays the same, more or less, on a machine that is busy."""
    return (f"; processor time of the daemons, microseconds a message: "
            f"smarthost {spread(ours)}, Postfix {spread(theirs)}")


def ratio(values, others):
    """The median of the ratios of what was measured in the same round, so
    that a machine that is busier in one of them does not count."""
    return statistics.median(a / b for a, b in zip(values, others))
