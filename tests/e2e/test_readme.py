# SPDX-License-Identifier: ISC
"""README.md and the manual pages say what the program does.

Every block marked `sh` in README.md is run, in the order of the page, as root
on a copy of this machine: an overlay over / in a mount namespace of its own,
which is gone afterwards. What cannot be run there as it is written is changed
by SUBSTITUTIONS and by the stand-ins below, and by nothing else. Every block
marked `ini` is judged by `check --config` and used to send a message. Every
sentence under Troubleshooting is compared with what the program says.
"""

import configparser
import fcntl
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys

import pytest

import badrelay
import harness
from badrelay import PASSWORD
from harness import Daemon, message, parse_log_line, run, sendmail
from postfix import free_ports

README = (harness.ROOT / "README.md").read_text(encoding="utf-8")
MAN = harness.ROOT / "man"
CONFIG = "/etc/smarthost/smarthost.conf"
SOURCE = "/usr/src/smarthost"  # in the guest

SMTP_PORT, CONTAINER_PORT = free_ports(2)
SUBSTITUTIONS = [
    # nothing is downloaded
    (r"^apt-get install ", "apt-get install --simulate "),
    # ports that this machine may be using
    (r"\b127\.0\.0\.1:25\b", f"127.0.0.1:{SMTP_PORT}"),
    (r"\b2525\b", str(CONTAINER_PORT)),
    # these take minutes, or would start this test again
    (r"^make (check|asan|tsan|sanitize|fuzz|coverage-fuzz|soak|bench)$",
     r"make -n \1"),
    (r"-m pytest ", "-m pytest --collect-only "),
]

# There is no service manager: this starts what the installed unit says, as
# the user it says.
SYSTEMCTL = r"""#!/bin/sh
unit=/usr/local/lib/systemd/system/smarthost.service
log=/var/log/smarthost.log
value() { sed -n "s/^$1=//p" "$unit"; }
start() {
	install -d -o "$(value User)" -g "$(value Group)" \
	    "/run/$(value RuntimeDirectory)"
	: >"$log"
	# shellcheck disable=SC2046 # a command line
	setsid flock --no-fork /run/smarthost.alive \
	    setpriv --reuid="$(value User)" --regid="$(value Group)" \
	    --init-groups --no-new-privs $(value ExecStart) \
	    </dev/null >/dev/null 2>>"$log" &
	echo $! >/run/smarthost.pid
	tail -s 0.02 -f -n +1 --pid=$! "$log" | grep -q -m 1 event=started
}
case "$*" in
daemon-reload) test -s "$unit" ;;
"enable --now smarthost") start ;;
"reload smarthost") kill -HUP "$(cat /run/smarthost.pid)" &&
	tail -s 0.02 -f -n +1 "$log" | grep -q -m 1 event=reloaded ;;
*) echo "systemctl $*?" >&2; exit 64 ;;
esac
"""

JOURNALCTL = r"""#!/bin/sh
test "$1 $2 $3" = "-u smarthost -n" && exec tail -n "$4" /var/log/smarthost.log
"""

# There is no container runtime: the image is a directory with what the last
# stage of the Containerfile puts into it, and a container is a chroot.
PODMAN = r"""#!/usr/bin/python3
import os, pathlib, shutil, subprocess, sys
verb, *args = sys.argv[1:]
image = pathlib.Path("/var/lib/image")
shell = ["/usr/sbin/chroot", "--userspec=65534:65534", "--groups=", image]
if verb == "build":
    assert args[:3] == ["-t", "smarthost", "-f"] and args[4:] == ["."], args
    assert "FROM scratch" in open(args[3]).read()
    for name in ("etc/ssl/certs", "run/smarthost"):
        (image / name).mkdir(parents=True)
    os.chown(image / "run/smarthost", 65534, 65534)
    shutil.copy("smarthost-static", image / "smarthost")
    bundle = "etc/ssl/certs/ca-certificates.crt"
    shutil.copy(pathlib.Path("/") / bundle, image / bundle)
elif verb == "run":
    env = {}
    while len(args) > 1:
        option = args.pop(0)
        if option in ("-d", "--read-only"):
            continue
        value = args.pop(0)
        if option == "-e":
            env.update([value.split("=", 1)])
        elif option == "-v":
            source, target = value.split(":")[:2]
            target = image / target.lstrip("/")
            if os.path.isdir(source):
                target.mkdir(parents=True)
                subprocess.run(["mount", "--bind", source, target], check=True)
                continue
            target.parent.mkdir(parents=True)
            shutil.copy2(source, target)
            st = os.stat(source)
            os.chown(target, st.st_uid, st.st_gid)
        else:
            assert option in ("--name", "--tmpfs", "-p"), option
    assert args == ["smarthost"], args
    (image / "env").write_text("\n".join(map("=".join, env.items())))
    process = subprocess.Popen(
        [*shell, "/smarthost", "run"], env=env, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True)
    for line in process.stderr:
        sys.stderr.buffer.write(line)
        if b"event=started" in line:
            break
    else:
        sys.exit(process.wait() or 1)
elif verb == "exec":
    env = dict(line.split("=", 1)
               for line in (image / "env").read_text().splitlines())
    assert args[0] == "smarthost", args
    sys.exit(subprocess.run([*shell, *args[1:]], env=env).returncode)
else:
    sys.exit("podman " + verb + "?")
"""

