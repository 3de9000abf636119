# SPDX-License-Identifier: ISC
"""kill -9 before every call of a start that finds everything a crash can
leave, of a refusal with its notice, and of submissions that are stored while
they are sent: what was acknowledged arrives, whole; a second copy only of what the relay had already and the disk did not know;
never none; and the notice too (DU-17, DU-18, DU-22, DU-26).

The calls are counted over all threads, see faults.py, so each number is one
moment of the process.  No two runs make the same calls in the same order, so
nothing is concluded from a number, but from what the relay and the disk
have."""

import collections
import concurrent.futures
import os
import re
import shutil
import signal
import socket
import time

import pytest

import conftest
import faults
from badrelay import BadRelay
from harness import Daemon, message, sendmail, wait_for, write_config
from test_kill import TRACED, can_trace, strace
from test_maildrop import record
from test_queue import send

WORKERS = 6
# A kill loses nothing that was written, so no disk has to be waited for.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"


@pytest.fixture(autouse=True)
def possible():
    faults.skip_where_impossible()
    if os.getuid() != 0:
        pytest.skip("needs root, whose spool it is")


def name_of(number):
    """The name of a message that came long ago."""
    return f"{number:032x}"


class Ruin:
    """A spool as a crash has left it, its relay, and daemons on it."""

    def __init__(self, ca, **relay):
        self.ca = ca
        self.place = conftest.make_place("sh-crash-", MEMORY)
        self.path = self.place / "spool"
        self.relay = BadRelay(**relay)
        self.faults = faults.Faults(self.place)
        for name in ("", "incoming", "queue", "failed", "maildrop"):
            (self.path / name).mkdir(mode=0o700)
        self.path.chmod(0o711)
        (self.path / "maildrop").chmod(0o3733)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.relay.close()
        shutil.rmtree(self.place, ignore_errors=True)

    def names(self, directory):
        return sorted(os.listdir(self.path / directory))

    def put(self, number, marker, state="W 000", sender="a@example.test",
            recipients=("b@example.test",), due=0.0):
        path = self.path / "queue" / name_of(number)
        text = record(sender=sender, recipients=recipients,
                      identifier=path.name, content=message(
                          body=f"<{marker}>" + "x" * 70, newline="\r\n"))
        path.write_bytes(text.replace(b"recipient W 000",
                                      b"recipient " + state.encode()))
        path.chmod(0o600)
        os.utime(path, (due, due))

    def sections(self, relay):
        sections = conftest.base_sections(self.place, relay, self.ca)
        sections["queue"] = {"directory": self.path, "min_free": "0"}
        sections["upstream"]["connections"] = 1
        return sections

    def start(self, env=None):
        return Daemon(self.place, self.sections(self.relay), env=env)

    def copies(self):
        """{who has got what}: by recipient and marker; notices as such."""
        found = collections.Counter()
        for one in self.relay.messages:
            marker = re.search(rb"\r\n<(\w+)>x{70}\r\n\Z", one.body)
            for recipient in one.recipients:
                assert marker or not one.sender, "cut"
                found[recipient, marker[1].decode() if one.sender
                      else "notice"] += 1
        return found

    def waiting(self):
        """The same of what the files in queue/ say is to be sent."""
        found = collections.Counter()
        for name in self.names("queue"):
            text = (self.path / "queue" / name).read_bytes()
            assert b"\nend\n" in text
            null = b"\nsender \n" in text
            marker = b"notice" if null else re.search(
                rb"\r\n<(\w+)>x{70}\r\n\Z", text)[1]
            for recipient in re.findall(rb"\nrecipient [WLH] .* (\S+)",
                                        text.partition(b"\nend\n")[0]):
                found[recipient.decode(), marker.decode()] += 1
        return found

    def is_done(self, later):
        return not (self.names("maildrop") or self.names("failed") or
                    self.names("incoming")) and \
            self.names("queue") == later

    def run(self, later, number=0, kinds=faults.CHANGES):
        """A daemon with all the time it wants, unless it is killed at the
        number-th call of those kinds."""
        self.faults.spare().kill_at(number).count(kinds)
        daemon = self.start(env=self.faults.env)
        wait_for(lambda: daemon.process.poll() is not None or (
            self.is_done(later) and daemon.events("started")))
        status = daemon.stop()
        assert status in (0, -signal.SIGKILL), daemon.log.raw
        self.relay.wait_ended()
        return status != 0

    def make_due(self):
        """What is to wait need not; the others keep their order, by which a
        message finds the notice about it."""
        for name in self.names("queue"):
            path = self.path / "queue" / name
            if path.stat().st_mtime > time.time():
                os.utime(path)


