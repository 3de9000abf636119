# SPDX-License-Identifier: ISC
"""`smarthost check`: what it prints for each of the commonest mistakes.

What a person sees is in golden/check/NN-name.txt: the mistake in a word, the
exit status, standard output and error, with what differs from run to run
masked.  SMARTHOST_GOLDEN=write writes them anew, to be read before they are
committed.
"""

import contextlib
import json
import os
import pathlib
import pty
import pwd
import re
import socket
import subprocess

import pytest

import badrelay
import harness
import postfix as postfix_module
from badrelay import Fault
from harness import CONFIG, NOBODY, USAGE, merge, run, with_mounts, \
    write_config

GOLDEN = pathlib.Path(__file__).parent / "golden" / "check"
TO = "ops@example.test"
root_only = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


def mask(text, place):
    """What differs from run to run, and from machine to machine."""
    user = pwd.getpwuid(os.getuid()).pw_name
    for pattern, instead in [
            (re.escape(str(place)), "PLACE"),
            (r"SHA-256 is [0-9a-f]+", "SHA-256 is DIGEST"),
            (r" {2,}\d+ ms", lambda found: "N ms".rjust(len(found[0]))),
            (r"\d{32}|[0-9a-f]{32}", "ID"),
            (r"unknown\[127.0.0.1\]:\d+", "unknown[127.0.0.1]:PORT"),
            (r"(127\.0\.0\.\d|\[::1\]|192\.0\.2\.\d):\d+", r"\1:PORT"),
            (r"port = \d+", "port = PORT"),
            (r"the \d+ trusted", "the N trusted"),
            (r"\d+-\d+-\d+ \d+:\d+:\d+ UTC", "TIME"),
            (r"\d+ days left", "N days left"),
            (rf"\b{user}@client", "USER@client"),
            (r"queued as \w+", "queued as ID"),
            (r"(cannot resolve [^:]*): [A-Z][a-z ]+", r"\1: WHY"),
            (r"TLSv1\.2 [A-Z0-9-]+", "TLSv1.2 SUITE"),
    ]:
        text = re.sub(pattern, instead, text)
    return text


@pytest.fixture
def golden(place):
    """Compares what a check says with the file of that name."""
    def compare(name, mistake, config, *args, to=TO, **more):
        if to and not args:
            args = "--to", to
        done = run("-c", config, "check", *args, **more)
        text = "".join([f"# {mistake}\n# exit status {done.status}\n",
                        done.stdout.decode(), done.text])
        text = mask(text, place)
        file = GOLDEN / (name + ".txt")
        if os.environ.get("SMARTHOST_GOLDEN") == "write":
            GOLDEN.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        assert text == file.read_text()
        assert badrelay.PASSWORD not in text
        return done
    return compare


@pytest.fixture
def config(place, sections):
    """Writes a configuration for that relay or port, with changes."""
    def write(relay, changes=None, mode=0o600):
        return write_config(place / "smarthost.conf",
                            sections(relay, changes), mode)
    return write


@pytest.fixture
def for_one_of_postfix(place, for_postfix):
    def write(service, changes=None):
        return write_config(place / "smarthost.conf",
                            for_postfix(service, changes))
    return write


@pytest.fixture(scope="session")
def strict(session_place, certs):
    """A Postfix that minds whom it talks to."""
    if os.getuid() != 0:
        pytest.skip("needs root to run Postfix")
    services = {
        "relay": ["mynetworks=", "smtpd_relay_restrictions="
                  "permit_sasl_authenticated,reject_unauth_destination"],
        "helo": ["smtpd_helo_required=yes", "smtpd_helo_restrictions="
                 "reject_non_fqdn_helo_hostname"],
        "sender": [*postfix_module.STARTTLS,
                   "smtpd_sender_login_maps=static:somebody.else",
                   "smtpd_sender_restrictions=reject_sender_login_mismatch"],
    }
    instance = postfix_module.Postfix(session_place / "strict",
                                      certs.pem("good"), services)
    instance.start()
    yield instance
    instance.remove()


