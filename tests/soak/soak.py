# SPDX-License-Identifier: ISC
"""Sends very many messages through one daemon, while clients vanish, the relay
fails and the configuration is read again and again; and looks whether anything
is lost, and whether anything grows.

In five rounds, each of which ends with a healthy relay and an empty queue.
What is compared is the end of the first round with that of the last.

SMARTHOST_BIN  the program (default: the one in the tree)
SOAK_MESSAGES  how many (20000)
SOAK_SEED      what happens when, as far as that is up to the dice
SOAK_DIR       where the spool is (/var/tmp)
"""
import array
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).parent
sys.path[1:1] = [str(HERE.parent / "bench"), str(HERE.parent / "e2e")]
# pylint: disable=wrong-import-position
import badrelay  # noqa: E402
from certs import Certificates  # noqa: E402
from harness import ALARMS, BIN, SANITIZED, environment  # noqa: E402
from run import workplace  # noqa: E402
from shaky import Ledger, ShakyRelay  # noqa: E402
from smarthost import Smarthost, count_files  # noqa: E402

MESSAGES = int(os.environ.get("SOAK_MESSAGES", "20000"))
SEED = os.environ.get("SOAK_SEED", "1")
DIRECTORY = os.environ.get("SOAK_DIR", "/var/tmp")
ROUNDS, PROGRAMS, SESSIONS = 5, 2, 16
RELOAD_EVERY = 2  # seconds
CALM = 4  # seconds without a change, and it is at rest
PATIENCE = 900
# What the memory may grow by, after a fifth of the messages and after three:
# the allocator takes its time to have met every size in every arena.
SLACK, LATE_SLACK = 8 << 20, 2 << 20


def wait_for(condition, what):
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"waited {PATIENCE} s for {what}")
        time.sleep(0.1)


def configuration(certs, port):
    """Two upstreams, by the sender, which are the same relay."""
    upstream = {"tls": "starttls", "tls_ca_file": certs.ca,
                "tls_name": "relay.test", "timeout": "5s", "idle": "1s",
                "connections": 6}
    return {
        "upstream": upstream,
        "upstream other": {**upstream, "host": "127.0.0.1", "port": port,
                           "senders": "*@other.test"},
        "listen": {"session_timeout": "5s", "tls_cert": certs.pem("good")},
        "queue": {"direct_wait": "1s", "retry_max": "1m"},
    }


