# SPDX-License-Identifier: ISC
"""Whom smarthost trusts: certificates, names, and what an attacker between
it and the relay may try."""

import re
import ssl
import subprocess

import pytest

import harness
from badrelay import Fault, server_context
from harness import CONFIG, TEMPORARY, message, sendmail
from test_matrix import nothing_in_clear

GOOD = [
    # certificate, name to verify
    ("good", "relay.test"), ("good", "localhost"), ("good", "RELAY.test"),
    ("good", "relay.test."), ("ecdsa", "relay.test"),
    ("wildcard", "a.relay.test"), ("wildcard", "A.Relay.TEST"),
    ("chain", "relay.test"), ("long-chain", "relay.test"),
    ("with-root", "relay.test"), ("extra-chain", "relay.test"),
    ("p384", "relay.test"), ("p521", "relay.test"),
    ("ecdsa-chain", "relay.test"), ("crossed", "relay.test"),
]

BAD = [
    # certificate, name to verify, what the sentence has to say
    ("unknown", "relay.test", "issue|trust|Unknown authority"),
    ("self-signed", "relay.test", "issue|trust|self"),
    ("expired", "relay.test", "expired"),
    ("future", "relay.test", "not (yet )?valid|valid only from"),
    ("wrong-name", "relay.test", r"other\.test"),
    ("good", "other.test", r"relay\.test"),
    ("cn-only", "relay.test", "subjectAltName"),
    ("cn-other-san", "relay.test", r"other\.test"),
    ("nul-san", "relay.test", "name"),
    ("sha1", "relay.test", "SHA-?1.*issued anew"),
    ("rsa-pss", "relay.test", "RSA-PSS.*issued anew"),
    ("rsa1024", "relay.test", "1024.*issued anew"),
    ("wildcard", "relay.test", "name"),
    ("wildcard", "a.b.relay.test", "name"),
    ("no-intermediate", "relay.test", "incomplete chain.*mend"),
    ("half-chain", "relay.test", "incomplete chain.*mend"),
    ("wrong-order", "relay.test", "wrong order.*mend"),
    ("old-issuer", "relay.test", "Test old.*expired.*renewed"),
    ("crl-issuer", "relay.test", "may not sign.*mended"),
    ("named-issuer", "relay.test", "name constraints.*mended"),
    ("leaf-issuer", "relay.test", "no CA.*mended"),
    ("ed25519", "relay.test", "Ed25519"),
    ("ip", "relay.test", r"is for 127\.0\.0\.1, ::1, not.*tls_name"),
]


@pytest.fixture(params=[False, True], ids=["starttls", "implicit"])
def implicit(request):
    return request.param


@pytest.fixture
def send(place):
    def run(sections, **more):
        config = harness.write_config(place / "conf", sections)
        return sendmail("b@example.test", config=config, stdin=message(),
                        **more)
    return run


@pytest.mark.parametrize("certificate, name", GOOD)
def test_good(certificate, name, implicit, relay, certs, sections, send):
    one = relay(tls=server_context(certs.pem(certificate)),
                implicit=implicit, mechanisms=("PLAIN",))
    result = send(sections(one, {"upstream": {"tls_name": name}}))
    assert result.status == 0, result.text
    assert one.copies() == 1
    assert one.sessions[0].sni == name.rstrip(".")
    nothing_in_clear(one.sessions[0])


@pytest.mark.parametrize("certificate, name, why", BAD)
def test_bad(certificate, name, why, implicit, relay, certs, sections, send):
    one = relay(tls=server_context(certs.pem(certificate)),
                implicit=implicit, mechanisms=("PLAIN",))
    result = send(sections(one, {"upstream": {"tls_name": name}}))
    one.wait_ended()
    assert result.status == TEMPORARY, result.text
    assert re.search(why, result.text, re.I), result.text
    assert one.copies() == 0
    for session in one.sessions:
        assert session.login is None
        nothing_in_clear(session)


def test_bad_through_the_daemon(relay, certs, sections, start):
    """The client hears 451; the log says why and what to do."""
    one = relay(tls=server_context(certs.pem("expired")))
    daemon = start(sections(one))
    with daemon.connect() as client:
        client.ehlo()
        client.envelope()
        client.send("x\r\n.\r\n")
        client.expect(451)
    assert "expired" in str(daemon.wait_event("upstream_down"))


def test_host_name_is_verified_by_default(relay, tls, sections, send):
    one = relay(tls=tls)
    result = send(sections(one, {"upstream": {
        "host": "localhost", "tls_name": None}}))
    assert result.status == 0, result.text
    assert one.sessions[0].sni == "localhost"


def test_address_without_a_name(relay, tls, sections, send):
    """The certificate has to be for the address, and not for "any name"."""
    one = relay(tls=tls)
    result = send(sections(one, {"upstream": {"tls_name": None}}))
    assert result.status == TEMPORARY
    assert re.search(r"not for the address 127\.0\.0\.1; .*tls_name",
                     result.text), result.text
    assert one.copies() == 0


def test_address_in_the_certificate(implicit, relay, certs, sections, send):
    """Among the iPAddresses, which BearSSL does not know; and no SNI."""
    one = relay(tls=server_context(certs.pem("ip")), implicit=implicit)
    result = send(sections(one, {"upstream": {"tls_name": None}}))
    assert result.status == 0, result.text
    assert one.copies() == 1
    assert one.sessions[0].sni is None


@pytest.mark.parametrize("certificate, anchor", [
    ("by-rsa4096", "ca4096"), ("crossed", "new"), ("crossed", "ca"),
    ("crossed", "new-crossed"), ("chain", "inter"), ("good", "good"),
    ("self-signed", "self-signed")])
def test_anchors(certificate, anchor, relay, certs, sections, send):
    """An RSA root of 4096 bits; either root of a crossed chain; an anchor in
    the middle; the certificate itself."""
    one = relay(tls=server_context(certs.pem(certificate)))
    result = send(sections(one, {"upstream": {
        "tls_ca_file": certs.crt(anchor)}}))
    assert result.status == 0, result.text
    assert one.copies() == 1