STAND_INS = {"systemctl": SYSTEMCTL, "journalctl": JOURNALCTL,
             "podman": PODMAN}


# --- The page


def section(title):
    """The text below a heading, up to the next one."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README,
                      re.M | re.S)
    assert found, f"README.md has no section {title}"
    return found[1]


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def test_every_block_is_of_a_kind_that_is_tested():
    kinds = set(re.findall(r"^```(.+)$", README, re.M))
    assert kinds == {"sh", "ini", "text"}


# --- The commands


class Guest:
    """A copy of this machine that forgets what is done to it."""

    MOUNT = """
mount -t tmpfs -o mode=0755 guest "$1" &&
mkdir "$1/upper" "$1/work" "$1/root" &&
mount -t overlay guest \
    -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root" &&
mount -t proc proc "$1/root/proc" && mount --rbind /dev "$1/root/dev" &&
: >"$1/root/guest" &&
exec chroot "$1/root" sh -c "echo ready; exec sleep infinity"
"""

    def __init__(self, place):
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child",
             "--propagation", "private", "sh", "-c", self.MOUNT, "sh",
             str(place)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        if self.process.stdout.readline() != b"ready\n":
            pytest.skip("no overlay here: " +
                        self.process.stderr.read().decode(errors="replace"))
        children = f"/proc/{self.process.pid}/task/{self.process.pid}"
        with open(children + "/children", encoding="ascii") as file:
            self.pid = file.read().split()[0]
        # or it would be this machine that is changed
        if not self.path("/guest").exists() or os.path.exists("/guest"):
            self.close()
            raise AssertionError("the guest is not apart")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def path(self, path):
        return pathlib.Path(f"/proc/{self.pid}/root", path.lstrip("/"))

    def shell(self, script, stdin=b"", check=True):
        """Runs it in the source directory; returns what it printed."""
        done = subprocess.run(
            ["nsenter", "-t", self.pid, "-m", "-p", "-r", "-w", "bash", "-euo",
             "pipefail", "-c", f"test -e /guest\ncd {SOURCE}\n{script}"],
            input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd="/", check=False, env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
                        "/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
                "MAKEFLAGS": f"-j{len(os.sched_getaffinity(0))}"})
        text = done.stdout.decode(errors="replace")
        print(f"$ {script}\n{text}[{done.returncode}]")
        if check:
            assert done.returncode == 0, f"{script}\n{text}"
        return text


def names_of_sendmail(guest):
    return [guest.path(path) for path in (
        "/usr/sbin/sendmail", "/usr/bin/mailq", "/usr/bin/newaliases")]


@pytest.fixture
def guest(place, certs):
    if os.getuid() != 0:
        pytest.skip("needs root for a mount namespace")
    guest = Guest(place)
    try:
        shutil.copytree(
            harness.ROOT, guest.path(SOURCE), ignore=shutil.ignore_patterns(
                ".git", "build", "__pycache__", "smarthost",
                "smarthost-static"))
        shutil.copy(certs.ca, guest.path("/etc/readme-ca.pem"))
        for name, text in STAND_INS.items():
            path = guest.path(f"/usr/local/bin/{name}")
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)
        # a machine that never had smarthost, nor another mail system
        guest.shell("rm -rf /etc/smarthost /run/smarthost /var/lib/image && "
                    "rm -f /usr/sbin/sendmail /usr/bin/mailq "
                    "/usr/bin/newaliases")
        yield guest
    finally:
        guest.close()


class Steps:
    """What surrounds a block: what is typed, what was there before, and what
    has to be so afterwards. By the name of the method, in README's order."""

    def __init__(self, guest, relay, ca):
        self.guest, self.relay, self.ca = guest, relay, ca

    def build(self, block):
        assert "both messages arrived" in self.guest.shell(block)

    def install(self, block):
        self.guest.shell(block)
        for path in ("man/man8/smarthost.8", "man/man8/sendmail.8",
                     "man/man5/smarthost.conf.5"):
            assert self.guest.path(f"/usr/local/share/{path}").is_file()
        assert self.guest.path(CONFIG).is_file()
        found = self.guest.shell("stat -c '%U %a' /run/smarthost")
        assert found == "smarthost 755\n"

    def password(self, block):
        self.guest.shell(block, stdin=PASSWORD.encode() + b"\n")
        found = self.guest.shell("stat -c '%U:%G %a' "
                                 "/etc/smarthost/relay-password")
        assert found == "root:smarthost 640\n"

    def check(self, block):
        sections = made_real(blocks("ini")[0], self.relay,
                             "/etc/readme-ca.pem",
                             "/etc/smarthost/relay-password")
        sections["listen"]["address"] = f"127.0.0.1:{SMTP_PORT}"
        path = self.guest.path(CONFIG)
        path.write_text(harness.config_text(sections), encoding="utf-8")
        path.chmod(0o644)
        assert self.guest.shell(block) == f"{CONFIG}: ok\n"

    def try_relay(self, block):
        """The same steps as in the example, up to that which fails there."""
        def steps(text):
            return re.findall(r"^(?:ok|FAIL)  +(\w+)", text, re.M)
        example, found = steps(section("Configure")), self.guest.shell(block)
        assert steps(found) == [*example, "mail", "rcpt"]
        assert "FAIL" not in found and not self.relay.messages

    def start(self, block):
        self.guest.shell(block)

    def reload(self, block):
        self.guest.shell(block)

    def health(self, block):
        assert self.guest.shell(block) == ""

    def queue(self, block):
        """A queue that is empty, since there is no spool."""
        assert self.guest.shell(block) == (
            "Mail queue is empty\n[]\n")

    def from_sendmail(self, block):
        assert ">>> MAIL FROM:<me@example.com>" in self.guest.shell(block)
        self.arrived(1, b"Subject: a message from sendmail\r\n")

    def by_smtp(self, block):
        self.guest.shell(block)
        self.arrived(2, b"Subject: a message by SMTP\r\n")

    def journal(self, block):
        assert self.guest.shell(block).count("event=sent ") == 2

    def links(self, block):
        self.guest.shell(block)
        for path in names_of_sendmail(self.guest):
            assert os.readlink(path) == "/usr/local/sbin/smarthost"

    def divert(self, block):
        guest = self.guest
        guest.shell("make uninstall")
        assert guest.path(CONFIG).exists()
        for path in names_of_sendmail(guest):
            assert not os.path.lexists(path)
            path.write_text("another mail system\n")
        text = guest.shell("make install-sendmail", check=False)
        assert "/usr/sbin/sendmail belongs to another mail system" in text
        self.links(block)
        kept = guest.path("/usr/sbin/sendmail.distrib")
        assert kept.read_text() == "another mail system\n"

    def image(self, block):
        self.guest.shell(block)

    def container(self, block):
        self.guest.shell(block, stdin=PASSWORD.encode() + b"\n")
        found = self.guest.shell("stat -c '%u %a' spool spool/queue")
        assert found == "65534 711\n65534 700\n"

    def trouble(self, block):
        assert "<<< 235 " in self.guest.shell(block)
        self.arrived(3, b"Subject: test\r\n")

    def development(self, block):
        assert "mutable variables" in self.guest.shell(block)

    def one_test(self, block):
        assert "test_answers.py" in self.guest.shell(block)

    def arrived(self, count, line):
        one = self.relay.wait_messages(count)[-1]
        assert (one.sender, one.recipients) == (
            "me@example.com", ["you@example.com"])
        assert line in one.header
        assert one.session.wire.tls


