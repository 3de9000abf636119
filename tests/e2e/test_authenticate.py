# SPDX-License-Identifier: ISC
"""AUTH of the listener: [listen] auth_file (SE-34 to SE-40)."""

import base64
import concurrent.futures
import re
import smtplib
import ssl

import pytest

import harness
from harness import CONFIG, Conversation, message, run
from test_listener import own_address

PASSWORD = "correct horse"
# mkpasswd -m sha-512 -R 1000, and -m sha-256
ALICE = ("$6$rounds=1000$x$EAPSjhFqPlx9TpztLdCdYhg/73lTq3uiBQstWvjpM4x"
         "sN1s4zOSEnQODN7weryBRYTrO7uOlVNKK6v93iPd9c0")
BOB = "$5$rounds=1000$salt$qOfjCda6YN/JiGzcA4MkoJaIXdhJzf.qd.KJPQZ7TA/"
FILE = f"""# who may send
alice:{ALICE}
bob@example.test:{BOB}:b@example.test, @two.test
"""


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def plain(user, password=PASSWORD, role=""):
    return encoded(f"{role}\0{user}\0{password}")


@pytest.fixture
def auth_file(place):
    path = place / "accounts"
    path.write_text(FILE)
    path.chmod(0o600)
    return path


@pytest.fixture
def daemon(start, sections, relay, auth_file):
    daemon = start(sections(relay(), {"listen": {"auth_file": auth_file}}))
    return daemon


@pytest.fixture
def client(daemon):
    with Conversation(daemon.address) as conversation:
        assert conversation.ehlo()["AUTH"] == ["PLAIN", "LOGIN"]
        yield conversation


def login(client, user="alice"):
    client.expect(235, "AUTH PLAIN " + plain(user))


# ---- The dialogue -------------------------------------------------------

@pytest.mark.parametrize("user", ["alice", "bob@example.test"])
@pytest.mark.parametrize("lines", [
    ["AUTH PLAIN {plain}"], ["auth plain {plain}"],
    ["AUTH PLAIN", "{plain}"], ["AUTH PLAIN {as_himself}"],
    ["AUTH LOGIN", "{user}", "{password}"],
    ["AUTH LOGIN {user}", "{password}"]])
def test_login(lines, user, client):
    values = {"plain": plain(user), "as_himself": plain(user, role=user),
              "user": encoded(user), "password": encoded(PASSWORD)}
    *first, last = [line.format(**values) for line in lines]
    for line in first:
        client.expect(334, line)
    client.expect(235, last)
    client.expect(503, "AUTH PLAIN " + plain(user))


@pytest.mark.parametrize("lines, code", [
    (["AUTH PLAIN ="], 501),                      # SE-35
    (["AUTH PLAIN", ""], 501),
    (["AUTH PLAIN", "*"], 501),                   # SE-36
    (["AUTH LOGIN", "*"], 501),
    (["AUTH LOGIN", "YWxpY2U=", "*"], 501),
    (["AUTH PLAIN !!!"], 501),                    # SE-37
    (["AUTH PLAIN A"], 501),
    (["AUTH PLAIN AGEAYg"], 501),
    (["AUTH PLAIN AGE=AGIA"], 501),
    (["AUTH PLAIN", "A" * 12284], 535),
    (["AUTH PLAIN", "A" * 100000], 500),
    (["AUTH PLAIN " + "A" * 12270], 501),
    (["AUTH PLAIN " + "A" * 100000], 500),
    (["AUTH LOGIN", "A" * 100000], 500),
    (["AUTH LOGIN AGEAYg=="], 501),               # NULs in it
    (["AUTH"], 501),                              # SE-39
    (["AUTH FOO"], 504),
    (["AUTH CRAM-MD5"], 504),
    (["AUTH PLAINX"], 504)])
def test_no_login(lines, code, client):
    """And the session is as good as before."""
    *first, last = lines
    for line in first:
        client.expect(334, line)
    client.expect(code, last)
    client.expect(250, "NOOP")
    login(client)


def test_order(daemon):
    with Conversation(daemon.address) as client:
        client.expect(503, "AUTH PLAIN " + plain("alice"))
        client.ehlo()
        client.expect(250, "MAIL FROM:<a@x.test>")
        client.expect(503, "AUTH PLAIN " + plain("alice"))


def test_not_enabled(start, sections, relay):
    daemon = start(sections(relay()))
    with Conversation(daemon.address) as client:
        assert "AUTH" not in client.ehlo()
        client.expect(502, "AUTH PLAIN " + plain("alice"))
        client.expect(250, "NOOP")


