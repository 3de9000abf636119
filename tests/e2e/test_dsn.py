# SPDX-License-Identifier: ISC
"""What a sender asks of notices (DSN, RFC 3461) and addresses beyond ASCII
(SMTPUTF8, RFC 6531): what the listener takes, what the relay hears of it, and
the notices that come back, as Python's email package reads them."""

import email
import email.policy
import re
import time

import pytest

import harness
from badrelay import BadRelay, Fault
from harness import TEMPORARY, USAGE, message, sendmail
from test_queue import drain, kept, spool  # noqa: F401 (fixtures)

DSN, UTF8 = ("DSN",), ("SMTPUTF8",)
TEXT = message(body="<m>", newline="\r\n")
GREEN, SHOP = "grün@example.test", "店@例え.test"


def raw(text):
    """As the bad relay shows it, byte for byte."""
    return text.encode().decode("latin-1")


def say(client, *commands):
    """Commands that are taken, then the message; returns the last reply."""
    client.ehlo()
    for command in commands:
        client.expect(250, command.encode())
    client.expect(354, "DATA")
    client.send(TEXT + b".\r\n")
    return client.reply()


def submit(daemon, *commands):
    """The same on a connection of its own."""
    with daemon.connect() as client:
        return say(client, *commands)


def envelope(session):
    """The MAIL and RCPT lines of a connection, as text."""
    return [line.decode() for line in session.commands
            if line[:4] in (b"MAIL", b"RCPT")]


class Notice:
    """A notice, taken apart."""

    def __init__(self, taken):
        self.taken = taken
        self.message = email.message_from_bytes(
            taken.content, policy=email.policy.SMTPUTF8)
        assert self.message.get_content_type() == "multipart/report"
        assert self.message.get_param("report-type") == "delivery-status"
        assert not any(part.defects for part in self.message.walk())
        self.text, self.status, self.copy = self.message.iter_parts()
        assert self.text.get_content_type() == "text/plain"
        assert self.message["Auto-Submitted"] == "auto-replied"
        first, *self.recipients = self._groups()
        self.envelope_id = first["Original-Envelope-Id"]

    def _groups(self):
        payload = self.status.get_payload()
        if isinstance(payload, list):  # the package knows only the old type
            return payload if self.status.get_content_type() == \
                "message/delivery-status" else self._read(payload[0])
        return self._read(payload)

    def _read(self, text):
        raw_part = self.taken.content.partition(
            b"Content-Type: message/global-delivery-status\r\n"
            b"Content-Transfer-Encoding: 8bit\r\n\r\n")[2]
        assert raw_part, text
        groups = raw_part.partition(b"\r\n\r\n--")[0].split(b"\r\n\r\n")
        return [email.message_from_bytes(group, policy=email.policy.SMTPUTF8)
                for group in groups]


def only_notice(relay):
    """The one notice that the relay has got."""
    [taken] = [one for one in relay.messages
               if b"multipart/report" in one.header]
    return Notice(taken)


# ---- The listener ----------------------------------------------------

def test_offered_with_a_spool(start, kept, nobody_there):
    with start(kept(nobody_there)).connect() as client:
        offered = client.ehlo()
    assert {"DSN", "SMTPUTF8", "8BITMIME", "ETRN"} <= set(offered)


def test_offered_without_a_spool(start, sections, relay):
    """Nobody could write a notice, so nobody may ask for one."""
    one = relay(keywords=DSN)
    with start(sections(one)).connect() as client:
        offered = client.ehlo()
        assert "SMTPUTF8" in offered
        assert not {"DSN", "ETRN"} & set(offered)
        client.expect(555, "MAIL FROM:<a@x.test> RET=HDRS")
        client.expect(250, "MAIL FROM:<a@x.test>")
        client.expect(555, "RCPT TO:<b@x.test> NOTIFY=NEVER")
        client.expect(250, "RSET")
        client.expect(502, "ETRN example.test")