# Each block, by how it begins, and the step that runs it.
STEPS = [
    ("apt-get install", Steps.build),
    ("make install\n", Steps.install),
    ("install -m 0640", Steps.password),
    ("runuser -u smarthost -- smarthost check --config", Steps.check),
    ("runuser -u smarthost -- smarthost check --to", Steps.try_relay),
    ("systemctl daemon-reload", Steps.start),
    ("systemctl reload", Steps.reload),
    ("smarthost health", Steps.health),
    ("smarthost sendmail", Steps.from_sendmail),
    ("curl", Steps.by_smtp),
    ("journalctl", Steps.journal),
    ("make install-sendmail", Steps.links),
    ("for name in", Steps.divert),
    ("make static", Steps.image),
    ("install -m 0400", Steps.container),
    ("smarthost queue", Steps.queue),
    ("printf", Steps.trouble),
    ("make check", Steps.development),
    ("SMARTHOST_BIN=", Steps.one_test),
]


def test_every_command_is_run():
    found = blocks("sh")
    assert len(found) == len(STEPS)
    for block, (start, _) in zip(found, STEPS):
        assert block.startswith(start)


def test_commands(guest, relay, tls, certs):
    """A stranger types all of it, from top to bottom."""
    one = relay(tls=tls, mechanisms=("PLAIN", "LOGIN"), user="apikey")
    steps = Steps(guest, one, certs.ca)
    for block, (_, step) in zip(blocks("sh"), STEPS):
        for pattern, replacement in SUBSTITUTIONS:
            block = re.sub(pattern, replacement, block, flags=re.M)
        step(steps, block)


