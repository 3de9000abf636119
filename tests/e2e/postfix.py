# SPDX-License-Identifier: ISC
"""A real Postfix as the relay, with its own configuration, queue and data.

Nothing of a Postfix that may be installed and running is touched: no setgid
program is used, only master(8) and the servers it starts.
"""

import dataclasses
import email
import os
import pathlib
import random
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import time

from harness import WAIT

USER, PASSWORD = "sender", "correct horse"
REALM = "relay.test"
REFUSED, DEFERRED = "refused@example.test", "deferred@example.test"
ONLY_SENDER = "ops@example.test"
SMALL = 20000  # bytes: message_size_limit of the small port

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
maillog_file = {dir}/log
maillog_file_prefixes = {dir}
myhostname = relay.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = all
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
relay_domains =
default_transport = error:nothing leaves this machine
virtual_mailbox_domains = example.test
virtual_mailbox_base = {dir}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
smtpd_peername_lookup = no
smtpd_error_sleep_time = 0
smtpd_client_connection_count_limit = 0
smtpd_client_port_logging = yes
smtpd_client_restrictions =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access texthash:{dir}/access
only_sender = check_sender_access texthash:{dir}/senders, reject
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = {realm}
smtpd_sasl_security_options = noanonymous
broken_sasl_auth_clients = yes
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {certificate}
smtpd_tls_session_cache_database =
smtp_tls_session_cache_database =
"""

# What the header has to say where there is one sender only.
STRICT = f"""\
if /^(From|Sender):/
!/[ <]{ONLY_SENDER}>?$/ REJECT this sender is not verified
endif
"""

# One smtpd for each, with what is different about it.
SASL = ["smtpd_sasl_auth_enable=yes",
        "smtpd_relay_restrictions=permit_sasl_authenticated,reject",
        "smtpd_client_restrictions=permit_sasl_authenticated,reject"]
STARTTLS = [*SASL, "smtpd_tls_security_level=encrypt",
            "smtpd_tls_auth_only=yes"]
SERVICES = {
    "plain": [],
    "submission": STARTTLS,
    "implicit": [*SASL, "smtpd_tls_wrappermode=yes"],
    "auth-plain": [*STARTTLS, "smtpd_sasl_mechanism_filter=plain"],
    "auth-login": [*STARTTLS, "smtpd_sasl_mechanism_filter=login"],
    "auth-cram-md5": [*STARTTLS, "smtpd_sasl_mechanism_filter=cram-md5"],
    # takes mail from ONLY_SENDER, as providers do whose users are verified
    "one-sender": [*STARTTLS, "smtpd_sender_restrictions=$only_sender",
                   "cleanup_service_name=strict"],
    "small": [*STARTTLS, f"message_size_limit={SMALL}"],
    # gives the same limit only when the data has arrived
    "small-unsaid": [*STARTTLS, f"message_size_limit={SMALL}",
                     "smtpd_discard_ehlo_keywords=size"],
}

MASTER_CF = """
cleanup   unix  n - n - 0 cleanup
strict    unix  n - n - 0 cleanup
  -o header_checks=regexp:{dir}/strict
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
tlsmgr    unix  - - n 1000? 1 tlsmgr
flush     unix  n - n 1000? 0 flush
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""


@dataclasses.dataclass
class Delivered:
    """A message as Postfix delivered it, with its envelope."""
    sender: str
    recipient: str
    raw: bytes

    @property
    def message(self):
        return email.message_from_bytes(self.raw)

    @property
    def body(self):
        return self.raw.partition(b"\n\n")[2]

    @property
    def queue_id(self):
        """What Postfix calls it. One that ends between a delivery and its
        mark delivers the same once more."""
        return re.search(rb"\(Postfix\) with \w+ id (\w+)",
                         self.raw)[1].decode()


