# SPDX-License-Identifier: ISC
"""Queues of any length, fast: one message goes the ordinary way into the queue
while the relay is away, and its file is then copied under other names. What
the programs find is what they would have written themselves."""
import contextlib
import os
import random
import re
import shutil
import subprocess
import time

from postfix import free_ports
from postfix_relay import Postfix
from sink import TICK, send
from smarthost import Smarthost, count_files

WORKERS = 2


def settle(place):
    """Has what was written on the disk, where it would be after an outage."""
    subprocess.run(["sync", "-f", place], check=True)


def wait_for_file(directory):
    while True:
        for path in directory.rglob("*"):
            if path.is_file() and path.stat().st_size:
                return path
        time.sleep(TICK)


def smarthost_sample(place, size):
    """The bytes of a queued message, with its ID."""
    closed = free_ports(1)[0]
    with Smarthost(place / "sample", closed,
                   {"queue": {"delivery": "queue"}}) as daemon:
        send(daemon.port, 1, size=size)
        path = wait_for_file(place / "sample" / "spool" / "queue")
        sample = path.read_bytes(), path.name
    shutil.rmtree(place / "sample")
    return sample


def write_some(directory, sample, own_id, numbers, spread):
    """The files of those numbers, a microsecond apart. Their next tries are
    spread over so many seconds up to now."""
    first = int(own_id[:16], 16)
    head, tail = re.split(rb"(?m)^id .*\n", sample, maxsplit=1)
    at, now = os.open(directory, os.O_RDONLY | os.O_DIRECTORY), time.time()
    for number in numbers:
        name = f"{first + number:016x}{random.getrandbits(64):016x}"
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600,
                     dir_fd=at)
        os.write(fd, b"%sid %s\n%s" % (head, name.encode(), tail))
        when = now - number * 7919 % (spread or 1)
        os.utime(fd, (when, when))
        os.close(fd)
    os.close(at)


def fill_smarthost(place, count, size=4096, spread=0):
    """A spool below place with so many messages that are due."""
    sample, own_id = smarthost_sample(place, size)
    spool = place / "spool"
    for path in (spool, spool / "queue"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    children = []
    for worker in range(WORKERS):
        child = os.fork()
        if not child:
            status = 1
            with contextlib.suppress(BaseException):
                write_some(spool / "queue", sample, own_id,
                           range(worker, count, WORKERS), spread)
                status = 0
            os._exit(status)
        children.append(child)
    if any(os.waitpid(child, 0)[1] for child in children):
        raise OSError(f"cannot write {count} messages to {spool}")
    settle(spool)
    return spool


def fill_postfix(postfix, count, relay):
    """So many messages in the deferred queue of an instance that does not
    run, whose relay has been away and is now there. A queue file's name ends
    with the number of its inode, so a copy gets its name when it is made."""
    deferred = postfix.place / "queue" / "deferred"
    postfix.point_to(free_ports(1)[0])
    with postfix:
        send(postfix.port, 1)
        original = wait_for_file(deferred)
    postfix.point_to(relay)
    sample, found = original.read_bytes(), original.stat()
    for number in range(count - 1):
        new = deferred / "new"
        with open(new, "xb") as out:
            out.write(sample)
            os.fchown(out.fileno(), found.st_uid, found.st_gid)
            os.fchmod(out.fileno(), found.st_mode & 0o777)
            name = f"{number % 1000000:05X}{os.fstat(out.fileno()).st_ino:X}"
        (deferred / name[0]).mkdir(mode=0o700, exist_ok=True)
        os.chown(deferred / name[0], found.st_uid, found.st_gid)
        new.rename(deferred / name[0] / name)
    assert count_files(deferred) == count
    settle(deferred)
