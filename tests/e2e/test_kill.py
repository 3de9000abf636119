# SPDX-License-Identifier: ISC
"""The daemon is killed at every system call of a submission and of a
delivery (DU-17, DU-18), and a commit fails at every one of its calls (DU-02
to DU-09): what was acknowledged arrives, whole; nothing half stays; and there
is a second copy only where the relay had taken the first one and nothing had
been able to say so on disk.

strace counts the calls of each thread for itself and acts on entry, so
"the Nth" is the Nth of the first thread that gets there, and a kill falls
between two calls.  A submission is traced from when the daemon is ready, a
delivery from the start of the program.  No two runs make the same calls: an
answer comes in one read or in two, and a read may be too early.  So nothing
is concluded from a number, but from what the relay and the disk have."""

import collections
import concurrent.futures
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import typing

import pytest

import conftest
from badrelay import BadRelay
from harness import Daemon, message, wait_for

CALLS = ("openat,flock,pread64,pwrite64,fsync,fdatasync,rename,renameat,"
         "renameat2,unlinkat,utimensat,sendto,recvfrom,sendmsg,recvmsg,write,"
         "writev,read,close,connect,newfstatat,fstat,fchmod,statfs,"
         "fstatfs,syncfs").split(",")
# Of these the error is injected; the rest belongs to the sockets.
FAILING = {"openat": ["EMFILE", "ENOSPC", "EROFS"], "flock": ["ENOLCK"],
           "pwrite64": ["EIO", "ENOSPC", "EDQUOT"],
           "fsync": ["EIO", "ENOSPC"], "close": ["EIO"],
           "rename": ["EIO"], "renameat": ["EIO", "ENOSPC", "EROFS"],
           "renameat2": ["EIO", "ENOSPC", "EROFS"]}
WORKERS = 4
TEXT = message(body="<m>\r\n" + "0123456789\r\n" * 10000, newline="\r\n")
# The sanitizers cannot look for leaks in a traced process.
TRACED = {"ASAN_OPTIONS": "detect_leaks=0"}


