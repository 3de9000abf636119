# SPDX-License-Identifier: ISC
"""Relays the same messages through smarthost and through Postfix.

    bench.py [COUNT]        (2000 messages by default, three rounds each)

Client and relay are Postfix's own smtp-source and smtp-sink on this machine,
without TLS; each message of 5 KB comes on a connection of its own, ten at a
time, and goes out over at most ten. Seconds depend on the machine; the ratio
is what counts. It is not the same promise that is compared: Postfix commits
each message to disk first, and smarthost, with `delivery = direct`, answers
when the relay has. Only the rate of arrival at the relay is therefore shown.
"""
import contextlib
import os
import pathlib
import pwd
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
from harness import Daemon  # noqa: E402
from postfix import free_ports  # noqa: E402

ROUNDS, SESSIONS, SIZE, PATIENCE = 3, 10, 5000, 300

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
maillog_file = {dir}/log
maillog_file_prefixes = {dir}
myhostname = bench.test
mydestination =
mynetworks = 127.0.0.0/8
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
relayhost = [127.0.0.1]:{relay}
disable_dns_lookups = yes
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_relay_restrictions = permit_mynetworks, reject
initial_destination_concurrency = {sessions}
default_destination_concurrency_limit = {sessions}
"""
MASTER_CF = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


def await_port(port):
    """Waits until somebody listens there."""
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


class Sink:
    """smtp-sink, and how many messages it has taken."""

    def __init__(self, port):
        self.count = 0
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            ["smtp-sink", "-c", "-u", "nobody", f"127.0.0.1:{port}", "200"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        threading.Thread(target=self._read, daemon=True).start()
        await_port(port)

    def _read(self):
        text = b""
        while data := os.read(self.process.stdout.fileno(), 65536):
            text = (text + data)[-200:]
            found = re.findall(rb"mesg=(\d+)[\r\n]", text)
            if found:
                with self._news:
                    self.count = int(found[-1])
                    self._news.notify_all()

    def wait(self, count):
        with self._news:
            if not self._news.wait_for(lambda: self.count >= count, PATIENCE):
                raise AssertionError(f"{self.count} of {count} arrived")

    def stop(self):
        self.process.terminate()
        self.process.wait()


@contextlib.contextmanager
def postfix(place, port, relay):
    owner = pwd.getpwnam("postfix")
    place.chmod(0o755)
    for name in ("conf", "queue", "data"):
        (place / name).mkdir()
    os.chown(place / "data", owner.pw_uid, owner.pw_gid)
    conf = place / "conf"
    (conf / "main.cf").write_text(
        MAIN_CF.format(dir=place, relay=relay, sessions=SESSIONS))
    (conf / "master.cf").write_text(MASTER_CF.format(port=port))
    subprocess.run(["postfix", "-c", conf, "check"], check=True)
    daemons = subprocess.run(
        ["postconf", "-c", conf, "-h", "daemon_directory"], check=True,
        stdout=subprocess.PIPE).stdout.decode().strip()
    process = subprocess.Popen(
        [daemons + "/master", "-c", conf, "-s"], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True)
    try:
        await_port(port)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@contextlib.contextmanager
def smarthost(place, port, relay):
    daemon = Daemon(place, {
        "smarthost": {"hostname": "bench.test"},
        "upstream": {"host": "127.0.0.1", "port": relay, "tls": "none",
                     "connections": SESSIONS},
        "listen": {"socket": place / "socket",
                   "address": f"127.0.0.1:{port}"},
        "queue": {"directory": "none"}})
    try:
        await_port(port)
        yield
    finally:
        daemon.stop()


def send(port, count):
    subprocess.run(
        ["smtp-source", "-s", str(SESSIONS), "-m", str(count), "-l", str(SIZE),
         "-f", "a@bench.test", "-t", "b@bench.test", f"127.0.0.1:{port}"],
        check=True, timeout=PATIENCE)


def rate(port, sink, count):
    """Messages a second, from the first connection to the last arrival."""
    before, began = sink.count, time.monotonic()
    send(port, count)
    sink.wait(before + count)
    return count / (time.monotonic() - began)


def main(count):
    relay, first, second = free_ports(3)
    sink = Sink(relay)
    rates = {"none (client to sink)": [], "smarthost": [], "Postfix": []}
    try:
        with tempfile.TemporaryDirectory() as one, \
                tempfile.TemporaryDirectory() as two, \
                smarthost(pathlib.Path(one), first, relay), \
                postfix(pathlib.Path(two), second, relay):
            for _ in range(ROUNDS):
                for name, port in zip(rates, (relay, first, second)):
                    rates[name].append(rate(port, sink, count))
    finally:
        sink.stop()
    base = statistics.median(rates["Postfix"])
    print(f"{count} messages of {SIZE} bytes, {SESSIONS} at a time, "
          f"{ROUNDS} rounds, median\n")
    print(f"{'relay between':24}{'messages/s':>12}{'to Postfix':>12}")
    for name, found in rates.items():
        median = statistics.median(found)
        print(f"{name:24}{median:>12.0f}{median / base:>11.1f}x")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