def test_the_packages_are_those_that_setup_installs():
    setup = (harness.ROOT / "tests/setup.sh").read_text(encoding="utf-8")
    needed = set(re.search(r'^build="(.*?)"', setup, re.M)[1].split())
    named = set(re.search(r"^apt-get install -y (.*)$", README,
                          re.M)[1].split())
    assert named == needed


# --- The configurations


def parse_ini(text):
    parser = configparser.RawConfigParser(delimiters="=")
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def made_real(text, relay, ca, password_file):
    """The example, for a relay that is there: what stands for something of
    the reader's own is replaced, nothing else."""
    sections = parse_ini(text)
    sections["upstream"].update({
        "host": "127.0.0.1", "port": relay.port, "tls_name": "relay.test",
        "tls_ca_file": ca})
    sections.setdefault("smarthost", {"hostname": "web1.example.com"})
    sections.setdefault("listen", {})["address"] = "127.0.0.1:0"
    return with_password(sections, password_file)


def with_password(sections, password_file):
    """From that file, by whichever key says it."""
    if "password_command" in sections["upstream"]:
        sections["upstream"]["password_command"] = f"cat {password_file}"
    else:
        sections["upstream"]["password_file"] = password_file
    return sections


def without_a_spool(sections):
    return harness.merge(sections, {"queue": {"directory": "none"}})


@pytest.mark.parametrize("number", range(len(blocks("ini"))))
def test_configuration(number, place, relay, tls, certs):
    """As it stands but for the files, then with a relay that is there."""
    password = place / "password"
    password.write_text(PASSWORD + "\n", encoding="utf-8")
    password.chmod(0o600)
    text = blocks("ini")[number]
    sections = with_password(parse_ini(text), password)
    if "tls_ca_file" in sections["upstream"]:
        sections["upstream"]["tls_ca_file"] = certs.ca
    path = harness.write_config(place / "readme.conf", sections)
    done = run("-c", path, "check", "--config")
    assert (done.status, done.text) == (0, "")
    *warnings, last = done.stdout.decode().splitlines()
    assert last == f"{path}: ok"
    assert all("[staging]" in line for line in warnings)

    user = sections["upstream"].get("user", "apikey")
    one = relay(tls=tls, mechanisms=("PLAIN", "LOGIN", "XOAUTH2"), user=user)
    harness.write_config(path, without_a_spool(
        made_real(text, one, certs.ca, password)))
    done = sendmail("b@example.test", config=path, stdin=message())
    assert (done.status, done.text) == (0, "")
    [session] = one.sessions
    assert session.helo == "web1.example.com"
    assert session.login[1] == user
    sender = sections.get("identity", {}).get("from", "@web1.example.com")
    assert one.wait_messages()[0].sender.endswith(sender)


# --- The sentences


