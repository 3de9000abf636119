# SPDX-License-Identifier: ISC
"""A few lines about the machine, without which no number means anything."""
import os
import pathlib
import platform
import re
import subprocess


def first(pattern, path):
    found = re.search(pattern, pathlib.Path(path).read_text(), re.M)
    return found[1].strip() if found else "unknown"


def file_system(directory):
    """Type and options of what it is on: the deepest mount point wins."""
    directory, best = os.path.realpath(directory), ("", "unknown")
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, options = line.split()[:4]
        inside = directory == point or \
            directory.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            best = point, f"{kind} ({options})"
    return best[1]


def postfix_version():
    return subprocess.run(
        ["postconf", "-dh", "mail_version"], check=True,
        stdout=subprocess.PIPE).stdout.decode().strip()


def describe(directory):
    gigabytes = int(first(r"^MemTotal:\s+(\d+)", "/proc/meminfo")) / 2**20
    return {
        "processor": first(r"^model name\s*:(.*)", "/proc/cpuinfo"),
        "cores": str(os.cpu_count()),
        "memory": f"{gigabytes:.0f} GB",
        "kernel": platform.release(),
        "file system of the spools": file_system(directory),
        "Postfix": postfix_version(),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }
