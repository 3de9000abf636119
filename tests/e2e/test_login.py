# SPDX-License-Identifier: ISC
"""AUTH towards the relay: which mechanism, when another one, and tokens."""

import base64
import os

import aiosmtpd.controller
import aiosmtpd.handlers
import aiosmtpd.smtp
import pytest

import harness
from badrelay import Fault
from harness import TEMPORARY, WAIT, message, sendmail
from postfix import free_ports

B = "b@example.test"
LONG = "ya29." + "a0AfB_by" * 1024  # 8 KB, as long as tokens become

SES_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SES_PASSWORD = "BMW5RDrXmmVs0lV7GpI4oLkHXpZ4stDsk6q91z1g38Pk"  # eu-west-1


def logins(relay):
    """What was said of AUTH, connection by connection."""
    return [[line.decode() for line in session.commands
             if line.startswith(b"AUTH ")] for session in relay.sessions]


@pytest.fixture
def token(place):
    """Writes the file that the token is read from."""
    path = place / "token"

    def write(text):
        path.write_text(text + "\n")
        path.chmod(0o600)
        return path
    return write


@pytest.fixture
def by_token(sections, token):
    """A configuration that logs in with a token."""
    def make(relay, auth, text=None, **upstream):
        upstream = {"auth": auth, "password": None,
                    "password_file": token(text or relay.password),
                    **upstream}
        return sections(relay, {"upstream": upstream})
    return make


# ---- Which mechanism ----------------------------------------------------

def test_the_next_one_when_one_cannot_be(relay, sections, place, tls):
    """504 says nothing about the password."""
    one = relay(Fault("auth", "raw", data=b"504 5.5.4 not that one\r\n"),
                tls=tls, mechanisms=("PLAIN", "LOGIN"))
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail(B, config=config, stdin=message())
    assert result.status == 0, result.text
    [said] = logins(one)
    assert [line.split()[1] for line in said] == ["PLAIN", "LOGIN"]


@pytest.mark.parametrize("reply, mechanisms, auth, tries", [
    ("504 5.7.4 unrecognized authentication type", ("PLAIN", "LOGIN"),
     "auto", 2),
    ("534 5.7.9 mechanism is too weak", ("CRAM-MD5", "PLAIN", "LOGIN"),
     "auto", 3),
    ("504 5.5.4 no", ("PLAIN", "LOGIN"), "plain", 1),
    ("535 5.7.8 bad", ("PLAIN", "LOGIN", "CRAM-MD5"), "auto", 1),
    ("534 5.7.9 application-specific password required", ("PLAIN", "LOGIN"),
     "auto", 1),
    ("500 5.5.1 what", ("PLAIN", "LOGIN"), "auto", 1)])
def test_each_is_tried_once(reply, mechanisms, auth, tries, relay, sections,
                            place, tls):
    """And none of them behind a refused password."""
    one = relay(tls=tls, mechanisms=mechanisms, replies={"auth": reply})
    config = harness.write_config(place / "conf", sections(
        one, {"upstream": {"auth": auth}}))
    result = sendmail(B, config=config, stdin=message())
    assert result.status == TEMPORARY, result.text
    [said] = logins(one)
    assert len(said) == len({line.split()[1] for line in said}) == tries
    assert not one.messages


@pytest.mark.parametrize("mechanisms, expected", [
    (("CRAM-MD5", "LOGIN", "PLAIN"), "PLAIN"),
    (("XOAUTH2", "LOGIN"), "LOGIN"),  # Office 365
    (("OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"), "PLAIN")])
def test_what_auto_takes(mechanisms, expected, relay, sections, place, tls):
    one = relay(tls=tls, mechanisms=mechanisms)
    config = harness.write_config(place / "conf", sections(one))
    assert sendmail(B, config=config, stdin=message()).status == 0
    [[said]] = logins(one)
    assert said.split()[1] == expected


def test_a_preset_that_wants_login_first(relay, sections, place, tls):
    one = relay(tls=tls, mechanisms=("PLAIN", "LOGIN"))
    config = harness.write_config(place / "conf", sections(
        one, {"upstream": {"provider": "sparkpost"}}))
    assert sendmail(B, config=config, stdin=message()).status == 0
    assert logins(one) == [["AUTH LOGIN"]]