REFUSED = {
    "MAIL FROM:<a@x.test> RET=ALL": 501,
    "MAIL FROM:<a@x.test> RET=FULL RET=FULL": 501,
    "MAIL FROM:<a@x.test> ENVID=+0A": 501,
    "MAIL FROM:<a@x.test> ENVID=x+0D+0AX:y": 501,
    "MAIL FROM:<a@x.test> ENVID=" + "x" * 101: 501,
    "MAIL FROM:<a@x.test> ENVID=" + "x" * 4000: 501,
    "MAIL FROM:<a@x.test> SMTPUTF8=yes": 501,
    "MAIL FROM:<a@x.test> AUTH=<>": 555,
    "MAIL FROM:<a@x.test> AUTH=x+0Ay+0A": 555,
    f"MAIL FROM:<{GREEN}>": 553,
    "RCPT TO:<b@x.test> ORCPT=rfc822;x+0Ay": 501,
    "RCPT TO:<b@x.test> ORCPT=rfc822;x+0ay": 501,
    "RCPT TO:<b@x.test> ORCPT=rfc822": 501,
    "RCPT TO:<b@x.test> NOTIFY=NEVER,DELAY": 501,
    "RCPT TO:<b@x.test> NOTIFY=ALWAYS": 501,
    "RCPT TO:<b@x.test> NOTIFY=NEVER NOTIFY=NEVER": 501,
    "RCPT TO:<b@x.test> RET=HDRS": 555,
    f"RCPT TO:<{GREEN}>": 553,
}


@pytest.mark.parametrize("line", REFUSED, ids=lambda line: line[:40])
def test_refused(line, start, kept, spool, nobody_there):
    """CL-38, SE-30: and the session, or the transaction, goes on without."""
    daemon = start(kept(nobody_there))
    with daemon.connect() as client:
        client.ehlo()
        if line.startswith("RCPT"):
            client.expect(250, "MAIL FROM:<a@x.test>")
        reply = client.expect(REFUSED[line], line.encode())
        assert reply.enhanced[0] == "5"
        if line.startswith("MAIL"):
            client.expect(503, "RCPT TO:<b@x.test>")
            client.expect(250, "MAIL FROM:<a@x.test>")
        client.expect(250, "RCPT TO:<ok@x.test>")
        client.expect(354, "DATA")
        client.send(TEXT + b".\r\n")
        client.expect(250)
    [path] = spool.files()
    text = path.read_bytes()
    assert text.count(b"\nrecipient ") == 1 and b"ok@x.test\nend\n" in text
    assert b"\nenvelope-id -\nreturn -\nutf8 0\n" in text
    assert not re.search(rb"\+0[ADad]", daemon.log.raw + text)


@pytest.mark.parametrize("line, sender, protocol", [
    (f"MAIL FROM:<{GREEN}> SMTPUTF8", GREEN, b"UTF8SMTP"),
    (f"MAIL FROM:<{SHOP}> SMTPUTF8 BODY=8BITMIME", SHOP, b"UTF8SMTP"),
    ("MAIL FROM:<a@x.test> SMTPUTF8", "a@x.test", b"UTF8SMTP"),
    ("MAIL FROM:<a@x.test>", "a@x.test", b"ESMTP")])
def test_utf8_sender(line, sender, protocol, start, sections, relay):
    """Out as it came, with the parameter where it is needed; the log shows it
    as JSON does, so that it can be searched for."""
    one = relay(keywords=UTF8)
    daemon = start(sections(one))
    assert submit(daemon, line, "RCPT TO:<b@x.test>").code == 250
    [taken] = one.messages
    assert taken.sender == raw(sender)
    assert ("SMTPUTF8" in taken.parameters) == (not sender.isascii())
    assert b" with " + protocol + b" id " in taken.header
    daemon.wait_event("accepted", **{"from": sender})
    assert daemon.log.raw.isascii()


