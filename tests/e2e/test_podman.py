# SPDX-License-Identifier: ISC
"""The image in a real container: podman, uid 65534, read-only, with a real
Postfix beside it. Only the stage that compiles is left out, since it needs a
registry: its binary is the one that `make static` has made here."""

import os
import re
import shutil
import subprocess
import uuid

import pytest

import harness
from harness import NOBODY, WAIT, Conversation, message, wait_for
from postfix import PASSWORD, USER, free_ports
# pylint: disable=unused-import
from test_container import static  # noqa: F401

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("podman"),
    reason="needs podman, and root")


class Podman:
    """podman with its images and containers below a directory of the test's
    own."""

    def __init__(self, place):
        self.command = ["podman", "--root", place / "images", "--runroot",
                        place / "run", "--storage-driver", "vfs"]
        if shutil.which("runc"):
            self.command += ["--runtime", "runc"]
        self.options = ["--network=host", "--read-only", "--ulimit",
                        "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]

    def __call__(self, *words, check=True):
        done = subprocess.run(
            [*map(str, self.command), *map(str, words)], check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=WAIT * 4)
        text = done.stdout.decode(errors="replace")
        assert not check or done.returncode == 0, text
        return text if check else (done.returncode, text)


@pytest.fixture
def podman(place, static):  # noqa: F811
    """With the image `smarthost`, made by the last stage of our
    Containerfile."""
    one, context = Podman(place), place / "context"
    context.mkdir()
    shutil.copy(static, context / "smarthost-static")
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", context)
    (context / "empty").mkdir()
    text = (harness.ROOT / "conf/container/Containerfile").read_text()
    stage = text[text.index("FROM scratch"):].replace("--from=build ", "")
    stage = re.sub(r" /(src|etc/ssl/certs)/(smart|ca-)", r" \2", stage)
    stage = stage.replace(" /empty ", " empty ")
    (context / "Containerfile").write_text(stage)
    status, said = one("build", "-q", "-t", "smarthost", context, check=False)
    if status == 0:
        status, said = one("run", "--rm", *one.options, "smarthost",
                           "version", check=False)
    if status != 0:
        pytest.skip(f"this machine runs no containers: {said.strip()[-200:]}")
    yield one
    one("rm", "-f", "-a", "-t", "0", check=False)
    subprocess.run(["umount", "-q", *place.glob("images/vfs*")], check=False)


def test_sidecar(podman, place, postfix, certs):
    """A message goes through it to Postfix; health and queue answer; it stops
    in time and with 0."""
    spool, [port] = place / "spool", free_ports(1)
    spool.mkdir(mode=0o700)
    os.chown(spool, NOBODY, NOBODY)
    password = place / "password"
    password.write_text(PASSWORD)
    password.chmod(0o400)
    os.chown(password, NOBODY, NOBODY)
    settings = {
        "HOSTNAME": "box.example.test", "UPSTREAM_HOST": "127.0.0.1",
        "UPSTREAM_PORT": postfix.ports["submission"],
        "UPSTREAM_TLS_CA_FILE": "/run/secrets/ca.pem",
        "UPSTREAM_TLS_NAME": "relay.test", "UPSTREAM_USER": USER,
        "UPSTREAM_PASSWORD_FILE": "/run/secrets/relay",
        "LISTEN_ADDRESS": f"127.0.0.1:{port}"}
    podman("run", "-d", "--name", "box", *podman.options,
           "--tmpfs", "/run/smarthost:mode=0777",
           "-v", f"{password}:/run/secrets/relay:ro",
           "-v", f"{certs.ca}:/run/secrets/ca.pem:ro",
           "-v", f"{spool}:/var/spool/smarthost",
           *(f"-eSMARTHOST_{key}={value}"
             for key, value in settings.items()), "smarthost")
    try:
        wait_for(lambda: "event=started" in podman("logs", "box"))
        someone = f"u{uuid.uuid4().hex[:12]}@example.test"
        with Conversation(("127.0.0.1", port)) as client:
            client.ehlo()
            client.envelope(recipients=(someone,))
            client.send(message(newline="\r\n") + b".\r\n")
            assert client.reply().code == 250
        [got] = postfix.messages(someone)
        assert got.sender == "a@example.test"
        podman("exec", "box", "/smarthost", "health")
        assert "Mail queue is empty" in podman("exec", "box", "/smarthost",
                                               "queue")
        podman("stop", "-t", "10", "box")
        assert podman("inspect", "-f", "{{.State.ExitCode}}",
                      "box").strip() == "0"
        wait_for(lambda: "event=stopped" in podman("logs", "box"))
        log = podman("logs", "box")
    finally:
        print(podman("logs", "box", check=False)[1])
    assert not harness.ALARMS.search(log.encode()), log
    assert "no Landlock" not in log and "no seccomp" not in log
