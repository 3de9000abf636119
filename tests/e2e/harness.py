# SPDX-License-Identifier: ISC
"""Starts smarthost, reads its log, runs its sendmail command.

Nothing here sleeps to wait for something: the daemon's log says when it is
ready, and every wait ends with the event or, on a broken build, after WAIT
seconds.

SMARTHOST_BIN      the program (default: the one in the tree)
SMARTHOST_WRAPPER  a command to run it under, such as "valgrind -q"
SMARTHOST_WAIT     the longest wait for anything, in seconds
"""

import array
import atexit
import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import termios
import threading
import time


def for_everybody(path):
    """The program, or a copy of it where every user may run it: the home of
    whoever builds it may be closed to them."""
    if not path.exists() or all(
            parent.stat().st_mode & 0o001 for parent in path.parents):
        return path
    directory = tempfile.mkdtemp(prefix="sh-bin-")
    os.chmod(directory, 0o755)
    atexit.register(shutil.rmtree, directory)
    return pathlib.Path(shutil.copy(path, directory))


ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SMARTHOST_BIN") or ROOT / "smarthost")
BIN = for_everybody(BIN.resolve())
WRAPPER = shlex.split(os.environ.get("SMARTHOST_WRAPPER", ""))
WAIT = float(os.environ.get("SMARTHOST_WAIT", "60"))

# Built with a sanitizer, it takes what memory it wants.
SANITIZED = BIN.exists() and any(
    word in BIN.read_bytes() for word in (b"__asan_init", b"__tsan_init"))

# As it is now: pytest changes it for each test, while threads start programs.
OURS = {key: value for key, value in os.environ.items()
        if not key.startswith(("SMARTHOST_", "SSL_CERT_", "PYTEST_"))}

NOBODY = 65534

# What sanitizers and valgrind write when they have found something.
ALARMS = re.compile(
    rb"ERROR: \w*Sanitizer|WARNING: ThreadSanitizer|runtime error:"
    rb"|system call \d+ is not among"
    rb"|^==\d+== (?:Invalid|Conditional|Use of uninit|Syscall param"
    rb"|Process terminating)", re.M)

# Exit statuses of sysexits.h, by what they mean here.
USAGE, BAD_INPUT, TEMPORARY, CONFIG = 64, 65, 75, 78
REFUSED = (67, 69, 77)


def environment(extra=None):
    """The environment of the tests without what configures smarthost."""
    return {key: str(value) for key, value in {**OURS, **(extra or {})}.items()}


def config_text(sections):
    """The file for {section: {key: value}}; a value None leaves it out."""
    lines = []
    for section, keys in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {value}" for key, value in keys.items()
                  if value is not None]
    return "\n".join(lines) + "\n"


def merge(base, changes):
    """base with the keys of changes put in, section by section."""
    result = {section: dict(keys) for section, keys in base.items()}
    for section, keys in (changes or {}).items():
        result.setdefault(section, {}).update(keys)
    return result


def write_config(path, sections, mode=0o600):
    path.write_text(config_text(sections))
    path.chmod(mode)
    return path


def check_alarms(stderr):
    """Fails when a sanitizer has spoken."""
    found = ALARMS.search(stderr)
    if found:
        start = stderr.rfind(b"\n", 0, found.start()) + 1
        raise AssertionError("sanitizer:\n" +
                             stderr[start:].decode(errors="replace"))


_PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "]*)(?: |$)')


def parse_log_line(line):
    """A line of the log, logfmt or JSON, as a dict; None for other text."""
    line = line.strip()
    if line.startswith("{"):
        try:
            return json.loads(line)
        except ValueError:
            return None
    pairs, at = {}, 0
    while at < len(line):
        found = _PAIR.match(line, at)
        if not found:
            return None
        value = found[2]
        pairs[found[1]] = json.loads(value) if value[:1] == '"' else value
        at = found.end()
    return pairs if "event" in pairs else None


def wait_for(condition):
    """Asks again until it is so, of what has no event; returns what it
    was."""
    until = time.monotonic() + WAIT
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.002)
    return found