def test_not_utf8(start, kept, nobody_there):
    """With SMTPUTF8 too: no half characters, no control characters."""
    with start(kept(nobody_there)).connect() as client:
        client.ehlo()
        for path in (b"\xff", b"\xc0\x8a", b"gr\xfcn", b"\xed\xa0\x80",
                     b"\xc2\x85", b"a\xc2"):
            client.expect((501, 553), b"MAIL FROM:<" + path +
                          b"@x.test> SMTPUTF8")
        client.expect(250, "MAIL FROM:<a@x.test> SMTPUTF8")
        for path in (b"\xff", b"\xc2\x9b", b"\xf4\x90\x80\x80"):
            client.expect((501, 553), b"RCPT TO:<b@" + path + b">")
        client.expect(250, f"RCPT TO:<{SHOP}>".encode())


# ---- The relay -------------------------------------------------------

ASKED = ("MAIL FROM:<a@x.test> RET=HDRS ENVID=QQ+2B1 SIZE=10",
         "RCPT TO:<b@x.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o+2Bb@x.test",
         "RCPT TO:<c@x.test> NOTIFY=NEVER", "RCPT TO:<d@x.test>")


def said(session):
    """Without SIZE, which is ours."""
    return [re.sub(r" SIZE=\d+", "", line) for line in envelope(session)]


@pytest.mark.parametrize("keywords", [DSN, ()])
@pytest.mark.parametrize("stored", [False, True])
def test_passed_on_where_offered(stored, keywords, start, kept, spool,
                                 nobody_there, relay):
    """SO-22: from memory and from the spool."""
    one = relay(keywords=keywords)
    daemon = start(kept(nobody_there if stored else one))
    asked = (*ASKED[:1], ASKED[1].replace("SUCCESS,", ""), *ASKED[2:])
    assert submit(daemon, *asked).code == 250
    daemon.stop()
    if stored:
        drain(start, kept(one), one, 1)
    wanted = [line.replace(" SIZE=10", "") for line in asked]
    if not keywords:
        wanted = [line.partition(" NOTIFY")[0].partition(" RET")[0]
                  for line in wanted]
    [session] = one.sessions
    assert said(session) == wanted
    spool.assert_empty()


class Fickle(BadRelay):
    """Offers DSN on one side of STARTTLS only."""

    def __init__(self, inside, **options):
        self.inside = inside
        super().__init__(**options)

    @property
    def keywords(self):
        return DSN if bool(self.sessions[-1].wire.tls) == self.inside else ()

    @keywords.setter
    def keywords(self, _):
        pass


@pytest.mark.parametrize("inside", [True, False])
def test_the_last_ehlo_counts(inside, start, kept, tls):
    """What was offered before TLS is forgotten (SO-22)."""
    with Fickle(inside, tls=tls) as one:
        daemon = start(kept(one))
        assert submit(daemon, "MAIL FROM:<a@x.test> RET=FULL",
                      "RCPT TO:<b@x.test> NOTIFY=NEVER").code == 250
        [session] = one.sessions
        assert ("RET=FULL" in session.text) == inside
        assert ("NOTIFY" in session.text) == inside


# ---- The sendmail command --------------------------------------------

@pytest.mark.parametrize("how", ["daemon", "alone"])
@pytest.mark.parametrize("options, mail, rcpt", [
    (["-N", "never"], "", " NOTIFY=NEVER"),
    (["-Nsuccess,failure"], "", " NOTIFY=SUCCESS,FAILURE"),
    (["-R", "full"], " RET=FULL", ""),
    (["-Rhdrs", "-V", "a+b =c"], " RET=HDRS ENVID=a+2Bb+20+3Dc", ""),
    (["-N", "delay", "-R", "HDRS", "-Vid"], " RET=HDRS ENVID=id",
     " NOTIFY=DELAY")])
