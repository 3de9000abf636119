# SPDX-License-Identifier: ISC
"""TLS for the listener's clients: STARTTLS and tls_address, real clients, what
must not survive STARTTLS, and certificates that are renewed in their place."""

import email.message
import os
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import threading

import pytest

import harness
from harness import CONFIG
from postfix import free_ports
from test_clients import BODY, TEXT, run
from test_service import handed_over

SUITES = r"TLSv1\.2 ECDHE-(RSA|ECDSA)-(AES|CHACHA)"


@pytest.fixture
def show(start, sections, relay, certs, place):
    """Starts a daemon with a relay behind it that shows that certificate."""
    def begin(certificate="good", listen=None, changes=None):
        one = relay()
        pem = place / "own.pem"
        if not os.path.lexists(pem):
            pem.write_bytes(certs.pem(certificate).read_bytes())
            pem.chmod(0o600)
        daemon = start(sections(one, {"listen": {
            "tls_address": "127.0.0.1:0", "tls_cert": pem,
            **(listen or {})}, **(changes or {})}))
        daemon.relay = one
        return daemon
    return begin


@pytest.fixture
def daemon(show):
    return show()


def trusting(certs, authority="ca"):
    return ssl.create_default_context(cafile=certs.crt(authority))


class Secured(harness.Conversation):
    """A conversation that can begin TLS."""

    def begin_tls(self, context, name="relay.test"):
        assert self.input == b""
        self.sock = context.wrap_socket(self.sock, server_hostname=name)
        return self


def connect_tls(daemon, context):
    return Secured(daemon.addresses[1], greet=False).begin_tls(context)


def start_tls(daemon, context):
    client = Secured(daemon.address)
    assert "STARTTLS" in client.ehlo()
    client.expect(220, "STARTTLS")
    return client.begin_tls(context)


@pytest.fixture(params=[False, True], ids=["starttls", "implicit"])
def secured(request, certs):
    """Opens a conversation under TLS, greeted, without EHLO."""
    def begin(daemon, context=None):
        context = context or trusting(certs)
        if not request.param:
            return start_tls(daemon, context)
        client = connect_tls(daemon, context)
        client.expect(220)
        return client
    begin.implicit = request.param
    return begin


# --- Real clients ---------------------------------------------------------


def swaks(daemon, place, implicit, ca):
    run("swaks", "--server", "127.0.0.1",
        "--port", daemon.addresses[implicit][1],
        "--tls-on-connect" if implicit else "--tls", "--tls-verify",
        "--tls-ca-path", ca, "--from", "a@example.test",
        "--to", "b@example.test", "--data", "-", stdin=TEXT.format("swaks"))


def curl(daemon, place, implicit, ca):
    path = place / "mail.txt"
    path.write_bytes(TEXT.format("curl").encode())
    scheme = "smtps" if implicit else "smtp"
    run("curl", "--silent", "--show-error", "--crlf", "--ssl-reqd",
        "--cacert", ca, f"{scheme}://localhost:"
        f"{daemon.addresses[implicit][1]}/client.test", "--ipv4",
        "--mail-from", "a@example.test", "--mail-rcpt", "b@example.test",
        "--upload-file", path)


def msmtp(daemon, place, implicit, ca):
    run("msmtp", "--file=/dev/null", "--host=localhost", "--tls=on",
        f"--port={daemon.addresses[implicit][1]}", "--auth=off",
        f"--tls-starttls={'off' if implicit else 'on'}",
        f"--tls-trust-file={ca}", "--from=a@example.test", "b@example.test",
        stdin=TEXT.format("msmtp"))


def python(daemon, place, implicit, ca):
    message = email.message.EmailMessage()
    message["From"], message["Subject"] = "a@example.test", "from python"
    message["To"] = "b@example.test"
    message.set_content("hello\n.\n.x\nend\n")
    context = ssl.create_default_context(cafile=ca)
    port = daemon.addresses[implicit][1]
    if implicit:
        client = smtplib.SMTP_SSL("localhost", port, context=context)
    else:
        client = smtplib.SMTP("localhost", port)
        client.starttls(context=context)
    with client:
        assert client.send_message(message) == {}


@pytest.mark.parametrize("client", [swaks, curl, msmtp, python],
                         ids=lambda c: c.__name__)
@pytest.mark.parametrize("certificate", ["good", "ecdsa", "chain"])
@pytest.mark.parametrize("implicit", [False, True],
                         ids=["starttls", "implicit"])
def test_client(client, certificate, implicit, show, place, certs):
    daemon = show(certificate)
    client(daemon, place, implicit, certs.ca)
    [taken] = daemon.relay.messages
    assert taken.text.rstrip() == BODY.rstrip()
    assert re.search(rb"\r\n\tby \S+ with ESMTPS id ", taken.header)
    accepted = daemon.wait_event("accepted")
    assert re.match(SUITES, accepted["tls"])


def s_client(daemon, *options, stdin="QUIT\n", status=None):
    return run("openssl", "s_client", "-connect",
               "%s:%d" % daemon.addresses[1], *options, stdin=stdin,
               status=status)


@pytest.mark.parametrize("options, good", [
    (("-tls1_2",), True),
    (("-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"), True),
    (("-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"), True),
    (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), False),
    (("-tls1", "-cipher", "ALL:@SECLEVEL=0"), False),
    (("-tls1_3",), False),
    (("-tls1_2", "-cipher", "AES128-SHA256:AES128-GCM-SHA256"), False),
    (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"), False),
    (("-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"), False)])
def test_versions_and_suites(options, good, daemon):
    """TLS 1.2 with forward secrecy and no SHA-1, or nothing; one line."""
    status, text = s_client(daemon, *options, "-ign_eof")
    assert ("Secure Renegotiation IS supported" in text and
            "ESMTP" in text) == good, text
    assert (status == 0) == good
    if not good:
        assert "no TLS: " in daemon.wait_event("message")["text"]
        assert len(daemon.events("message")) == 1


def test_our_order_of_suites(daemon):
    """The client's wish for something older is not ours."""
    _, text = s_client(daemon, "-tls1_2", "-ign_eof", "-cipher", "ECDHE-RSA-AES256-SHA384:"
                       "ECDHE-RSA-AES128-GCM-SHA256")
    assert "Cipher    : ECDHE-RSA-AES128-GCM-SHA256" in text


