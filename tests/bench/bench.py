# SPDX-License-Identifier: ISC
"""Measures smarthost against its floors, beside Postfix on the same machine.

    bench.py [NAME...]       all of them, or those: relay queue drain cpu
                             start outage size big idle secure
                             trips sendmail oneshot

Prints a table and writes it to BENCH.md. Exits 1 if a floor is missed.
Seconds depend on the machine and on who else uses it: where there is a peer,
both are measured in turn, several times, and what counts is the median of the
ratios. Client and relay are smtp-source and smtp-sink of Postfix's package, without
TLS, the logs of both in files; where TLS or round trips are measured the relay
is tlssink.c.

SMARTHOST_BIN  the program (default: the one in the tree)
BENCH_ROUNDS   how often what has a peer is measured (5)
BENCH_DIR      where the spools are (/var/tmp: a disk, please)
BENCH_MILLION  messages of `start`; 0 leaves it out
BENCH_DRAIN, BENCH_DRAIN_PEER   messages of `drain` (20000, 4000)
BENCH_REPORT   where to write the table (BENCH.md in the tree)
"""
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
# pylint: disable=wrong-import-position
import drain  # noqa: E402
import footprint  # noqa: E402
import long_queue  # noqa: E402
import machine  # noqa: E402
import rates  # noqa: E402
import submit  # noqa: E402
import upstream  # noqa: E402
from figure import as_markdown, as_text  # noqa: E402
from harness import BIN, ROOT  # noqa: E402
from run import DIRECTORY, ROUNDS  # noqa: E402

MEASUREMENTS = {
    "relay": rates.relay,
    "queue": rates.queue,
    "drain": drain.drain,
    "cpu": rates.cpu,
    "start": long_queue.start,
    "outage": long_queue.outage,
    "size": footprint.size,
    "big": footprint.big,
    "idle": footprint.idle,
    "secure": upstream.secure,
    "trips": upstream.trips,
    "sendmail": submit.sendmail,
    "oneshot": submit.oneshot,
}
REPORT = pathlib.Path(os.environ.get("BENCH_REPORT") or ROOT / "BENCH.md")


def report(facts, names, figures):
    how = "\n\n".join(
        f"**{name}** " + " ".join(MEASUREMENTS[name].__doc__.split())
        for name in names)
    facts = "\n".join(f"- {what}: {value}" for what, value in facts.items())
    return (f"# Benchmark\n\nWritten by `make bench`; {ROUNDS} rounds where "
            f"there is a peer, the ratio being the median of the rounds'.\n\n"
            f"{as_markdown(figures)}\n\n## Machine\n\n{facts}\n\n"
            f"## What is compared\n\n{how}\n")


def main(names):
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown or not os.access(BIN, os.X_OK):
        print(f"{BIN} is not there, run make" if not unknown else
              f"{unknown[0]}: choose from {' '.join(MEASUREMENTS)}",
              file=sys.stderr)
        return 64
    names, figures = names or list(MEASUREMENTS), []
    facts = machine.describe(DIRECTORY)
    for name in names:
        began = time.monotonic()
        figures += MEASUREMENTS[name]()
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(as_text(figures))
    REPORT.write_text(report(facts, names, figures))
    return 1 if any(figure.ok is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