def test_sendmail(options, mail, rcpt, how, start, kept, sections, relay,
                  place):
    one = relay(keywords=DSN, eightbit=False)
    if how == "daemon":
        where = {"socket_path": start(kept(one)).socket}
    else:
        where = {"config": harness.write_config(place / "alone",
                                                sections(one))}
    result = sendmail(*options, "-f", "a@x.test", "b@x.test", "c@x.test",
                      stdin=message(), **where)
    assert result.status == 0, result.text
    assert said(one.sessions[0]) == [
        "MAIL FROM:<a@x.test>" + mail, "RCPT TO:<b@x.test>" + rcpt,
        "RCPT TO:<c@x.test>" + rcpt]


def test_sendmail_and_a_daemon_without_a_spool(start, sections, relay):
    """Which cannot keep what is asked: the message goes all the same."""
    one = relay(keywords=DSN)
    daemon = start(sections(one))
    result = sendmail("-N", "never", "-R", "hdrs", "-V", "x", "b@x.test",
                      stdin=message(), socket_path=daemon.socket)
    assert result.status == 0, result.text
    assert one.copies() == 1


@pytest.mark.parametrize("options, word", [
    (["-N", "always"], "-N"), (["-Nnever,delay"], "-N"), (["-N", ""], "-N"),
    (["-R", "all"], "-R"), (["-V", "x" * 101], "-V"), (["-V", "a\nb"], "-V"),
    (["-V", "é"], "-V"), (["-V", "+" * 34], "-V")])
def test_sendmail_wrong_value(options, word, sections, relay, place):
    """Said, and nobody gets it without what was asked for."""
    one = relay()
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail(*options, "b@x.test", config=config, stdin=message())
    assert result.status == USAGE
    assert re.fullmatch(rf"sendmail: {word} takes [^\n]+\n", result.text)
    assert not one.sessions


@pytest.mark.parametrize("how", ["daemon", "alone"])
@pytest.mark.parametrize("extract", [True, False])
def test_sendmail_utf8(extract, how, start, sections, relay, place):
    one = relay(keywords=UTF8)
    if how == "daemon":
        where = {"socket_path": start(sections(one)).socket}
    else:
        where = {"config": harness.write_config(place / "alone",
                                                sections(one))}
    names = [GREEN, SHOP, "b@x.test"]
    text = message(to=", ".join(names))
    result = sendmail(*(["-t"] if extract else names), stdin=text, **where)
    assert result.status == 0, result.text
    [taken] = one.messages
    assert taken.recipients == [raw(name) for name in names]
    assert "SMTPUTF8" in taken.parameters
    assert f"To: {', '.join(names)}\r\n".encode() in taken.header


def test_sendmail_not_utf8(sections, relay, place):
    one = relay(keywords=UTF8)
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail(b"gr\xfcn@x.test".decode("utf-8", "surrogateescape"),
                      config=config, stdin=message())
    assert result.status in (harness.BAD_INPUT, USAGE)
    assert not one.sessions


# ---- SMTPUTF8 is not offered -----------------------------------------

@pytest.mark.parametrize("spooled", [True, False])
@pytest.mark.parametrize("sender, recipients", [
    ("a@x.test", [GREEN]), ("a@x.test", [SHOP, GREEN]),
    (GREEN, ["b@x.test"]), (GREEN, ["b@x.test", SHOP])])
def test_never_raw(sender, recipients, spooled, start, kept, sections, spool,
                   relay):
    """SO-16: 5.6.7 for the client, and not a byte of it for the relay."""
    one = relay()
    daemon = start(kept(one) if spooled else sections(one))
    reply = submit(daemon, f"MAIL FROM:<{sender}> SMTPUTF8",
                   *(f"RCPT TO:<{name}>" for name in recipients))
    assert (reply.code, reply.enhanced) == (553, "5.6.7"), reply
    assert "SMTPUTF8" in reply.text
    daemon.stop()
    assert not one.messages
    assert not any(session.said("MAIL") for session in one.sessions)
    if spooled:
        spool.assert_empty()