class Log:
    """The lines that a process writes, while it writes them. Whoever asks
    hears of all that has been written by then."""

    def __init__(self, stream):
        self._raw = b""
        self._events = []
        self._stream = stream
        self.ended = not stream
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        waiting, rest = select.poll(), b""
        if not self.ended:
            waiting.register(self._stream, select.POLLIN)
        while not self.ended:
            waiting.poll()
            with self._news:
                data = os.read(self._stream.fileno(), 65536)
                *lines, rest = (rest + (data or b"\n")).split(b"\n")
                events = [parse_log_line(line.decode(errors="replace"))
                          for line in lines]
                self._raw += data
                self._events += filter(None, events)
                self.ended = not data
                self._news.notify_all()

    def _catch_up(self):
        """With the lock: reads what is in the pipe."""
        unread = array.array("i", [1])
        while not self.ended:
            fcntl.ioctl(self._stream, termios.FIONREAD, unread)
            if not unread[0]:
                break
            self._news.wait(1)

    @property
    def raw(self):
        with self._news:
            self._catch_up()
            return self._raw

    @property
    def events(self):
        with self._news:
            self._catch_up()
            return list(self._events)

    def find(self, name, **fields):
        """The events of that name with those fields, in order.

        A field may be a plain value or a compiled pattern to search for."""
        def fits(event):
            if event.get("event") != name:
                return False
            for key, wanted in fields.items():
                value = str(event.get(key, ""))
                if isinstance(wanted, re.Pattern):
                    if not wanted.search(value):
                        return False
                elif value != str(wanted):
                    return False
            return True
        return [event for event in self.events if fits(event)]

    def wait(self, name, count=1, **fields):
        """Waits until count such events are there; returns the last."""
        until = time.monotonic() + WAIT
        with self._news:
            while len(found := self.find(name, **fields)) < count:
                left = until - time.monotonic()
                if self.ended or left <= 0:
                    why = "ended" if self.ended else "waited"
                    raise AssertionError(
                        f"{why}, and no event={name} {fields} in:\n" +
                        self.raw.decode(errors="replace"))
                self._news.wait(left)
        return found[count - 1]

    def join(self):
        self._thread.join(WAIT)


