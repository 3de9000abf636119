# SPDX-License-Identifier: ISC
"""A system that fails while the program runs: a disk that becomes read-only
or takes no marks, calls that fail or do half of what they should, a clock
that is wrong by decades.  What was acknowledged arrives, once, and when all
is well again it goes on by itself."""

import concurrent.futures
import errno
import os
import pathlib
import re
import shutil
import smtplib
import socket
import subprocess
import time

import pytest

import faults as faults_module
import harness
from badrelay import Fault
from harness import CONFIG, NOBODY, TEMPORARY, message, run, wait_for
from test_core import copies_of, states
from test_crashes import Ruin, name_of
# fixtures too
from test_queue import (  # noqa: F401  pylint: disable=unused-import
    Disk, in_the_future, kept, send, send_queued, spool, stored)


@pytest.fixture
def faults(place):
    faults_module.skip_where_impossible()
    return faults_module.Faults(place)


def put_off(paths):
    """They wait for half an hour, unless somebody says otherwise."""
    for path in paths:
        when = time.time() + 1800
        os.utime(path, (when, when))


def retry(daemon):
    """What an administrator says when all is well again."""
    result = run("-c", daemon.config, "queue", "retry")
    assert result.status == 0, result.text


def tries(relay):  # noqa: F811
    """How often it has been offered a message."""
    return sum(session.said("DATA") for session in list(relay.sessions))


# ---- A disk that takes nothing any more ------------------------------

def test_read_only_in_flight(faults, start, kept, stored, relay,  # noqa: F811
                             spool):  # noqa: F811
    """DU-29: nothing is sent that could not be marked, nothing is accepted
    that could not be kept; and then it goes on where it was."""
    [path] = stored("m")
    put_off([path, *copies_of(path, 30)])
    one = relay(recipients={"later@example.test": "450 4.2.0 later"})
    daemon = start(kept(one), env=faults.env)
    wait_for(lambda: len(run("-c", daemon.config, "queue").stdout.split(
        b"b@example.test")) > 30)
    faults.error(*faults_module.WRITING)
    retry(daemon)
    daemon.wait_event("message", text=re.compile("Read-only"))
    reply = send(daemon, "kept", ["later@example.test"])
    assert reply.code // 100 == 4, reply
    assert send(daemon, "direct").code == 250  # a good day needs no disk
    assert one.copies() == one.copies(b"<direct>") == 1
    assert len(spool.names()) == 31
    assert len(daemon.events("message", text=re.compile("cannot read"))) == 1
    faults.error()
    one.recipients = {}
    retry(daemon)
    one.wait_messages(32)
    wait_for(lambda: not spool.names())
    send_again = send(daemon, "kept", ["later@example.test"])
    assert send_again.code == 250
    daemon.stop()
    assert one.copies(b"<m>") == 31 and len(one.messages) == 33
    spool.assert_empty()


@pytest.mark.parametrize("kinds", [["PWRITE"], ["FDATASYNC"], ["FUTIMENS"],
                                   faults_module.WRITING])
@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS])
def test_marks_that_the_disk_does_not_take(
        error, kinds, faults, start, kept, stored, relay,  # noqa: F811
        spool):  # noqa: F811
    """It stops behind the first few, which it has sent and not marked, and
    sends none of them again."""
    [path] = stored("m")
    paths = [path, *copies_of(path, 30)]
    one = relay(replies={"dot": "451 4.3.0 not now"}
                if kinds == ["FUTIMENS"] else None)
    put_off(paths)
    daemon = start(kept(one, {"upstream": {"idle": "1s"}}), env=faults.env)
    wait_for(lambda: len(run("-c", daemon.config, "queue").stdout.split(
        b"b@example.test")) > 30)
    faults.error(*(kind for kind in kinds if kind != "OPEN_TO_WRITE"),
                 error=error)
    retry(daemon)
    daemon.wait_event("message", count=2, text=re.compile("cannot mark"))
    wait_for(lambda: all(session.ended.is_set() for session in one.sessions))
    tried = sum(session.said("MAIL") for session in one.sessions)
    assert tried <= 8
    assert len(spool.names()) == 31
    assert sum(states(path) == "W" for path in paths) >= 31 - (
        tried if kinds != ["PWRITE"] else 0)
    faults.error()
    one.replies = {}
    # those that were put off anew as well
    wait_for(lambda: retry(daemon) or len(one.messages) >= 31)
    wait_for(lambda: not spool.names())
    daemon.stop()
    assert len(one.messages) == 31
    spool.assert_empty()


# ---- One call fails --------------------------------------------------

ERRORS = [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.EROFS]
# RECV and SEND have their own tests: the relay that resets a connection.
FILES = ("OPEN OPEN_TO_WRITE PREAD PWRITE FSYNC FDATASYNC RENAMEAT UNLINKAT "
         "FUTIMENS FCHMOD FLOCK MKDIRAT CLOSE SYNCFS STAT SOCKET CONNECT "
         "ACCEPT").split()
