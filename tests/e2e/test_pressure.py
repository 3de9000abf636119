# SPDX-License-Identifier: ISC
"""What the listener does when there is too much of something (SE-09, SE-12)."""

import contextlib
import select
import shutil
import smtplib
import socket
import subprocess
import threading

import pytest

from harness import WAIT, Conversation, message, run, sendmail, wait_for
from postfix import free_ports
from test_listener import SANITIZED

MESSAGE = b"Subject: t\r\n\r\nx\r\n."


def connect_from(source, daemon):
    """A connection from that address of this machine."""
    return socket.create_connection(daemon.address,
                                    source_address=(source, 0), timeout=60)


def greeting(sock):
    return sock.recv(200)[:3]


def send(daemon, times):
    """The codes of so many MAILs, each with its message if it was taken."""
    codes = []
    with Conversation(daemon.address) as client:
        client.ehlo()
        for _ in range(times):
            codes.append(client.command("MAIL FROM:<a@example.test>").code)
            if codes[-1] == 250:
                client.expect(250, "RCPT TO:<b@example.test>")
                client.expect(354, "DATA")
                client.expect(250, MESSAGE)
    return codes


def test_clients_per_address(start, sections, relay):
    one = relay()
    daemon = start(sections(one, {"listen": {"max_clients_per_address": 3}}))
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connect_from("127.0.0.1", daemon))
                 for _ in range(4)]
        assert [greeting(sock) for sock in socks] == [b"220"] * 3 + [b"421"]
        other = stack.enter_context(connect_from("127.0.0.2", daemon))
        assert greeting(other) == b"220"
        assert sendmail("b@example.test", socket_path=daemon.socket,
                        stdin=message()).status == 0
        socks[0].close()

        def is_let_in():
            with connect_from("127.0.0.1", daemon) as sock:
                return greeting(sock) == b"220"
        wait_for(is_let_in)
    assert one.copies() == 1


def test_busy_is_healthy(start, sections, relay):
    """A probe that gets no place any more finds a daemon that answers."""
    [port] = free_ports(1)
    daemon = start(sections(relay(), {"listen": {
        "socket": "none", "address": f"127.0.0.1:{port}",
        "max_clients_per_address": 1}}))
    with connect_from("127.0.0.1", daemon) as sock:
        assert greeting(sock) == b"220"
        assert run("-c", daemon.config, "health").status == 0


def test_client_rate(start, sections, relay):
    """Messages count, over however many connections; other addresses and
    the socket do not."""
    one = relay()
    daemon = start(sections(one, {"listen": {"client_rate": "9/s, 3/d"}}))
    assert send(daemon, 2) == [250, 250]
    with Conversation(daemon.address) as early:
        assert send(daemon, 2) == [250, 450]
        early.ehlo()
        early.expect(450, "MAIL FROM:<a@example.test>")
        early.expect(250, "NOOP")
    with connect_from("127.0.0.1", daemon) as sock:
        assert greeting(sock) == b"421"
    with connect_from("127.0.0.2", daemon) as sock:
        assert greeting(sock) == b"220"
    assert sendmail("b@example.test", socket_path=daemon.socket,
                    stdin=message()).status == 0
    assert one.copies() == 4


def flood(daemon, served, done):
    """Connects and, whenever there is a place, sends; counts what it gets."""
    while not done.is_set():
        with contextlib.suppress(OSError, AssertionError, AttributeError), \
                Conversation(daemon.address) as client:
            served.append(client.greeting.code)
            if client.greeting.code == 220:
                client.ehlo()
            for _ in range(20 if client.greeting.code == 220 else 0):
                client.envelope()
                served.append(client.expect(250, MESSAGE).code)


def test_flood_from_one_address(start, sections, relay):
    """Another one's message is through before the flood has got much further,
    each time."""
    daemon = start(sections(relay(), {
        "listen": {"max_clients_per_address": 4}}))
    served, waited, done = [], [], threading.Event()
    threads = [threading.Thread(target=flood, args=(daemon, served, done))
               for _ in range(12)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: served.count(421) > 50 and served.count(250) > 50)
        for _ in range(20):
            before = len(served)
            with smtplib.SMTP(*daemon.address, timeout=WAIT,
                              source_address=("127.0.0.2", 0)) as client:
                client.sendmail("a@example.test", ["b@example.test"],
                                message())
            waited.append(len(served) - before)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert max(waited) < 3000, waited


@pytest.mark.skipif(not shutil.which("smtp-source"), reason="needs Postfix")
def test_500_sessions(start, sections, relay):
    """smtp-source of Postfix, which gives up at the first refusal."""
    one = relay()
    daemon = start(sections(one, {"listen": {"max_clients": 600},
                                  "upstream": {"connections": 8}}))
    subprocess.run(["smtp-source", "-s", "500", "-m", "1500", "-l", "2000",
                    "-f", "a@example.test", "-t", "b@example.test",
                    f"127.0.0.1:{daemon.port}"], check=True, timeout=WAIT * 4)
    assert one.copies() == 1500


@pytest.mark.skipif(SANITIZED, reason="measures memory")
def test_a_thousand_idle_clients(start, sections, relay):
    """They fit into 32 MB, and the socket has a place left (SE-12)."""
    one = relay()
    daemon = start(sections(one, {"listen": {"max_clients": 1002}}))
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            client = stack.enter_context(Conversation(daemon.address))
            assert client.greeting.code == 220
            client.ehlo()
        assert daemon.rss() < 32 << 20
        with connect_from("127.0.0.1", daemon) as sock:
            assert greeting(sock) == b"421"
        assert sendmail("b@example.test", socket_path=daemon.socket,
                        stdin=message()).status == 0
    assert one.copies() == 1


def test_a_session_without_a_message_ends(start, sections, relay):
    """Whoever says something each time before he would be thrown out is so
    after all (SE-09)."""
    daemon = start(sections(relay(), {"listen": {"session_timeout": "300ms"}}))
    with Conversation(daemon.address) as client:
        client.ehlo()
        count, reply = 0, client.command("NOOP")
        while reply and reply.code != 421:
            count += 1
            if select.select([client.sock], [], [], 0.1)[0]:
                break
            with contextlib.suppress(ConnectionError):
                reply = client.command("NOOP")
        assert count < 100  # as many NOOPs would do it too
