# SPDX-License-Identifier: ISC
"""Who mail for this host is for: aliases, local_to, and what is held because
nothing says it."""

import os
import re
import smtplib
import uuid

import pytest

import harness
from harness import BAD_INPUT, CONFIG, TEMPORARY, Conversation, sendmail

HOST = "client.example.test"
TEXT = b"Subject: x\n\nx\n"


def write(path, text):
    """As an editor does it: a new file in the old one's place."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(path)
    return path


@pytest.fixture
def aliases(place):
    return write(place / "aliases", "root: ops@example.test, dev\n"
                                    "dev: d@example.test\n")


@pytest.fixture
def with_spool(place):
    return {"queue": {"directory": place / "spool"}}


def retry(daemon, status=0):
    done = harness.run("-c", daemon.config, "queue", "retry", "--wait")
    assert done.status == status, done.text


# Each inlet: the daemon's socket, its listener, the process alone with and
# without a spool, the maildrop.
INLETS = ["socket", "listener", "queued", "alone", "alone-spool", "maildrop"]


@pytest.mark.parametrize("inlet", INLETS)
def test_every_inlet(inlet, start, sections, relay, place, aliases,
                     with_spool):
    one = relay()
    config = sections(one, {"identity": {"aliases": aliases}})
    if inlet not in ("alone", "socket"):
        config = harness.merge(config, with_spool)
    if inlet == "queued":
        config["queue"]["delivery"] = "queue"
    people = ["root", "root@localhost", "c@example.test"]
    if inlet.startswith("alone"):
        path = harness.write_config(place / "conf", config)
        done = sendmail(*people, config=path, stdin=TEXT)
        assert done.status == 0, done.text
    elif inlet == "maildrop":
        if os.getuid():
            pytest.skip("needs another user")
        start(config).stop()
        done = sendmail(*people, stdin=TEXT, uid=1234,
                        socket_path=place / "socket",
                        env={"SMARTHOST_QUEUE_DIRECTORY": place / "spool"})
        assert done.status == 0, done.text
        start(config)
    else:
        daemon = start(config)
        if inlet == "listener":
            with smtplib.SMTP(*daemon.address) as client:
                client.sendmail("a@example.test", people, TEXT)
        else:
            done = sendmail(*people, socket_path=daemon.socket, stdin=TEXT)
            assert done.status == 0, done.text
    [got] = one.wait_messages()
    assert sorted(got.recipients) == ["c@example.test", "d@example.test",
                                      "ops@example.test"]


def test_results_of_their_own(start, sections, relay, aliases, with_spool):
    """One of those behind a name has got it, another not yet."""
    one = relay(recipients={"d@example.test": "451 4.2.0 later"})
    daemon = start(sections(one, {"identity": {"aliases": aliases},
                                  **with_spool}))
    done = sendmail("root", socket_path=daemon.socket, stdin=TEXT)
    assert done.status == 0, done.text
    one.recipients.clear()
    retry(daemon)
    assert sorted(got.recipients for got in one.messages) == [
        ["d@example.test"], ["ops@example.test"]]


def test_large_message(start, sections, relay, aliases, with_spool):
    """Its file is begun before its recipients' results are known."""
    one = relay()
    daemon = start(sections(one, {"identity": {"aliases": aliases},
                                  **with_spool}))
    body = b"Subject: x\n\n" + b"0123456789abcde\n" * 65536
    done = sendmail("root", socket_path=daemon.socket, stdin=body)
    assert done.status == 0, done.text
    [got] = one.wait_messages()
    assert sorted(got.recipients) == ["d@example.test", "ops@example.test"]
    assert got.text == body.partition(b"\n\n")[2].replace(b"\n", b"\r\n")


