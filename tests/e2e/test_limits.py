# SPDX-License-Identifier: ISC
"""Relays that take so much and no more: from a connection, at a time, for
now."""

import smtplib

import pytest

import harness
from harness import message

COUNT = 60


@pytest.fixture
def limited(relay, sections, place):
    """limited(limits): a relay, and a configuration with a spool."""
    def make(upstream=None, **limits):
        one = relay(**limits)
        return one, sections(one, {
            "upstream": {"idle": "60s", **(upstream or {})},
            "listen": {"control": place / "control"},
            "queue": {"directory": place / "spool", "delivery": "queue"}})
    return make


def submit(daemon, count=COUNT):
    with smtplib.SMTP(*daemon.address) as client:
        for i in range(count):
            client.sendmail("a@example.test", ["b@example.test"],
                            message(f"number {i}."))


def check_once(relay, count=COUNT):
    relay.wait_messages(count)
    for i in range(count):
        assert relay.copies(b"number %d." % i) == 1


@pytest.mark.parametrize("chunking", ["off", "eager"])
@pytest.mark.parametrize("most", [1, 7])
def test_messages_on_a_connection(most, chunking, limited, start):
    """421 to MAIL behind so many of them: the next goes over a new
    connection, and that is no attempt (LO-05)."""
    one, sections = limited({"chunking": chunking}, messages_max=most,
                            chunking=True)
    daemon = start(sections)
    submit(daemon)
    check_once(one)
    daemon.stop()
    assert len(one.sessions) <= COUNT // most + 3
    assert not daemon.events("deferred")
    assert not daemon.events("upstream_down")


def test_connections_at_a_time(limited, start):
    """421 to a connection too many: the others go on, no message is charged
    with it, and it is not tried for each of them (LO-05)."""
    one, sections = limited({"connections": 4}, sessions_max=1)
    daemon = start(sections)
    submit(daemon)
    check_once(one)
    daemon.stop()
    assert not daemon.events("deferred")
    assert one.turned_away <= COUNT // 3, one.turned_away


def test_rate(limited, start):
    """450 for all, until the minute is over: it is not asked again and again,
    and nothing is lost (LO-06)."""
    one, sections = limited({"connections": 2})
    one.replies["rcpt"] = "450 4.2.1 rate limited"
    daemon = start(sections)
    submit(daemon)
    daemon.wait_event("deferred")
    harness.wait_for(lambda: len(daemon.events("deferred")) == COUNT
                     or daemon.events("upstream_down"))
    asked = sum(session.said("RCPT") for session in one.sessions)
    assert asked <= COUNT + 2
    one.replies.clear()
    done = harness.run("-c", daemon.config, "queue", "retry", "--wait")
    assert done.status == 0, done.text
    check_once(one)