def bundle(count, *others):
    """A bundle of that many CAs that have nothing to do with anything, with
    junk, broken and useless ones in between, and the others in the middle."""
    made = subprocess.run(
        ["sh", "-c", "openssl genpkey -algorithm EC -pkeyopt "
         "ec_paramgen_curve:P-256 -out /dev/stdout"], check=True,
        stdout=subprocess.PIPE).stdout
    blocks = []
    for number in range(8):
        blocks.append(subprocess.run(
            ["openssl", "req", "-x509", "-key", "/dev/stdin", "-subj",
             f"/CN=Authority {number}"], input=made, check=True,
            stdout=subprocess.PIPE).stdout)
    blocks = [blocks[i % 8] for i in range(count)]
    broken = blocks[0][:200] + b"\n-----END CERTIFICATE-----\n"
    blocks[count // 4:count // 4] = [
        b"Some name\n=========\n\x00\xff\n", broken, made,
        blocks[1][:300], b"\n"]
    for other in others:
        blocks.insert(count // 2, other.read_bytes())
    return b"".join(blocks)


def test_bundle_of_200(relay, certs, sections, send, place):
    """What can be used is used, what cannot is counted (TL-37)."""
    path = place / "bundle"
    path.write_bytes(bundle(200, certs.crt("ed25519"), certs.ca,
                            certs.crt("rsa1024")))
    one = relay(tls=server_context(certs.pem("chain")))
    config = sections(one, {"upstream": {"tls_ca_file": path}})
    result = send(config, env={"SSL_CERT_FILE": certs.stranger})
    assert result.status == 0, result.text
    result = harness.run("-c", place / "conf", "check", "--config",
                         env={"SSL_CERT_FILE": certs.stranger})
    assert result.status == 0
    assert f"{path}: 4 certificates".encode() in result.stdout, result.stdout
    other = relay(tls=server_context(certs.pem("self-signed")))
    result = send(sections(other, {"upstream": {"tls_ca_file": path}}),
                  env={"SSL_CERT_FILE": certs.stranger})
    assert result.status == TEMPORARY
    assert "among the 202 trusted anchors" in result.text, result.text


def test_der(relay, tls, certs, sections, send, place):
    """Said so, and not passed over."""
    path = place / "ca.der"
    subprocess.run(["openssl", "x509", "-in", certs.ca, "-outform", "der",
                    "-out", path], check=True)
    one = relay(tls=tls)
    result = send(sections(one, {"upstream": {"tls_ca_file": path}}))
    assert result.status == CONFIG
    assert f"openssl x509 -inform der -in {path}" in result.text
    assert one.copies() == 0


def test_verification_is_the_default(relay, tls, place, send):
    """The shortest configuration there is: TLS, verified."""
    one = relay(tls=tls)
    result = send({"upstream": {"host": "localhost", "port": one.port},
                   "queue": {"directory": "none"}})
    assert result.status == TEMPORARY
    assert one.copies() == 0
    assert not one.sessions[0].said("MAIL")


def test_bundle_from_the_environment(relay, tls, certs, sections, send):
    one = relay(tls=tls)
    config = sections(one, {"upstream": {"tls_ca_file": None}})
    result = send(config, env={"SSL_CERT_FILE": certs.stranger})
    assert result.status == TEMPORARY
    result = send(config, env={"SSL_CERT_FILE": certs.ca})
    assert result.status == 0, result.text


# What may be wrong with the file of anchors (TL-37).
FILES = {
    "missing": None, "empty": b"", "junk": b"no certificate here\n",
    "not a file": "directory",
}


@pytest.mark.parametrize("case", FILES)
def test_unusable_anchors(case, relay, tls, sections, send, place):
    path = place / "anchors"
    if FILES[case] == "directory":
        path.mkdir()
    elif FILES[case] is not None:
        path.write_bytes(FILES[case])
    one = relay(tls=tls)
    result = send(sections(one, {"upstream": {"tls_ca_file": path}}))
    assert result.status in (CONFIG, TEMPORARY)
    assert str(path) in result.text
    assert one.copies() == 0


def test_unusable_anchors_stop_the_daemon(relay, tls, sections, start,
                                          place):
    one = relay(tls=tls)
    daemon = start(sections(one, {"upstream": {
        "tls_ca_file": place / "missing"}}), ready=False)
    assert daemon.wait_exit() == CONFIG
    assert str(place / "missing").encode() in daemon.log.raw


@pytest.mark.parametrize("junk", [b"# text\n", b"\x00\xff\n",
                                  b"-----BEGIN CERTIFICATE-----\nAAAA\n"
                                  b"-----END CERTIFICATE-----\n"])
def test_junk_between_anchors(junk, relay, tls, certs, sections, send,
                              place):
    path = place / "anchors"
    path.write_bytes(junk + certs.stranger.read_bytes() + junk +
                     certs.ca.read_bytes() + junk)
    one = relay(tls=tls)
    result = send(sections(one, {"upstream": {"tls_ca_file": path}}))
    assert result.status == 0, result.text


def test_plain_text_on_a_tls_port(relay, sections, certs, send):
    one = relay()
    config = sections(one, {"upstream": {
        "tls": "implicit", "tls_ca_file": certs.ca,
        "tls_name": "relay.test", "timeout": "5s"}})
    result = send(config)
    assert result.status == TEMPORARY
    assert b"EHLO" not in one.sessions[0].received
    assert "starttls" in result.text.lower() or "220" in result.text


def test_tls_on_a_starttls_port(relay, tls, sections, send):
    """The relay waits for a hello and we for a banner."""
    one = relay(tls=tls, implicit=True)
    config = sections(one, {"upstream": {"tls": "starttls",
                                         "timeout": "1s"}})
    result = send(config)
    assert result.status == TEMPORARY
    assert b"EHLO" not in one.wait_sessions()[0].received


@pytest.mark.parametrize("extra", [
    b"250-evil\r\n250 AUTH PLAIN\r\n", b"220 again\r\n", b"x"])
def test_bytes_before_the_handshake(extra, relay, tls, sections, send):
    """What came in the clear never serves inside TLS (TL-05)."""
    one = relay(Fault("starttls", "raw", data=b"220 go\r\n" + extra,
                      done=True), tls=tls, mechanisms=("PLAIN",))
    result = send(sections(one))
    one.wait_ended()
    assert result.status == TEMPORARY
    assert one.sessions[0].login is None
    assert one.copies() == 0


def test_starttls_stripped(relay, tls, sections, send):
    """Not one byte of AUTH or MAIL in the clear (TL-07)."""
    one = relay(tls=tls, offer_starttls="", mechanisms=())
    result = send(sections(one, {"upstream": {
        "user": "sender", "password": "very secret"}}))
    one.wait_ended()
    assert result.status == TEMPORARY
    assert "STARTTLS" in result.text
    nothing_in_clear(one.sessions[0])
    assert not one.sessions[0].said("STARTTLS")


@pytest.mark.parametrize("offer, taken", [
    ("starttls", True), ("StartTLS", True), ("STARTTLS foo", True),
    ("STARTTLSX", False), ("X-STARTTLS", False), ("AUTH STARTTLS", False)])
def test_how_it_is_offered(offer, taken, relay, tls, sections, send):
    """By whole word and whatever its case (TL-08)."""
    one = relay(tls=tls, offer_starttls=offer)
    result = send(sections(one))
    assert result.status == (0 if taken else TEMPORARY), result.text
    assert one.copies() == taken


@pytest.mark.parametrize("reply", [
    "454 4.7.0 no TLS now", "421 4.3.2 bye", "501 5.5.4 no", "550 5.7.1 no",
    "554 no", "354 go", "150 hm"])
def test_starttls_refused(reply, relay, tls, sections, send):
    """Never a bounce, never in the clear (TL-10)."""
    one = relay(Fault("starttls", "raw", data=reply.encode() + b"\r\n"),
                tls=tls, mechanisms=("PLAIN",))
    result = send(sections(one))
    one.wait_ended()
    assert result.status == TEMPORARY
    nothing_in_clear(one.sessions[0])


def test_tls_13_only(implicit, relay, certs, sections, send):
    """Not spoken, and the sentence says so (TL-36)."""
    one = relay(tls=server_context(certs.pem("good"),
                                   ssl.TLSVersion.TLSv1_3),
                implicit=implicit)
    result = send(sections(one))
    assert result.status == TEMPORARY
    assert "1.3" in result.text


def test_learnt_before_is_forgotten(relay, tls, sections, send):
    """AUTH offered only in the clear is not offered (rule 11)."""
    one = relay(Fault("ehlo", "raw", done=True, data=b"250-relay.test\r\n"
                      b"250-AUTH PLAIN\r\n250-PIPELINING\r\n"
                      b"250-8BITMIME\r\n250-SIZE 10\r\n250 STARTTLS\r\n"),
                tls=tls, pipelining=False, eightbit=False, patience=0.05)
    result = send(sections(one))
    assert result.status == 0, result.text
    assert one.sessions[0].groups == [0]
    assert one.messages[0].parameters == ""


@pytest.mark.parametrize("tls_setting, allowed", [
    ("starttls", False), ("none", True)])
def test_credentials_without_tls(tls_setting, allowed, relay, sections,
                                 certs, send):
    """Only where `tls = none` is written out."""
    one = relay(mechanisms=("PLAIN",))
    result = send(sections(one, {"upstream": {
        "tls": tls_setting, "tls_ca_file": certs.ca,
        "tls_name": "relay.test"}}))
    assert result.status == (0 if allowed else TEMPORARY), result.text
    assert bool(one.sessions[0].said("AUTH ")) == allowed


def in_its_own_system(bundle):
    """What runs a command where that file is the system's bundle."""
    there = "/etc/ssl/certs/ca-certificates.crt"
    wrapper = ["unshare", "-m", "sh", "-c",
               f'mount --bind {bundle} {there} && exec "$@"', "sh"]
    done = subprocess.run([*wrapper, "cmp", bundle, there], check=False,
                          stderr=subprocess.DEVNULL)
    if done.returncode:
        pytest.skip("needs a mount namespace, and that file")
    return wrapper


def test_system_bundle_beside_tls_ca_file(relay, certs, sections, place):
    """A command that sends one message reads the system's bundle only when it
    has to: it counts all the same."""
    one = relay(tls=server_context(certs.pem("good")), mechanisms=("PLAIN",))
    config = harness.write_config(
        place / "conf",
        sections(one, {"upstream": {"tls_ca_file": certs.stranger}}))
    for bundle, status in ((certs.ca, 0), (certs.stranger, TEMPORARY)):
        done = subprocess.run(
            [*in_its_own_system(bundle), harness.BIN, "sendmail", "-C",
             config, "b@example.test"], input=message(), check=False,
            env=harness.environment(), stderr=subprocess.PIPE)
        assert done.returncode == status, done.stderr
    assert one.copies() == 1