def test_never_raw_all_or_nothing(start, sections, relay):
    """Without a spool the others get nothing either."""
    one = relay()
    daemon = start(sections(one))
    reply = submit(daemon, "MAIL FROM:<a@x.test> SMTPUTF8",
                   "RCPT TO:<b@x.test>", f"RCPT TO:<{GREEN}>")
    assert (reply.code, reply.enhanced) == (553, "5.6.7"), reply
    assert not one.sessions[0].said("MAIL")


def test_one_of_two_cannot_be_named(start, kept, spool, relay):
    """With one they get it, and the sender reads in a notice who did not."""
    one = relay()
    daemon = start(kept(one))
    reply = submit(daemon, "MAIL FROM:<a@x.test> SMTPUTF8",
                   "RCPT TO:<b@x.test>",
                   f"RCPT TO:<{GREEN}> ORCPT=utf-8;{SHOP}")
    assert reply.code == 250
    one.wait_messages(2)
    daemon.stop()
    assert one.messages[0].recipients == ["b@x.test"]
    notice = only_notice(one)
    assert notice.taken.recipients == ["a@x.test"]
    assert "SMTPUTF8" not in notice.taken.parameters
    assert notice.text.get_content_charset() == "utf-8"
    assert f"<{GREEN}>" in notice.text.get_content()
    [about] = notice.recipients
    assert about["Final-Recipient"] == f"utf-8; {GREEN}"
    assert about["Original-Recipient"] == f"utf-8; {SHOP}"
    assert about["Status"] == "5.6.7"
    assert about["Action"] == "failed"
    spool.assert_empty()


def test_utf8_in_the_header_only(start, sections, relay):
    """It goes out as it would have without the extension."""
    one = relay()
    daemon = start(sections(one))
    text = message(subject="grün", newline="\r\n")
    with daemon.connect() as client:
        client.ehlo()
        client.expect(250, "MAIL FROM:<a@x.test> SMTPUTF8 BODY=8BITMIME")
        client.expect(250, "RCPT TO:<b@x.test>")
        client.expect(354, "DATA")
        client.send(text + b".\r\n")
        client.expect(250)
    [taken] = one.messages
    assert "Subject: grün\r\n".encode() in taken.header
    assert "SMTPUTF8" not in taken.parameters
    assert "BODY=8BITMIME" in taken.parameters


@pytest.mark.parametrize("keywords", [UTF8, ()])
def test_notice_to_a_utf8_sender(keywords, start, kept, spool, nobody_there,
                                 relay):
    """It needs SMTPUTF8 itself; where there is none it cannot be delivered,
    and the message stays in failed/."""
    daemon = start(kept(nobody_there))
    assert submit(daemon, f"MAIL FROM:<{GREEN}> SMTPUTF8",
                  "RCPT TO:<b@x.test>").code == 250
    daemon.stop()
    one = relay(keywords=keywords,
                recipients={"b@x.test": "550 5.1.1 no such user"})
    daemon = start(kept(one))
    daemon.wait_event("bounced", to="b@x.test")
    if keywords:
        one.wait_messages(1)
    else:
        daemon.wait_event("bounced", to=GREEN)
    daemon.stop()
    if not keywords:
        assert not one.messages and len(spool.names("failed")) == 1
        return
    notice = only_notice(one)
    assert notice.taken.recipients == [raw(GREEN)]
    assert "SMTPUTF8" in notice.taken.parameters
    assert notice.message["To"] == GREEN
    spool.assert_empty()


# ---- Who is told of a failure ----------------------------------------