def free_ports(count):
    """Ports that nobody has, for servers that open them by number and later.
    Not from the range that the kernel gives to outgoing connections, or one
    of those could have it by then."""
    sockets = []
    while len(sockets) < count:
        sock = socket.socket()
        try:
            sock.bind(("127.0.0.1", random.randrange(10000, 32000)))
            sockets.append(sock)
        except OSError:
            sock.close()
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def is_whole(path):
    """Whether that is a message in a queue of Postfix's: one that is not yet
    taken has no x bit, and stays so if whoever received it was killed."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISREG(mode) and bool(mode & stat.S_IXUSR)


class Postfix:
    """An instance below directory; start() and stop() as often as wanted."""

    def __init__(self, directory, certificate, services=None):
        self.services = services or SERVICES
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(mode=0o755)
        self.ports = dict(zip(self.services,
                              free_ports(len(self.services))))
        self.process = None
        self._write(certificate)
        daemons = subprocess.run(
            ["postconf", "-c", self._conf, "-h", "daemon_directory"],
            check=True, stdout=subprocess.PIPE).stdout.decode().strip()
        self.master = daemons + "/master"
        subprocess.run(["postfix", "-c", self._conf, "check"], check=True,
                       stdout=subprocess.DEVNULL)

    @property
    def _conf(self):
        return self.dir / "conf"

    def _write(self, certificate):
        owner = pwd.getpwnam("postfix")
        for name in ("conf", "queue", "data", "mail", "conf/sasl"):
            (self.dir / name).mkdir(mode=0o755)
        os.chown(self.dir / "data", owner.pw_uid, owner.pw_gid)
        os.chown(self.dir / "mail", 65534, 65534)
        main = MAIN_CF.format(dir=self.dir, uid=65534, gid=65534,
                              realm=REALM, certificate=certificate)
        (self._conf / "main.cf").write_text(main)
        lines = [MASTER_CF.format(dir=self.dir)]
        for name, options in self.services.items():
            lines.append(f"127.0.0.1:{self.ports[name]} inet n - n - - smtpd")
            lines.append(f"  -o syslog_name=postfix/{name}")
            lines += [f"  -o {option}" for option in options]
        (self._conf / "master.cf").write_text("\n".join(lines) + "\n")
        (self.dir / "access").write_text(
            f"{REFUSED} 550 5.1.1 no such user here\n"
            f"{DEFERRED} 450 4.2.0 try later\n")
        (self.dir / "senders").write_text(f"{ONLY_SENDER} OK\n")
        (self.dir / "strict").write_text(STRICT)
        for path in (*self._conf.glob("*.cf"), self.dir / "access",
                     self.dir / "senders", self.dir / "strict"):
            # a file that has just changed is not read before it has rested
            os.utime(path, (0, 0))
        database = self.dir / "sasldb2"
        (self._conf / "sasl" / "smtpd.conf").write_text(
            "pwcheck_method: auxprop\nauxprop_plugin: sasldb\n"
            f"sasldb_path: {database}\nmech_list: PLAIN LOGIN CRAM-MD5\n")
        subprocess.run(
            ["saslpasswd2", "-p", "-c", "-f", database, "-u", REALM, USER],
            input=PASSWORD.encode(), check=True)
        database.chmod(0o644)

    def start(self):
        self.process = subprocess.Popen(
            [self.master, "-c", self._conf, "-s"], cwd=self.dir / "queue",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        self._wait(lambda: all(map(self._greets, self.ports.values())))
        return self

    def _greets(self, port):
        """Whether something listens there (the banner is not waited for:
        one of the ports speaks TLS only)."""
        try:
            socket.create_connection(("127.0.0.1", port), WAIT).close()
        except OSError:
            return False
        return True

    def stop(self):
        """Ends every process of the instance: master and, as it has a
        process group of its own, the servers that it started."""
        if not self.process:
            return
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(WAIT)
        # the servers end by themselves when master has gone; none may be
        # left that still holds a listening socket
        self._wait(lambda: not any(map(self._greets, self.ports.values())))
        self.process = None

    def restart(self):
        self.stop()
        self.start()

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        """All of it; its first line may be on its way when Postfix already
        listens, as its last ones when a client has gone."""
        try:
            return (self.dir / "log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def _wait(self, ready):
        """Asks again until it is so; what is asked is outside of us."""
        until = time.monotonic() + WAIT
        while not ready():
            if time.monotonic() > until:
                raise AssertionError("postfix:\n" + self.log()[-3000:])
            time.sleep(0.01)

    def all_messages(self):
        """Every message delivered so far."""
        result = []
        for path in sorted(self.dir.glob("mail/all/new/*")):
            raw = path.read_bytes()

            def field(name):
                found = re.search(rb"^%s: *(.*)$" % name, raw, re.M)
                return found[1].decode() if found else ""
            result.append(Delivered(field(b"Return-Path").strip("<>"),
                                    field(b"X-Original-To"), raw))
        return result

    def messages(self, recipient, count=1):
        """The messages for that recipient, once there are count of them."""
        def found():
            return [one for one in self.all_messages()
                    if one.recipient == recipient]
        self._wait(lambda: len(found()) >= count)
        return found()

    def clients(self, messages):
        """What the log says of the client that sent each of them: a list of
        {"client": name[address]:port, and what there is of a login}."""
        wanted = {one.queue_id for one in messages}

        def found():
            lines = re.findall(r" (\w+): (client=.*)", self.log())
            return {name: text for name, text in lines if name in wanted}
        self._wait(lambda: found().keys() == wanted)
        return [dict(pair.split("=", 1) for pair in text.split(", "))
                for text in found().values()]

    def settled(self):
        """Waits until nothing is on its way in the queue."""
        self._wait(lambda: not any(
            is_whole(path)
            for queue in ("maildrop", "incoming", "active")
            for path in self.dir.glob(f"queue/{queue}/**/*")))

    def copies(self, recipient):
        """How many messages it has got, when nothing is on its way."""
        self.settled()
        return sum(one.recipient == recipient for one in self.all_messages())