def test_held_until_somebody_gets_it(start, sections, relay, place,
                                     with_spool):
    """Others get theirs; then the file says who, and each gets one copy."""
    path = write(place / "aliases", "")
    one = relay()
    daemon = start(sections(one, {"identity": {"aliases": path},
                                  **with_spool}))
    done = sendmail("root", "c@example.test", socket_path=daemon.socket,
                    stdin=TEXT)
    assert done.status == 0, done.text
    assert [got.recipients for got in one.messages] == [["c@example.test"]]
    [message] = (place / "spool" / "queue").iterdir()
    shown = harness.run("-c", daemon.config, "queue").stdout.decode()
    assert "local_to" in shown and "root" in shown
    retry(daemon, TEMPORARY)
    assert len(one.messages) == 1
    write(path, "root: ops@example.test, dev@example.test\n")
    retry(daemon)
    assert sorted(one.messages[1].recipients) == ["dev@example.test",
                                                  "ops@example.test"]
    assert len(one.messages) == 2 and not message.exists()
    assert b"Subject: x" in one.messages[1].header


def test_held_alone(start, sections, relay, place, with_spool):
    """It is said that it is held, and what to do; the relay hears nothing.
    A restart with a better configuration sends it."""
    one = relay()
    config = sections(one, {"identity": {"aliases": "none"}, **with_spool})
    daemon = start(config)
    done = sendmail("root", socket_path=daemon.socket, stdin=TEXT)
    assert done.status == 0
    assert re.search(r"held: <root> is a name of this host.*local_to",
                     done.text)
    assert daemon.events("held", reply=re.compile("local_to"))
    assert not one.sessions
    daemon.stop()
    daemon = start(harness.merge(config, {"identity": {
        "local_to": "ops@example.test"}}))
    retry(daemon)
    assert [got.recipients for got in one.messages] == [["ops@example.test"]]


@pytest.mark.parametrize("alone", [False, True])
def test_held_without_a_spool(alone, start, sections, relay, place):
    """Nobody gets it, and who sends it hears what to do."""
    one = relay()
    config = sections(one, {"identity": {"aliases": "none"}})
    if alone:
        path = harness.write_config(place / "conf", config)
        done = sendmail("root", "c@example.test", config=path, stdin=TEXT)
    else:
        daemon = start(config)
        done = sendmail("root", "c@example.test", socket_path=daemon.socket,
                        stdin=TEXT)
        with Conversation(daemon.address) as client:
            client.ehlo()
            client.envelope(recipients=(f"root@{HOST}",))
            client.send(b"\r\nx\r\n.\r\n")
            reply = client.reply()
        assert reply.code == 451 and "local_to" in reply.text
    assert done.status == TEMPORARY
    assert "<root> is a name of this host" in done.text
    assert "local_to" in done.text
    assert not one.messages


def test_domain_sends_names_to_the_relay(start, sections, relay):
    one = relay()
    daemon = start(sections(one, {"identity": {
        "aliases": "none", "domain": "example.test"}}))
    done = sendmail("-t", socket_path=daemon.socket,
                    stdin=b"To: root, www@localhost\n\nx\n")
    assert done.status == 0, done.text
    [got] = one.messages
    assert sorted(got.recipients) == ["root@example.test", "www@example.test"]
    assert b"To: root@example.test, www@localhost\r\n" in got.header


def test_notice_to_a_name(start, sections, relay, aliases, with_spool):
    """The sender is root of this host: his notice is for who reads his
    mail."""
    one = relay(recipients={"gone@example.test": "550 5.1.1 who?"})
    daemon = start(sections(one, {"identity": {"aliases": aliases},
                                  **harness.merge(with_spool, {
                                      "queue": {"delivery": "queue"}})}))
    sendmail("-f", "root", "gone@example.test", socket_path=daemon.socket,
             stdin=TEXT)
    [got] = one.wait_messages()
    assert got.sender == ""
    assert sorted(got.recipients) == ["d@example.test", "ops@example.test"]


