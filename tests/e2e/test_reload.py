# SPDX-License-Identifier: ISC
"""SIGHUP: the configuration is read again, nobody is dropped, no message is
lost or sent twice, and what is wrong changes nothing."""

import concurrent.futures
import os
import re
import signal
import socket
import threading

import pytest

import harness
from badrelay import Fault
from harness import WAIT, message, wait_for, write_config
# pylint: disable=unused-import
from test_queue import (kept, patient, send, send_queued,  # noqa: F401
                        send_taken, spool)


def reload(daemon, place, sections, good=True):
    """Writes the new configuration and has it read."""
    new = write_config(place / "smarthost.conf.new", sections)
    count = len(daemon.events("reloaded"))
    new.rename(place / "smarthost.conf")
    daemon.signal(signal.SIGHUP)
    if good:
        daemon.log.wait("reloaded", count + 1)


def submit(client, marker):
    client.envelope()
    client.send(message(body=f"<{marker}>", newline="\r\n") + b".\r\n")
    return client.reply()


@pytest.mark.parametrize("with_spool", [False, True])
def test_another_relay(start, sections, kept, place, relay, with_spool):
    make = kept if with_spool else sections
    old, new = relay(), relay()
    daemon = start(make(old))
    with daemon.connect() as client:
        client.ehlo()
        assert submit(client, 1).code == 250
        reload(daemon, place, make(new))
        assert send(daemon, 2).code == 250
        assert submit(client, 3).code == 250  # as it began
    assert (len(old.messages), len(new.messages)) == (2, 1)


def test_while_it_starts(start, sections, relay):
    """Asked as soon as its first socket is there, it does not end; whoever asks
    gets a reload when the start is over."""
    daemon = start(sections(relay()), ready=False)
    daemon.wait_event("listening")
    daemon.signal(signal.SIGHUP)
    daemon.wait_event("reloaded")
    assert send(daemon).code == 250


def test_broken(start, sections, place, relay):
    """The old configuration stays, and says why."""
    one = relay()
    daemon = start(sections(one))
    broken = sections(one, {"upstream": {"hots": "x"}})
    reload(daemon, place, broken, good=False)
    daemon.wait_event("message", text=re.compile(
        r"the old configuration stays: .*smarthost\.conf:\d+: .*hots.*host"))
    assert send(daemon).code == 250
    reload(daemon, place, sections(one))
    assert send(daemon).code == 250
    assert one.copies() == 2


def test_retry_while_an_old_one_ends(start, kept, place,  # noqa: F811
                                     patient):  # noqa: F811
    """What the configuration before this one attempts has been asked for before
    its end, and is not tried again for that."""
    one = patient("dot", replies={"dot": "451 4.2.0 not now"})
    config = kept(one, {"queue": {"delivery": "queue"}})
    daemon = start(config)
    names = [send_queued(daemon)]
    assert one.waiting.wait(WAIT)
    reload(daemon, place, config)
    assert harness.run("-c", daemon.config, "queue", "retry").status == 0
    one.release.set()
    daemon.wait_event("deferred", id=names[0])
    names.append(send_queued(daemon))
    daemon.wait_event("deferred", id=names[1])
    daemon.stop()
    assert [event["id"] for event in daemon.events("deferred")] == names


def test_broken_aliases(start, sections, place, relay):
    """Nor do the names of this host go elsewhere because of a reload."""
    one = relay()
    aliases = place / "aliases"
    aliases.write_text("root: ops@example.test\n")
    config = sections(one, {"identity": {"aliases": aliases,
                                         "domain": "example.test"}})
    daemon = start(config)
    aliases.write_text("root: ops@example.test\nroot ops\n")
    reload(daemon, place, config, good=False)
    daemon.wait_event("message", text=re.compile(
        r"the old configuration stays: .*aliases:2: "))
    assert send(daemon, recipients=["root"]).code == 250
    assert one.messages[0].recipients == ["ops@example.test"]
    aliases.write_text("root: dev@example.test\nwww: |/bin/cat\n")
    reload(daemon, place, config)
    assert send(daemon, recipients=["root"]).code == 250
    assert one.messages[1].recipients == ["dev@example.test"]


@pytest.mark.parametrize("section, key, value", [
    ("listen", "address", "127.0.0.1:0, [::1]:0"),
    ("listen", "socket", "none"), ("smarthost", "run_as", "nobody"),
    ("smarthost", "log_format", "json"), ("queue", "directory", "none")])
def test_needs_a_restart(start, kept, place, relay, section, key, value):
    one = relay()
    daemon = start(kept(one))
    changed = kept(relay(), {section: {key: value}})
    reload(daemon, place, changed, good=False)
    daemon.wait_event("message", text=re.compile(
        rf"the old configuration stays: \[{section}\] .*{key}.* has changed, "
        rf"which needs a restart|stays: \[{section}\] {key} has changed"))
    assert send(daemon).code == 250
    assert one.copies() == 1


def test_log_level(start, sections, place, relay):
    daemon = start(sections(relay()))
    reload(daemon, place, sections(relay(), {
        "smarthost": {"log_level": "error"}}), good=False)

    def is_quiet():
        before = len(daemon.events("accepted"))
        assert send(daemon).code == 250
        return len(daemon.events("accepted")) == before
    wait_for(is_quiet)


