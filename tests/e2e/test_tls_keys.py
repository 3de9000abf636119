# SPDX-License-Identifier: ISC
"""The keys tls_fingerprint, tls_cert and tls_key of an upstream, and the TLS
session that the next connection resumes."""

import re
import ssl
import subprocess

import pytest

import harness
from badrelay import server_context
from harness import CONFIG, TEMPORARY, message, sendmail
from test_tls import implicit, send  # pylint: disable=unused-import


@pytest.fixture
def check(place):
    """The exit status and text of check --config for one upstream."""
    def run(**upstream):
        config = harness.write_config(place / "conf", {"upstream": {
            "host": "localhost", **upstream}})
        return harness.run("-c", config, "check", "--config")
    return run


@pytest.fixture
def own_file(place):
    """Writes a file that only its owner can read."""
    def write(name, *parts):
        path = place / name
        path.write_bytes(b"".join(part if isinstance(part, bytes)
                                  else part.read_bytes() for part in parts))
        path.chmod(0o600)
        return path
    return write


# A pin takes the place of issuer, name and dates.
@pytest.mark.parametrize("certificate", [
    "self-signed", "good", "unknown", "expired", "wrong-name", "cn-only",
    "ecdsa", "no-intermediate"])
def test_pinned(certificate, implicit, relay, certs, sections, send):
    one = relay(tls=server_context(certs.pem(certificate)),
                implicit=implicit, mechanisms=("PLAIN",))
    pin = certs.fingerprint(certificate)
    if implicit:
        pin = pin.replace(":", "").lower()
    result = send(sections(one, {"upstream": {
        "tls_fingerprint": pin, "tls_ca_file": None, "tls_name": None}}),
        env={"SSL_CERT_FILE": "/nonexistent"})
    assert result.status == 0, result.text
    assert one.copies() == 1


@pytest.mark.parametrize("certificate", ["good", "self-signed", "chain"])
def test_other_than_pinned(certificate, relay, certs, sections, send):
    """Neither a trusted issuer nor a pinned one lets another one pass."""
    one = relay(tls=server_context(certs.pem(certificate)),
                mechanisms=("PLAIN",))
    pin = certs.fingerprint("inter" if certificate == "chain" else "ecdsa")
    result = send(sections(one, {"upstream": {
        "tls_fingerprint": pin, "tls_ca_file": None}}))
    one.wait_ended()
    assert result.status == TEMPORARY
    told = re.search(r"SHA-256 is ([0-9a-f]{64});.*tls_fingerprint",
                     result.text)
    assert told, result.text
    assert told[1] == certs.fingerprint(certificate).replace(":", "").lower()
    assert one.copies() == 0
    assert one.sessions[0].login is None


@pytest.mark.parametrize("certificate", ["ed25519", "rsa1024"])
def test_pinned_key_that_cannot_be_used(certificate, relay, certs, sections,
                                        send):
    one = relay(tls=server_context(certs.pem(certificate)))
    result = send(sections(one, {"upstream": {
        "tls_fingerprint": certs.fingerprint(certificate),
        "tls_ca_file": None}}))
    assert result.status == TEMPORARY
    assert one.copies() == 0


def asking(certs, verify=ssl.CERT_REQUIRED, ca="ca"):
    context = server_context(certs.pem("good"))
    context.load_verify_locations(certs.crt(ca))
    context.verify_mode = verify
    return context


@pytest.mark.parametrize("certificate", ["wrong-name", "ecdsa", "chain",
                                         "ecdsa-chain"])
@pytest.mark.parametrize("together", [False, True])
def test_client_certificate(certificate, together, implicit, relay, certs,
                            sections, send, own_file):
    one = relay(tls=asking(certs), implicit=implicit)
    pem = own_file("own.pem", certs.pem(certificate))
    keys = {"tls_cert": pem}
    if not together:
        keys["tls_key"] = own_file("own.key", certs.key(certificate))
    result = send(sections(one, {"upstream": keys}))
    assert result.status == 0, result.text
    assert one.copies() == 1
    shown = ssl.DER_cert_to_PEM_cert(one.sessions[0].client_certificate)
    assert shown.split() == certs.crt(certificate).read_text().split()


@pytest.mark.parametrize("certificate, ca", [(None, "ca"),
                                             ("good", "stranger")])
def test_client_certificate_refused(certificate, ca, relay, certs, sections,
                                    send, own_file):
    """None where one is needed, and one that the relay does not trust."""
    one = relay(tls=asking(certs, ca=ca))
    keys = {}
    if certificate:
        keys["tls_cert"] = own_file("own.pem", certs.pem(certificate))
    result = send(sections(one, {"upstream": keys}))
    one.wait_ended()
    assert result.status == TEMPORARY
    assert "tls_cert" in result.text
    assert one.copies() == 0


def test_client_certificate_is_not_needed(relay, certs, sections, send,
                                          own_file):
    """Asked for and not there; there and not asked for."""
    one = relay(tls=asking(certs, ssl.CERT_OPTIONAL))
    assert send(sections(one)).status == 0
    other = relay(tls=server_context(certs.pem("good")))
    result = send(sections(other, {"upstream": {
        "tls_cert": own_file("own.pem", certs.pem("good"))}}))
    assert result.status == 0, result.text