def can_trace():
    """Whether strace may trace, attach, and stop calls, here."""
    if os.getuid() != 0 or not shutil.which("strace"):
        return False
    done = subprocess.run(["strace", "-qq", "-f", "-o", "/dev/null", "-e",
                           "inject=fsync:error=EIO:when=1", "true"],
                          stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


pytestmark = pytest.mark.skipif(not can_trace(),
                                reason="needs strace, and root to use it")


class House:
    """A place with a spool, a configuration and a relay of its own."""

    def __init__(self, ca):
        self.ca = ca
        self.place = conftest.make_place("sh-kill-")
        self.path = self.place / "spool"
        self.relay = BadRelay()
        self.nobody = socket.socket()  # connecting to it is refused
        self.nobody.bind(("127.0.0.1", 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.relay.close()
        self.nobody.close()
        shutil.rmtree(self.place, ignore_errors=True)

    def start(self, away=False, wrapper=None):
        port = self.nobody.getsockname()[1] if away else self.relay.port
        sections = conftest.base_sections(self.place, port, self.ca)
        sections["queue"] = {"directory": self.path}
        return Daemon(self.place, sections, wrapper=wrapper, env=TRACED)

    def names(self, directory="queue"):
        try:
            return sorted(os.listdir(self.path / directory))
        except FileNotFoundError:
            return []

    def store(self, name, text):
        """A message that waits and is due."""
        for directory in (".", "incoming", "queue", "failed"):
            (self.path / directory).mkdir(mode=0o700)
        path = self.path / "queue" / name
        path.write_bytes(text)
        os.utime(path, (0, 0))

    def deliver_the_rest(self, count):
        """Starts it as on any other day: at the end the relay has count
        messages, each whole, and the spool nothing."""
        daemon = self.start().wait_ready()
        self.relay.wait_messages(count)
        wait_for(lambda: not self.names())
        daemon.stop()
        self.relay.wait_ended()
        for directory in ("incoming", "queue", "failed"):
            assert self.names(directory) == [], directory
        assert len(self.relay.messages) == count, "copies"
        assert all(one.body.endswith(TEXT) for one in self.relay.messages)


class Tracer:
    """strace on all threads of a daemon that is running."""

    def __init__(self, daemon, *options):
        self.process = subprocess.Popen(
            ["strace", "-f", "-p", str(daemon.process.pid), *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE)
        line = self.process.stderr.readline()
        assert b"attached" in line, line

    def end(self):
        """Lets the daemon go."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate()


def submit(daemon):
    """Sends the message; returns the reply, or None."""
    try:
        with daemon.connect() as client:
            if not client.greeting:
                return None
            for line in ("EHLO client.test", "MAIL FROM:<a@example.test>",
                         "RCPT TO:<b@example.test>", "DATA"):
                if not client.command(line):
                    return None
            client.send(TEXT + b".\r\n")
            return client.reply()
    except (OSError, AssertionError):  # the connection was lost
        return None


def most_calls(path, apart=None):
    """{call: the most that one thread made of it}, of a trace; without those
    that the thread `apart` makes as often."""
    threads = collections.defaultdict(collections.Counter)
    for line in path.read_text(errors="replace").splitlines():
        found = re.match(r"(\d+) +(?:\d+\.\d+ )?([a-z_0-9]+)\(", line)
        if found:
            threads[int(found[1])][found[2]] += 1
    first = threads.pop(apart, collections.Counter())
    result = {}
    for call in CALLS:
        most = max((one[call] for one in threads.values()), default=0)
        result[call] = range(first[call] + 1, most + 1)
    return result


def trace_options(call, what, number, output="/dev/null", more=()):
    """Has what happen at the number-th call of a thread; output gets those
    calls, and more."""
    return ["-o", str(output), "-e", "trace=" + ",".join([call, *more]),
            "-e", f"inject={call}:{what}:when={number}"]


def run_all(job, cases):
    """{case: what job(*case) returned}, several run side by side; one failure
    says all."""
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        futures = {case: pool.submit(job, *case) for case in cases}
    failures = [f"{case}: {future.exception()}"
                for case, future in futures.items() if future.exception()]
    assert not failures, "\n".join(failures)
    return {case: future.result() for case, future in futures.items()}


def kill_at_every_call(job, calls):
    """{(call, number): what job(call, "signal=KILL", number) returned}: for
    those of the trace, and for further ones as long as they cut it off."""
    results = {}
    cases = [(call, number) for call, numbers in calls.items()
             for number in numbers]
    while cases:
        results.update(run_all(
            lambda call, number: job(call, "signal=KILL", number), cases))
        cases = [(call, number + 1) for call, number in cases
                 if results[call, number].cut_off
                 and (call, number + 1) not in results]
    return results


@pytest.fixture(scope="module")
def submission(certs):
    """{call: numbers} of a submission that is committed."""
    with House(certs.ca) as house:
        daemon = house.start(away=True).wait_ready()
        output = house.place / "trace"
        tracer = Tracer(daemon, "-o", str(output), "-e",
                        "trace=" + ",".join(CALLS))
        reply = submit(daemon)
        tracer.end()
        daemon.stop()
        assert reply and reply.code == 250, reply
        house.deliver_the_rest(1)
        return most_calls(output)


class Submission(typing.NamedTuple):
    """How a submission has ended."""
    cut_off: bool  # killed without an answer
    there: object  # files in the queue afterwards, and elsewhere


def killed_submission(ca, call, what, number):
    with House(ca) as house:
        daemon = house.start(away=True).wait_ready()
        Tracer(daemon, *trace_options(call, what, number))
        reply = submit(daemon)
        if daemon.process.poll() is None and reply:
            daemon.signal(signal.SIGTERM)
        status = daemon.wait_exit()
        assert status in (0, -signal.SIGKILL), status
        there = len(house.names())
        assert there <= 1
        if reply and reply.code == 250:
            assert there == 1, "acknowledged and lost"
        elif reply:
            assert reply.code // 100 == 4 and there == 0, reply
        house.deliver_the_rest(there)
        return Submission(status != 0 and not reply, there)


def test_kill_at_every_call_of_a_submission(submission, certs):
    results = kill_at_every_call(
        functools.partial(killed_submission, certs.ca), submission)
    # before the file was there, and after
    for call, there in [("recvfrom", 0), ("openat", 0), ("pwrite64", 0),
                        ("fsync", 0), ("sendto", 0)]:
        assert results[call, 1] == (True, there), call
    assert (True, 1) in results.values()


def failed_commit(ca, call, error, number):
    """4xx or complete; and afterwards all is well."""
    with House(ca) as house:
        daemon = house.start(away=True).wait_ready()
        tracer = Tracer(daemon, *trace_options(call, f"error={error}",
                                               number))
        reply = submit(daemon)
        tracer.end()
        assert reply, "no reply"
        there = len(house.names())
        assert (reply.code, there) in ((250, 1), (451, 0), (452, 0)), (
            reply, there)
        assert house.names("incoming") == []
        second = submit(daemon)
        assert second and second.code == 250, second
        daemon.stop()
        house.deliver_the_rest(there + 1)
        return reply.code


def test_errors_at_every_call_of_a_commit(submission, certs):
    codes = run_all(
        functools.partial(failed_commit, certs.ca),
        [(call, error, number) for call, errors in FAILING.items()
         for error in errors for number in submission[call]])
    assert len([code for code in codes.values() if code != 250]) >= 10


@pytest.fixture(scope="module")
def stored(certs):
    """A message as it waits in the spool: (name, bytes)."""
    with House(certs.ca) as house:
        daemon = house.start(away=True).wait_ready()
        reply = submit(daemon)
        assert reply and reply.code == 250, reply
        daemon.stop()
        name = house.names()[0]
        return name, (house.path / "queue" / name).read_bytes()


def strace(*options):
    """The daemon stays the child of the test, so that its end is seen."""
    return ["strace", "-D", "-f", "-qqq", *options]


def end_of(daemon):
    """Waits until it has sent, or has ended; then it has ended."""
    try:
        daemon.wait_event("sent")
    except AssertionError:
        assert daemon.log.ended, "neither sent nor killed"
    if daemon.process.poll() is None:
        daemon.signal(signal.SIGTERM)
    return daemon.wait_exit()


@pytest.fixture(scope="module")
def delivery(certs, stored):
    """{call: numbers} of a delivery, and the trace of its thread."""
    with House(certs.ca) as house:
        house.store(*stored)
        output = house.place / "trace"
        daemon = house.start(wrapper=strace(
            "-s", "100", "-o", str(output), "-e",
            "trace=" + ",".join(CALLS)))
        assert end_of(daemon) == 0
        house.deliver_the_rest(1)
        courier = re.search(r"(?m)^(\d+) .*ok taken", output.read_text())[1]
        lines = [line.split(" ", 1)[1].strip()
                 for line in output.read_text().splitlines()
                 if line.split(" ", 1)[0] == courier]
        return most_calls(output, daemon.process.pid), lines


def settled_on_disk(house):
    """Whether the file, if it is there, says that it has been sent."""
    return not any(b"\nrecipient W" in
                   (house.path / "queue" / name).read_bytes()
                   for name in house.names())


class Delivery(typing.NamedTuple):
    """How a delivery, and then the delivery of what was left, has ended."""
    cut_off: bool
    copies: int
    by_courier: bool  # it was his call


def whole_trace(output, pid):
    """The trace of a process that was killed, when strace has written it."""
    def found():
        text = output.read_text(errors="replace")
        return re.search(rf"(?m)^{pid} +\+\+\+ killed", text) and text
    return wait_for(found)


def is_of_courier(trace, call):
    """Whether who talked to the relay was the one to be killed at that
    call: he never came back from it."""
    for courier in re.findall(r'(?m)^(\d+) .*"220 relay', trace):
        *_, last = re.findall(rf"(?m)^{courier} +([a-z<].*)$", trace)
        if re.match(rf"({call}\(|<\.\.\. {call} resumed>).*"
                    r"(= \?|<unfinished \.\.\.>)$", last):
            return True
    return False


def cut_delivery(ca, stored, call, what, number):
    with House(ca) as house:
        house.store(*stored)
        output = house.place / "trace"
        daemon = house.start(wrapper=strace(
            *trace_options(call, what, number, output, ["recvfrom"])))
        status = end_of(daemon)
        assert status in (0, -signal.SIGKILL), status
        house.relay.wait_ended()  # it may still be reading what was sent
        copies = len(house.relay.messages)
        done = settled_on_disk(house)
        assert copies == 1 or (copies == 0 and not done)
        for name in house.names():  # a failed try may have put it off
            os.utime(house.path / "queue" / name, (0, 0))
        house.deliver_the_rest(copies if done else copies + 1)
        return Delivery(
            status != 0, len(house.relay.messages),
            status != 0 and is_of_courier(
                whole_trace(output, daemon.process.pid), call))


def test_kill_at_every_call_of_a_delivery(delivery, certs, stored):
    calls, _ = delivery
    results = kill_at_every_call(
        functools.partial(cut_delivery, certs.ca, stored), calls)
    for call, copies in [("connect", 1), ("sendto", 1), ("pwrite64", 2),
                         ("fdatasync", 1), ("unlinkat", 1)]:
        assert results[call, 1][:2] == (True, copies), call
    # the window is small: the answer, the log and the mark; another thread
    # may make any call meanwhile
    assert {call for (call, _), result in results.items()
            if result.copies == 2 and result.by_courier} <= {
                "recvfrom", "write", "pwrite64"}
    assert results["pwrite64", 1].by_courier


def test_errors_of_the_marks(delivery, certs, stored):
    """Nothing is lost, and there is one copy more at the most."""
    calls, _ = delivery
    results = run_all(
        functools.partial(cut_delivery, certs.ca, stored),
        [(call, f"error={error}", number)
         for call in ("pwrite64", "fdatasync", "unlinkat")
         for error in ("EIO", "ENOSPC", "EROFS") for number in calls[call]])
    assert results


def test_nothing_between_the_answer_and_the_mark(delivery):
    """UX-36, rule 8: no QUIT, no other work."""
    _, lines = delivery
    answer = next(at for at, line in enumerate(lines) if "ok taken" in line)
    mark = next(at for at, line in enumerate(lines)
                if line.startswith("pwrite64(") and at > answer)
    sync = next(at for at, line in enumerate(lines)
                if line.startswith("fdatasync(") and at > mark)
    gone = next(at for at, line in enumerate(lines)
                if line.startswith("unlinkat(") and at > sync)
    for line in lines[answer + 1:gone]:
        assert re.match(r"(write\(2|pwrite64|fdatasync|<\.\.\. )", line), line
    assert not any("QUIT" in line for line in lines[:gone])