def test_no_password_where_a_token_is_wanted(relay, sections, place, tls):
    one = relay(tls=tls, mechanisms=("XOAUTH2", "OAUTHBEARER"))
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail(B, config=config, stdin=message())
    assert result.status == TEMPORARY
    assert "XOAUTH2" in result.text
    assert logins(one) == [[]]


def test_the_password_made_of_a_secret_key(relay, sections, place, tls):
    one = relay(tls=tls, mechanisms=("PLAIN", "LOGIN"),
                password=SES_PASSWORD)
    config = harness.write_config(place / "conf", sections(
        one, {"upstream": {"provider": "ses-iam", "region": "eu-west-1",
                           "password": SES_SECRET}}))
    result = sendmail(B, config=config, stdin=message())
    assert result.status == 0, result.text
    assert SES_SECRET.encode() not in one.sessions[0].received


# ---- Tokens -------------------------------------------------------------

@pytest.mark.parametrize("text", ["short", LONG], ids=["short", "8 KB"])
@pytest.mark.parametrize("auth", ["xoauth2", "oauthbearer"])
def test_token(auth, text, relay, by_token, place, tls):
    one = relay(tls=tls, mechanisms=("PLAIN", auth.upper()), password=text)
    config = harness.write_config(place / "conf", by_token(one, auth))
    result = sendmail("-v", B, config=config, stdin=message())
    assert result.status == 0, result.text
    [[said]] = logins(one)
    assert len(said) <= 510  # RFC 4954 section 4
    assert (" " in said[5:]) == (auth == "oauthbearer" and text == "short")
    blob = base64.b64encode(b"auth=Bearer " + text.encode())[:-8]
    shown = result.stdout + result.stderr
    assert text.encode() not in shown and blob not in shown
    if auth == "oauthbearer":
        assert one.told == f"host=127.0.0.1\1port={one.port}"


def test_a_name_with_a_comma(relay, by_token, place, tls):
    one = relay(tls=tls, mechanisms=("OAUTHBEARER",), user="a,b=c@x.test")
    config = harness.write_config(place / "conf",
                                  by_token(one, "oauthbearer"))
    assert sendmail(B, config=config, stdin=message()).status == 0


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_refused_token(mechanism, relay, by_token, start, tls):
    """The challenge that says why is answered, and the 535 behind it puts
    the relay aside (UX-20)."""
    one = relay(tls=tls, mechanisms=(mechanism,))
    daemon = start(by_token(one, mechanism.lower(), "stale-token"))
    result = sendmail(B, socket_path=daemon.socket, stdin=message())
    assert result.status == TEMPORARY, result.text
    down = daemon.wait_event("upstream_down")
    assert "status 401" in down["reply"]
    assert "token" in down["hint"]
    assert [len(said) for said in logins(one)] == [1]
    daemon.stop()
    assert b"stale-token" not in daemon.log.raw + result.stderr


@pytest.mark.parametrize("said, text", [
    (b"welcome stale-token", "malformed reply (not shown)"),
    (b"235-stale-token\r\n535 stale-token",
     "two codes in one reply (not shown)")])
def test_what_is_no_answer(said, text, relay, by_token, place, tls):
    one = relay(Fault("auth", "raw", data=said + b"\r\n"), tls=tls,
                mechanisms=("XOAUTH2",))
    config = harness.write_config(place / "conf",
                                  by_token(one, "xoauth2", "stale-token"))
    result = sendmail("-v", B, config=config, stdin=message())
    assert result.status == TEMPORARY
    assert text in result.text and "stale" not in result.text


@pytest.mark.parametrize("shown", [60, 44, 40])
def test_token_that_is_repeated(shown, relay, by_token, place, tls):
    """Some relays quote what they did not understand, or its beginning."""
    blob = base64.b64encode(b"user=sender\1auth=Bearer stale-token\1\1")
    one = relay(Fault("auth", "raw", data=b"501 5.5.4 what is " +
                      blob[:shown] + b"\r\n"), tls=tls,
                mechanisms=("XOAUTH2",))
    config = harness.write_config(place / "conf",
                                  by_token(one, "xoauth2", "stale-token"))
    result = sendmail("-v", B, config=config, stdin=message())
    assert result.status == TEMPORARY
    assert blob[32:40] not in result.stdout + result.stderr
    assert b"stale" not in result.stdout + result.stderr


