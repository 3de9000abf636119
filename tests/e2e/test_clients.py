# SPDX-License-Identifier: ISC
"""Real programs as clients of the listener."""

import email.message
import shutil
import smtplib
import subprocess

import pytest

from harness import WAIT, environment

TEXT = "From: a@example.test\nTo: b@example.test\nSubject: from {}\n\n" \
    "hello\n.\n.x\nend\n"
BODY = b"hello\r\n.\r\n.x\r\nend\r\n"


@pytest.fixture
def daemon(start, sections, relay):
    one = relay()
    daemon = start(sections(one))
    daemon.relay = one
    return daemon


def run(*command, stdin="", status=0):
    if not shutil.which(command[0]):
        pytest.skip(command[0] + " is not installed")
    done = subprocess.run([str(word) for word in command],
                          input=stdin.encode(), capture_output=True,
                          env=environment({"HOME": "/nonexistent"}),
                          timeout=WAIT * 2, check=False)
    output = (done.stdout + done.stderr).decode(errors="replace")
    if status is not None:
        assert done.returncode == status, output
    return done.returncode, output


def swaks(daemon, place, status=0):
    run("swaks", "--server", "127.0.0.1", "--port", daemon.port,
        "--from", "a@example.test", "--to", "b@example.test,c@example.test",
        "--data", "-", stdin=TEXT.format("swaks"), status=status)


def swaks_pipelined(daemon, place, status=0):
    run("swaks", "--server", "127.0.0.1", "--port", daemon.port,
        "--pipeline", "--from", "a@example.test",
        "--to", "b@example.test,c@example.test",
        "--data", "-", stdin=TEXT.format("swaks"), status=status)


def swaks_socket(daemon, place, status=0):
    run("swaks", "--socket", daemon.socket, "--from", "a@example.test",
        "--to", "b@example.test,c@example.test", "--data", "-",
        stdin=TEXT.format("swaks"), status=status)


def curl(daemon, place, status=0):
    path = place / "mail.txt"
    path.write_bytes(TEXT.format("curl").encode())
    run("curl", "--silent", "--show-error", "--crlf",
        f"smtp://127.0.0.1:{daemon.port}/client.test",
        "--mail-from", "a@example.test", "--mail-rcpt", "b@example.test",
        "--mail-rcpt", "c@example.test", "--upload-file", path,
        status=status)


def msmtp(daemon, place, status=0):
    run("msmtp", "--file=/dev/null", "--host=127.0.0.1",
        f"--port={daemon.port}", "--tls=off", "--auth=off",
        "--from=a@example.test", "b@example.test", "c@example.test",
        stdin=TEXT.format("msmtp"), status=status)


def python(daemon, place, status=0):
    message = email.message.EmailMessage()
    message["From"], message["Subject"] = "a@example.test", "from python"
    message["To"] = "b@example.test, c@example.test"
    message.set_content("hello\n.\n.x\nend\n")
    with smtplib.SMTP(*daemon.address) as client:
        if status == 0:
            assert client.send_message(message) == {}
        else:
            with pytest.raises(smtplib.SMTPDataError):
                client.send_message(message)


CLIENTS = [swaks, swaks_pipelined, swaks_socket, curl, msmtp, python]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda c: c.__name__)
def test_client(client, daemon, place):
    client(daemon, place)
    [taken] = daemon.relay.messages
    assert taken.sender == "a@example.test"
    assert taken.recipients == ["b@example.test", "c@example.test"]
    assert taken.text.rstrip() == BODY.rstrip()
    sent = daemon.wait_event("sent")
    assert sent["from"] == "a@example.test"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("reply", ["550 5.7.1 no", "451 4.3.0 later"])
def test_client_hears_the_refusal(client, reply, daemon, place):
    """What the relay says at the dot makes the client fail."""
    daemon.relay.replies = {"dot": reply}
    if client is python:
        client(daemon, place, status=1)
        return
    with pytest.raises(AssertionError) as error:
        client(daemon, place)
    assert reply[:3] in str(error.value) or client is curl


def test_many_messages_of_one_client(daemon):
    """A client that keeps its connection."""
    with smtplib.SMTP(*daemon.address) as client:
        for number in range(200):
            client.sendmail("a@example.test", ["b@example.test"],
                            f"Subject: {number}\r\n\r\nx\r\n")
    assert daemon.relay.copies() == 200


def test_client_goes_on_after_a_refusal(daemon):
    daemon.relay.recipients = {"no@example.test": "550 5.1.1 no such user"}
    with smtplib.SMTP(*daemon.address) as client:
        for _ in range(3):
            with pytest.raises(smtplib.SMTPDataError) as error:
                client.sendmail("a@example.test", ["no@example.test"], "x")
            assert error.value.smtp_code == 550
            client.sendmail("a@example.test", ["b@example.test"], "x")
    assert daemon.relay.copies() == 3
