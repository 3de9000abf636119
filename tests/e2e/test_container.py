# SPDX-License-Identifier: ISC
"""The static binary alone in a root directory: no libc, no passwd, no
resolver files, no writable place; PID 1, any uid, configured by the
environment only."""

import os
import platform
import shutil
import signal
import subprocess
import uuid

import pytest

import harness
from harness import NOBODY, Conversation, message

STATIC = harness.ROOT / "smarthost-static"


@pytest.fixture(scope="session")
def static():
    """The static program, built if need be."""
    if os.environ.get("SMARTHOST_STATIC"):
        return os.environ["SMARTHOST_STATIC"]
    if not STATIC.exists():
        if not shutil.which("musl-gcc"):
            pytest.skip("no smarthost-static and no musl-gcc to make it")
        subprocess.run(["make", "-C", str(harness.ROOT), "static"],
                       check=True, stdout=subprocess.DEVNULL)
    return STATIC


@pytest.fixture
def root(static, place, certs):
    """A root directory with nothing in it but what an image would have."""
    if os.getuid() != 0:
        pytest.skip("chroot needs root")
    path = place / "root"
    for name in ("", "run", "proc", "etc"):
        (path / name).mkdir(mode=0o755)
    shutil.copy(static, path / "smarthost")
    shutil.copy(certs.ca, path / "etc" / "ca.pem")
    (place / "run").mkdir(mode=0o1777)
    (place / "run").chmod(0o1777)
    return path


class Container(harness.Daemon):
    """`smarthost run` as PID 1 of its own namespaces."""

    def __init__(self, root, run_dir, env, uid):
        # unshare's child is PID 1; the signals go to it, not to unshare
        script = (
            'mount --bind "$1" "$1" && mount --bind "$2" "$1/run" && '
            'mount -t proc proc "$1/proc" && '
            'mount -o remount,bind,ro "$1" && '
            'exec chroot --userspec="$3:$3" --groups= "$1" /smarthost run')
        self.place, self.config = root, None
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child",
             "--propagation", "private", "sh", "-c", script, "sh",
             str(root), str(run_dir), str(uid)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, env={
                "PATH": os.environ["PATH"],
                **{key: str(value) for key, value in env.items()}})
        self.log = harness.Log(self.process.stderr)

    def signal(self, number):
        children = f"/proc/{self.process.pid}/task/{self.process.pid}"
        with open(children + "/children", encoding="ascii") as file:
            for child in file.read().split():
                os.kill(int(child), number)


@pytest.fixture
def container(root, place):
    """Starts containers: container(env, uid)."""
    running = []

    def run(env, uid=NOBODY):
        running.append(Container(root, place / "run", {
            "SMARTHOST_HOSTNAME": "client.example.test",
            "SMARTHOST_QUEUE_DIRECTORY": "none",
            "SMARTHOST_LISTEN_ADDRESS": "127.0.0.1:0",
            "SMARTHOST_LISTEN_SOCKET": "/run/socket", **env}, uid))
        return running[-1].wait_ready()
    yield run
    for one in running:
        print(one.log.raw.decode(errors="replace"))
        if one.process.poll() is None:
            one.signal(signal.SIGKILL)
            one.process.wait()


def upstream(relay):
    """The environment for a relay with TLS and a login."""
    return {"SMARTHOST_UPSTREAM_HOST": "127.0.0.1",
            "SMARTHOST_UPSTREAM_PORT": relay.port,
            "SMARTHOST_UPSTREAM_TLS_CA_FILE": "/etc/ca.pem",
            "SMARTHOST_UPSTREAM_TLS_NAME": "relay.test",
            "SMARTHOST_UPSTREAM_USER": relay.user,
            "SMARTHOST_UPSTREAM_PASSWORD": relay.password}


@pytest.fixture
def tls_relay(relay, tls):
    return relay(tls=tls, mechanisms=("PLAIN",))


def test_size(static):
    """BENCH.md tells what is in it."""
    if platform.machine() != "x86_64":
        pytest.skip("another processor's code has another size")
    assert os.path.getsize(static) <= 465_000


def submit(address, recipient="b@example.test"):
    with Conversation(address) as client:
        client.ehlo()
        client.envelope(recipients=(recipient,))
        client.send(message("from a container", newline="\r\n") + b".\r\n")
        return client.reply()


@pytest.mark.parametrize("uid", [NOBODY, 1234567, 0])
def test_sends(uid, container, tls_relay):
    daemon = container(upstream(tls_relay), uid)
    assert submit(daemon.address).code == 250
    assert tls_relay.copies(b"from a container") == 1
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0