class Troubles:
    """Each method provokes one of them and returns the program's output."""

    def __init__(self, place, certs, relay):
        self.place, self.certs, self.start = place, certs, relay
        self.path = place / "smarthost.conf"

    def relay(self, certificate="good", **options):
        context = badrelay.server_context(self.certs.pem(certificate))
        return self.start(tls=context, mechanisms=("PLAIN",), **options)

    def send(self, relay, **changes):
        upstream = {"host": "127.0.0.1", "port": getattr(relay, "port", 1),
                    "tls_ca_file": self.certs.ca, "tls_name": "relay.test",
                    "user": badrelay.USER, "password": PASSWORD, **changes}
        harness.write_config(self.path, {"upstream": upstream,
                                         "queue": {"directory": "none"}})
        done = sendmail("you@example.com", config=self.path, stdin=message())
        assert done.status != 0
        return done.text

    def check(self, text, mode=0o600):
        self.path.write_text(text, encoding="utf-8")
        self.path.chmod(mode)
        done = run("-c", self.path, "check", "--config")
        assert done.status == harness.CONFIG
        return done.text

    def wrong_password_or_user(self):
        return self.send(self.relay(), password="wrong")

    def wrong_host(self):
        return self.send(None, host="mail.example.invalid")

    def wrong_port(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            return self.send(None, port=sock.getsockname()[1])

    def port_blocked(self):
        """Nobody accepts, and the backlog is full: what comes is dropped."""
        with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
            clients = []
            for _ in range(4):
                clients.append(socket.socket())
                clients[-1].setblocking(False)
                clients[-1].connect_ex(server.getsockname())
            text = self.send(None, port=server.getsockname()[1],
                             provider="sendgrid", connect_timeout="500ms")
            for client in clients:
                client.close()
        return text

    def unknown_issuer(self):
        return self.send(self.relay("unknown"))

    def self_signed_certificate(self):
        return self.send(self.relay("self-signed"))

    def wrong_name(self):
        return self.send(self.relay("wrong-name"))

    def wrong_tls_mode(self):
        return self.send(self.relay(), tls="implicit")

    def no_tls_at_all(self):
        return self.send(self.start())

    def refused_recipient_or_sender(self):
        return self.send(self.relay(recipients={
            "you@example.com": "550 5.1.1 no such user"}))

    def no_daemon_and_no_configuration_for_this_user(self):
        done = run("-c", self.path, "sendmail", "you@example.com",
                   env={"SMARTHOST_LISTEN_SOCKET": self.place / "socket"})
        assert done.status == harness.CONFIG
        return done.text

    def misspelt_key(self):
        return self.check("[upstream]\nhst = mail.example.com\n")

    def readable_password(self):
        return self.check("[upstream]\nhost = mail.example.com\nuser = me\n"
                          "password = secret\n", 0o644)

    def open_to_others(self):
        return self.check("[upstream]\nhost = mail.example.com\n\n[listen]\n"
                          "address = 0.0.0.0:25\n")

    def spool_taken(self):
        spool = self.place / "spool"
        spool.mkdir()
        with open(spool / "lock", "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            daemon = Daemon(self.place, {
                "upstream": {"host": "mail.example.com"},
                "listen": {"address": "127.0.0.1:0", "socket": "none"},
                "queue": {"directory": spool}})
            assert daemon.wait_exit() == harness.CONFIG
        sentence = daemon.log.raw.decode().splitlines(True)[-1]
        return sentence.replace(str(spool), "/var/spool/smarthost")

    def spool_not_writable(self):
        """The default one, in the sentence only: it may be another's."""
        if os.getuid() != 0:
            pytest.skip("needs root")
        spool = self.place / "spool"
        spool.mkdir(mode=0o700)
        daemon = Daemon(self.place, {
            "upstream": {"host": "mail.example.com"},
            "listen": {"address": "127.0.0.1:0", "socket": "none"},
            "queue": {"directory": spool}}, uid=harness.NOBODY)
        assert daemon.wait_exit() == harness.CONFIG
        sentence = daemon.log.raw.decode().splitlines(True)[-1]
        return sentence.replace(str(spool), "/var/spool/smarthost")

    def port_taken(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            daemon = Daemon(self.place, {
                "upstream": {"host": "mail.example.com"},
                "listen": {"address": f"127.0.0.1:{port}",
                           "socket": "none"},
                "queue": {"directory": "none"}})
            assert daemon.wait_exit() == harness.CONFIG
        text = daemon.log.raw.decode()
        return text.replace(f"127.0.0.1:{port}", "127.0.0.1:25")


# What the page calls what the test has.
DISGUISES = [
    (r"connect to 127\.0\.0\.1:\d+", "connect to 192.0.2.25:587"),
    (r"\brelay\.test\b", "mail.example.com"),
    (r"\bother\.test\b", "smtp.example.com"),
    (r"\d+ trusted anchors", "144 trusted anchors"),
    # on a machine without a name server
    (r"Temporary failure in name resolution", "Name or service not known"),
]


def documented_troubles():
    """{heading: sentence}, in the order of the page."""
    found = re.findall(r"^\*\*(.+?)\.\*\*(?:(?!^\*\*).)*?^```text\n(.*?)^```$",
                       section("Troubleshooting"), re.M | re.S)
    return {heading: sentence for heading, sentence in found}


def method_of(heading):
    return re.sub(r"[^a-z]+", "_", heading.lower())


def test_every_trouble_is_provoked():
    methods = {method_of(heading) for heading in documented_troubles()}
    helpers = {"relay", "send", "check"}
    assert methods == {name for name in vars(Troubles)
                       if not name.startswith("_")} - helpers
    assert len(documented_troubles()) == len(
        blocks("text", section("Troubleshooting")))


@pytest.mark.parametrize("heading", documented_troubles())
def test_trouble(heading, place, certs, relay):
    real = getattr(Troubles(place, certs, relay), method_of(heading))()
    real = real.replace(str(place / "smarthost.conf"), CONFIG)
    real = real.replace(str(place / "socket"), "/run/smarthost/socket")
    for pattern, replacement in DISGUISES:
        real = re.sub(pattern, replacement, real)
    assert real == documented_troubles()[heading]


# --- The log


def documented_lines():
    [block] = blocks("text", section("Reading the log"))
    events = [parse_log_line(line) for line in block.splitlines()]
    assert all(events)
    return events


def shape(event):
    """What does not depend on the message: the level, the keys, their
    order."""
    return [f"level={event['level']}"] + list(event)


def test_log_lines(start, sections, relay, nobody_there, tls, place):
    """Each example is a line that the daemon writes: one message is taken,
    one refused, one meets a relay that is away, without a spool and with one;
    one is refused for one of its recipients, one meets a wrong password and is
    tried again and dropped."""
    refusal = {"nobody@example.com": "550 5.1.1 no such user"}
    one = relay(tls=tls, mechanisms=("PLAIN",), recipients=refusal)
    real = []

    def send(where, changes, *envelopes, verbs=()):
        daemon = start(sections(where, changes))
        for status, *to in envelopes:
            done = sendmail(*to, socket_path=place / "socket",
                            stdin=message())
            assert done.status in status
        for verb in verbs:
            words = "queue", verb, daemon.events("accepted")[0]["id"]
            done = run("-c", daemon.config, *words)
            while done.status == harness.TEMPORARY:  # it is in delivery
                done = run("-c", daemon.config, *words)
            assert done.status == 0
        daemon.stop()
        real.extend(daemon.log.events)

    def kept(name):
        return {"queue": {"directory": place / name}}

    you, nobody = "you@example.com", "nobody@example.com"
    send(one, {"upstream": {"idle": "0s"}}, ({0}, you),
         (harness.REFUSED, nobody))
    send(nobody_there, {}, ({harness.TEMPORARY}, you))
    send(one, kept("a"), ({0}, you, nobody))
    send(nobody_there, kept("b"), ({0}, you))
    send(one, {"upstream": {"password": "wrong"}, **kept("c")}, ({0}, you),
         verbs=("retry", "drop"))
    daemon = start(sections(one))
    daemon.signal(signal.SIGHUP)
    real.append(daemon.wait_event("reloaded"))
    shapes = [(event["event"], shape(event)) for event in real]
    # a relay comes back after a minute: see test_upstream_up
    for event in documented_lines():
        if event["event"] != "upstream_up":
            assert (event["event"], shape(event)) in shapes, event


def sources(pattern="*.c"):
    return {path.name: path.read_text(encoding="utf-8")
            for path in sorted(harness.ROOT.glob(pattern))}


def test_every_event_is_documented():
    said = "".join(sources().values())
    events = set(re.findall(r'log_event\(\w+,\s*"(\w+)"', said))
    # by their outcome, report.c and session.c
    events |= {"sent", "deferred", "refused", "queued", "held"}
    assert "message" in events
    assert events - {"message"} == {
        event["event"] for event in documented_lines()}
    manual = (MAN / "smarthost.8").read_text(encoding="utf-8")
    assert events == set(re.findall(r"^\.It Cm (\w+)$",
                                    manual_section(manual, "LOG"), re.M))


def test_upstream_up():
    """Its keys, from the source: to see it takes a minute."""
    [event] = [one for one in documented_lines()
               if one["event"] == "upstream_up"]
    call = re.search(r'log_event\(LEVEL_INFO, "upstream_up",([^;]*)NULL\)',
                     sources()["report.c"])[1]
    assert list(event)[3:] == re.findall(r'"(\w+)"', call)


# --- The next developer


def test_architecture_names_every_file():
    named = re.findall(r"^\| `(\w+\.c)` \| .", section("Architecture"), re.M)
    assert sorted(named) == list(sources())


def test_mutable_variables_are_listed():
    done = subprocess.run(
        [sys.executable, harness.ROOT / "tests/measure.py"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    table = done.stdout.decode().split("mutable variables\n")[-1]
    measured = [tuple(line.split()) for line in table.splitlines()]
    listed = re.findall(r"^\| `(\w+)` \| `(\w+\.c)` \| ",
                        section("Architecture"), re.M)
    assert listed == measured


# --- The manual pages


def manual_section(text, title):
    found = re.search(rf"^\.Sh {title}\n(.*?)(?=^\.Sh |\Z)", text,
                      re.M | re.S)
    assert found, title
    return found[1]


@pytest.mark.parametrize("page", ["smarthost.8", "smarthost.conf.5",
                                  "sendmail.8"])
def test_manual_is_well_formed(page):
    if shutil.which("mandoc"):
        done = subprocess.run(["mandoc", "-Tlint", "-Wstyle", MAN / page],
                              stdout=subprocess.PIPE, check=False)
        complaints = [line for line in done.stdout.decode().splitlines()
                      if "referenced manual not found" not in line]
    elif shutil.which("groff"):
        done = subprocess.run(
            ["groff", "-mdoc", "-ww", "-Tascii", "-z", MAN / page],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        complaints = done.stderr.decode().splitlines()
    else:
        pytest.skip("no mandoc and no groff")
    assert not complaints


def known_keys():
    """{section: {key: default or None}} from the program's own table."""
    tables = re.findall(
        r"^static const struct key (\w+)_keys\[\] = \{\n(.*?)^\};",
        sources()["config_keys.c"], re.M | re.S)
    result = {}
    for name, body in tables:
        entries = re.findall(
            r'\{"(\w+)",\s*\w+,\s*\w+\([\w.]+\),\s*(NULL|"[^"]*")',
            body)
        result[name] = {key: None if value == "NULL" else value.strip('"')
                        for key, value in entries}
    return result


def test_manual_has_every_key_with_its_default():
    text = (MAN / "smarthost.conf.5").read_text(encoding="utf-8")
    assert known_keys()["queue"]["direct_wait"] == "10s"
    for name, keys in known_keys().items():
        part = manual_section(text, name.upper())
        entries = re.split(r"^\.It Cm ", part, flags=re.M)[1:]
        documented = {entry.split()[0]: entry for entry in entries}
        assert list(documented) == list(keys)
        for key, initial in keys.items():
            if initial:
                assert re.search(
                    rf"^Default:\n\.(Cm|Pa) {re.escape(initial)} \.$",
                    documented[key], re.M), (name, key, initial)


def test_manual_has_every_sendmail_option():
    text = (MAN / "sendmail.8").read_text(encoding="utf-8")
    code = sources()["sendmail_options.c"]
    letters = set("".join(re.findall(r'strchr\("(\w+)", option\)', code)))
    letters |= set(re.findall(r"option == '(\w)'", code))
    rows = re.findall(r"^\.It Fl (.*?)(?: Ta |$)", text, re.M)
    named = {word[0] for row in rows for word in re.findall(r"\w+", row)}
    assert letters <= named, letters - named


def test_sample_lacks_a_relay_only():
    """What is commented out is what holds anyway."""
    sample = harness.ROOT / "conf" / "smarthost.conf"
    assert not sample.stat().st_mode & stat.S_IXUSR
    done = run("-c", sample, "check", "--config")
    assert done.status == 78
    [sentence] = done.text.splitlines()
    assert "[upstream] host: not set; write the name of the relay" in sentence