class Daemon:
    """`smarthost run`, from start to stop.  With a stderr of the test's own
    there is no log to look at."""

    def __init__(self, place, sections=None, *, env=None, uid=None,
                 wrapper=None, binary=BIN, options=(), stderr=None, **popen):
        self.place = place
        self.config = None
        command = [*(WRAPPER if wrapper is None else wrapper), str(binary)]
        if sections is not None:
            self.config = write_config(place / "smarthost.conf", sections)
            command += ["-c", str(self.config)]
        if uid is not None and self.config:
            os.chown(self.config, uid, uid)
        self.process = subprocess.Popen(
            [*command, *options, "run"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=stderr or subprocess.PIPE,
            env=environment(env), cwd="/", **as_user(uid), **popen)
        self.log = Log(self.process.stderr)

    def wait_ready(self):
        self.log.wait("started")
        return self

    @property
    def addresses(self):
        """The TCP listeners as (host, port), in order."""
        found = []
        for event in self.log.find("listening"):
            host, _, port = event["address"].rpartition(":")
            if port.isdigit():
                found.append((host.strip("[]"), int(port)))
        return found

    @property
    def address(self):
        return self.addresses[0]

    @property
    def port(self):
        return self.address[1]

    @property
    def socket(self):
        """The path of the unix socket."""
        for event in self.log.find("listening"):
            path = event["address"]
            if path.startswith("/") and not path.endswith("control"):
                return path
        raise AssertionError("no unix socket")

    def wait_event(self, name, **fields):
        return self.log.wait(name, **fields)

    def events(self, name, **fields):
        return self.log.find(name, **fields)

    def connect(self, path=None):
        """A raw SMTP conversation with the listener."""
        return Conversation(path or self.address)

    def rss(self):
        """Resident memory in bytes, at its highest."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self):
        """Waits for the end of the process; returns its exit status."""
        try:
            status = self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self.log.join()
            raise AssertionError("it does not stop; log:\n" +
                                 self.log.raw.decode(errors="replace"))
        self.log.join()
        check_alarms(self.log.raw)
        return status

    def stop(self):
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait_exit()


def with_mounts(*mounts):
    """A wrapper (root only): the program in a mount namespace of its own,
    with each (source, target) mounted in turn."""
    script = ('while [ "$1" != -- ]; do mount --rbind "$1" "$2" || exit 99; '
              'shift 2; done; shift; exec "$@"')
    pairs = [str(path) for mount in mounts for path in mount]
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c",
            script, "sh", *pairs, "--", *WRAPPER]


def as_user(uid):
    """Arguments of Popen to run as that uid, without any group."""
    if uid is None:
        return {}
    return {"user": uid, "group": uid, "extra_groups": []}


@dataclasses.dataclass
class Result:
    """How a command ended."""
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self):
        return self.stderr.decode(errors="replace")


def run(*args, stdin=b"", env=None, uid=None, binary=BIN, wrapper=None,
        **popen):
    """Runs the program with those arguments."""
    command = [*(WRAPPER if wrapper is None else wrapper), str(binary)]
    command += [str(arg) for arg in args]
    done = subprocess.run(
        command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(env), cwd="/", timeout=WAIT * 4, check=False,
        **as_user(uid), **popen)
    check_alarms(done.stderr)
    return Result(done.returncode, done.stdout, done.stderr)


def sendmail(*args, config=None, socket_path=None, env=None, **more):
    """Runs `smarthost sendmail`: daemonless with a configuration file, or
    through the daemon that listens at socket_path."""
    env = dict(env or {})
    if not config:  # this machine's own spool is none of ours
        env.setdefault("SMARTHOST_QUEUE_DIRECTORY", "none")
    if socket_path:
        env["SMARTHOST_LISTEN_SOCKET"] = str(socket_path)
    if config and os.path.exists(config) and os.stat(config).st_uid:
        # -C is for files of root's
        env.setdefault("SMARTHOST_LISTEN_SOCKET", "none")
        return run("-c", config, "sendmail", *args, env=env, **more)
    first = ["-C", config] if config else []
    return run("sendmail", *first, *args, env=env, **more)


class Conversation:
    """One SMTP connection, byte by byte if need be."""

    def __init__(self, address, greet=True):
        if isinstance(address, (str, pathlib.Path)):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(WAIT)
            self.sock.connect(str(address))
        else:
            self.sock = socket.create_connection(address, WAIT)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = b""
        self.greeting = self.reply() if greet else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             array.array("i", [1, 0]).tobytes())
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def send_drained(self, data):
        """Sends and waits until the peer has taken it all out of the socket,
        so that what is sent next is read apart (unix sockets only)."""
        self.send(data)
        left = array.array("i", [1])
        until = time.monotonic() + WAIT
        while left[0] and time.monotonic() < until:
            os.sched_yield()
            fcntl.ioctl(self.sock, termios.TIOCOUTQ, left)
        assert not left[0], "the peer does not read"

    def line(self):
        """One line with its end; b"" at the end of the connection."""
        while b"\n" not in self.input:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                line, self.input = self.input, b""
                return line
            self.input += data
        line, _, self.input = self.input.partition(b"\n")
        return line + b"\n"

    def reply(self):
        """A whole reply, or None at the end of the connection."""
        lines = []
        while True:
            line = self.line()
            if not line:
                assert not lines, "half a reply"
                return None
            assert re.match(rb"[2-5]\d\d[ -][\x20-\x7e]*\r\n\Z", line), line
            lines.append(line[:-2].decode())
            if line[3:4] == b" ":
                codes = {line[:3] for line in lines}
                assert len(codes) == 1, lines
                return Reply(int(lines[0][:3]),
                             "\n".join(line[4:] for line in lines))

    def command(self, line):
        """Sends one command line; returns its reply."""
        self.send(line if isinstance(line, bytes) else line.encode())
        self.send(b"\r\n")
        return self.reply()

    def expect(self, code, line=None):
        """As command(), and the reply has to have that code."""
        reply = self.reply() if line is None else self.command(line)
        assert reply is not None, f"connection closed after {line!r}"
        codes = code if isinstance(code, tuple) else (code,)
        assert reply.code in codes, (line, reply)
        return reply

    def ehlo(self):
        """Says EHLO; returns the capabilities as {keyword: parameters}."""
        reply = self.expect(250, "EHLO client.test")
        lines = reply.text.split("\n")[1:]
        return {line.split()[0].upper(): line.split()[1:] for line in lines}

    def envelope(self, sender="a@example.test",
                 recipients=("b@example.test",)):
        """Up to and with the 354 to DATA."""
        self.expect(250, f"MAIL FROM:<{sender}>")
        for recipient in recipients:
            self.expect(250, f"RCPT TO:<{recipient}>")
        self.expect(354, "DATA")

    def rest(self):
        """Every reply up to the end of the connection."""
        replies = []
        while True:
            reply = self.reply()
            if reply is None:
                return replies
            replies.append(reply)


@dataclasses.dataclass(frozen=True)
class Reply:
    """An SMTP reply; text without the codes, lines joined by newlines."""
    code: int
    text: str

    @property
    def enhanced(self):
        found = re.match(r"[245]\.\d{1,3}\.\d{1,3}(?= |$)", self.text)
        return found[0] if found else None

    def __str__(self):
        return f"{self.code} {self.text}"


@contextlib.contextmanager
def running(place, sections=None, **more):
    """A daemon for the length of a with block."""
    daemon = Daemon(place, sections, **more)
    try:
        yield daemon.wait_ready()
    finally:
        if daemon.process.poll() is None:
            daemon.signal(signal.SIGTERM)
        daemon.wait_exit()


def message(body="text", subject="test", to="b@example.test",
            sender="a@example.test", newline="\n"):
    """A small complete message, as bytes."""
    lines = [f"From: {sender}", f"To: {to}", f"Subject: {subject}",
             "Date: Mon, 1 Jan 2024 00:00:00 +0000",
             "Message-ID: <1@example.test>", "", body, ""]
    return newline.join(lines).encode()