class Soak:
    def __init__(self, place, certs):
        self.place, self.certs = place, certs
        self.ledger = Ledger(MESSAGES)
        self.relay = ShakyRelay(
            self.ledger, badrelay.server_context(certs.pem("good")), SEED)
        self.daemon = Smarthost(place, self.relay.port,
                                configuration(certs, self.relay.port))
        self.control = place / "control"
        self.acknowledged, self.generation = array.array("I"), 0

    def reload(self, done):
        """Other keys each time, until done."""
        config = self.place / "smarthost.conf"
        while not done.wait(RELOAD_EVERY):
            self.generation += 1
            text = re.sub(r"connections = \d+",
                          f"connections = {6 + self.generation % 3}",
                          config.read_text())
            new = config.with_suffix(".new")
            new.write_text(text)
            new.rename(config)
            os.kill(self.daemon.pid, signal.SIGHUP)

    def retry(self):
        subprocess.run([BIN, "-c", self.place / "smarthost.conf", "queue",
                        "retry"], env=environment(), check=False,
                       stdout=subprocess.DEVNULL, timeout=PATIENCE)

    def send(self, first, last):
        """Sends those messages, in several processes."""
        step = -(-(last - first) // PROGRAMS)
        programs = [subprocess.Popen(
            [sys.executable, HERE / "strangers.py", str(self.daemon.port),
             self.place / "socket", str(at), str(min(at + step, last)),
             str(SESSIONS), str(SEED)], stdout=subprocess.PIPE)
            for at in range(first, last, step)]
        for program in programs:
            self.acknowledged.frombytes(program.communicate()[0])
            assert program.returncode == 0

    def drained(self):
        if not self.daemon.queued():
            return True
        self.retry()
        return not self.daemon.queued()

    def footprint(self):
        """Descriptors, threads and memory of the daemon."""
        process = pathlib.Path(f"/proc/{self.daemon.pid}")
        return (len(os.listdir(process / "fd")),
                len(os.listdir(process / "task")),
                self.daemon.memory("VmRSS"))

    def at_rest(self):
        """The footprint when the queue is empty and nobody is there."""
        self.relay.shaky = False
        wait_for(self.drained, "the queue to be empty")
        until = time.monotonic() + PATIENCE
        last, since = self.footprint(), time.monotonic()
        while time.monotonic() - since < CALM:
            assert time.monotonic() < until, "it does not come to rest"
            time.sleep(0.2)
            now = self.footprint()
            if now[:2] != last[:2]:
                since = time.monotonic()
            last = now
        self.relay.shaky = True
        return last

    def round(self, number):
        done = threading.Event()
        reloader = threading.Thread(target=self.reload, args=(done,))
        reloader.start()
        began = time.monotonic()
        try:
            self.send(MESSAGES * number // ROUNDS,
                      MESSAGES * (number + 1) // ROUNDS)
        finally:
            done.set()
            reloader.join()
        return time.monotonic() - began

    def lost(self):
        return [entry & (1 << 29) - 1 for entry in self.acknowledged
                if not self.ledger.knows(entry & (1 << 29) - 1, entry >> 29)]


def alarms(log):
    """What a sanitizer has said, and reloads, from the log."""
    reloads, found = 0, []
    with open(log, "rb") as lines:
        for line in lines:
            reloads += b"event=reloaded" in line
            if ALARMS.search(line):
                found.append(line.decode(errors="replace"))
    return reloads, found


def judge(soak, footprints, status):
    """Every sentence says what is wrong."""
    first, last = footprints[0], footprints[-1]
    reloads, found = alarms(soak.daemon.log)
    print(f"{reloads} reloads of {soak.generation} asked for; "
          f"{len(soak.acknowledged)} acknowledged, {soak.ledger.again} "
          f"recipients had one twice; faults of the relay: {soak.relay.faults}")
    if lost := soak.lost():
        yield f"{len(lost)} acknowledged and lost: {lost[:20]}"
    if not soak.acknowledged:
        yield "nothing was acknowledged"
    if last[0] > first[0]:
        yield f"descriptors: {first[0]}, then {last[0]}"
    if last[1] > first[1]:
        yield f"threads: {first[1]}, then {last[1]}"
    middle = footprints[ROUNDS // 2]
    if not SANITIZED and (last[2] > first[2] + SLACK or
                          last[2] > middle[2] + LATE_SLACK):
        yield f"memory: {first[2]} bytes, {middle[2]}, then {last[2]}"
    if status:
        yield f"exit status {status}"
    if found:
        yield "sanitizer: " + "".join(found[:5])
    if count_files(soak.place / "spool" / "incoming") > 64:
        yield "files are left in incoming/"


def main():
    with workplace(DIRECTORY) as place, contextlib.ExitStack() as stack:
        certs = Certificates(place / "certs")
        soak = Soak(place, certs)
        stack.enter_context(soak.daemon)
        footprints = []
        for number in range(ROUNDS):
            seconds = soak.round(number)
            footprints.append(soak.at_rest())
            descriptors, threads, memory = footprints[-1]
            print(f"round {number + 1}: {MESSAGES // ROUNDS} messages in "
                  f"{seconds:.0f} s; at rest {descriptors} descriptors, "
                  f"{threads} threads, {memory >> 10} KiB", flush=True)
        soak.daemon.stop()
        wrong = list(judge(soak, footprints, soak.daemon.process.returncode))
    print("\n".join(wrong) or "nothing lost, nothing grown")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