@pytest.fixture
def fail(start, kept, spool, nobody_there, relay):
    """fail(changes, *commands): takes a message, has the relay refuse
    everybody whose name begins with no, and waits for the end of it. Returns
    the relay and the daemon's log."""
    def run(changes, *commands, notices=1, keywords=()):
        daemon = start(kept(nobody_there, changes))
        assert submit(daemon, *commands).code == 250
        daemon.stop()
        refused = re.findall(r"RCPT TO:<(no[^>]*)>", " ".join(commands))
        one = relay(keywords=keywords,
                    recipients={name: "550 5.1.1 no such user"
                                for name in refused})
        daemon = start(kept(one, changes))
        for name in refused:
            daemon.wait_event("bounced", to=name)
        others = len(refused) < sum(c.startswith("RCPT") for c in commands)
        one.wait_messages(notices + others)
        daemon.stop()
        assert len(one.messages) == notices + others
        return one, daemon
    return run


@pytest.mark.parametrize("notify", ["NEVER", "SUCCESS", "DELAY",
                                    "SUCCESS,DELAY"])
@pytest.mark.parametrize("sender", ["a@x.test", ""])
def test_nobody_wants_to_hear(sender, notify, fail, spool):
    """No notice, and nothing stays in failed/; the log has it."""
    _, daemon = fail({}, f"MAIL FROM:<{sender}>",
                     f"RCPT TO:<no@x.test> NOTIFY={notify}", notices=0)
    assert daemon.events("bounced", to="no@x.test",
                         note="its sender did not want to be told")
    spool.assert_empty()


def test_some_want_to_hear(fail, spool):
    """A notice about these, and none of the others is in it."""
    one, daemon = fail({}, "MAIL FROM:<a@x.test>",
                       "RCPT TO:<no1@x.test> NOTIFY=NEVER",
                       "RCPT TO:<no2@x.test> NOTIFY=FAILURE",
                       "RCPT TO:<no3@x.test>", "RCPT TO:<yes@x.test>",
                       "RCPT TO:<no4@x.test> NOTIFY=DELAY")
    notice = only_notice(one)
    assert [about["Final-Recipient"] for about in notice.recipients] == [
        "rfc822; no2@x.test", "rfc822; no3@x.test"]
    assert b"no1@" not in notice.taken.body
    assert b"no4@" not in notice.taken.body
    assert daemon.events("bounced", to="no2@x.test",
                         note="its sender is told")
    spool.assert_empty()


def test_null_sender_stays(fail, spool):
    """Nobody has said that nobody wants to hear."""
    fail({}, "MAIL FROM:<>", "RCPT TO:<no@x.test>", notices=0)
    assert len(spool.names("failed")) == 1 and spool.names() == []


@pytest.mark.parametrize("returns", ["FULL", "HDRS", None])
def test_what_is_returned(returns, fail, spool):
    parameter = f" RET={returns}" if returns else ""
    one, _ = fail({}, f"MAIL FROM:<a@x.test> ENVID=QQ+2B1+20x{parameter}",
                  "RCPT TO:<no@x.test> ORCPT=rfc822;o+2Bb+3Dc@x.test")
    notice = only_notice(one)
    assert notice.envelope_id == "QQ+1 x"
    [about] = notice.recipients
    assert about["Original-Recipient"] == "rfc822; o+b=c@x.test"
    assert about["Final-Recipient"] == "rfc822; no@x.test"
    assert about["Action"] == "failed" and about["Status"] == "5.1.1"
    if returns == "FULL":
        assert notice.copy.get_content_type() == "message/rfc822"
        assert notice.copy.get_content().get_content() == "<m>\r\n"
    else:
        assert notice.copy.get_content_type() == "text/rfc822-headers"
        assert b"<m>" not in notice.taken.body
    assert b"Subject: test" in notice.taken.body
    spool.assert_empty()