@pytest.mark.skipif(harness.SANITIZED, reason="measures memory")
def test_nothing_piles_up(start, kept, place, relay, tls):
    """What has been replaced goes, with all its certificates, also when nothing
    else happens."""
    one = relay(tls=tls)
    daemon = start(kept(one))
    reload(daemon, place, kept(one))
    before = daemon.rss()
    for _ in range(100):
        reload(daemon, place, kept(one))
    assert daemon.rss() < before + (8 << 20)


def test_pauses_end(start, kept, place, nobody_there, relay, spool):
    """What waits for a relay that is away goes to the new one at once."""
    one = relay()
    daemon = start(kept(nobody_there))
    names = [send_queued(daemon, marker) for marker in range(5)]
    assert spool.names() == sorted(names)
    reload(daemon, place, kept(one))
    one.wait_messages(5)
    wait_for(lambda: not spool.names())
    assert one.copies() == 5


@pytest.mark.parametrize("times", [1, 3])
def test_message_in_hand(start, kept, place, patient, relay, spool, times):
    """A courier has a stored message while its queue is replaced: it is sent
    once, by him, whatever the new queue finds on the disk."""
    slow, new = patient("dot"), relay()
    daemon = start(kept(slow, {"queue": {"delivery": "queue"}}))
    name = send_queued(daemon)
    assert slow.waiting.wait(WAIT)
    for _ in range(times):
        reload(daemon, place, kept(new))
    other = send_taken(daemon, "other")
    daemon.wait_event("sent", id=other)
    assert spool.names() == [name]
    slow.release.set()
    daemon.wait_event("sent", id=name)
    wait_for(lambda: not spool.names())
    assert (slow.copies(), new.copies()) == (1, 1)


def test_put_off_by_the_old_queue(start, kept, place, patient, relay, spool):
    """What the old courier could not send is the new queue's to try."""
    slow, new = patient("dot", fault=Fault("dot", "451")), relay()
    daemon = start(kept(slow, {"queue": {"delivery": "queue"}}))
    name = send_queued(daemon)
    assert slow.waiting.wait(WAIT)
    reload(daemon, place, kept(new))
    slow.release.set()
    daemon.wait_event("deferred", id=name)
    harness.run("-c", place / "smarthost.conf", "queue", "retry", name)
    wait_for(lambda: harness.run("-c", place / "smarthost.conf", "queue",
                                 "retry", name) and not spool.names())
    assert (slow.copies(), new.copies()) == (0, 1)


def test_waiting_client(start, sections, place, patient, relay):
    """A client that waits for the old relay's verdict gets it."""
    slow, new = patient("dot"), relay()
    daemon = start(sections(slow))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        reply = pool.submit(send, daemon)
        assert slow.waiting.wait(WAIT)
        reload(daemon, place, sections(new))
        assert send(daemon).code == 250
        slow.release.set()
        assert reply.result().code == 250
    assert (slow.copies(), new.copies()) == (1, 1)


def test_secrets_of_the_environment(start, sections, place, relay):
    """They are read again though nobody can see them any more."""
    one = relay(mechanisms=("PLAIN",))
    config = sections(one, {"upstream": {"password": None}})
    daemon = start(config, env={"SMARTHOST_UPSTREAM_PASSWORD": one.password})
    assert send(daemon).code == 250
    for _ in range(2):
        reload(daemon, place, config)
        assert send(daemon).code == 250
    with open(f"/proc/{daemon.process.pid}/environ", "rb") as environ:
        assert one.password.encode() not in environ.read()
    assert one.copies() == 3


def test_unreadable_configuration(start, sections, place, relay):
    """The daemon's own user has to read it; that is said at the start."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    daemon = start(sections(relay(), {"smarthost": {"run_as": "nobody"}}))
    assert b"cannot be read by the user" in daemon.log.raw
    reload(daemon, place, sections(relay()), good=False)
    daemon.wait_event("message", text=re.compile("the old configuration "
                                                    "stays: .*be read"))


def test_manager_is_told(start, sections, place, relay):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place / "notify"))
        manager.settimeout(WAIT)
        config = sections(relay())
        daemon = start(config, env={"NOTIFY_SOCKET": place / "notify"})
        assert manager.recv(100) == b"READY=1"
        reload(daemon, place, config)
        assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+",
                            manager.recv(100))
        assert manager.recv(100) == b"READY=1"


def test_under_load(start, kept, place, relay, spool):
    """Reloads while many clients send, and the relay hangs up now and then:
    every message arrives once."""
    relays = [relay(Fault("mail", "421", times=5)) for _ in range(2)]
    configs = [kept(one, {"queue": {"delivery": how},
                          "upstream": {"connections": 4}})
               for one, how in zip(relays, ("queue", "direct"))]
    daemon = start(configs[0])
    over = threading.Event()

    def keep_sending(number):
        sent = 0
        while not over.is_set():
            send_taken(daemon, f"{number}.{sent}",
                       recipients=[f"r{number}.{sent}@example.test"])
            sent += 1
        return {f"r{number}.{at}@example.test" for at in range(sent)}

    with concurrent.futures.ThreadPoolExecutor() as pool:
        senders = [pool.submit(keep_sending, at) for at in range(4)]
        for at in range(10):
            reload(daemon, place, configs[at % 2])
        over.set()
        expected = set().union(*(one.result() for one in senders))
    config = place / "smarthost.conf"

    def gone():
        harness.run("-c", config, "queue", "retry")
        return not spool.names()
    wait_for(gone)
    arrived = sorted(name for one in relays for message in one.messages
                     for name in message.recipients)
    assert arrived == sorted(expected)
    wait_for(lambda: not spool.names("incoming"))