def test_socket_of_the_container(container, tls_relay, place):
    """For a sidecar's sendmail, which has no configuration."""
    container(upstream(tls_relay))
    assert submit(place / "run" / "socket").code == 250
    result = harness.sendmail("b@example.test", stdin=message("outside"),
                              socket_path=place / "run" / "socket")
    assert result.status == 0, result.text
    assert tls_relay.copies() == 2


def test_to_postfix(container, postfix):
    daemon = container({
        "SMARTHOST_UPSTREAM_HOST": "127.0.0.1",
        "SMARTHOST_UPSTREAM_PORT": postfix.ports["submission"],
        "SMARTHOST_UPSTREAM_TLS_CA_FILE": "/etc/ca.pem",
        "SMARTHOST_UPSTREAM_TLS_NAME": "relay.test",
        "SMARTHOST_UPSTREAM_USER": "sender",
        "SMARTHOST_UPSTREAM_PASSWORD": "correct horse"})
    someone = f"u{uuid.uuid4().hex[:12]}@example.test"
    assert submit(daemon.address, someone).code == 250
    [got] = postfix.messages(someone)
    assert b"from a container" in got.raw


def test_password_leaves_the_environment(container, tls_relay):
    daemon = container(upstream(tls_relay))
    children = f"/proc/{daemon.process.pid}/task/{daemon.process.pid}"
    with open(children + "/children", encoding="ascii") as file:
        [child] = file.read().split()
    with open(f"/proc/{child}/environ", "rb") as file:
        environ = file.read()
    assert b"SMARTHOST_UPSTREAM_HOST" in environ
    assert tls_relay.password.encode() not in environ
    assert submit(daemon.address).code == 250


def test_kubernetes_service_links_are_ignored(container, tls_relay):
    """Those of a Service that is named smarthost."""
    daemon = container({
        **upstream(tls_relay),
        "SMARTHOST_PORT": "tcp://10.0.0.1:25",
        "SMARTHOST_PORT_25_TCP": "tcp://10.0.0.1:25",
        "SMARTHOST_PORT_25_TCP_ADDR": "10.0.0.1",
        "SMARTHOST_SERVICE_HOST": "10.0.0.1",
        "SMARTHOST_SERVICE_PORT": "25"})
    assert submit(daemon.address).code == 250


def test_big_message_without_a_place_for_it(container, tls_relay):
    """Nothing is writable but the socket's directory: taken or refused for
    now, never half."""
    daemon = container(upstream(tls_relay))
    with Conversation(daemon.address) as client:
        client.ehlo()
        client.envelope()
        client.send(b"Subject: t\r\n\r\n" + (b"x" * 70 + b"\r\n") * 60000 +
                    b".\r\n")
        reply = client.reply()
    assert reply.code in (250, 451, 452)
    assert tls_relay.copies() == (reply.code == 250)
    for taken in tls_relay.messages:
        assert len(taken.body) > 60000 * 72


def test_sendmail_in_the_container(root, tls_relay):
    """One shot, from the environment alone."""
    result = subprocess.run(
        ["chroot", f"--userspec={NOBODY}:{NOBODY}", "--groups=", str(root),
         "/smarthost", "sendmail", "b@example.test"], input=message("once"),
        capture_output=True, check=False, env={
            "PATH": os.environ["PATH"],
            "SMARTHOST_HOSTNAME": "client.example.test",
            "SMARTHOST_QUEUE_DIRECTORY": "none",
            **{key: str(value)
               for key, value in upstream(tls_relay).items()}})
    assert result.returncode == 0, result.stderr
    assert tls_relay.copies(b"once") == 1


def test_no_anchors_is_said(root, tls_relay):
    """No system bundle and no tls_ca_file: an error, not "no check"."""
    env = upstream(tls_relay)
    del env["SMARTHOST_UPSTREAM_TLS_CA_FILE"]
    result = subprocess.run(
        ["chroot", str(root), "/smarthost", "sendmail", "b@example.test"],
        input=message(), capture_output=True, check=False, env={
            "PATH": os.environ["PATH"],
            "SMARTHOST_HOSTNAME": "client.example.test",
            "SMARTHOST_QUEUE_DIRECTORY": "none",
            **{key: str(value) for key, value in env.items()}})
    assert result.returncode in (harness.CONFIG, harness.TEMPORARY)
    assert result.stderr
    assert tls_relay.copies() == 0