# ---- Refused ------------------------------------------------------------

REFUSED = [("alice", "wrong", ""), ("alice", "", ""), ("nobody", PASSWORD, ""),
           ("", "", ""), ("alice", PASSWORD, "bob@example.test"),
           ("# who may send", PASSWORD, ""), ("alice", PASSWORD + "\0x", ""),
           ("ALICE", PASSWORD, "")]


def test_refused(daemon):
    """Each takes a second: all at once."""
    def attempt(case):
        with Conversation(daemon.address) as client:
            client.ehlo()
            code = client.command("AUTH PLAIN " + plain(*case)).code
            login(client)
            return code
    with concurrent.futures.ThreadPoolExecutor(len(REFUSED)) as pool:
        assert list(pool.map(attempt, REFUSED)) == [535] * len(REFUSED)
    daemon.stop()
    assert PASSWORD.encode() not in daemon.log.raw


def test_guessing_ends(daemon):
    """SE-40; and the log says from where."""
    with Conversation(daemon.address) as client:
        client.ehlo()
        codes = []
        while (reply := client.command("AUTH PLAIN " +
                                       plain("alice", "guess"))):
            codes.append(reply.code)
            if reply.code == 421:
                break
        assert codes == [535, 535, 421]
        assert client.reply() is None
    assert len(daemon.events("message", text=re.compile(
        r"127\.0\.0\.1:\d+ .*alice"))) == 3
    with Conversation(daemon.address) as client:
        client.ehlo()
        login(client)