@pytest.fixture
def for_strict(place, strict, sections, certs):
    def write(service, changes=None):
        upstream = {}
        if service == "sender":
            upstream = {"tls": "starttls", "tls_ca_file": certs.ca,
                        "tls_name": "relay.test",
                        "user": postfix_module.USER,
                        "password": postfix_module.PASSWORD}
        made = merge(sections(strict.ports[service], {"upstream": upstream}),
                     {"upstream": changes or {}})
        return write_config(place / "smarthost.conf", made)
    return write


@contextlib.contextmanager
def black_hole():
    """A port that answers nothing: the queue of its listener is full."""
    with socket.socket() as listener, contextlib.ExitStack() as clients:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(100):
            client = clients.enter_context(socket.socket())
            client.settimeout(0.2)
            try:
                client.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        else:
            pytest.skip("the queue of a listener does not fill up here")
        yield port


# --- All is well


def test_all_is_well(golden, for_one_of_postfix):
    golden("01-well", "nothing is wrong", for_one_of_postfix("submission"))


def test_a_message_is_sent(golden, for_one_of_postfix, postfix):
    recipient = "check.send@example.test"
    golden("02-sent", "nothing is wrong, and a message is sent",
           for_one_of_postfix("submission"), "--to", recipient, "--send")
    (one,) = postfix.messages(recipient)
    assert one.message["Subject"].startswith("smarthost check: ")
    assert one.message["Message-ID"] and one.message["Date"]
    assert one.message["From"] == one.sender


def test_a_trial_sends_nothing(for_one_of_postfix, postfix):
    recipient = "check.trial@example.test"
    config = for_one_of_postfix("submission")
    assert run("-c", config, "check", "--to", recipient).status == 0
    assert postfix.copies(recipient) == 0


def test_the_trial_is_taken_back(relay, config):
    one = relay()
    assert run("-c", config(one), "check", "--to", TO).status == 0
    one.wait_ended()
    (session,) = one.sessions
    assert [line.split()[0] for line in session.commands] == [
        b"EHLO", b"MAIL", b"RCPT", b"RSET", b"QUIT"]
    assert not one.messages


def test_the_sender_is_that_of_from(relay, config):
    one = relay()
    path = config(one, {"upstream": {"from": "noreply@example.test",
                                     "rewrite": "always"}})
    assert run("-c", path, "check").status == 0
    one.wait_ended()
    assert b"MAIL FROM:<noreply@example.test>" in one.sessions[0].received


# --- Host and port


def test_wrong_host(golden, config):
    golden("03-wrong-host", "host is misspelt", config(
        25, {"upstream": {"host": "mail.example.invalid"}}))


@pytest.mark.parametrize("name, region", [
    ("04-wrong-region", "eu-west-99"), ("38-no-region", None)])
def test_wrong_region(golden, config, name, region):
    golden(name, f"region = {region}", config(None, {"upstream": {
        "provider": "ses", "region": region, "host": None, "tls": None,
        "user": "AKIA", "password": "x"}}))


def test_region_that_does_not_exist(golden, config):
    """Not asked of a name server that may be there."""
    golden("39-region-of-no-provider", "a host of no region", config(
        None, {"upstream": {
            "provider": "ses", "region": "eu-west-9", "tls": None,
            "host": "email-smtp.eu-west-9.invalid", "user": "AKIA",
            "password": "x"}}))


def test_refused_port(golden, config, nobody_there):
    golden("05-refused-port", "nobody listens there", config(
        nobody_there, {"upstream": {"provider": "postfix"}}))


def test_connect_timeout(golden, config):
    with black_hole() as port:
        golden("06-connect-timeout", "a firewall drops the port", config(
            port, {"upstream": {
                "provider": "sendgrid", "tls_name": "smtp.sendgrid.net",
                "password": "x", "connect_timeout": "1s",
                "tls": "starttls"}}))


# --- TLS


def test_implicit_tls_on_a_plain_port(golden, config, relay, tls):
    golden("07-implicit-on-587", "tls = implicit, and the port wants STARTTLS",
           config(relay(tls=tls), {"upstream": {"tls": "implicit"}}))