def cut_short(make, wanted, later, number, kinds):
    """Killed there, and then as on any other day; returns whether it was
    killed, and who has two copies."""
    with make() as ruin:
        killed = ruin.run(later, number, kinds)
        before, owing = ruin.copies(), ruin.waiting()
        for key, count in before.items():
            assert count == 1 and key in wanted, key
        ruin.make_due()
        assert not ruin.run([])
        total = ruin.copies()
        for key in wanted:
            again = bool(before[key] and owing[key])
            assert total[key] == 1 + again, (
                key, before, owing, total)
        assert set(total) == set(wanted)
        return killed, {key for key in wanted if total[key] > 1}


def until_none_is_killed(job, at_least=0):
    """What job(number), which says first whether it was killed, returned of
    number after number: until as many in a row as run side by side were
    beyond the last call, since that has another number each time.  One
    failure says all."""
    results, failures = [], []
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        going = True
        while going:
            numbers = range(len(results) + 1, len(results) + 4 * WORKERS + 1)
            jobs = [pool.submit(job, number) for number in numbers]
            for number, one in zip(numbers, jobs):
                if one.exception():
                    failures.append(f"{number}: {one.exception()!r}")
                results.append(None if one.exception() else one.result())
            going = len(results) < at_least or any(
                result and result[0] for result in results[-WORKERS:])
    assert not failures, "\n".join(failures)
    assert results[0][0], "the first call is made by all"
    return results


def cut_short_everywhere(make, wanted, later=()):
    """At each call there is, and beyond, until nothing is cut off.  By number
    the marks may be missed, as each run has its own: so these once more,
    counted alone."""
    wanted, later = set(wanted), list(later)
    with make() as ruin:
        assert not ruin.run(later)
        calls = ruin.faults.trace()
    twice = set()
    for kinds in (faults.CHANGES, ["PWRITE"]):
        results = until_none_is_killed(
            lambda number: cut_short(  # noqa: B023
                make, wanted, later, number, kinds),
            len(calls) if kinds is faults.CHANGES else 0)
        twice.update(*(copied for _, copied in results))
    return calls, twice


def test_kill_at_every_call_of_a_start(certs):
    """One is due, one is done, of one the sender has to be told, one is to
    wait; something half written; and mail in the maildrop."""
    def make():
        ruin = Ruin(certs.ca)
        ruin.put(1, "due")
        ruin.put(2, "done", "S 250")
        ruin.put(3, "owed", "N 550", sender="teller@example.test")
        ruin.put(4, "later", due=time.time() + 1800)
        ruin.put(5, "mixed", recipients=["one@example.test"])
        half = ruin.path / "incoming" / name_of(6)
        half.write_bytes(b"smarthost 1\nid ")
        drop = ruin.path / "maildrop" / ("f" * 24)
        drop.write_bytes(record(owner="0", content=message(
            body="<dropped>" + "x" * 70, newline="\r\n")))
        drop.chmod(0o640)
        return ruin

    b = "b@example.test"
    calls, twice = cut_short_everywhere(make, [
        (b, "due"), ("teller@example.test", "notice"), (b, "later"),
        ("one@example.test", "mixed"), (b, "dropped")], [name_of(4)])
    for kind in ("RENAMEAT", "UNLINKAT", "FDATASYNC", "PWRITE", "SEND"):
        assert kind in calls
    assert twice  # between the relay's answer and the mark


def test_kill_at_every_call_of_a_notice(certs):
    """Refused, marked, a notice committed, the message moved to failed/; the
    notice sent, and both gone.  The other recipient has one copy."""
    def make():
        ruin = Ruin(certs.ca, recipients={
            "no@example.test": "550 5.1.1 no such user"})
        ruin.put(1, "m", sender="teller@example.test",
                 recipients=["no@example.test", "b@example.test"])
        return ruin

    calls, twice = cut_short_everywhere(make, [
        ("b@example.test", "m"), ("teller@example.test", "notice")])
    assert calls.count("RENAMEAT") >= 2
    assert twice


@pytest.mark.skipif(not can_trace(), reason="needs strace")
@pytest.mark.parametrize("delay, refused", [
    ("renameat:delay_enter=300000:when=1", False),
    ("renameat:delay_exit=300000:when=1", False),
    ("faccessat2:delay_exit=300000:when=1", True),
    ("unlinkat:delay_enter=300000:when=3", False)])
