# SPDX-License-Identifier: ISC
"""Postfix as the peer: the same place between client and relay, in the same
run, its queue on the same file system as our spool. It gets what speeds it
up: processes enough, no DNS, no TLS, no rate limits, connections to the relay
kept, nothing local to look up."""
import contextlib
import os
import pathlib
import pwd
import signal
import subprocess

from postfix import free_ports
from sink import await_port

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
default_process_limit = 200
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_connection_cache_destinations = [127.0.0.1]:{relay}
initial_destination_concurrency = {connections}
default_destination_concurrency_limit = {connections}
"""
# master(8) opens them in this order: when the port answers, all are there.
MASTER_CF = """
pickup unix n - n 60 1 pickup
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
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
postlog unix-dgram n - n - 1 postlogd
127.0.0.1:{port} inet n - n - - smtpd
"""


class Postfix:
    """An instance below place, for the length of a with block; stop() and
    start() inside it as often as wanted."""

    def __init__(self, place, relay, connections=20, more=""):
        self.place, self.port = pathlib.Path(place), free_ports(1)[0]
        self.place.mkdir()
        self.place.chmod(0o755)
        self.conf, self.process = self.place / "conf", None
        owner = pwd.getpwnam("postfix")
        for name in ("conf", "queue", "data"):
            (self.place / name).mkdir()
        os.chown(self.place / "data", owner.pw_uid, owner.pw_gid)
        self.connections, self.more = connections, more
        self.point_to(relay)
        (self.conf / "master.cf").write_text(MASTER_CF.format(port=self.port))
        self.command("postfix", "check")
        self.master = self.command(
            "postconf", "-h", "daemon_directory").strip() + "/master"

    def point_to(self, relay):
        """Names the relay's port; for an instance that does not run."""
        (self.conf / "main.cf").write_text(MAIN_CF.format(
            dir=self.place, relay=relay, connections=self.connections) +
                                           self.more)

    def command(self, name, *args):
        return subprocess.run(
            [name, "-c", self.conf, *args], check=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.process = subprocess.Popen(
            [self.master, "-c", self.conf, "-s"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        await_port(self.port, lambda: self.process.poll() is None)
        return self

    def cpu(self):
        """Seconds of processor time so far, of all its processes, also of
        those that have ended."""
        total = 0
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = path.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid:  # its session
                    total += sum(map(int, fields[11:15]))
        return total / os.sysconf("SC_CLK_TCK")

    def stop(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait()
        self.process = None