def test_starttls_on_a_tls_port(golden, config, relay, tls):
    golden("08-starttls-on-465", "tls = starttls, and the port wants TLS",
           config(relay(tls=tls, implicit=True),
                  {"upstream": {"tls": "starttls", "timeout": "1s"}}))


@pytest.mark.parametrize("number, name", [
    (9, "unknown"), (10, "self-signed"), (11, "wrong-name"), (12, "expired")])
def test_certificates(golden, config, relay, certs, number, name):
    context = badrelay.server_context(certs.pem(name))
    golden(f"{number:02}-certificate-{name}", f"the certificate is {name}",
           config(relay(tls=context)))


def test_certificate_that_ends_soon(golden, config, relay, certs):
    context = badrelay.server_context(certs.pem("soon"))
    golden("40-certificate-soon", "the certificate ends in three days",
           config(relay(tls=context)))


def test_another_certificate_than_the_pinned_one(golden, config, relay, tls):
    golden("41-fingerprint", "tls_fingerprint is that of another certificate",
           config(relay(tls=tls), {"upstream": {
               "tls_fingerprint": "00" * 32, "tls_ca_file": None}}))


def test_client_certificate_wanted(golden, config, relay, certs):
    context = badrelay.server_context(certs.pem("good"))
    context.verify_mode = badrelay.ssl.CERT_REQUIRED
    context.load_verify_locations(certs.ca)
    context.maximum_version = badrelay.ssl.TLSVersion.TLSv1_2
    golden("42-client-certificate", "the relay wants a client certificate",
           config(relay(tls=context)))


def test_tls_13_only(golden, config, relay, certs):
    context = badrelay.server_context(certs.pem("good"),
                                      badrelay.ssl.TLSVersion.TLSv1_3)
    golden("13-tls13-only", "the relay speaks TLS 1.3 only",
           config(relay(tls=context)))


def test_starttls_not_offered(golden, config, relay):
    golden("14-no-starttls", "the relay does not offer STARTTLS",
           config(relay(), {"upstream": {"tls": "starttls",
                                         "tls_name": "relay.test"}}))


# --- Login


def test_wrong_password(golden, for_one_of_postfix):
    golden("15-wrong-password", "the password is wrong", for_one_of_postfix(
        "submission", {"upstream": {"password": "wrong"}}))


def test_auth_not_offered(golden, config, relay, tls):
    golden("16-no-auth", "a user, and the relay offers no AUTH",
           config(relay(tls=tls),
                  {"upstream": {"user": "sender", "password": "x"}}))


def test_only_strange_mechanisms(golden, config, relay, tls):
    golden("17-mechanisms", "the relay offers mechanisms we do not have",
           config(relay(tls=tls, keywords=["AUTH GSSAPI NTLM"]),
                  {"upstream": {"user": "sender", "password": "x"}}))


def password_file(place, content=None, mode=0o600):
    file = place / "relay-password"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    return {"upstream": {"provider": "sendgrid", "password_file": file,
                         "tls": None, "host": None}}


def test_password_file_missing(golden, config, place):
    golden("18-password-file-missing", "password_file is not there",
           config(None, password_file(place)))


def test_password_file_empty(golden, config, place):
    golden("19-password-file-empty", "password_file is empty",
           config(None, password_file(place, "")))


@root_only
def test_password_file_unreadable(golden, config, place):
    path = config(None, password_file(place, "secret"))
    os.chown(path, NOBODY, NOBODY)
    golden("20-password-file-unreadable", "password_file is another user's",
           path, uid=NOBODY)


@root_only
@pytest.mark.parametrize("how", ["run_as", "spool"])
def test_root_looks_as_the_user_of_the_daemon(how, config, place):
    """What only root can read is of no use to it."""
    changes = password_file(place, "secret")
    if how == "run_as":
        changes["smarthost"] = {"run_as": "nobody"}
    else:
        (place / "spool").mkdir(mode=0o700)
        os.chown(place / "spool", NOBODY, NOBODY)
        changes["queue"] = {"directory": place / "spool"}
    path = config(None, changes)
    done = run("-c", path, "check", "--config")
    assert done.status == CONFIG
    assert "Permission denied; put" in done.text
    assert f"uid {NOBODY}" in done.text
    os.chown(place / "relay-password", NOBODY, NOBODY)
    assert run("-c", path, "check", "--config").status == 0