def test_no_renegotiation(daemon):
    """Refused, by an alert on which openssl gives up."""
    with subprocess.Popen(
            ["openssl", "s_client", "-tls1_2", "-connect",
             "%s:%d" % daemon.addresses[1]], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        watch = threading.Timer(harness.WAIT, process.kill)
        watch.start()
        process.stdin.write(b"R\n")
        process.stdin.flush()
        text = process.stdout.read().decode(errors="replace")
        watch.cancel()
    assert "RENEGOTIATING" in text
    assert "no renegotiation" in text, text
    with daemon.connect() as client:
        client.ehlo()


# --- What survives --------------------------------------------------------


@pytest.mark.parametrize("behind", [
    b"NOOP\r\n", b"MAIL FROM:<i@x.test>\r\n", b"x",
    b"EHLO evil.test\r\nMAIL FROM:<i@x.test>\r\nRCPT TO:<j@x.test>\r\n"])
def test_bytes_behind_starttls(behind, daemon):
    """In the same segment: never an answer, never inside TLS (TL-01)."""
    with daemon.connect() as client:
        client.ehlo()
        client.send(b"STARTTLS\r\n" + behind)
        replies = client.rest()
        assert [reply.code for reply in replies] == [554]


def test_plain_text_instead_of_the_handshake(daemon):
    """What comes behind the 220 in the clear is no command either."""
    with daemon.connect() as client:
        client.ehlo()
        client.expect(220, "STARTTLS")
        client.send(b"MAIL FROM:<i@x.test>\r\n")
        assert client.line() == b"" or client.input[:1] == b"\x15"
    line = daemon.wait_event("message")["text"]
    assert 'plain text where TLS was expected ("MAIL FROM' in line


def test_nothing_survives(daemon, certs):
    """TL-02, TL-04: neither the name nor the transaction."""
    client = Secured(daemon.address)
    client.ehlo()
    client.expect(250, "MAIL FROM:<i@x.test>")
    client.expect(250, "RCPT TO:<j@x.test>")
    client.expect(220, "STARTTLS")
    client.begin_tls(trusting(certs))
    client.expect(503, "RCPT TO:<k@x.test>")
    client.expect(503, "DATA")
    assert "EHLO" in client.expect(503, "MAIL FROM:<i@x.test>").text
    assert "STARTTLS" not in client.ehlo()
    client.envelope()
    client.send("Subject: x\r\n\r\nx\r\n.\r\n")
    client.expect(250)
    client.close()
    [taken] = daemon.relay.messages
    assert taken.sender == "a@example.test"
    assert taken.recipients == ["b@example.test"]


def test_starttls_out_of_place(daemon, secured):
    with daemon.connect() as client:
        client.ehlo()
        client.expect(501, "STARTTLS now")
        client.expect(250, "NOOP")
    client = secured(daemon)
    assert "STARTTLS" not in client.ehlo()
    client.expect(503, "STARTTLS")
    client.expect(250, "NOOP")
    client.close()


def test_not_offered(daemon, start, sections, relay):
    """On the unix socket, and where there is no certificate."""
    with daemon.connect(daemon.socket) as client:
        assert "STARTTLS" not in client.ehlo()
        client.expect(502, "STARTTLS")
    daemon.stop()
    other = start(sections(relay()))
    with other.connect() as client:
        assert "STARTTLS" not in client.ehlo()
        client.expect(502, "STARTTLS")


def test_large_message(show, secured):
    """Larger than every buffer, both ways, and a pipelined envelope."""
    daemon = show()
    body = b"".join(b"%07d %s\r\n" % (i, b"x" * 60) for i in range(30000))
    client = secured(daemon)
    client.ehlo()
    recipients = b"".join(b"RCPT TO:<r%d@example.test>\r\n" % i
                          for i in range(90))
    client.send(b"MAIL FROM:<a@example.test>\r\n" + recipients + b"DATA\r\n")
    for code in [250] * 91 + [354]:
        client.expect(code)
    client.send(b"Subject: x\r\n\r\n" + body + b".\r\n")
    client.expect(250)
    client.expect(221, "QUIT")
    client.close()
    assert daemon.relay.messages[0].text == body


# --- Trouble --------------------------------------------------------------


def test_handshake_that_never_comes(show):
    """Ended by its deadline, with one line; half of one too."""
    daemon = show(listen={"session_timeout": "1s"})
    hello = bytes.fromhex("16030100a0010000")
    for begin in (b"", hello):
        with socket.create_connection(daemon.addresses[1]) as sock:
            sock.settimeout(harness.WAIT)
            sock.sendall(begin)
            assert sock.recv(1000) == b""
    daemon.log.wait("message", count=2)
    for event in daemon.events("message"):
        assert "no TLS: timed out" in event["text"]


def test_port_that_is_looked_at(daemon, certs):
    """Connected and closed: no line."""
    for _ in range(3):
        socket.create_connection(daemon.addresses[1]).close()
    connect_tls(daemon, trusting(certs)).close()
    daemon.stop()
    assert not daemon.events("message")


def test_client_that_does_not_trust_us(daemon, certs):
    with pytest.raises(ssl.SSLError):
        connect_tls(daemon, trusting(certs, "stranger"))
    line = daemon.wait_event("message")["text"]
    assert re.search("the client refused TLS with alert 48, unknown_ca$",
                     line), line


@pytest.mark.parametrize("record", [
    b"\x17\x03\x03\x00\x20" + bytes(32), b"\x16\x03\x03\x00\x04\x01\x00\x00\x00",
    b"\x17\x03\x03\xff\xff" + bytes(100), b"NOOP\r\n", b"\x15\x03\x03\x00\x02"
    b"\x02\x28"])
def test_bad_records(record, daemon, secured):
    """Never an answer to them, and the next client is served."""
    client = secured(daemon)
    client.ehlo()
    raw = socket.socket(fileno=os.dup(client.sock.fileno()))
    raw.sendall(record)
    raw.settimeout(harness.WAIT)
    seen = b""
    while True:
        data = raw.recv(65536)
        if not data:
            break
        seen += data
    raw.close()
    client.sock.close()
    assert len(seen) < 100  # an alert at most
    with daemon.connect() as client:
        client.ehlo()


def test_client_that_vanishes(daemon, secured):
    """In the middle of a message: nothing is left of it."""
    client = secured(daemon)
    client.ehlo()
    client.envelope()
    client.send(b"Subject: x\r\n\r\nhalf")
    client.reset()
    daemon.stop()
    assert daemon.relay.copies() == 0


def test_stop(daemon, secured):
    """The goodbye is under TLS too."""
    client = secured(daemon)
    client.ehlo()
    daemon.signal(signal.SIGTERM)
    assert client.expect(421).text.startswith("4.3.2")
    assert client.line() == b""
    client.close()


@pytest.mark.skipif(harness.SANITIZED, reason="takes what memory it wants")
def test_idle_connections_are_small(show, certs):
    """64 MB for a thousand of them, with what else there is."""
    daemon = show("ecdsa", {"max_clients": 400})
    context = trusting(certs)
    before = daemon.rss()
    clients = []
    for _ in range(100):
        clients.append(connect_tls(daemon, context))
        clients[-1].expect(220)
        clients[-1].ehlo()
    each = (daemon.rss() - before) / len(clients)
    for client in clients:
        client.close()
    assert each < 60 * 1024


def test_health(show, certs, place):
    """Where nothing but TLS is left; also when the certificate's file cannot
    be read any more."""
    [port] = free_ports(1)
    daemon = show(listen={"socket": "none", "address": "none",
                          "tls_address": f"127.0.0.1:{port}"})
    ask = ("-c", daemon.config, "health")
    assert harness.run(*ask).status == 0
    assert not daemon.events("message")
    (place / "own.pem").write_bytes(b"")
    assert harness.run(*ask).status == 0
    assert daemon.stop() == 0
    assert harness.run(*ask).status == 1


# --- Configuration --------------------------------------------------------


@pytest.mark.parametrize("keys, why", [
    ({"tls_address": "127.0.0.1:0"}, "tls_address: .*write tls_cert"),
    ({"tls_key": "/x"}, "tls_key.*without tls_cert"),
    ({"tls_cert": "x"}, "neither a path"),
    ({"tls_cert": "/nonexistent"}, "cannot read the certificate /nonexist"),
    ({"tls_cert": "{expired}", "tls_key": "{ec}"}, "is not that of the first"),
    ({"tls_cert": "{expired}"}, "private key in .* is not there"),
    ({"tls_cert": "{ed25519}"}, "Ed25519"),
    ({"tls_address": "0.0.0.0:0", "tls_cert": "{expired}"},
     "tls_address.*write allow")])
@pytest.mark.parametrize("command", ["check", "run"])
def test_useless_settings(keys, why, command, place, certs):
    names = {"expired": certs.crt("expired"), "ec": certs.key("ecdsa"),
             "ed25519": certs.crt("ed25519")}
    listen = {key: value.format(**names) for key, value in keys.items()}
    config = harness.write_config(place / "conf", {
        "upstream": {"provider": "capture", "directory": place},
        "listen": {"socket": place / "socket", "address": "127.0.0.1:0",
                   **listen},
        "queue": {"directory": "none"}})
    words = ["check", "--config"] if command == "check" else ["run"]
    result = harness.run("-c", config, *words)
    assert result.status == CONFIG, result.text
    assert re.search(why, result.text), result.text


def test_sendmail_needs_no_key(place, certs):
    """Who sends may not be able to read the daemon's."""
    config = harness.write_config(place / "conf", {
        "upstream": {"provider": "capture", "directory": place},
        "listen": {"tls_cert": place / "nowhere", "address": "127.0.0.1:0"},
        "queue": {"directory": "none"}})
    result = harness.sendmail("b@example.test", config=config,
                              stdin=harness.message())
    assert result.status == 0, result.text


def test_socket_of_the_service_manager(start, sections, relay, certs, place):
    """One that is at a tls_address begins with TLS."""
    pem = place / "own.pem"
    pem.write_bytes(certs.pem("good").read_bytes())
    pem.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as first, \
            socket.create_server(("127.0.0.1", 0)) as plain, \
            handed_over(plain, first) as how:
        names = ["127.0.0.1:%d" % each.getsockname()[1]
                 for each in (first, plain)]
        daemon = start(sections(relay(), {"listen": {
            "tls_address": names[0], "address": names[1],
            "tls_cert": pem}}), **how)
    assert len(daemon.addresses) == 2
    start_tls(daemon, trusting(certs)).close()
    client = connect_tls(daemon, trusting(certs))
    client.expect(220)
    client.close()


# --- Renewal --------------------------------------------------------------


def shown(daemon):
    """The certificate that the daemon shows now."""
    pem = ssl.get_server_certificate(daemon.addresses[1])
    return pem.split()


def is_shown(daemon, certs, name):
    return shown(daemon) == certs.crt(name).read_text().split()


def swap(place, name, target):
    """As certbot and Kubernetes do: a new link, renamed over the old one."""
    link = place / "new-link"
    link.symlink_to(target)
    link.rename(place / name)


def store(place, certs, name, version, key_of=None):
    directory = place / version
    directory.mkdir()
    (directory / "tls.crt").write_bytes(certs.crt(name).read_bytes())
    (directory / "tls.key").write_bytes(certs.key(key_of or name)
                                        .read_bytes())
    (directory / "tls.key").chmod(0o600)


def test_renewed_by_kubernetes(show, certs, place):
    """The directory behind a link changes; connections stay."""
    store(place, certs, "good", "..1")
    swap(place, "..data", "..1")
    for name in ("tls.crt", "tls.key"):
        (place / name).symlink_to("..data/" + name)
    daemon = show(listen={"tls_cert": place / "tls.crt",
                          "tls_key": place / "tls.key"})
    old = connect_tls(daemon, trusting(certs))
    old.expect(220)
    assert is_shown(daemon, certs, "good")
    store(place, certs, "ecdsa", "..2")
    swap(place, "..data", "..2")
    harness.wait_for(lambda: is_shown(daemon, certs, "ecdsa"))
    old.ehlo()
    old.close()
    assert re.search("certificate in .*tls.crt is new",
                     daemon.wait_event("message")["text"])


def test_renewed_by_certbot(show, certs, place):
    """Two links, one after the other, by which no client is harmed."""
    store(place, certs, "good", "archive1")
    store(place, certs, "ecdsa", "archive2")
    for name in ("tls.crt", "tls.key"):
        (place / name).symlink_to("archive1/" + name)
    daemon = show(listen={"tls_cert": place / "tls.crt",
                          "tls_key": place / "tls.key"})
    assert is_shown(daemon, certs, "good")
    swap(place, "tls.crt", "archive2/tls.crt")
    harness.wait_for(lambda: is_shown(daemon, certs, "good") and
                     daemon.events("message"))
    swap(place, "tls.key", "archive2/tls.key")
    harness.wait_for(lambda: is_shown(daemon, certs, "ecdsa"))


def test_reload(show, certs, place):
    """SIGHUP takes another file; one that cannot be used changes nothing."""
    daemon = show()
    text = daemon.config.read_text()
    for name, good in (("ecdsa.pem", True), ("nowhere.pem", False)):
        if good:
            (place / name).write_bytes(certs.pem("ecdsa").read_bytes())
        daemon.config.write_text(text.replace("own.pem", name))
        daemon.signal(signal.SIGHUP)
        if good:
            daemon.wait_event("reloaded")
        else:
            line = daemon.wait_event("message", level="error")["text"]
            assert re.search("old configuration stays.*nowhere.pem", line)
        assert is_shown(daemon, certs, "ecdsa")


def test_too_many_clients(show, certs):
    """Whoever begins with TLS is closed without a word in the clear."""
    daemon = show(listen={"max_clients": 3})
    first = connect_tls(daemon, trusting(certs))
    first.expect(220)
    with socket.create_connection(daemon.addresses[1]) as sock:
        sock.settimeout(harness.WAIT)
        assert sock.recv(100) == b""
    with daemon.connect() as client:
        assert client.greeting.code == 421
    first.close()


@pytest.mark.parametrize("fault", ["gone", "empty", "other key"])
def test_broken_renewal(fault, show, certs, place):
    """The old one stays, with one line, and the next good one is taken."""
    daemon = show()
    pem = place / "own.pem"
    if fault == "gone":
        pem.unlink()
    elif fault == "empty":
        pem.write_bytes(b"")
    else:
        pem.write_bytes(certs.crt("good").read_bytes() +
                        certs.key("ecdsa").read_bytes())
    harness.wait_for(lambda: is_shown(daemon, certs, "good") and
                     daemon.events("message"))
    line = daemon.events("message")[0]
    assert line["level"] == "error"
    assert str(pem) in line["text"]
    assert "the one from before" in line["text"]
    new = place / "new.pem"
    new.write_bytes(certs.pem("ecdsa").read_bytes())
    new.rename(pem)
    harness.wait_for(lambda: is_shown(daemon, certs, "ecdsa"))
    assert len(daemon.events("message")) == 2
