# SPDX-License-Identifier: ISC
"""Fixtures of the end-to-end tests: see harness.py for the daemon, postfix.py
and badrelay.py for the two relays, certs.py for their certificates."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

import pytest

import badrelay
import harness
import postfix as postfix_module
from certs import Certificates


def pytest_configure(config):
    if not os.access(harness.BIN, os.X_OK) and not config.option.collectonly:
        raise pytest.UsageError(f"{harness.BIN} is not there; run make, or "
                                "set SMARTHOST_BIN")


failed = []


def pytest_runtest_logreport(report):
    if report.failed and report.nodeid not in failed:
        failed.append(report.nodeid)


def pytest_sessionfinish():
    """For run.sh."""
    if path := os.environ.get("E2E_FAILED"):
        pathlib.Path(path).write_text("".join(f"{one}\n" for one in failed))


def on_a_disk():
    """A spool on a tmpfs, as /tmp is on some systems, would be warned of."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", "/tmp"],
                          capture_output=True, check=True).stdout
    return "/var/tmp" if kind.strip() == b"tmpfs" else "/tmp"


PARENT = on_a_disk()


def make_place(prefix, parent=PARENT):
    """A directory that every uid may enter, with a short name, as the path
    of a unix socket may not be long."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    path.chmod(0o755)
    return path


@pytest.fixture
def place():
    path = make_place("sh-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def session_place():
    path = make_place("sh-all-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def certs(session_place):
    return Certificates(session_place / "certs")


@pytest.fixture(scope="session")
def tls(certs):
    """The TLS context of a relay with the good certificate."""
    return badrelay.server_context(certs.pem("good"))


@pytest.fixture
def relay():
    """Starts bad relays: relay(fault, **options)."""
    relays = []

    def start(*args, **options):
        relays.append(badrelay.BadRelay(*args, **options))
        return relays[-1]
    yield start
    for one in relays:
        one.close()


@pytest.fixture
def nobody_there():
    """A port on which connecting is refused, whoever else runs."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture(scope="session")
def postfix_instance(session_place, certs):
    if os.getuid() != 0 or not shutil.which("postfix"):
        pytest.skip("needs Postfix, and root to run it")
    instance = postfix_module.Postfix(session_place / "postfix",
                                      certs.pem("good"))
    instance.start()
    yield instance
    instance.remove()


@pytest.fixture
def postfix(postfix_instance):
    """The Postfix of the session, running whatever the last test did."""
    if not postfix_instance.process:
        postfix_instance.start()
    return postfix_instance


@pytest.fixture
def start(place):
    """Starts daemons: start(sections, **options), stopped at the end; they
    have to end well."""
    daemons = []

    def start_one(sections=None, ready=True, **options):
        daemon = harness.Daemon(place, sections, **options)
        daemons.append(daemon)
        return daemon.wait_ready() if ready else daemon
    yield start_one
    failures = []
    for daemon in daemons:
        running = daemon.process.poll() is None
        try:
            status = daemon.stop()
        except AssertionError as error:
            failures.append(str(error))
            continue
        print(f"--- log of pid {daemon.process.pid}, exit status {status}")
        print(daemon.log.raw.decode(errors="replace"))
        if running and status != 0:
            failures.append(f"exit status {status} after SIGTERM")
    assert not failures, "\n".join(failures)


@pytest.fixture
def sections(place, certs):
    """Makes configurations: sections(relay, {section: {key: value}})."""
    def make(relay_or_port, changes=None):
        return harness.merge(base_sections(place, relay_or_port, certs.ca),
                             changes)
    return make


def base_sections(place, relay, ca):
    """A configuration without a spool for that relay: a BadRelay, or the
    port of a plain one on loopback."""
    upstream = {"host": "127.0.0.1", "tls": "none", "port": relay}
    if isinstance(relay, badrelay.BadRelay):
        upstream["port"] = relay.port
        if relay.tls:
            upstream["tls"] = "implicit" if relay.implicit else "starttls"
            upstream["tls_ca_file"] = ca
            upstream["tls_name"] = "relay.test"
        if relay.mechanisms:
            upstream["user"] = relay.user
            upstream["password"] = relay.password
    return {
        "smarthost": {"hostname": "client.example.test"},
        "upstream": upstream,
        "listen": {"socket": place / "socket", "address": "127.0.0.1:0"},
        # a slow machine is not a slow relay
        "queue": {"directory": "none", "direct_wait": "60s"},
    }


@pytest.fixture
def for_postfix(postfix, sections, certs):
    """Makes configurations for one of Postfix's services."""
    def make(service="submission", changes=None):
        upstream = {"tls": "starttls", "tls_ca_file": certs.ca,
                    "tls_name": "relay.test", "user": postfix_module.USER,
                    "password": postfix_module.PASSWORD}
        if service == "implicit":
            upstream["tls"] = "implicit"
        if service == "plain":
            upstream = {}
        return harness.merge(sections(postfix.ports[service],
                                      {"upstream": upstream}), changes)
    return make