TEXT = message(body="<m>" + "x" * 70, newline="\r\n")
SIX = 6


def sweep(job, calls):
    """job(number, error) for each call and error; one failure says all.
    Returns how often it was what."""
    cases = [(number, error) for number in range(1, calls + 1)
             for error in ERRORS]
    with concurrent.futures.ThreadPoolExecutor(SIX) as pool:
        jobs = {case: pool.submit(job, *case) for case in cases}
    failures = [f"{number}, {os.strerror(error)}: {one.exception()!r}"
                for (number, error), one in jobs.items() if one.exception()]
    assert not failures, "\n".join(failures)
    results = [one.result() for one in jobs.values()]
    return {result: results.count(result) for result in results}


class Away(Ruin):
    """Nobody answers where its relay should be, until it is back."""

    def __init__(self, ca):
        super().__init__(ca)
        self.nobody = socket.socket()
        self.nobody.bind(("127.0.0.1", 0))

    def __exit__(self, *_):
        self.nobody.close()
        super().__exit__(*_)

    def away(self):
        return self.sections(self.nobody.getsockname()[1])

    def check_rest(self, count):
        """So many messages arrive now, and nothing is left."""
        self.make_due()
        assert not self.run([])
        assert len(self.relay.messages) == count
        assert all(TEXT in one.body for one in self.relay.messages)


@pytest.mark.usefixtures("faults")
def test_errors_at_every_call_of_a_delivery(certs):
    """From the start of the program: it is sent, once; or not yet, and the
    next daemon does it.  Another copy only if no mark could be made."""
    def job(number, error):
        with Ruin(certs.ca) as ruin:
            ruin.put(1, "m")
            ruin.faults.fail_at(number, error).count(FILES)
            daemon = ruin.start(env=ruin.faults.env)
            wait_for(lambda: daemon.process.poll() is not None or (
                daemon.events("started") and
                (0 < number <= ruin.faults.orders.count or
                 ruin.is_done([]))))
            status = daemon.stop()
            assert status in (0, CONFIG, 71), daemon.log.raw
            ruin.relay.wait_ended()
            before, owing = ruin.copies(), ruin.waiting()
            key = "b@example.test", "m"
            assert before[key] <= 1
            if not number:
                return ruin.faults.orders.count
            ruin.make_due()
            assert not ruin.run([])
            assert ruin.copies()[key] == max(
                1, before[key] + owing[key]), daemon.log.raw
            return status, ruin.copies()[key]
    counts = sweep(job, job(0, 0))
    assert counts[0, 1] > 0 and counts[CONFIG, 1] > 0
    assert sum(count for (_, copies), count in counts.items()
               if copies > 1) <= counts[0, 1] / 4


@pytest.mark.usefixtures("faults")
def test_errors_at_every_call_of_a_notice(certs):
    """From the start of the program: one recipient is refused, the other has
    it; the notice is sent by this daemon or the next, and nothing stays."""
    def job(number, error):
        with Ruin(certs.ca, recipients={
                "no@example.test": "550 5.1.1 no such user"}) as ruin:
            ruin.put(1, "m", sender="teller@example.test",
                     recipients=["no@example.test", "b@example.test"])
            ruin.faults.fail_at(number, error).count(FILES)
            daemon = ruin.start(env=ruin.faults.env)
            wait_for(lambda: daemon.process.poll() is not None or (
                daemon.events("started") and
                (0 < number <= ruin.faults.orders.count or
                 ruin.is_done([]))))
            status = daemon.stop()
            assert status in (0, CONFIG, 71), daemon.log.raw
            ruin.relay.wait_ended()
            before, owing = ruin.copies(), ruin.waiting()
            assert all(count == 1 for count in before.values())
            ruin.make_due()
            assert not ruin.run([])
            total = ruin.copies()
            wanted = {("b@example.test", "m"),
                      ("teller@example.test", "notice")}
            assert set(total) == wanted
            for key in wanted:
                assert total[key] == max(1, before[key] + owing[key]), (
                    key, before, owing, total, daemon.log.raw)
            return status if number else ruin.faults.orders.count
    counts = sweep(job, job(0, 0))
    assert counts[0] and counts[CONFIG]


@pytest.mark.usefixtures("faults")
def test_errors_at_every_call_of_a_commit(certs):
    """By SMTP: 250 and it is there, or 4xx and it is not; and the next one
    is taken."""
    def job(number, error):
        with Away(certs.ca) as ruin:
            daemon = harness.Daemon(ruin.place, ruin.away(),
                                    env=ruin.faults.env).wait_ready()
            ruin.faults.fail_at(number, error).count(FILES)
            try:
                reply = send(daemon, text=TEXT)
                code = reply.code if reply else None
            except (AssertionError, AttributeError, OSError):
                code = None  # the connection was not taken
            calls = ruin.faults.orders.count
            ruin.faults.spare()  # the next message
            there = len(ruin.names("queue"))
            assert there == (code == 250), code
            assert code in (None, 250, 451, 452)
            assert ruin.names("incoming") == []
            second = send(daemon, text=TEXT)
            assert second.code == 250, second
            assert daemon.stop() == 0
            ruin.check_rest(there + 1)
            return code if number else calls
    counts = sweep(job, job(0, 0))
    assert counts[250] and counts[451]


@pytest.mark.parametrize("uid", [None, NOBODY])
@pytest.mark.usefixtures("faults")
def test_errors_at_every_call_of_sendmail(uid, certs):
    """Into the queue, as root, and into the maildrop: 0 and it is there, or
    75 and it is not."""
    def job(number, error):
        with Away(certs.ca) as ruin:
            config = harness.write_config(ruin.place / "away.conf",
                                          ruin.away())
            ruin.faults.fail_at(number, error).count(FILES)
            result = harness.sendmail(
                "-i", "b@example.test", stdin=TEXT, uid=uid, env={
                    **ruin.faults.env, "SMARTHOST_CONFIG": config,
                    "SMARTHOST_LISTEN_SOCKET": ruin.place / "none",
                    "SMARTHOST_QUEUE_DIRECTORY": ruin.path})
            assert result.status in (0, TEMPORARY, 71, CONFIG), result
            assert result.text or result.status == 0
            there = len(ruin.names("queue")) + len(
                [name for name in ruin.names("maildrop") if name[0] != "."])
            assert there == (result.status == 0), result
            assert not ruin.names("incoming")
            calls = ruin.faults.orders.count
            for name in ruin.names("maildrop"):
                if name[0] == ".":  # removed after a day and a half
                    os.unlink(ruin.path / "maildrop" / name)
            ruin.check_rest(there)
            return result.status if number else calls
    counts = sweep(job, job(0, 0))
    assert counts[0] and counts[TEMPORARY]


@pytest.mark.parametrize("at_most", [1, 7, 1000])
@pytest.mark.usefixtures("faults")
def test_short_reads_and_writes(at_most, certs):
    """Of the disk, of connections and of the log."""
    with Away(certs.ca) as ruin:
        ruin.faults.orders.at_most = at_most
        daemon = harness.Daemon(ruin.place, ruin.away(),
                                env=ruin.faults.env).wait_ready()
        for _ in range(2):
            assert send(daemon, text=TEXT).code == 250
        assert daemon.stop() == 0
        assert len(daemon.events("accepted")) == 2
        daemon = ruin.start(env=ruin.faults.env)
        wait_for(lambda: ruin.is_done([]))
        assert send(daemon, text=TEXT).code == 250
        assert daemon.stop() == 0
        ruin.check_rest(3)


# ---- Clocks ----------------------------------------------------------

YEAR = 365 * 86400
CLOCKS = {"1970": lambda: 1000 - time.time(),
          "2040": lambda: 70 * YEAR - time.time(),
          "years ago": lambda: -10 * YEAR}


@pytest.mark.parametrize("case", CLOCKS)
def test_clock_is_wrong(case, faults, start, kept, nobody_there,  # noqa: F811
                        relay, spool):  # noqa: F811
    """At first, and right later: what came meanwhile is sent, tried anew and
    not given up; and the same the other way round."""
    faults.orders.offset = int(CLOCKS[case]())
    daemon = start(kept(nobody_there), env=faults.env)
    names = [send_queued(daemon, "wrong") for _ in range(3)]
    daemon.stop()
    one = relay(Fault("dot", "451", times=3))
    daemon = start(kept(one), env=faults.env)
    daemon.log.wait("deferred", count=3)
    daemon.stop()
    assert {states(path) for path in spool.files()} == {"L"}
    daemon = start(kept(nobody_there))  # the clock is right now
    names += [send_queued(daemon, "right") for _ in range(3)]
    daemon.stop()
    one.fault = Fault("dot", "451", times=6)
    spool.make_due()
    for clock in (0, faults.orders.offset, 0):
        faults.orders.offset = clock
        daemon = start(kept(one), env=faults.env)
        wait_for(lambda: one.fault.times == 0)
        wait_for(lambda: retry(daemon) or len(one.messages) >= 6)
        wait_for(lambda: not spool.names())
        assert daemon.stop() == 0
    assert len(set(names)) == 6
    assert one.copies(b"<wrong>") == one.copies(b"<right>") == 3
    assert len(one.messages) == 6  # and no notice
    spool.assert_empty()


