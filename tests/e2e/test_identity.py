# SPDX-License-Identifier: ISC
"""As whom mail is sent: through a relay that takes one sender only."""

import email.utils
import smtplib
import uuid

import pytest

import harness
from harness import sendmail
from postfix import ONLY_SENDER

HOST = "client.example.test"
CRON = b"From: root (Cron Daemon)\nTo: root\nSubject: Cron\n\nx\n"


@pytest.fixture
def someone():
    """An address nobody else gets mail at."""
    return f"u{uuid.uuid4().hex[:12]}@example.test"


def identity(**keys):
    return {"identity": keys}


@pytest.fixture(params=["daemonless", "daemon", "smtp", "stored"])
def send(request, start, place):
    """send(sections, sender, recipient, text) by that inlet."""
    def by_smtp(daemon, sender, recipient, text):
        with smtplib.SMTP(*daemon.address) as client:
            client.sendmail(sender, recipient, text.replace(b"\n", b"\r\n"))

    def send(sections, sender, recipient, text):
        if request.param == "stored":
            sections = harness.merge(sections, {"queue": {
                "directory": place / "spool", "delivery": "queue"}})
        if request.param == "daemonless":
            config = harness.write_config(place / "conf", sections)
            done = sendmail("-i", "-f", sender, recipient, config=config,
                            stdin=text)
            assert done.status == 0, done.text
            return
        daemon = send.daemon = send.daemon or start(sections)
        if request.param == "smtp":
            by_smtp(daemon, sender, recipient, text)
            return
        done = sendmail("-i", "-f", sender, recipient,
                        socket_path=daemon.socket, stdin=text)
        assert done.status == 0, done.text

    send.daemon = None
    return send


def test_cron(send, for_postfix, postfix, someone):
    """The relay takes it, and everything else is as it was."""
    send(for_postfix("one-sender", identity(
        **{"from": ONLY_SENDER, "rewrite": "unqualified"})), "root", someone,
        CRON)
    [got] = postfix.messages(someone)
    assert got.sender == ONLY_SENDER
    assert got.message["From"] == f'"Cron Daemon" <{ONLY_SENDER}>'
    assert got.message["Reply-To"] == f"root@{HOST}"
    assert got.message["To"] == f"root@{HOST}"
    assert got.message["Subject"] == "Cron"
    assert got.body == b"x\n"


def test_always(send, for_postfix, postfix, someone):
    text = ("From: =?utf-8?q?J=C3=B6rg?= (the one)\n <joerg@shop.test>\n"
            "Sender: www-data@web1.shop.test\nReply-To: a@shop.test\n"
            f"To: {someone}\nDKIM-Signature: v=1; a=rsa-sha256\n\nx\n")
    send(for_postfix("one-sender", identity(
        **{"from": ONLY_SENDER, "rewrite": "always"})),
        "www-data@web1.shop.test", someone, text.encode())
    [got] = postfix.messages(someone)
    assert got.sender == ONLY_SENDER
    assert (f"From: =?utf-8?q?J=C3=B6rg?= (the one)\n <{ONLY_SENDER}>\n"
            f"Sender: {ONLY_SENDER}\nReply-To: a@shop.test\nTo: {someone}\n"
            "DKIM-Signature: v=1; a=rsa-sha256\n").encode() in got.raw
    assert got.message.get_all("Reply-To") == ["a@shop.test"]


def test_no_from(send, for_postfix, postfix, someone):
    """What sendmail adds has no domain before the message is on its way."""
    send(for_postfix("plain", identity(domain="example.test")), "www-data",
         someone, b"Subject: x\n\nx\n")
    [got] = postfix.messages(someone)
    assert got.sender == "www-data@example.test"
    assert email.utils.parseaddr(got.message["From"])[1] == got.sender


def test_as_it_was(send, for_postfix, postfix, someone):
    """Without anything set, a whole header is not touched."""
    text = f"From: a@b.test (x)\nTo:\t<{someone}> ,c@d.test\n\nx\n".encode()
    send(for_postfix("plain"), "a@b.test", someone, text)
    [got] = postfix.messages(someone)
    assert got.sender == "a@b.test"
    assert text[:-3] in got.raw.replace(b"Date:", b"\nDate:")
    assert "Reply-To" not in got.message