def test_file_that_makes_no_sense(start, sections, relay, aliases):
    """What it said before holds, and the log has the line; so has check."""
    one = relay()
    daemon = start(sections(one, {"identity": {"aliases": aliases}}))
    write(aliases, "root: ops@example.test\nand so on\nwww: |/bin/cat\n")
    done = sendmail("root", socket_path=daemon.socket, stdin=TEXT)
    assert done.status == 0, done.text
    assert len(one.messages[0].recipients) == 2
    assert f'{aliases}:2: \\"and so on\\" is not of the form' in \
        daemon.log.raw.decode()
    done = harness.run("-c", daemon.config, "check", "--config")
    assert done.status == 0
    assert f'{aliases}:2: "and so on"' in done.stdout.decode()
    assert "smarthost runs no command" in done.stdout.decode()


def test_said_once(start, sections, relay, aliases):
    """What is left out, by the daemon as it starts; check says it too."""
    write(aliases, "root: ops@example.test, |/bin/cat\n")
    daemon = start(sections(relay(), {"identity": {"aliases": aliases}}))
    done = harness.run("-c", daemon.config, "check", "--config")
    assert done.status == 0 and done.stdout.count(b"left out") == 1
    daemon.stop()
    assert len(daemon.events("message", text=re.compile("left out"))) == 1


def test_newaliases(sections, relay, place, aliases):
    path = harness.write_config(place / "conf", sections(
        relay(), {"identity": {"aliases": aliases}}))
    for command in (["-bi"], ["-I"]):
        done = sendmail(*command, config=path)
        assert (done.status, done.text) == (0, "")
        assert done.stdout.decode() == f"{aliases}: 2 aliases\n"
    write(aliases, "root: ops@example.test, |/bin/x\n")
    done = sendmail("-bi", config=path)
    assert done.status == 0
    assert done.text == (f'sendmail: warning: {aliases}:1: "|/bin/x" is left '
                         "out: smarthost runs no command\n")
    write(aliases, "root: a b\n\nx: y\ny: x\n")
    done = sendmail("-bi", config=path)
    assert done.status == BAD_INPUT and done.stdout == b""
    assert done.text.splitlines()[0] == (
        f'sendmail: {aliases}:1: "a b" is not an address')
    assert f"{aliases}:3: \"x\" is in a loop" in done.text
    aliases.unlink()
    done = sendmail("-bi", config=path)
    assert done.status == CONFIG and f"{aliases}: cannot be read" in done.text


def test_missing_file_is_a_wrong_configuration(sections, relay, place):
    path = harness.write_config(place / "conf", sections(
        relay(), {"identity": {"aliases": place / "nothing"}}))
    done = harness.run("-c", path, "check", "--config")
    assert done.status == CONFIG
    assert "[identity] aliases" in done.text


def test_postmaster(start, for_postfix, postfix, place):
    """RFC 5321 section 4.5.1: he is always somebody, as long as root is."""
    someone = f"u{uuid.uuid4().hex[:12]}@example.test"
    path = write(place / "aliases", f"root: {someone}\n")
    daemon = start(for_postfix("plain", {"identity": {"aliases": path}}))
    with Conversation(daemon.address) as client:
        client.ehlo()
        client.envelope(recipients=("Postmaster",))
        client.send(b"\r\nx\r\n.\r\n")
        assert client.reply().code == 250
    assert len(postfix.messages(someone)) == 1


def test_verify(sections, relay, place, aliases):
    """sendmail -bv says who gets it."""
    path = harness.write_config(place / "conf", sections(
        relay(), {"identity": {"aliases": aliases}}))
    done = sendmail("-bv", "root", "www", "c@example.test", config=path)
    assert done.status == 0, done.text
    assert re.findall(r"^(\S+)\.\.\. (\w+)", done.stdout.decode(), re.M) == [
        ("c@example.test", "deliverable"), ("ops@example.test", "deliverable"),
        ("d@example.test", "deliverable"), ("www", "held")]
