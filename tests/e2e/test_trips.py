# SPDX-License-Identifier: ISC
"""How often a message goes to the relay and back, and what goes in one write:
PIPELINING, BDAT, recipients in pieces."""

import smtplib
import uuid

import pytest

import harness
from badrelay import Fault
from harness import REFUSED, TEMPORARY, message, sendmail
from postfix import REFUSED as NO_SUCH_USER

PEOPLE = ["b@example.test", "c@example.test"]
CHUNKING = ["auto", "eager"]


@pytest.fixture
def someone():
    """An address nobody else gets mail at."""
    return f"u{uuid.uuid4().hex[:12]}@example.test"


def submit(daemon, texts, recipients=("b@example.test",)):
    with smtplib.SMTP(*daemon.address) as client:
        for text in texts:
            assert not client.sendmail("a@example.test", recipients, text)


# chunking, with a spool, recipients: batches of bytes for each message
TRIPS = [
    ("off", False, 1, 2),
    ("off", True, 2, 2),
    # without a spool DATA and BDAT wait for all to be taken
    ("off", False, 2, 3),
    ("auto", False, 1, 2),
    ("auto", False, 2, 2),
    ("eager", False, 1, 1),
    ("eager", True, 2, 1),
    ("eager", False, 2, 2),
]


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("chunking, spool, count, trips", TRIPS)
def test_trips(chunking, spool, count, trips, secure, relay, start, sections,
               place, tls):
    """Each group and each content is one write, and nothing else is said
    between two messages."""
    one = relay(chunking=True, tls=tls if secure else None)
    daemon = start(sections(one, {
        "upstream": {"chunking": chunking, "connections": 1, "idle": "60s"},
        "queue": {"directory": place / "spool" if spool else "none"}}))
    submit(daemon, [message(f"number {i}\r\n.\r\n..x") for i in range(4)],
           PEOPLE[:count])
    daemon.stop()
    [session] = one.sessions
    got = one.wait_messages(4)
    assert [b.batches - a.batches for a, b in zip(got, got[1:])] == [trips] * 3
    assert not session.said("RSET")
    assert all(b"\r\n.\r\n..x\r\n" in taken.content for taken in got)
    assert all(taken.recipients == PEOPLE[:count] for taken in got)
    assert session.early == []


@pytest.mark.parametrize("chunking", CHUNKING)
def test_chunking_not_offered(chunking, relay, sections, place):
    one = relay()
    config = harness.write_config(place / "conf", sections(
        one, {"upstream": {"chunking": chunking}}))
    assert sendmail("b@example.test", config=config,
                    stdin=message()).status == 0
    assert not one.messages[0].chunked


@pytest.mark.parametrize("reply", ["500 5.5.1 what", "502 5.5.1 no such",
                                   "501 5.5.4 syntax", "504 5.5.4 no"])
@pytest.mark.parametrize("chunking", CHUNKING)
def test_chunking_offered_in_vain(chunking, reply, relay, sections, place):
    """What no relay says of a message is not final for one."""
    one = relay(chunking=True, replies={"bdat": reply})
    config = harness.write_config(place / "conf", sections(
        one, {"upstream": {"chunking": chunking}}))
    result = sendmail("b@example.test", config=config, stdin=message())
    assert result.status == harness.TEMPORARY
    assert "chunking = off" in result.text


def test_eager_without_pipelining(relay, sections, place):
    one = relay(chunking=True, pipelining=False, patience=0.05)
    config = harness.write_config(place / "conf", sections(
        one, {"upstream": {"chunking": "eager"}}))
    assert sendmail("b@example.test", config=config,
                    stdin=message()).status == 0
    assert one.messages[0].chunked
    assert one.sessions[0].groups == [0]
    assert one.sessions[0].early == []


@pytest.mark.parametrize("size", [60000, 70000, 3000000])
@pytest.mark.parametrize("chunking", CHUNKING)
def test_chunk_sizes(chunking, size, relay, sections, place):
    """What is too long to be eager waits for the envelope's answers; the
    relay gets the same bytes as by DATA."""
    text = message((".2345678901234567890123456789\n" * (size // 30)))
    taken = []
    for setting in ("off", chunking):
        one = relay(chunking=True)
        config = harness.write_config(place / "conf", sections(
            one, {"upstream": {"chunking": setting}}))
        assert sendmail("b@example.test", config=config,
                        stdin=text).status == 0
        taken.append(one.messages[0])
    by_data, by_bdat = taken
    assert by_bdat.chunked and not by_data.chunked
    assert by_bdat.text == by_data.text
    behind_mail = by_bdat.session.groups[0]  # lines, content's too
    assert (behind_mail > 1) == (chunking == "eager" and size < 65536)


@pytest.mark.parametrize("service", ["submission", "plain"])
@pytest.mark.parametrize("chunking", CHUNKING)
def test_postfix(chunking, service, start, for_postfix, postfix, place,
                 someone):
    """A real relay: it throws away the chunk of what it has refused, and the
    dialogue stays in step."""
    daemon = start(for_postfix(service, {
        "upstream": {"chunking": chunking, "connections": 1, "idle": "60s"},
        "queue": {"directory": place / "spool"}}))
    odd = message("before\r\n.\r\n..x\r\nQUIT", newline="\r\n")
    with smtplib.SMTP(*daemon.address) as client:
        with pytest.raises(smtplib.SMTPResponseException) as refused:
            client.sendmail("a@example.test", [NO_SUCH_USER], odd)
        assert refused.value.smtp_code == 550
        client.sendmail("a@example.test", [NO_SUCH_USER, someone], odd)
        client.sendmail("a@example.test", [someone], odd)
    got = postfix.messages(someone, 2)
    assert all(one.body == b"before\n.\n..x\nQUIT\n" for one in got)
    assert len({one["client"] for one in postfix.clients(got)}) == 1
    assert postfix.copies(someone) == 2


@pytest.mark.parametrize("service", ["small", "small-unsaid"])
@pytest.mark.parametrize("chunking", CHUNKING)
def test_too_large_for_postfix(chunking, service, for_postfix, postfix, place,
                               someone):
    """552 to MAIL, or to the chunk, which is known when it has arrived."""
    config = harness.write_config(place / "conf", for_postfix(
        service, {"upstream": {"chunking": chunking}}))
    result = sendmail(someone, config=config,
                      stdin=message(("x" * 70 + "\n") * 600))
    assert result.status in REFUSED, result.text
    assert postfix.copies(someone) == 0


@pytest.mark.parametrize("chunking", CHUNKING)
def test_all_or_nothing(chunking, relay, sections, place):
    """Without a spool one refusal still means nobody: several recipients are
    never eager."""
    one = relay(chunking=True,
                recipients={"c@example.test": "550 5.1.1 no such user"})
    config = harness.write_config(place / "conf", sections(
        one, {"upstream": {"chunking": chunking}}))
    result = sendmail(*PEOPLE, config=config, stdin=message())
    assert result.status in REFUSED
    assert one.copies() == 0
    assert not one.sessions[0].said("BDAT")


def test_taken_for_nobody(relay, sections, place):
    """A yes to the content, though no recipient was: nobody is refused, and
    nobody is done."""
    one = relay(Fault("rcpt", "550"), chunking=True,
                replies={"nobody": "250 2.0.0 ok"})
    config = harness.write_config(place / "conf", sections(
        one, {"upstream": {"chunking": "eager"}}))
    result = sendmail("b@example.test", config=config, stdin=message())
    assert result.status == TEMPORARY, result.text