def test_null_sender(start, for_postfix, postfix, someone):
    """It stays null; From is for the relay to see."""
    daemon = start(for_postfix("plain", identity(
        **{"from": ONLY_SENDER, "rewrite": "always"})))
    done = sendmail("-f", "<>", someone, socket_path=daemon.socket,
                    stdin=b"From: MAILER-DAEMON (Mail System)\n\nx\n")
    assert done.status == 0, done.text
    [got] = postfix.messages(someone)
    assert got.sender == ""
    assert got.message["From"] == f'"Mail System" <{ONLY_SENDER}>'


def test_dkim_is_logged_once(start, sections, relay, place):
    """Also when it takes several attempts."""
    one = relay(replies={"rcpt": "451 4.2.0 later"})
    daemon = start(sections(one, {"queue": {"directory": place / "spool"},
                                  **identity(rewrite="always",
                                             **{"from": ONLY_SENDER})}))
    sendmail("b@example.test", socket_path=daemon.socket,
             stdin=b"From: a@b.test\nDKIM-Signature: v=1\n\nx\n")
    for _ in range(2):
        harness.run("-c", daemon.config, "queue", "retry", "--wait")
    assert len(daemon.events("deferred")) == 3
    lines = [line for line in daemon.log.raw.splitlines() if b"DKIM" in line]
    assert len(lines) == 1 and b"level=warn" in lines[0]


def test_corrected_configuration(start, for_postfix, postfix, place, someone,
                                 nobody_there):
    """What waits is sent as whom the new one says, whatever it was when it
    came."""
    spool = {"queue": {"directory": place / "spool"}}
    sections = for_postfix("one-sender", spool)
    daemon = start(harness.merge(sections,
                                 {"upstream": {"port": nobody_there}}))
    done = sendmail("-f", "root@web1", someone, socket_path=daemon.socket,
                    stdin=CRON)
    assert done.status == 0, done.text
    daemon.stop()
    daemon = start(harness.merge(sections, identity(
        rewrite="unqualified", **{"from": ONLY_SENDER})))
    [got] = postfix.messages(someone)
    assert got.sender == ONLY_SENDER
    assert got.message["From"] == f'"Cron Daemon" <{ONLY_SENDER}>'


def test_upstream_wins(start, sections, relay):
    one = relay()
    daemon = start(sections(one, {
        "upstream": {"from": "one@example.test", "rewrite": "always"},
        **identity(rewrite="never", **{"from": ONLY_SENDER})}))
    sendmail("-f", "a@b.test", "b@example.test", socket_path=daemon.socket,
             stdin=b"From: a@b.test\n\nx\n")
    [got] = one.wait_messages()
    assert got.sender == "one@example.test"
    assert b"From: one@example.test\r\n" in got.header


def test_size_counts_what_is_sent(start, sections, relay):
    one = relay(size=1000000)
    daemon = start(sections(one, identity(
        rewrite="always", **{"from": "a-very-long-address@example.test"})))
    sendmail("-f", "a@b.test", "b@example.test", socket_path=daemon.socket,
             stdin=b"From: a@b.test\n\nx\n")
    [got] = one.wait_messages()
    assert f"SIZE={len(got.content)}" in got.parameters


def test_headers(send, for_postfix, postfix, someone):
    """Added and removed, and everything else is as it was."""
    send(for_postfix("plain", identity(
        add_header="X-Environment: a, b | X-Team: c",
        remove_header="X-Mailer, User-Agent")), "a@b.test", someone,
        b"From: a@b.test\nX-Mailer: x\nSubject: y\n\nz\n")
    [got] = postfix.messages(someone)
    assert got.message["X-Environment"] == "a, b"
    assert got.message["X-Team"] == "c"
    assert "X-Mailer" not in got.message
    assert got.message["Subject"] == "y" and got.body == b"z\n"


def test_lines_that_become_longer(send, sections, relay):
    """SO-11: of names that each get a domain, and of a Reply-To of many."""
    names = [f"n{number:03}" for number in range(180)]
    one = relay()
    send(sections(one, identity(**{
        "from": ONLY_SENDER, "rewrite": "always",
        "domain": "a-long-domain.example.test"})), "root", "b@example.test",
         f"From: {','.join(names)}\nTo: {', '.join(names)}\n\nx\n".encode())
    one.wait_messages(1)
    [taken] = one.messages
    assert max(map(len, taken.header.split(b"\r\n"))) <= 998
    wanted = [f"{name}@a-long-domain.example.test" for name in names]
    header = email.message_from_bytes(taken.content)
    for field in "To", "Reply-To":
        assert [address for _, address in email.utils.getaddresses(
            [header[field]])] == wanted
