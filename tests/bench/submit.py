# SPDX-License-Identifier: ISC
"""What one `sendmail -t` costs, beside the sendmail of Postfix and msmtp."""
import os
import statistics
import subprocess
import time

from figure import at_most, spread
from harness import BIN, environment, write_config
from postfix_relay import Postfix
from run import ROUNDS, ratio, workplace_and_sink
from smarthost import Smarthost
from upstream import LOGIN, place_and_tlssink, secure_upstream

CALLS = 40  # a round
TEXT = ("From: a@bench.test\nTo: b@bench.test\nSubject: bench\n\n" +
        64 * ("x" * 63 + "\n")).encode()


def call(place, command, group=None, env=None):
    """The seconds and the processor seconds of one run, which has to
    succeed, its children included."""
    text = place / "message"
    if not text.exists():
        text.write_bytes(TEXT)
    with open(text, "rb") as stdin:
        began = time.monotonic()
        child = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.DEVNULL,
            env=environment(env), cwd="/", group=group)
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, (command, child.returncode)
    return seconds, used.ru_utime + used.ru_stime


def compare(place, ours, theirs):
    """Of each round, the median of its calls: [(seconds, processor)] of
    both, one call of each after the other."""
    found = [], []
    for _ in range(ROUNDS):
        each = [], []
        for _ in range(CALLS):
            for calls, how in zip(each, (ours, theirs)):
                calls.append(call(place, **how))
        for of_all, calls in zip(found, each):
            of_all.append([statistics.median(values)
                           for values in zip(*calls)])
    return found


def column(found, index):
    return [1000 * one[index] for one in found]


def judge(name, floor, peer, ours, theirs):
    form = "{:.2f}"
    return at_most(name, floor, ratio(ours, theirs), f" x {peer}", peer,
                   f"ms, median (lowest-highest) of {ROUNDS} x {CALLS}: "
                   f"smarthost {spread(ours, form)}, {peer} "
                   f"{spread(theirs, form)}")


def sendmail():
    """Wall time of `sendmail -t` with a message of 4 KiB, up to exit status
    0: through the running daemon, delivery = direct, which answers when the
    relay has; and Postfix's, which leaves it in its maildrop."""
    with workplace_and_sink() as (place, sink), \
            Smarthost(place / "ours", sink.port) as daemon, \
            Postfix(place / "theirs", sink.port) as postfix:
        ours = {"command": [BIN, "sendmail", "-t"],
                "env": {"SMARTHOST_LISTEN_SOCKET":
                        daemon.place / "socket",
                        "SMARTHOST_QUEUE_DIRECTORY": "none"}}
        theirs = {"command": ["/usr/sbin/sendmail", "-C", postfix.conf, "-t"],
                  "group": "postdrop"}
        found = compare(place, ours, theirs)
    return [judge("sendmail through the daemon, wall time", 0.333, "Postfix",
                  *(column(one, 0) for one in found))]


def oneshot():
    """One `sendmail -t` of 4 KiB without a daemon, over STARTTLS and AUTH
    PLAIN, the certificate verified, beside msmtp with the same relay and the
    same anchor."""
    with place_and_tlssink() as (place, certs, sink):
        config = write_config(place / "smarthost.conf", {
            "smarthost": {"hostname": "host.bench.test"},
            "upstream": {"host": "127.0.0.1", "port": sink.port,
                         **secure_upstream(certs)},
            "listen": {"socket": place / "socket"},
            "queue": {"directory": "none"}})
        peer = place / "msmtprc"
        peer.write_text(f"""defaults
host 127.0.0.1
port {sink.port}
tls on
tls_starttls on
tls_trust_file {certs.ca}
tls_host_override relay.test
auth plain
user {LOGIN["user"]}
password {LOGIN["password"]}
from a@bench.test
account default
""")
        peer.chmod(0o600)
        found = compare(
            place,
            {"command": [BIN, "sendmail", "-C", config, "-t"]},
            {"command": ["msmtp", "-C", peer, "-t"]})
    return [judge("sendmail alone over TLS, processor time", 0.5, "msmtp",
                  *(column(one, 1) for one in found)),
            judge("sendmail alone over TLS, wall time", 0.2, "msmtp",
                  *(column(one, 0) for one in found))]
