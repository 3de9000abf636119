# SPDX-License-Identifier: ISC
"""A relay whose name has two addresses, one of which is no good: UX-43."""

import os
import shutil

import pytest

from badrelay import Fault, server_context
from harness import (Conversation, message, sendmail, with_mounts,
                     write_config)

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("unshare"),
    reason="an /etc/hosts of one's own needs root")

NAME = "many.relay.test"
ADDRESSES = ["127.0.0.2", "127.0.0.3"]


@pytest.fixture
def pair(relay):
    """Starts two relays on the two addresses and one port: the one with
    those options, and a good one; reverse: on the other's address."""
    def start(reverse, bad, good=None):
        first, second = ADDRESSES[::-1 if reverse else 1]
        one = relay(address=(first, 0), **bad)
        return one, relay(address=(second, one.port), **(good or {}))
    return start


@pytest.fixture
def mounts(place):
    """The wrapper under which the name has the addresses."""
    hosts = place / "hosts"
    hosts.write_text("127.0.0.1 localhost\n" + "".join(
        f"{address} {NAME}\n" for address in ADDRESSES))
    return with_mounts((hosts, "/etc/hosts"))


def send(daemon):
    with Conversation(daemon.address) as client:
        client.ehlo()
        client.envelope()
        client.send(b"\r\nx\r\n.\r\n")
        return client.reply()


BAD = {
    "closes": {"fault": Fault("connect", "drop", times=-1)},
    "resets": {"fault": Fault("connect", "rst", times=-1)},
    "421": {"fault": Fault("banner", "421", times=-1)},
    "554": {"replies": {"banner": "554 5.3.2 no"}},
    "EHLO": {"fault": Fault("ehlo", "drop", times=-1)},
    "EHLO 550": {"replies": {"ehlo": "550 5.7.1 no"}},
    "STARTTLS": {"fault": Fault("starttls", "451", times=-1)},
    "no STARTTLS": {"offer_starttls": ""},
    "handshake": {"fault": Fault("handshake", "tls_alert", times=-1)},
    "certificate": {},
    "EHLO in TLS": {"fault": Fault("ehlo2", "drop", times=-1)},
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("case", BAD)
def test_other_address_is_tried(case, reverse, pair, mounts, start, sections,
                                tls, certs):
    """In the same attempt; and it comes first from then on."""
    options = {"tls": tls, **BAD[case]}
    if case == "certificate":
        options["tls"] = server_context(certs.pem("wrong-name"))
    bad, good = pair(reverse, options, {"tls": tls})
    daemon = start(sections(good, {"upstream": {
        "host": NAME, "messages_per_connection": "1"}}), wrapper=mounts)
    for _ in range(3):
        assert send(daemon).code == 250
    assert good.copies() == 3 and bad.copies() == 0
    assert len(bad.sessions) <= 1
    assert not daemon.events("upstream_down")


@pytest.mark.parametrize("reverse", [False, True])
def test_silent_address(reverse, pair, mounts, sections, place):
    """It does not use up the time of the other."""
    bad, good = pair(reverse, {"fault": Fault("banner", "hang")})
    config = sections(good, {"upstream": {"host": NAME},
                             "queue": {"direct_wait": "4s"}})
    path = write_config(place / "smarthost.conf", config)
    result = sendmail("b@example.test", config=path, stdin=message(),
                      wrapper=mounts)
    assert result.status == 0, result.text
    assert good.copies() == 1 and bad.copies() == 0


@pytest.mark.parametrize("reverse", [False, True])
def test_login_is_refused_once(reverse, pair, mounts, start, sections):
    """The other address would refuse it as well, and count it."""
    refusing = {"mechanisms": ("PLAIN",),
                "replies": {"auth": "535 5.7.8 no"}}
    bad, good = pair(reverse, refusing, refusing)
    daemon = start(sections(good, {"upstream": {"host": NAME}}),
                   wrapper=mounts)
    assert send(daemon).code == 451
    assert len(bad.sessions) + len(good.sessions) == 1
    assert sum(session.said("AUTH")
               for session in bad.sessions + good.sessions) == 1
