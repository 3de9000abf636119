# SPDX-License-Identifier: ISC
"""The guard of a copy of production: nobody outside hears of it."""

import re

import pytest

import harness
from harness import Conversation, sendmail

TEXT = b"Subject: x\n\nx\n"
REDIRECT = "ops@example.test"


def staging(**keys):
    return {"staging": keys}


@pytest.fixture
def with_spool(place):
    return {"queue": {"directory": place / "spool"}}


@pytest.mark.parametrize("spool", [False, True])
def test_redirect(spool, start, sections, relay, with_spool):
    one = relay()
    config = sections(one, staging(redirect=REDIRECT, allow="*@let.test"))
    daemon = start(harness.merge(config, with_spool if spool else {}))
    assert re.search(rb"level=warn.*but that to \*@let\.test is redirected "
                     rb"to ops@example\.test", daemon.log.raw)
    done = sendmail("a@x.test", "b@x.test", "c@let.test", "root",
                    socket_path=daemon.socket, stdin=TEXT)
    assert done.status == 0, done.text
    [got] = one.messages
    assert sorted(got.recipients) == ["c@let.test", REDIRECT]
    assert sorted(re.findall(rb"(?m)^X-Original-To: (.*)\r$", got.header)) \
        == [b"a@x.test", b"b@x.test", b"root@client.example.test"]
    shown = harness.run("-c", daemon.config, "queue").stdout.decode()
    if spool:
        assert "[staging] all mail but that to *@let.test" in shown
    done = harness.run("-c", daemon.config, "check", "--config")
    assert done.status == 0 and b"is redirected to" in done.stdout


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("spool", [False, True])
def test_refused(alone, spool, start, sections, relay, place, with_spool):
    one = relay()
    config = harness.merge(sections(one, staging(allow="*@let.test")),
                           with_spool if spool else {})
    if alone:
        path = harness.write_config(place / "conf", config)
        done = sendmail("a@x.test", config=path, stdin=TEXT)
    else:
        daemon = start(config)
        done = sendmail("a@x.test", socket_path=daemon.socket, stdin=TEXT)
        with Conversation(daemon.address) as client:
            client.ehlo()
            client.envelope(recipients=("a@x.test",))
            client.send(b"\r\nx\r\n.\r\n")
            reply = client.reply()
            assert reply.code == 550 and reply.enhanced == "5.7.1"
    assert done.status in harness.REFUSED
    assert "<a@x.test> is not in [staging] allow" in done.text
    assert not one.messages


def test_queue_that_was_copied(start, sections, relay, place, with_spool,
                               nobody_there):
    """What waited when the guard came is not sent past it, and goes once."""
    one = relay()
    config = harness.merge(sections(one), with_spool)
    daemon = start(harness.merge(config, {"upstream": {
        "port": nobody_there}}))
    done = sendmail("a@x.test", "b@x.test", socket_path=daemon.socket,
                    stdin=TEXT)
    assert done.status == 0, done.text
    daemon.stop()
    daemon = start(harness.merge(config, staging(redirect=REDIRECT)))
    [got] = one.wait_messages()
    assert got.recipients == [REDIRECT]
    assert got.header.count(b"X-Original-To:") == 2


def test_notices_obey_it(start, sections, relay, with_spool):
    one = relay(recipients={"gone@let.test": "550 5.1.1 who?"})
    daemon = start(harness.merge(sections(one, staging(
        redirect=REDIRECT, allow="gone@let.test")), with_spool))
    done = sendmail("-f", "boss@x.test", "gone@let.test", "c@y.test",
                    socket_path=daemon.socket, stdin=TEXT)
    assert done.status == 0, done.text
    got = one.wait_messages(2)
    assert [each.recipients for each in got] == [[REDIRECT], [REDIRECT]]
    notice = got[1]
    assert notice.sender == "" and b"X-Original-To: boss@x.test" in \
        notice.header
