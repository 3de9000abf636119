# SPDX-License-Identifier: ISC
"""[identity] archive_to: one more recipient of everything."""

import pytest

from harness import message, sendmail, wait_for, write_config
# pylint: disable=unused-import
from test_queue import kept, send, send_queued, spool  # noqa: F401

ARCHIVE = {"identity": {"archive_to": "archive@example.test"}}


@pytest.mark.parametrize("with_spool", [False, True])
def test_everything_once(start, sections, kept, place, relay, with_spool):
    one = relay()
    make = kept if with_spool else sections
    daemon = start(make(one, ARCHIVE))
    assert send(daemon, recipients=["b@example.test"]).code == 250
    assert send(daemon, recipients=["Archive@example.test"]).code == 250
    assert sendmail("c@example.test", socket_path=place / "socket",
                    stdin=message()).status == 0
    assert [sorted(got.recipients) for got in one.messages] == [
        ["archive@example.test", "b@example.test"], ["Archive@example.test"],
        ["archive@example.test", "c@example.test"]]


def test_no_header_names_it(start, sections, relay):
    one = relay()
    daemon = start(sections(one, ARCHIVE))
    assert send(daemon).code == 250
    assert b"archive" not in one.messages[0].content


def test_daemonless(sections, place, relay):
    one = relay()
    config = write_config(place / "own.conf", sections(one, ARCHIVE))
    assert sendmail("b@example.test", config=config,
                    stdin=message()).status == 0
    assert sorted(one.messages[0].recipients) == [
        "archive@example.test", "b@example.test"]


def test_refused_archive(start, kept, relay, spool):
    """The others get the message, and the sender is told; the notice has no
    copy of its own."""
    one = relay(recipients={"archive@example.test": "550 5.1.1 gone"})
    daemon = start(kept(one, ARCHIVE))
    assert send(daemon).code == 250
    one.wait_messages(2)
    assert [got.recipients for got in one.messages] == [
        ["b@example.test"], ["a@example.test"]]
    assert one.messages[1].sender == ""
    wait_for(lambda: not spool.names() and not spool.names("failed"))


def test_staging_has_the_last_word(start, sections, relay):
    one = relay()
    daemon = start(sections(one, {
        **ARCHIVE, "staging": {"redirect": "ops@example.test"}}))
    assert send(daemon).code == 250
    assert one.messages[0].recipients == ["ops@example.test"]


def test_a_queued_message_has_it_already(start, kept, relay, nobody_there,
                                         spool):
    """It is added when the message comes, and not again at each attempt."""
    daemon = start(kept(nobody_there, ARCHIVE))
    send_queued(daemon)
    assert daemon.stop() == 0
    one = relay()
    start(kept(one, ARCHIVE))
    one.wait_messages(1)
    assert sorted(one.messages[0].recipients) == [
        "archive@example.test", "b@example.test"]
