# SPDX-License-Identifier: ISC
"""Faults of the system, in front of a program that knows nothing of them:
faults.c between it and libc, and this as the way to tell it what to do.

    with Faults(place) as faults:
        daemon = Daemon(place, sections, env=faults.env)
        faults.error("PWRITE", "FSYNC", error=errno.EROFS)

Unlike strace it counts over all threads: call number 7 is the seventh of the
process, so that each one can be had by its number."""

import atexit
import ctypes
import errno
import mmap
import os
import shutil
import subprocess
import tempfile

import pytest

import harness

KINDS = ("OPEN PREAD PWRITE FSYNC FDATASYNC RENAMEAT UNLINKAT FUTIMENS "
         "FCHMOD FLOCK MKDIRAT WRITE SEND RECV CONNECT ACCEPT CLOSE SYNCFS "
         "SOCKET STAT OPEN_TO_WRITE").split()
# What changes something, on the disk or for others, or waits for an answer.
CHANGES = ("PWRITE FSYNC FDATASYNC RENAMEAT UNLINKAT FUTIMENS FCHMOD MKDIRAT "
           "SEND RECV CONNECT ACCEPT SYNCFS OPEN OPEN_TO_WRITE WRITE").split()
# What a disk does that has become read-only.
WRITING = ("PWRITE FSYNC FDATASYNC RENAMEAT UNLINKAT FUTIMENS FCHMOD "
           "MKDIRAT OPEN_TO_WRITE").split()
TRACE_SIZE = 8192


class Orders(ctypes.Structure):
    """As in faults.c."""
    _fields_ = [("counted", ctypes.c_uint64), ("count", ctypes.c_uint64),
                ("kill_at", ctypes.c_uint64), ("fail_from", ctypes.c_uint64),
                ("fail_until", ctypes.c_uint64), ("error", ctypes.c_uint64),
                ("failing", ctypes.c_uint64),
                ("failing_error", ctypes.c_uint64),
                ("at_most", ctypes.c_uint64), ("offset", ctypes.c_int64),
                ("trace", ctypes.c_uint8 * TRACE_SIZE)]


def bits(kinds):
    return sum(1 << KINDS.index(kind) for kind in kinds)


_library = []


def library():
    """The compiled faults.c, once for all tests."""
    if not _library:
        directory = tempfile.mkdtemp(prefix="sh-faults-")
        os.chmod(directory, 0o755)
        path = os.path.join(directory, "faults.so")
        source = os.path.join(os.path.dirname(__file__), "faults.c")
        compiler = shutil.which("gcc") or shutil.which("clang")
        subprocess.run([compiler, "-std=gnu11", "-O1", "-shared", "-fPIC",
                        "-o", path, source], check=True)
        atexit.register(shutil.rmtree, directory)
        _library.append(path)
    return _library[0]


def skip_where_impossible():
    """A sanitizer wants to be the first to be loaded."""
    if harness.SANITIZED or not (shutil.which("gcc") or
                                 shutil.which("clang")):
        pytest.skip("needs a compiler, and a program without sanitizers")


class Faults:
    """One process's faults; env is for that process."""

    def __init__(self, place, name="faults"):
        path = place / name
        path.write_bytes(bytes(ctypes.sizeof(Orders)))
        path.chmod(0o666)
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.orders = Orders.from_buffer(self._map)
        self.env = {"LD_PRELOAD": library(), "FAULTS": path}

    def count(self, kinds=CHANGES):
        """Counts anew, and only those.  What is to happen at a number is said
        before, or a process that runs may be beyond it."""
        self.orders.count = 0
        self.orders.counted = bits(kinds)
        return self

    def kill_at(self, number):
        self.orders.kill_at = number
        return self

    def fail_at(self, number, error, times=1):
        """Of those counted, that one and as many as that fail."""
        self.orders.fail_until = 0  # none, while the rest changes
        self.orders.error = error
        self.orders.fail_from = number
        self.orders.fail_until = number + times
        return self

    def spare(self):
        """A number that has not been reached fails no more."""
        return self.fail_at(0, 0, 0)

    def error(self, *kinds, error=errno.EROFS):
        """These fail from now on; none: all is well again."""
        self.orders.failing_error = error
        self.orders.failing = bits(kinds)
        return self

    def trace(self):
        """The kinds of the calls that were counted, in order."""
        count = min(self.orders.count + 1, TRACE_SIZE)
        return [KINDS[kind - 1] for kind in self.orders.trace[1:count]
                if kind]
