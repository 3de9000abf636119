# SPDX-License-Identifier: ISC
"""A real Postfix as the relay: STARTTLS and implicit TLS, each login, its
refusals, its absence and its return."""

import smtplib
import uuid

import pytest

import harness
from harness import REFUSED, TEMPORARY, message, sendmail
from postfix import DEFERRED, PASSWORD, SMALL, USER

# An inlet takes a message and gives the verdict as an exit status.
INLETS = ["daemonless", "daemon", "smtp"]


@pytest.fixture
def someone():
    """An address nobody else gets mail at."""
    return f"u{uuid.uuid4().hex[:12]}@example.test"


@pytest.fixture(params=INLETS)
def send(request, start, place):
    """send(sections, recipients, text) by that inlet; an SMTP client's
    verdict is put as the exit status that means the same."""
    def by_smtp(sections, recipients, text):
        daemon = send.daemon = send.daemon or start(sections)
        try:
            with smtplib.SMTP(*daemon.address) as client:
                assert not client.sendmail("a@example.test", recipients,
                                           text.replace(b"\n", b"\r\n"))
            return harness.Result(0, b"", b"")
        except smtplib.SMTPResponseException as error:
            status = TEMPORARY if error.smtp_code < 500 else REFUSED[0]
            return harness.Result(status, b"", error.smtp_error)

    def send(sections, recipients, text):
        if request.param == "smtp":
            return by_smtp(sections, recipients, text)
        args = ["-i", "-f", "a@example.test", *recipients]
        if request.param == "daemonless":
            config = harness.write_config(place / "conf", sections)
            return sendmail(*args, config=config, stdin=text)
        daemon = send.daemon = send.daemon or start(sections)
        return sendmail(*args, socket_path=daemon.socket, stdin=text)

    send.daemon = None
    return send


@pytest.mark.parametrize("service", ["submission", "implicit", "plain"])
def test_delivers(service, send, for_postfix, postfix, someone):
    result = send(for_postfix(service), [someone], message("hello"))
    assert result.status == 0, result.text
    [got] = postfix.messages(someone)
    assert got.sender == "a@example.test"
    assert got.body == b"hello\n"
    assert got.message["Subject"] == "test"


@pytest.mark.parametrize("daemonless", [True, False])
def test_recipients_from_the_header(daemonless, start, for_postfix, postfix,
                                    place, someone):
    text = f"To: {someone}\nSubject: t\n\nx\n".encode()
    if daemonless:
        config = harness.write_config(place / "conf", for_postfix())
        result = sendmail("-t", config=config, stdin=text)
    else:
        daemon = start(for_postfix())
        result = sendmail("-t", socket_path=daemon.socket, stdin=text)
    assert result.status == 0, result.text
    [got] = postfix.messages(someone)
    for field in ("Date", "Message-ID", "From"):
        assert got.message[field], field


# Which login goes to which service: each alone, and what auto makes of it.
LOGINS = [
    ("auth-plain", "plain"), ("auth-login", "login"),
    ("auth-cram-md5", "cram-md5"), ("auth-plain", "auto"),
    ("auth-login", "auto"), ("auth-cram-md5", "auto"),
    ("submission", "plain"), ("submission", "login"),
    ("submission", "cram-md5"), ("submission", "auto"),
]


@pytest.mark.parametrize("service, auth", LOGINS)
def test_login(service, auth, for_postfix, postfix, place, someone):
    config = harness.write_config(place / "conf", for_postfix(
        service, {"upstream": {"auth": auth}}))
    result = sendmail(someone, config=config, stdin=message())
    assert result.status == 0, result.text
    [used] = postfix.clients(postfix.messages(someone))
    assert used["sasl_username"].partition("@")[0] == USER
    if auth != "auto":
        assert used["sasl_method"] == auth.upper()


@pytest.mark.parametrize("service, auth", [
    ("auth-plain", "cram-md5"), ("auth-cram-md5", "login"),
    ("auth-login", "plain")])
def test_login_not_offered(service, auth, for_postfix, postfix, place,
                           someone):
    config = harness.write_config(place / "conf", for_postfix(
        service, {"upstream": {"auth": auth}}))
    result = sendmail(someone, config=config, stdin=message())
    assert result.status == TEMPORARY
    assert postfix.copies(someone) == 0


