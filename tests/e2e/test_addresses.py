# SPDX-License-Identifier: ISC
"""Names and addresses of a relay: two of them, one of which is no good (UX-43);
none; other ones than before; and our own."""

import contextlib
import os
import shutil
import socket

import pytest

from badrelay import Fault, server_context
from harness import (TEMPORARY, Conversation, message, sendmail, with_mounts,
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
def alone(relay):
    """A relay on 127.0.0.2, with a port that nobody has on the addresses of
    localhost; and the resolver takes ::1 in /etc/hosts for 127.0.0.1 too."""
    with contextlib.ExitStack() as stack:
        def is_ours(family, address):
            with contextlib.suppress(OSError):
                stack.enter_context(socket.socket(family)).bind(address)
                return True
            return False
        for _ in range(100):
            one = relay(address=("127.0.0.2", 0))
            if is_ours(socket.AF_INET, ("127.0.0.1", one.port)) and \
                    is_ours(socket.AF_INET6, ("::1", one.port)):
                break
        yield one


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


def hosts_of(place, *addresses):
    """The wrapper under which the name has those addresses, by /etc/hosts
    alone; and the file, to be changed in place."""
    hosts, switch = place / "hosts", place / "nsswitch.conf"
    hosts.write_text("".join(f"{one} {NAME}\n" for one in addresses))
    switch.write_text("hosts: files\n")
    mounts = [(hosts, "/etc/hosts")]
    if os.path.exists("/etc/nsswitch.conf"):
        mounts.append((switch, "/etc/nsswitch.conf"))
    return with_mounts(*mounts), hosts


def test_no_ipv6(relay, sections, place):
    """The name has an IPv6 address too, and this machine has no way there
    (UX-44)."""
    good = relay(address=("127.0.0.2", 0))
    wrapper, _ = hosts_of(place, "2001:db8::1", "127.0.0.2")
    path = write_config(place / "smarthost.conf", sections(good, {
        "upstream": {"host": NAME, "connect_timeout": "2s"}}))
    for _ in range(2):
        result = sendmail("b@example.test", config=path, stdin=message(),
                          wrapper=wrapper)
        assert result.status == 0, result.text
    assert good.copies() == 2


@pytest.mark.parametrize("family", ["any", "ipv4", "ipv6"])
def test_family(family, alone, sections, place):
    good = alone
    wrapper, _ = hosts_of(place, "::1", "127.0.0.2")
    path = write_config(place / "smarthost.conf", sections(good, {
        "upstream": {"host": NAME, "family": family,
                     "connect_timeout": "2s"}}))
    result = sendmail("b@example.test", config=path, stdin=message(),
                      wrapper=wrapper)
    if family == "ipv6":
        assert result.status == TEMPORARY
        assert b"[::1]" in result.stderr and b"127." not in result.stderr
    else:
        assert result.status == 0, result.text
    assert good.copies() == (family != "ipv6")


def test_source_address(relay, sections, place):
    good = relay()
    for source in ("127.0.0.5", "127.0.0.6"):
        path = write_config(place / "smarthost.conf", sections(
            good, {"upstream": {"source_address": source}}))
        result = sendmail("b@example.test", config=path, stdin=message())
        assert result.status == 0, result.text
    assert [one.peer[0] for one in good.sessions] == ["127.0.0.5",
                                                      "127.0.0.6"]


def test_source_address_of_the_other_family(alone, sections, place):
    """Only addresses of its own family are connected to."""
    good = alone
    wrapper, _ = hosts_of(place, "::1", "127.0.0.2")
    path = write_config(place / "smarthost.conf", sections(good, {
        "upstream": {"host": NAME, "source_address": "127.0.0.5"}}))
    result = sendmail("b@example.test", config=path, stdin=message(),
                      wrapper=wrapper)
    assert result.status == 0, result.text
    assert good.sessions[0].peer[0] == "127.0.0.5"


def test_source_address_is_not_ours(relay, sections, place):
    good = relay()
    path = write_config(place / "smarthost.conf", sections(
        good, {"upstream": {"source_address": "192.0.2.1"}}))
    result = sendmail("b@example.test", config=path, stdin=message())
    assert result.status == TEMPORARY
    assert b"address" in result.stderr.lower()
    assert good.sessions == []


def test_address_changes(relay, start, sections, place):
    """A relay that comes back with another address, as containers do: each
    connection looks it up anew (UX-46)."""
    one = relay(address=("127.0.0.2", 0))
    two = relay(address=("127.0.0.3", one.port))
    wrapper, hosts = hosts_of(place, "127.0.0.2")
    daemon = start(sections(one, {"upstream": {
        "host": NAME, "messages_per_connection": "1"}}), wrapper=wrapper)
    assert send(daemon).code == 250
    one.close()
    hosts.write_text(f"127.0.0.3 {NAME}\n")
    assert send(daemon).code == 250
    assert (one.copies(), two.copies()) == (1, 1)


@pytest.mark.parametrize("spool", [False, True])
def test_no_such_name(spool, start, sections, place):
    """A name that is nobody's is no reason to bounce anything (UX-42)."""
    wrapper, _ = hosts_of(place, "127.0.0.2")
    daemon = start(sections(25, {
        "upstream": {"host": "not." + NAME},
        "queue": {"directory": place / "spool" if spool else "none"}}),
        wrapper=wrapper)
    reply = send(daemon)
    assert reply.code == (250 if spool else 451)
    assert "not." + NAME in reply.text
    daemon.wait_event("upstream_down")
    assert not daemon.events("bounced") and not daemon.events("refused")