def openssl(*words):
    return subprocess.run(["openssl", *map(str, words)], check=True,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


PAIRS = {
    # what the files hold, and what the sentence has to say
    "missing": (None, None, "cannot read the certificate .*No such file"),
    "empty": (b"", None, "is empty; it must hold certificates in PEM"),
    "DER": ("der", None, "is binary .DER.*openssl x509 -inform der"),
    "broken": (b"-----BEGIN CERTIFICATE-----\nAAAA\n"
               b"-----END CERTIFICATE-----\n", None, "is broken"),
    "not base64": (b"-----BEGIN CERTIFICATE-----\nAA?A\n"
                   b"-----END CERTIFICATE-----\n", None, "broken certificate"),
    "order": ("order", None, "certificate . in .*order"),
    "weak": ("rsa1024", None, "RSA of 1024 bits.*issued anew"),
    "ed25519": ("ed25519", None, "Ed25519.*issued anew"),
    "no key": ("good", b"", "private key in .* is not there"),
    "key missing": ("good", None, "cannot read the key .*No such file"),
    "other key": ("good", "ecdsa", "not that of the first certificate"),
    "other key of its kind": ("ecdsa", "inter2", "not that of the first"),
    "other curve": ("ecdsa", "p384", "not that of the first"),
    "encrypted": ("good", "encrypted", "passphrase.*openssl pkey"),
    "encrypted, old": ("good", "traditional", "passphrase.*openssl pkey"),
    "broken key": ("good", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"
                   b"-----END PRIVATE KEY-----\n", "neither an RSA nor an EC"),
    "certificate twice": ("good", "certificate", "is not there"),
}


def pair_content(certs, what):
    if isinstance(what, bytes):
        return what
    if what == "der":
        return openssl("x509", "-in", certs.crt("good"), "-outform", "der")
    if what == "order":
        return (certs.crt("chain").read_bytes() +
                certs.crt("ca").read_bytes() + certs.crt("inter").read_bytes())
    if what == "encrypted":
        return openssl("pkey", "-in", certs.key("good"), "-aes256",
                       "-passout", "pass:x")
    if what == "traditional":
        return openssl("rsa", "-traditional", "-in", certs.key("good"),
                       "-aes128", "-passout", "pass:x")
    if what == "certificate":
        return certs.crt("good").read_bytes()
    return None


@pytest.mark.parametrize("case", PAIRS)
def test_useless_pair(case, check, certs, own_file, place):
    """Named when the configuration is checked, and when the daemon starts."""
    cert, key, why = PAIRS[case]
    names = {"tls_cert": place / "own.pem", "tls_key": place / "own.key"}
    for name, what in (("own.pem", cert), ("own.key", key)):
        if what is None:
            continue
        content = pair_content(certs, what)
        if content is None:
            content = (certs.crt if name == "own.pem"
                       else certs.key)(what).read_bytes()
        own_file(name, content)
    result = check(**names)
    assert result.status == CONFIG, result.text
    assert re.search(why, result.text), result.text
    assert str(place) in result.text


@pytest.mark.parametrize("form", ["pkcs8", "traditional"])
@pytest.mark.parametrize("kind", ["good", "ecdsa"])
def test_forms_of_keys(form, kind, check, certs, own_file):
    options = ["-traditional"] if form == "traditional" else []
    key = openssl("pkey", "-in", certs.key(kind), *options)
    if form == "traditional" and kind == "ecdsa":
        key = openssl("ecparam", "-name", "prime256v1") + key
    result = check(tls_cert=certs.crt(kind), tls_key=own_file("key", key))
    assert result.status == 0, result.text
    assert b"warning" not in result.stdout


def test_key_that_others_can_read(check, certs, own_file):
    key = own_file("key", certs.key("good"))
    key.chmod(0o644)
    result = check(tls_cert=certs.crt("good"), tls_key=key)
    assert result.status == 0
    assert re.search(f"warning: .*tls_key.*others.*chmod 0600 {key}",
                     result.stdout.decode()), result.stdout


def test_key_of_the_service_manager(place, certs):
    """credential:NAME, as for passwords."""
    for name, path in (("cert", certs.crt("good")),
                       ("key", certs.key("good"))):
        (place / name).write_bytes(path.read_bytes())
    config = harness.write_config(place / "conf", {"upstream": {
        "host": "localhost", "tls_cert": "credential:cert",
        "tls_key": "credential:key"}})
    result = harness.run("-c", config, "check", "--config",
                         env={"CREDENTIALS_DIRECTORY": str(place)})
    assert result.status == 0, result.text


def resumed(one):
    one.wait_ended()
    return [session.resumed for session in one.sessions]


def test_resumption(implicit, relay, certs, sections, start):
    """The next connection costs neither side a key exchange."""
    one = relay(tls=server_context(certs.pem("good")), implicit=implicit)
    daemon = start(sections(one, {"upstream": {
        "messages_per_connection": 1, "connections": 1}}))
    for _ in range(3):
        assert send_through(daemon) == 0
    daemon.stop()
    assert one.copies() == 3
    assert resumed(one) == [False, True, True]


def send_through(daemon):
    return sendmail("b@example.test", socket_path=daemon.socket,
                    stdin=message()).status


def test_relay_that_has_forgotten_the_session(relay, certs, sections, start):
    """Another process behind the same address: a full handshake, no fault;
    and its certificate is judged."""
    first = relay(tls=server_context(certs.pem("good")))
    daemon = start(sections(first, {"upstream": {
        "messages_per_connection": 1, "connections": 1}}))
    assert send_through(daemon) == 0
    first.wait_ended()
    first.close()
    address = ("127.0.0.1", first.port)
    second = relay(tls=server_context(certs.pem("good")), address=address)
    assert send_through(daemon) == 0
    second.wait_ended()
    second.close()
    third = relay(tls=server_context(certs.pem("wrong-name")),
                  address=address)
    assert send_through(daemon) == TEMPORARY
    daemon.stop()
    assert resumed(second) == [False]
    assert third.copies() == 0