def test_large_messages_are_not_returned(start, kept, nobody_there, relay):
    text = message(body="0123456789abcd\r\n" * 4000, newline="\r\n")
    daemon = start(kept(nobody_there))
    with daemon.connect() as client:
        client.ehlo()
        client.expect(250, "MAIL FROM:<a@x.test> RET=FULL")
        client.expect(250, "RCPT TO:<no@x.test>")
        client.expect(354, "DATA")
        client.send(text + b".\r\n")
        client.expect(250)
    daemon.stop()
    one = relay(recipients={"no@x.test": "550 5.1.1 no such user"})
    drain(start, kept(one), one, 1)
    notice = only_notice(one)
    assert notice.copy.get_content_type() == "text/rfc822-headers"
    assert len(notice.taken.body) < 5000


def test_relay_with_dsn_makes_no_difference_to_failures(fail, spool):
    """What we have taken and it refuses to us is ours to report."""
    one, _ = fail({}, "MAIL FROM:<a@x.test>",
                  "RCPT TO:<no@x.test> NOTIFY=SUCCESS,FAILURE", keywords=DSN)
    assert only_notice(one).recipients[0]["Action"] == "failed"
    spool.assert_empty()


# ---- bounce_to and bounce_from ---------------------------------------

@pytest.mark.parametrize("sender", ["a@x.test", ""])
def test_bounce_to_and_from(sender, fail, spool):
    """Also for a message with the null sender that is none of our notices."""
    one, _ = fail({"queue": {"bounce_to": "ops@x.test",
                             "bounce_from": "bounces@x.test"}},
                  f"MAIL FROM:<{sender}>", "RCPT TO:<no@x.test>")
    notice = only_notice(one)
    assert notice.taken.sender == "bounces@x.test"
    assert notice.taken.recipients == ["ops@x.test"]
    assert "bounces@x.test" in notice.message["From"]
    assert notice.message["To"] == "ops@x.test"
    spool.assert_empty()


def test_no_notice_about_a_notice(start, kept, spool, nobody_there, relay):
    """Though it has a sender, with bounce_from."""
    changes = {"queue": {"bounce_from": "bounces@x.test"}}
    daemon = start(kept(nobody_there, changes))
    submit(daemon, "MAIL FROM:<no1@x.test>", "RCPT TO:<no2@x.test>")
    daemon.stop()
    one = relay(replies={"rcpt": "550 5.1.1 no such user"})
    daemon = start(kept(one, changes))
    daemon.wait_event("bounced", to="no1@x.test",
                      note="nobody can be told, see failed/")
    daemon.stop()
    assert spool.names() == []
    assert len(daemon.events("bounced")) == 2


# ---- Success, and a relay that does not tell -------------------------

@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("keywords", [(), DSN])
def test_success(keywords, stored, start, kept, spool, nobody_there, relay):
    """RFC 3461 section 6.2: told by us where the relay will not."""
    one = relay(keywords=keywords)
    daemon = start(kept(nobody_there if stored else one))
    assert submit(daemon, *ASKED).code == 250
    if stored:
        daemon.stop()
        daemon = start(kept(one))
    if not keywords:
        one.wait_messages(2)
    else:
        daemon.wait_event("sent", to="d@x.test")
    daemon.stop()
    spool.assert_empty()
    if keywords:
        assert len(one.messages) == 1
        return
    notice = only_notice(one)
    assert notice.taken.sender == ""
    assert notice.taken.recipients == ["a@x.test"]
    assert notice.envelope_id == "QQ+1"
    [about] = notice.recipients
    assert about["Final-Recipient"] == "rfc822; b@x.test"
    assert about["Original-Recipient"] == "rfc822; o+b@x.test"
    assert about["Action"] == "relayed" and about["Status"] == "2.0.0"
    assert about["Diagnostic-Code"].startswith("smtp; 250 ")
    assert b"<m>" not in notice.taken.body