@pytest.mark.parametrize("step", [10 * 86400, -10 * YEAR, 20 * YEAR])
def test_clock_jumps(step, faults, start, kept, relay, spool):  # noqa: F811
    """While it runs: what is older than its lifetime then is tried, not given
    up; IDs stay unique, and what was put off is sent."""
    one = relay(replies={"dot": "451 4.3.0 not now"})
    daemon = start(kept(one, {"queue": {"lifetime": "2h"}}), env=faults.env)
    names = [send_queued(daemon) for _ in range(3)]
    for offset in (step, 0, step):
        faults.orders.offset = offset
        names += [send_queued(daemon) for _ in range(3)]
        seen = len(daemon.events("deferred"))
        retry(daemon)
        wait_for(lambda: {  # noqa: B023
            event["id"] for event in daemon.events("deferred")[seen:]
        } >= set(names))
    assert len(set(names)) == len(names) == 12
    assert spool.names() == sorted(names) and not one.messages
    one.replies = {}
    wait_for(lambda: retry(daemon) or len(one.messages) == 12)
    wait_for(lambda: not spool.names())
    daemon.stop()
    assert one.copies() == len(one.messages) == 12
    spool.assert_empty()


def test_log_of_many_when_the_clock_is_wrong(faults, start, sections, relay):
    """Who waits for his turn to write a line does so, whatever the wall clock
    says."""
    faults.orders.offset = -10 * YEAR
    daemon = start(sections(relay(), {
        "smarthost": {"log_level": "debug"},
        "upstream": {"connections": 8}}), env=faults.env)

    def submit(_):
        with smtplib.SMTP(*daemon.address) as client:
            for _ in range(20):
                client.sendmail("a@example.test", ["b@example.test"], TEXT)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(submit, range(40)))
    daemon.stop()
    assert len(daemon.events("accepted")) == 800
    assert b"lost_lines" not in daemon.log.raw


# ---- A disk that has broken ------------------------------------------

class Ext4(Disk):
    """A real file system in a file, which can be told that it is damaged."""

    script = ('mount -o loop,errors=remount-ro "$2" "$1" && chmod 700 "$1" '
              '&& echo ready && read end; umount "$1"')

    def __init__(self, path):
        image = path.parent / "image"
        if not image.exists():
            with open(image, "wb") as out:
                out.truncate(16 << 20)
            subprocess.run(["mkfs.ext4", "-q", image], check=True)
        super().__init__(path, str(image))

    def damage(self):
        """What the kernel does when it finds something that cannot be."""
        mounts = pathlib.Path(f"/proc/{self.holder.pid}/mounts").read_text()
        device = re.search(r"(?m)^/dev/(\S+) %s " % self.path, mounts)[1]
        trigger = pathlib.Path(f"/sys/fs/ext4/{device}/trigger_fs_error")
        if not trigger.exists():
            pytest.skip("this kernel cannot break an ext4")
        trigger.write_text("test")
        with pytest.raises(OSError, match="Read-only"):
            (self.spool.path / "new").touch()

    def repair(self):
        self.close()
        done = subprocess.run(["fsck.ext4", "-fy", self.path.parent / "image"],
                              stdout=subprocess.DEVNULL, check=False)
        assert done.returncode <= 1
        self.path.rmdir()


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("mkfs.ext4"),
                    reason="needs root and ext4")
def test_disk_that_breaks(place, start, kept, nobody_there,  # noqa: F811
                          relay):
    """DU-29: errors=remount-ro, with the daemon at work. Nothing is sent any
    more that is on it; and behind the repair each message arrives once."""
    disk = Ext4(place / "spool")
    try:
        small = {"queue": {"min_free": "0"}}
        daemon = start(kept(nobody_there, small), wrapper=disk.wrapper)
        for number in range(10):
            send_queued(daemon, f"n{number}.")
        daemon.stop()
        put_off(disk.spool.files())
        one = relay()
        daemon = start(kept(one, small), wrapper=disk.wrapper)
        assert send(daemon, "before").code == 250
        wait_for(lambda: run("-c", daemon.config, "queue", wrapper=[
            *disk.wrapper]).stdout.count(b"b@example.test") == 10)
        disk.damage()
        retry(daemon)
        daemon.wait_event("message", text=re.compile("Read-only"))
        one.replies = {"rcpt": "450 4.2.0 later"}
        assert send(daemon, "refused").code // 100 == 4
        one.replies = {}
        assert send(daemon, "direct").code == 250
        assert daemon.stop() == 0
        assert len(one.messages) == 2
        disk.repair()
        disk = Ext4(place / "spool")
        disk.spool.make_due()
        daemon = start(kept(one, small), wrapper=disk.wrapper)
        one.wait_messages(12)
        wait_for(lambda: not disk.spool.names())
        assert daemon.stop() == 0
        assert len(one.messages) == 12
        assert all(one.copies(b"<n%d.>" % number) == 1
                   for number in range(10))
    finally:
        disk.close()