def test_token_is_read_for_each_login(relay, by_token, token, start, tls):
    one = relay(tls=tls, mechanisms=("XOAUTH2",), password="first")
    daemon = start(by_token(one, "xoauth2", messages_per_connection=1))
    for text in ("first", "second"):
        one.password = text
        token(text)
        result = sendmail(B, socket_path=daemon.socket, stdin=message())
        assert result.status == 0, result.text
    assert len(one.sessions) == 2


def test_token_from_a_command(relay, by_token, place, tls):
    one = relay(tls=tls, mechanisms=("XOAUTH2",))
    command = place / "print-token"
    command.write_text('#!/bin/sh\nprintf "%s\\n" "correct $1"\n')
    os.chmod(command, 0o755)
    config = harness.write_config(place / "conf", by_token(
        one, "xoauth2", password_file=None,
        password_command=f"{command} horse"))
    result = sendmail(B, config=config, stdin=message())
    assert result.status == 0, result.text


def test_preset_that_takes_tokens_only(relay, by_token, place, tls):
    one = relay(tls=tls, mechanisms=("LOGIN", "XOAUTH2"))
    config = harness.write_config(place / "conf", by_token(
        one, None, provider="outlook"))
    assert sendmail(B, config=config, stdin=message()).status == 0
    assert logins(one) == [["AUTH XOAUTH2"]]


def test_no_token_without_tls(relay, by_token, place, tls):
    """tls = starttls, and the relay has lost its certificate."""
    one = relay(tls=tls, mechanisms=("XOAUTH2",), offer_starttls="")
    config = harness.write_config(place / "conf", by_token(one, "xoauth2"))
    result = sendmail(B, config=config, stdin=message())
    assert result.status == TEMPORARY
    assert logins(one) == [[]]


# ---- A server that somebody else has written ----------------------------

class TokenHandler(aiosmtpd.handlers.Sink):
    """aiosmtpd with the mechanisms it does not bring."""

    def __init__(self):
        self.said = []

    async def take_token(self, server, args, refused):
        blob = await server.challenge_auth("") if len(args) == 1 \
            else base64.b64decode(args[1])
        self.said.append(blob)
        if blob.endswith(b"auth=Bearer good\1\1"):
            return aiosmtpd.smtp.AuthResult(success=True, auth_data=blob)
        answer = await server.challenge_auth(
            '{"status":"400","schemes":"Bearer"}')
        self.said.append(answer)
        assert answer == refused
        return aiosmtpd.smtp.AuthResult(success=False, handled=False)

    async def auth_XOAUTH2(self, server, args):
        return await self.take_token(server, args, b"")

    async def auth_OAUTHBEARER(self, server, args):
        return await self.take_token(server, args, b"\1")


@pytest.mark.parametrize("auth, said", [
    ("xoauth2", b"user=sender\1auth=Bearer good\1\1"),
    ("oauthbearer", b"n,a=sender,\1host=127.0.0.1\1port=%d\1"
                    b"auth=Bearer good\1\1")],
                         ids=["xoauth2", "oauthbearer"])
@pytest.mark.parametrize("text, status", [("good", 0), ("bad", TEMPORARY)],
                         ids=["good", "bad"])
def test_aiosmtpd(auth, said, text, status, by_token, relay, place, tls):
    handler, [port] = TokenHandler(), free_ports(1)
    server = aiosmtpd.controller.Controller(
        handler, hostname="127.0.0.1", port=port, tls_context=tls,
        require_starttls=True, auth_required=True, ready_timeout=WAIT)
    server.start()
    try:
        one = relay(tls=tls, mechanisms=("XOAUTH2",))  # for its sections
        one.port = port
        config = harness.write_config(place / "conf",
                                      by_token(one, auth, text))
        result = sendmail(B, config=config, stdin=message())
    finally:
        server.stop()
    assert result.status == status, result.text
    if status:
        assert "status 400" in result.text
    else:
        assert handler.said == [said % port if b"%" in said else said]
