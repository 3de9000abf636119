# SPDX-License-Identifier: ISC
"""[upstream NAME] senders: whose mail goes through which relay."""

import pytest

import harness
from harness import TEMPORARY, message, run, sendmail


@pytest.fixture
def two(relay, sections, place):
    """two(changes): the relay of the shop, the relay of everybody else, and
    a configuration with both."""
    def make(changes=None, spool=True, senders="*@shop.example"):
        shop, rest = relay(), relay()
        config = sections(rest, {
            "queue": {"directory": place / "spool" if spool else "none"},
            "listen": {"control": place / "control"}})
        usual = config.pop("upstream")
        config["upstream shop"] = {**usual, "port": shop.port,
                                   "senders": senders, "idle": "60s"}
        config["upstream rest"] = {**usual, "idle": "60s"}
        return shop, rest, harness.merge(config, changes)
    return make


def send(daemon, sender, body="text", to="b@example.test"):
    with daemon.connect() as client:
        client.ehlo()
        client.envelope(sender, [to])
        client.send(message(body, newline="\r\n") + b".\r\n")
        return client.reply()


def senders(relay):
    return [taken.sender for taken in relay.messages]


# patterns, and who is the shop's by them
PATTERNS = [
    ("*@shop.example", ["a@shop.example", "A@SHOP.EXAMPLE"],
     ["a@www.shop.example", "shop.example@example.test", ""]),
    ("a@shop.example, ?@*.shop.example", ["a@shop.example",
                                          "x@www.shop.example"],
     ["ab@shop.example", "xy@www.shop.example"]),
    ("root@*", ["root@example.test", "root"], ["toor@example.test", ""]),
    ("<>", [""], ["a@shop.example"]),
    ("*a*b*@*", ["xaxbx@x.example", "ab@x.example"], ["ba@x.example"]),
]


@pytest.mark.parametrize("patterns, his, others", PATTERNS)
def test_patterns(patterns, his, others, start, two):
    shop, rest, config = two(senders=patterns, spool=False)
    daemon = start(config)
    for sender in his + others:
        assert send(daemon, sender).code == 250
    assert [one.split("@")[0] for one in senders(shop)] == \
        [one.split("@")[0] for one in his]
    assert senders(rest) == others


def test_sendmail_alone(two, place):
    shop, rest, sections = two(spool=False)
    config = harness.write_config(place / "conf", sections)
    for sender in ("a@shop.example", "a@example.test"):
        assert sendmail("-f", sender, "b@example.test", config=config,
                        stdin=message()).status == 0
    assert senders(shop) == ["a@shop.example"]
    assert senders(rest) == ["a@example.test"]


@pytest.mark.parametrize("daemonless", [False, True])
def test_no_other_relay(daemonless, two, start, place):
    """The relay of all others is none for the shop's mail: what it would
    refuse, or send with a wrong name, waits."""
    shop, rest, sections = two(spool=False)
    shop.close()
    if daemonless:
        config = harness.write_config(place / "conf", sections)
        assert sendmail("-f", "a@shop.example", "b@example.test",
                        config=config, stdin=message()).status == TEMPORARY
    else:
        daemon = start(sections)
        assert send(daemon, "a@shop.example").code == 451
        assert send(daemon, "a@example.test").code == 250
    assert "a@shop.example" not in senders(rest)


def test_relay_for_all_is_the_second(two, start):
    """senders = * is for everybody, behind those who have one of their
    own."""
    shop, rest, sections = two({"upstream rest": {"senders": "*"}})
    daemon = start(sections)
    assert send(daemon, "a@shop.example").code == 250
    shop.close()
    assert send(daemon, "b@shop.example").code == 250
    assert senders(shop) == ["a@shop.example"]
    assert senders(rest) == ["b@shop.example"]


def test_queued_mail_waits_for_its_relay(two, start, place):
    """One relay is away: its mail waits, all of it, while that of others goes
    on; and then it is sent, each message once."""
    shop, rest, sections = two({"queue": {"delivery": "queue"}})
    shop.replies["banner"] = "421 4.3.2 not now"
    daemon = start(sections)
    for i in range(20):
        send(daemon, "a@shop.example", f"shop {i}")
    daemon.wait_event("upstream_down", upstream="shop")
    for i in range(20):
        send(daemon, "a@example.test", f"rest {i}")
    rest.wait_messages(20)
    assert not shop.messages
    assert len(shop.sessions) <= 2, "more than the probe"
    listing = run("-c", daemon.config, "queue")
    assert listing.stdout.count(b"a@shop.example") == 20
    shop.replies.clear()
    done = run("-c", daemon.config, "queue", "retry", "--wait")
    assert done.status == 0, done.text
    bodies = [one.text for one in shop.wait_messages(20)]
    assert sorted(bodies) == sorted(b"shop %d\r\n" % i for i in range(20))
    assert len(rest.messages) == 20


def test_notices_go_with_the_null_sender(two, start):
    """What is refused by the shop's relay is told of through the one for all
    others."""
    shop, rest, sections = two({"queue": {"delivery": "queue"}})
    shop.recipients["b@example.test"] = "550 5.1.1 no such user"
    daemon = start(sections)
    send(daemon, "a@shop.example")
    [notice] = rest.wait_messages()
    assert notice.sender == "" and notice.recipients == ["a@shop.example"]


def test_nobody_for_the_others(two, place):
    _, _, sections = two({"upstream rest": {"senders": "root@*"}})
    config = harness.write_config(place / "conf", sections)
    result = run("-c", config, "check", "--config")
    assert result.status == harness.CONFIG
    assert b"senders" in result.stderr and b"all other" in result.stderr


@pytest.mark.parametrize("senders", ["shop.example", "@", "a@b <c@d>", ","])
def test_no_patterns(senders, two, place):
    _, _, sections = two({"upstream shop": {"senders": senders}})
    config = harness.write_config(place / "conf", sections)
    result = run("-c", config, "check", "--config")
    assert result.status == harness.CONFIG
    assert b"*@example.com" in result.stderr