@pytest.mark.parametrize("auth", ["plain", "login", "cram-md5", "auto"])
def test_wrong_password(auth, send, for_postfix, postfix, someone):
    wrong = "wrong-" + PASSWORD
    result = send(for_postfix(changes={"upstream": {
        "auth": auth, "password": wrong}}), [someone], message())
    assert result.status == TEMPORARY
    assert wrong.encode() not in result.stderr
    if send.daemon:
        down = send.daemon.wait_event("upstream_down")
        assert "535" in (down.get("reply", "") + down.get("code", "")
                         + down.get("hint", ""))
        assert down.get("hint"), down
        send.daemon.stop()
        assert wrong.encode() not in send.daemon.log.raw
    else:
        assert b"535" in result.stderr
    assert postfix.copies(someone) == 0


def test_one_refused_recipient(send, for_postfix, postfix, someone):
    """All or nothing: nobody gets it, and the name is said."""
    result = send(for_postfix(),
                  [someone, "refused@example.test", "x" + someone],
                  message())
    assert result.status in REFUSED
    assert b"refused@example.test" in result.stderr
    assert b"no such user here" in result.stderr
    assert postfix.copies(someone) == postfix.copies("x" + someone) == 0


def test_one_deferred_recipient(send, for_postfix, postfix, someone):
    result = send(for_postfix(), [someone, DEFERRED], message())
    assert result.status == TEMPORARY
    assert DEFERRED.encode() in result.stderr
    assert postfix.copies(someone) == 0


def test_refused_before_deferred(send, for_postfix, postfix, someone):
    result = send(for_postfix(), [DEFERRED, someone, "refused@example.test"],
                  message())
    assert result.status in REFUSED
    assert b"refused@example.test" in result.stderr
    assert postfix.copies(someone) == 0


@pytest.mark.parametrize("service", ["small", "small-unsaid"])
def test_over_the_limit(service, send, for_postfix, postfix, someone):
    """Whether the limit is offered as SIZE or comes as a surprise."""
    result = send(for_postfix(service), [someone],
                  message(("x" * 70 + "\n") * (2 * SMALL // 70)))
    assert result.status in (*REFUSED, harness.BAD_INPUT)
    assert postfix.copies(someone) == 0
    result = send(for_postfix(service), [someone], message("small"))
    assert result.status == 0, result.text


def test_restart_on_a_kept_connection(start, for_postfix, postfix, someone):
    """The second message does not notice that its connection has gone."""
    daemon = start(for_postfix(changes={"upstream": {"idle": "60s"}}))
    for count in (1, 2):
        with smtplib.SMTP(*daemon.address) as client:
            client.sendmail("a@example.test", [someone], message())
        # a Postfix that ends in between delivers once more
        assert postfix.copies(someone) == count
        postfix.restart()
    daemon.stop()
    assert not daemon.events("deferred")
    assert not daemon.events("upstream_down")


def test_absent(start, for_postfix, postfix, someone):
    """451 while it is away; the second client is answered without another
    try; and a new daemon delivers when it is back."""
    sections = for_postfix()
    postfix.stop()
    daemon = start(sections)
    with smtplib.SMTP(*daemon.address) as client:
        for _ in range(2):
            with pytest.raises(smtplib.SMTPDataError) as error:
                client.sendmail("a@example.test", [someone], message())
            assert error.value.smtp_code == 451
    daemon.stop()
    assert len(daemon.events("upstream_down")) == 1
    postfix.start()
    result = sendmail(someone, stdin=message(),
                      socket_path=start(sections).socket)
    assert result.status == 0
    postfix.messages(someone)


def test_absent_for_sendmail(for_postfix, postfix, place, someone):
    config = harness.write_config(place / "conf", for_postfix())
    postfix.stop()
    result = sendmail(someone, config=config, stdin=message())
    assert result.status == TEMPORARY
    assert b"refused" in result.stderr.lower()


def test_second_client_causes_no_connection(start, relay, sections, tls):
    """An upstream that is down is known to be down: one connection."""
    one = relay(replies={"banner": "554 5.3.2 go away"})
    daemon = start(sections(one))
    for _ in range(3):
        with smtplib.SMTP(*daemon.address) as client:
            with pytest.raises(smtplib.SMTPDataError) as error:
                client.sendmail("a@example.test", ["b@example.test"],
                                message())
            assert error.value.smtp_code == 451
    assert len(one.sessions) == 1


def test_hundred_messages_on_few_connections(start, for_postfix, postfix,
                                             someone):
    """Connections are kept while there is work."""
    daemon = start(for_postfix(changes={"upstream": {"idle": "60s"}}))
    with smtplib.SMTP(*daemon.address) as client:
        for number in range(100):
            client.sendmail("a@example.test", [someone],
                            message(f"number {number}"))
    assert daemon.stop() == 0
    got = postfix.messages(someone, 100)
    assert len(got) == len({one.body for one in got}) == 100
    assert len({one["client"] for one in postfix.clients(got)}) <= 2