def test_guessing_is_slow(daemon):
    """However many connections are used; others are not affected."""
    def guess(_):
        with Conversation(daemon.address) as client:
            client.ehlo()
            return [client.command("AUTH PLAIN " + plain("alice", "x")).code
                    for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor(11) as pool:
        codes = sum(pool.map(guess, range(11)), [])
    assert codes.count(535) >= 20 and set(codes) <= {535, 454}
    with Conversation(daemon.address) as client:
        client.ehlo()
        client.expect(454, "AUTH PLAIN " + plain("alice"))
        client.expect(250, "NOOP")
    with smtplib.SMTP(*daemon.address,
                      source_address=("127.0.0.2", 0)) as client:
        client.login("alice", PASSWORD)


# ---- What it is good for ------------------------------------------------

@pytest.mark.parametrize("sender, code", [
    ("b@example.test", 250), ("B@Example.TEST", 250), ("x@two.test", 250),
    ("", 250), ("a@example.test", 553), ("x@sub.two.test", 553),
    ("xb@example.test", 553), ("b@example.test.x", 553)])
def test_senders(sender, code, client):
    login(client, "bob@example.test")
    client.expect(code, f"MAIL FROM:<{sender}>")


def test_any_sender(client):
    login(client)
    client.expect(250, "MAIL FROM:<whoever@example.test>")


def test_parameter(client):
    """Of MAIL: taken, and gone (RFC 4954 section 5)."""
    login(client)
    client.expect(250, "MAIL FROM:<a@example.test> AUTH=<>")
    client.expect(250, "RSET")
    client.expect(250, "MAIL FROM:<a@example.test> AUTH=b+2Bc@x.test SIZE=9")
    client.expect(250, "RSET")
    client.expect(501, "MAIL FROM:<a@example.test> AUTH=")


def test_the_name_stays_with_the_message(start, sections, relay, auth_file):
    one = relay()
    daemon = start(sections(one, {"listen": {"auth_file": auth_file}}))
    with Conversation(daemon.address) as client:
        client.ehlo()
        login(client)
        client.envelope("a@example.test", ["b@example.test"])
        client.expect(250, b"Subject: t\r\n\r\nx\r\n.")
    [got] = one.wait_messages()
    header = got.header.decode()
    assert " with ESMTPA id " in re.sub(r"\r\n\s+", " ", header)
    assert "(authenticated as alice)" in re.sub(r"\r\n\s+", " ", header)
    assert "AUTH" not in got.parameters
    assert daemon.wait_event("accepted")["user"] == "alice"


def test_the_file_changes(client, auth_file, daemon):
    """The next login finds it as it is."""
    auth_file.write_text(f"carol:{ALICE}\n")
    client.expect(535, "AUTH PLAIN " + plain("alice"))
    auth_file.unlink()
    client.expect(454, "AUTH PLAIN " + plain("carol"))
    assert daemon.events("message", text=re.compile("auth_file"))
    auth_file.write_text(f"carol:{ALICE}\n")
    login(client, "carol")


def test_python_client(daemon):
    with smtplib.SMTP(*daemon.address) as client:
        client.login("alice", PASSWORD)
        client.sendmail("a@example.test", ["b@example.test"],
                        message().decode())


# ---- From elsewhere -----------------------------------------------------

@pytest.fixture
def outside(start, sections, relay, auth_file, certs, place):
    """A daemon that is reached as from another machine, and how."""
    own = own_address()
    if not own or own.startswith("127."):
        pytest.skip("no address but loopback")
    pem = place / "own.pem"
    pem.write_bytes(certs.pem("good").read_bytes())
    pem.chmod(0o600)
    daemon = start(sections(relay(), {"listen": {
        "address": "0.0.0.0:0", "auth_file": auth_file, "tls_cert": pem}}))
    return own, daemon.port


def test_no_password_in_the_clear(outside):
    """It is not asked for, and nobody may send (SE-34)."""
    with Conversation(outside) as client:
        assert "AUTH" not in client.ehlo()
        client.expect(538, "AUTH PLAIN " + plain("alice"))
        client.expect(538, "AUTH LOGIN")
        client.expect(530, "MAIL FROM:<a@example.test>")
        client.expect(530, "ETRN example.test") if "ETRN" in client.ehlo() \
            else client.expect(250, "NOOP")


def test_logged_in_under_tls(outside, certs):
    context = ssl.create_default_context(cafile=certs.crt("ca"))
    context.check_hostname = False
    with smtplib.SMTP(*outside) as client:
        client.starttls(context=context)
        client.ehlo()
        assert client.docmd("MAIL FROM:<a@example.test>")[0] == 530
        client.login("alice", PASSWORD)
        client.sendmail("a@example.test", ["b@example.test"],
                        message().decode())


def test_nothing_survives_starttls(start, sections, relay, auth_file, certs,
                                   place):
    """Logged in on this machine in the clear, and then nobody."""
    pem = place / "own.pem"
    pem.write_bytes(certs.pem("good").read_bytes())
    pem.chmod(0o600)
    daemon = start(sections(relay(), {"listen": {
        "auth_file": auth_file, "tls_cert": pem}}))
    context = ssl.create_default_context(cafile=certs.crt("ca"))
    context.check_hostname = False
    with smtplib.SMTP(*daemon.address) as client:
        client.login("bob@example.test", PASSWORD)
        assert client.docmd("MAIL FROM:<a@example.test>")[0] == 553
        client.starttls(context=context)
        client.ehlo()
        assert client.docmd("MAIL FROM:<a@example.test>")[0] == 250


@pytest.mark.parametrize("allow, code", [
    ("198.51.100.0/24", 530), ("{own}", 250)])
def test_either_will_do(allow, code, start, sections, relay, auth_file):
    """allow and auth_file together: in the one or in the other."""
    own = own_address()
    if not own or own.startswith("127."):
        pytest.skip("no address but loopback")
    daemon = start(sections(relay(), {"listen": {
        "address": "0.0.0.0:0", "auth_file": auth_file,
        "allow": allow.format(own=own)}}))
    with Conversation((own, daemon.port)) as client:
        client.ehlo()
        client.expect(code, "MAIL FROM:<a@example.test>")


# ---- Judged before ------------------------------------------------------

@pytest.mark.parametrize("text, fault", [
    ("alice\n", "line 1 is not user:hash"),
    (f"\n# x\nalice:{ALICE}\nbob:secret\n", "line 4 has no hash"),
    ("alice:$6$short\n", "line 1 has no hash"),
    ("alice:$1$abc$xyz\n", "openssl passwd -6"),
    (f"a b:{ALICE}\n", "line 1 has a user name"),
    (f":{ALICE}\n", "line 1 has a user name"),
    (f"alice:{ALICE}:\n", "line 1 has an empty list"),
    (None, "cannot be read: No such file")])
def test_judged(text, fault, sections, relay, place):
    path = place / "accounts"
    if text is not None:
        path.write_text(text)
        path.chmod(0o600)
    config = harness.write_config(place / "conf", sections(
        relay(), {"listen": {"auth_file": path}}))
    result = run("-c", config, "check", "--config")
    assert result.status == CONFIG
    assert fault in result.text
    assert "secret" not in result.text