def test_notice_ends_while_its_cause_is_moved(delay, refused, certs):
    """A crash has left both in the queue, and the notice is due first: neither
    stays if it is delivered, and one of them if it is not."""
    with Ruin(certs.ca) as ruin:
        if refused:
            ruin.relay.recipients["teller@example.test"] = "550 5.1.1 no"
        ruin.put(1, "m", "R 550", sender="teller@example.test", due=2.0)
        notice = ruin.path / "queue" / f"{1 ^ 0x6e6f746963650000:032x}"
        notice.write_bytes(record(
            sender="", recipients=["teller@example.test"],
            identifier=notice.name, content=message(newline="\r\n")))
        notice.chmod(0o600)
        os.utime(notice, (1, 1))
        daemon = Daemon(ruin.place, ruin.sections(ruin.relay), env=TRACED,
                        wrapper=strace("-o", "/dev/null", "-e",
                                       f"inject={delay}"))
        wait_for(lambda: ruin.names("queue") == [])
        assert daemon.stop() == 0
        if refused:
            assert len(ruin.names("failed")) == 1
        else:
            assert ruin.copies() == {("teller@example.test", "notice"): 1}
            assert ruin.is_done([])


# ---- Of a submission -------------------------------------------------

TEXT = message(body="<m>" + "x" * 70, newline="\r\n")
KEY = "b@example.test", "m"


def ends_well(ruin, yes):
    """The next daemon: what got a yes is there, once; twice only what the
    relay had and the disk did not know; nothing half of the rest."""
    ruin.relay.wait_ended()
    before, owing = ruin.copies(), ruin.waiting()
    assert before[KEY] <= 1
    ruin.make_due()
    for name in ruin.names("maildrop"):
        if name[0] == ".":  # is removed when it is old
            (ruin.path / "maildrop" / name).unlink()
    left = len(ruin.names("maildrop"))
    assert not ruin.run([])
    total = ruin.copies()
    assert total[KEY] == before[KEY] + owing[KEY] + left
    assert total[KEY] >= yes
    assert set(total) <= {KEY}
    return total[KEY]


def everywhere(job):
    """How often job(number) -> (killed, yes, copies) was what, of each call
    there is."""
    job(0)
    return collections.Counter(until_none_is_killed(job))


@pytest.mark.parametrize("uid, relay", [(None, "there"), (None, "away"),
                                        (65534, "away")])
def test_kill_at_every_call_of_sendmail(uid, relay, certs):
    """Without a daemon: to the relay, with the spool behind it; into the
    spool; and into the maildrop, by somebody else."""
    def job(number):
        with Ruin(certs.ca) as ruin, socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            where = ruin.relay if relay == "there" else \
                nobody.getsockname()[1]
            config = write_config(ruin.place / "one.conf",
                                  ruin.sections(where))
            ruin.faults.kill_at(number).count()
            result = sendmail("-i", "b@example.test", stdin=TEXT, uid=uid,
                              env={**ruin.faults.env,
                                   "SMARTHOST_CONFIG": config,
                                   "SMARTHOST_LISTEN_SOCKET": "/nowhere",
                                   "SMARTHOST_QUEUE_DIRECTORY": ruin.path})
            assert result.status in (0, -signal.SIGKILL), result
            yes = result.status == 0
            return not yes, yes, ends_well(ruin, yes)
    results = everywhere(job)
    assert results[True, False, 0] and results[True, False, 1]
    assert results[False, True, 1] and not results[False, True, 2]


LARGE = message(body="0123456789abcd\r\n" * 20000 + "<m>" + "x" * 70,
                newline="\r\n")


@pytest.mark.parametrize("delivery, text", [
    ("direct", TEXT), ("queue", TEXT), ("direct", LARGE)],
    ids=["direct", "queue", "large"])
def test_kill_at_every_call_of_a_shared_submission(delivery, text, certs):
    """The session stores it while a courier has it, as its direct_wait is
    over at once; or stores it first."""
    def job(number):
        with Ruin(certs.ca) as ruin:
            sections = ruin.sections(ruin.relay)
            sections["queue"].update(direct_wait="0", delivery=delivery)
            daemon = Daemon(ruin.place, sections, env=ruin.faults.env)
            daemon.wait_ready()
            ruin.faults.kill_at(number).count()
            try:
                reply = send(daemon, text=text)
            except (AssertionError, AttributeError, OSError):
                reply = None
            yes = bool(reply and reply.code == 250)
            assert yes or number
            wait_for(lambda: daemon.process.poll() is not None or
                     (ruin.is_done([]) and ruin.copies()[KEY]))
            status = daemon.stop()
            assert status in (0, -signal.SIGKILL)
            return status != 0, yes, ends_well(ruin, yes)
    results = everywhere(job)
    assert results[True, False, 0] and results[True, True, 1]
