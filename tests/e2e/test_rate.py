# SPDX-License-Identifier: ISC
"""[upstream] rate.  That it is kept to the millisecond is for the unit test;
here: who waits, who is told, and who goes elsewhere."""

import concurrent.futures

import harness
from harness import TEMPORARY, message, sendmail
from test_reload import reload

B = "b@example.test"


def test_within_the_second(relay, sections, start):
    """Clients that have to wait a moment do not notice."""
    one = relay()
    daemon = start(sections(one, {"upstream": {"rate": "3/s"}}))

    def send(_):
        return sendmail(B, socket_path=daemon.socket, stdin=message())
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(send, range(8)))
    assert [result.status for result in results] == [0] * 8
    assert len(one.messages) == 8


def test_used_up(relay, sections, start, place):
    """Recipients count; what is over waits in the spool."""
    one = relay()
    daemon = start(sections(one, {"upstream": {"rate": "100/s, 3/d"},
                                  "queue": {"directory": place / "spool"}}))
    for recipients in ([B, "c@example.test"], [B]):
        assert sendmail(*recipients, socket_path=daemon.socket,
                        stdin=message()).status == 0
    with daemon.connect() as client:
        client.ehlo()
        client.envelope(recipients=[B])
        reply = client.command("Subject: t\r\n\r\nx\r\n.")
    assert reply.code == 250 and "queued" in str(reply)
    assert "rate" in str(reply)
    assert len(one.messages) == 2
    [queued] = daemon.events("queued")
    assert not daemon.events("upstream_down"), queued


def test_used_up_without_a_spool(relay, sections, start):
    one = relay()
    daemon = start(sections(one, {"upstream": {"rate": "1/h"}}))
    statuses = [sendmail(B, socket_path=daemon.socket,
                         stdin=message()).status for _ in range(2)]
    assert statuses == [0, TEMPORARY]
    assert len(one.messages) == 1


def test_the_next_relay_has_the_rest(relay, sections, start):
    one, two = relay(), relay()
    text = harness.merge(sections(one, {"upstream": {"rate": "2/h"}}), {
        "upstream two": {"host": "127.0.0.1", "port": two.port,
                         "tls": "none"}})
    daemon = start(text)
    for _ in range(4):
        assert sendmail(B, socket_path=daemon.socket,
                        stdin=message()).status == 0
    assert (len(one.messages), len(two.messages)) == (2, 2)


def test_a_line_that_waits_when_it_is_used_up(relay, sections, start, place):
    """Those behind the last one that fits are sent away from the line."""
    one = relay()
    daemon = start(sections(one, {
        "upstream": {"rate": "4/d", "connections": 1},
        "queue": {"directory": place / "spool"}}))

    def send(_):
        return sendmail(B, socket_path=daemon.socket, stdin=message())
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        results = list(pool.map(send, range(10)))
    assert [result.status for result in results] == [0] * 10
    assert len(one.messages) == 4
    # one that found the line too long may have been among the four
    assert len(daemon.events("queued")) >= 6


def test_a_reload_does_not_forget(start, sections, relay, place):
    one = relay()
    daemon = start(sections(one, {"upstream": {"rate": "2/d"}}))

    def send():
        return sendmail(B, socket_path=daemon.socket, stdin=message()).status
    assert [send(), send(), send()] == [0, 0, TEMPORARY]
    reload(daemon, place, sections(one, {"upstream": {"rate": "3/d"}}))
    assert [send(), send()] == [0, TEMPORARY]
    assert len(one.messages) == 3