def test_success_of_one_of_two(start, kept, spool, relay):
    """At once, and not again when the other has got it too."""
    one = relay(recipients={"later@x.test": "450 4.2.1 busy"})
    daemon = start(kept(one))
    asked = ("MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test> NOTIFY=SUCCESS",
             "RCPT TO:<later@x.test> NOTIFY=SUCCESS,FAILURE")
    assert submit(daemon, *asked).code == 250
    one.wait_messages(2)
    daemon.stop()
    assert [about["Final-Recipient"] for about in
            only_notice(one).recipients] == ["rfc822; b@x.test"]
    one.recipients = {}
    one.messages.clear()
    spool.make_due()
    drain(start, kept(one), one, 2)
    assert [about["Final-Recipient"] for about in
            only_notice(one).recipients] == ["rfc822; later@x.test"]
    assert len(one.messages) == 2
    spool.assert_empty()


def test_success_for_the_null_sender(start, kept, spool, relay):
    one = relay()
    daemon = start(kept(one))
    assert submit(daemon, "MAIL FROM:<>",
                  "RCPT TO:<b@x.test> NOTIFY=SUCCESS").code == 250
    daemon.stop()
    assert len(one.messages) == 1
    spool.assert_empty()


def test_success_of_a_slow_one(start, kept, spool, relay):
    """The client has gone by then."""
    one = relay(Fault("dot", "slow"))
    daemon = start(kept(one, {"queue": {"direct_wait": "0"}}))
    reply = submit(daemon, "MAIL FROM:<a@x.test>",
                   "RCPT TO:<b@x.test> NOTIFY=SUCCESS")
    assert reply.code == 250
    one.wait_messages(2)
    daemon.stop()
    assert only_notice(one).recipients[0]["Action"] == "relayed"
    spool.assert_empty()


# ---- Postfix ---------------------------------------------------------

def unique(word):
    """An address that no other test, or run, has used."""
    return f"{word}-{time.monotonic_ns()}@example.test"


def test_postfix_tells_of_success(start, for_postfix, postfix, spool):
    """It offers DSN, so the notice is its own, with what we passed on, and
    about nobody else."""
    daemon = start(for_postfix(
        changes={"queue": {"directory": spool.path}}))
    sender, to, other = unique("sender"), unique("to"), unique("other")
    assert submit(daemon, f"MAIL FROM:<{sender}> RET=HDRS ENVID=QQ+2B314",
                  f"RCPT TO:<{to}> NOTIFY=SUCCESS "
                  "ORCPT=rfc822;first+2Bone@x.test",
                  f"RCPT TO:<{other}> NOTIFY=NEVER").code == 250
    assert postfix.messages(to) and postfix.messages(other)
    [notice] = postfix.messages(sender)
    assert other.encode() not in notice.raw
    status = notice.message.get_payload(1).get_payload()
    assert status[0]["Original-Envelope-Id"] == "QQ+314"
    assert status[1]["Original-Recipient"] == "rfc822;first+one@x.test"
    assert status[1]["Action"] == "delivered"
    assert daemon.stop() == 0
    assert postfix.copies(sender) == 1
    spool.assert_empty()


def test_postfix_utf8(start, for_postfix, postfix):
    """From a UTF-8 address to another, and ASCII at its side."""
    daemon = start(for_postfix())
    sender, to, other = unique("käufer"), unique("店"), unique("b")
    assert submit(daemon, f"MAIL FROM:<{sender}> SMTPUTF8",
                  f"RCPT TO:<{to}>", f"RCPT TO:<{other}>").code == 250
    for name in (to, other):
        [taken] = postfix.messages(name)
        assert taken.sender == sender
        assert b"<m>" in taken.body
    assert daemon.stop() == 0


def test_sendmail_status_when_utf8_is_refused(start, sections, relay):
    """5xx is final for sendmail: no second way, no 75."""
    one = relay()
    daemon = start(sections(one))
    result = sendmail(GREEN, stdin=message(), socket_path=daemon.socket)
    assert result.status in harness.REFUSED and result.status != TEMPORARY
    assert "5.6.7" in result.text
    assert not one.messages