def test_user_missing(golden, config, place):
    changes = password_file(place, "secret")
    changes["upstream"]["provider"] = "mailgun"
    golden("21-user-missing", "a password and no user",
           config(None, changes))


# --- Who may send, and to whom


def test_wants_login(golden, for_one_of_postfix):
    golden("22-login-wanted", "no user, and the relay wants one",
           for_one_of_postfix("submission", {"upstream": {
               "user": None, "password": None}}))


def test_sender_refused(golden, for_strict):
    golden("23-sender-refused", "the sender is not the account's",
           for_strict("sender"))


def test_recipient_refused(golden, for_one_of_postfix):
    golden("24-recipient-refused", "there is no such recipient",
           for_one_of_postfix("submission"), "--to", postfix_module.REFUSED)


def test_relay_access_denied(golden, for_strict):
    golden("25-relay-access-denied", "the relay does not know this host",
           for_strict("relay"), "--to", "you@elsewhere.test")


def test_without_to_a_refused_mailbox_is_a_warning(golden, config, relay):
    golden("26-no-mailbox-of-the-sender", "no --to, and the sender's address "
           "is no mailbox", config(relay(replies={
               "rcpt": "550 5.1.1 no such user"})), to=None)


def test_ehlo_refused(golden, for_strict):
    golden("27-ehlo-refused", "the relay does not like our name",
           for_strict("helo", {"ehlo": "web1"}))


def test_ehlo_refused_by_google(golden, config, relay):
    golden("28-ehlo-refused-421", "Google does not like our name", config(
        relay(Fault("ehlo", "raw", times=9, data=b"421 4.7.0 Try again later, "
                    b"closing connection. (EHLO)\r\n"))))


def test_blocked(golden, config, relay):
    golden("29-blocked", "our address is on a blocklist", config(
        relay(Fault("banner", "raw", times=9, data=b"554 5.7.1 127.0.0.1 "
                    b"blocked, see https://block.example/\r\n"))))


def test_greeting_421(golden, config, relay):
    golden("30-too-busy", "the relay has no place for us",
           config(relay(Fault("banner", "421", times=9))))


def test_quota(golden, config, relay):
    golden("31-quota", "the account's quota is used up", config(
        relay(replies={"rcpt": "550 5.4.5 Daily user sending limit exceeded"
                       })))


def test_message_refused(golden, config, relay):
    golden("43-message-refused", "the relay takes the envelope, and not the "
           "message", config(relay(replies={
               "dot": "554 5.7.1 Message rejected: looks like spam"})),
           "--to", TO, "--send")


# --- The configuration


def test_misspelt_key(golden, config):
    golden("32-misspelt-key", "a key is misspelt", config(
        25, {"upstream": {"pasword_file": "/etc/smarthost/relay-password"}}))


def test_readable_secret(golden, config):
    golden("33-readable-secret", "everybody can read the password",
           config(25, {"upstream": {"user": "a", "password": "secret"}},
                  0o644))


def test_no_configuration(golden, place):
    golden("34-no-configuration", "there is no configuration",
           place / "smarthost.conf")


# --- More than one


@root_only
def test_one_of_two_addresses(golden, config, relay, place):
    hosts = place / "hosts"
    hosts.write_text("127.0.0.2 relay.test\n127.0.0.1 relay.test\n")
    one = relay()
    golden("35-one-address-of-two", "an address of the relay is away",
           config(one, {"upstream": {"host": "relay.test"}}),
           wrapper=with_mounts((hosts, "/etc/hosts")))
    assert len(one.sessions) == 1


def test_the_second_upstream(golden, config, relay, nobody_there):
    golden("36-second-upstream", "the relay in reserve is away", config(
        relay(), {"upstream reserve": {"host": "127.0.0.1", "tls": "none",
                                       "port": nobody_there}}))


def test_capture(golden, config, place):
    directory = place / "captured"
    directory.mkdir()
    golden("37-capture", "provider = capture", config(None, {"upstream": {
        "provider": "capture", "directory": directory, "host": None,
        "tls": None}}), "--to", TO, "--send")
    (file,) = directory.glob("*.eml")
    assert TO in file.read_text()


# --- How it says so


def test_json(config, relay, tls):
    one = relay(tls=tls, mechanisms=["PLAIN"],
                replies={"rcpt": "550 5.1.1 no such user"})
    done = run("-c", config(one), "check", "--to", TO, "--json")
    assert done.status == 67 and not done.stderr
    steps = json.loads(done.stdout)
    assert [step["step"] for step in steps] == [
        "config", "resolve", "connect", "greeting", "ehlo", "tls", "ehlo",
        "auth", "mail", "rcpt"]
    for step in steps:
        assert step.keys() == {"upstream", "address", "step", "ok", "ms",
                               "text", "hint"}
    assert [step["ok"] for step in steps] == [True] * 9 + [False]
    assert all(step["ms"] >= 0 for step in steps[1:])
    assert steps[-1]["text"].startswith("550 5.1.1")
    assert "does not exist" in steps[-1]["hint"]
    assert steps[7]["text"] == f"PLAIN as {badrelay.USER}"


def test_json_of_a_bad_configuration(place):
    for args in ((), ("--config",)):
        done = run("-c", place / "none", "check", "--json", *args)
        assert done.status == CONFIG and not done.stderr
        (step,) = json.loads(done.stdout)
        assert step["step"] == "config" and step["ok"] is False


def on_terminal(config, **env):
    """What it writes to a terminal."""
    master, slave = pty.openpty()
    done = subprocess.run([*harness.WRAPPER, harness.BIN, "-c", config,
                           "check", "--config"], stdout=slave,
                          stderr=subprocess.DEVNULL, check=False,
                          env=harness.environment(env))
    assert done.returncode == 0
    done = subprocess.Popen([*harness.WRAPPER, harness.BIN, "-c", config,
                             "check"], stdout=slave,
                            stderr=subprocess.DEVNULL,
                            env=harness.environment(env))
    os.close(slave)
    text = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while data := os.read(master, 65536):
            text += data
    os.close(master)
    done.wait(harness.WAIT)
    return text


@pytest.mark.parametrize("env, colour", [
    ({"TERM": "xterm", "NO_COLOR": ""}, True),
    ({"TERM": "xterm", "NO_COLOR": "1"}, False),
    ({"TERM": "dumb"}, False)])
def test_colour(config, relay, env, colour):
    text = on_terminal(config(relay()), **env)
    assert b"connect" in text
    assert (b"\x1b[32mok" in text) == colour and (b"\x1b" in text) == colour


def test_usage(place, config, relay):
    path = config(relay())
    for args in (["--send"], ["--to"], ["--to", "not an address"], ["--what"],
                 ["me@example.test"], ["--config", "--send", "--to", TO]):
        assert run("-c", path, "check", *args).status == USAGE


def test_what_is_said_of_a_wrong_value(place):
    """The value, and nothing about a file that there does not have to be."""
    done = run("check", "--to", "a b")
    assert done.status == USAGE
    assert done.text.startswith('smarthost: --to "a b" is not an address; ')
    done = run("check", "--config", env={
        "SMARTHOST_UPSTREAM_HOST": "relay.test",
        "SMARTHOST_UPSTREAM_PORT": "0"})
    assert done.status == CONFIG and len(done.text.splitlines()) == 1
    assert "SMARTHOST_UPSTREAM_PORT" in done.text


def test_no_mode_for_what_is_no_file(config, relay, place):
    """Nobody is told to chmod a directory, or /dev/null."""
    path = config(relay(mechanisms=("PLAIN",)), {"upstream": {
        "password": None, "password_file": "/dev/null"}})
    done = run("-c", path, "check", "--config")
    assert done.status == CONFIG and "not a regular file" in done.text
    assert b"chmod" not in done.stdout
