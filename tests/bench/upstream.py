# SPDX-License-Identifier: ISC
"""What the relay's side costs: TLS and AUTH, and round trips. The relay is
tlssink.c, since smtp-sink has neither TLS nor a delay."""
import contextlib
import os
import pathlib
import subprocess

from certs import Certificates
from figure import Figure, at_least, spread
from harness import ROOT
from postfix import free_ports
from postfix_relay import Postfix
from run import ROUNDS, rate, ratio, workplace
from sink import Sink
from smarthost import Smarthost

TLSSINK = pathlib.Path(os.environ.get("BENCH_TLSSINK") or
                       ROOT / "build" / "tlssink")
SECURE_COUNT, SECURE_PEER, WARM_UP = 10000, 1000, 300
DELAY_MS, LANES, TRIPS_COUNT = 20, 2, 200
LOGIN = {"user": "bench", "password": "a-password", "auth": "plain"}


@contextlib.contextmanager
def place_and_tlssink(delay=0):
    """Where to work, certificates, and the relay."""
    with workplace() as place:
        (place / "certs").mkdir()
        certs, port = Certificates(place / "certs"), free_ports(1)[0]
        with Sink(port, [TLSSINK, str(port), certs.pem("good"),
                         certs.pem("good"), str(delay)]) as sink:
            yield place, certs, sink


def secure_upstream(certs):
    return {"tls": "starttls", "tls_ca_file": certs.ca,
            "tls_name": "relay.test", **LOGIN}


def secure_postfix(certs):
    """With connections used again, which Postfix does not do by itself when
    there is TLS."""
    return f"""
smtp_tls_security_level = verify
smtp_tls_verify_cert_match = relay.test
smtp_tls_CAfile = {certs.ca}
smtp_tls_connection_reuse = yes
smtp_sasl_auth_enable = yes
smtp_sasl_security_options = noanonymous
smtp_sasl_password_maps = static:{LOGIN["user"]}:{LOGIN["password"]}
"""


def note(ours, theirs, what=""):
    return (f"messages a second, median (lowest-highest) of {ROUNDS}: "
            f"smarthost {spread(ours)}, Postfix {spread(theirs)}{what}")


def secure():
    """The relay rate through STARTTLS and AUTH PLAIN towards the relay, the
    certificate verified: delivery = direct, 20 client connections, 4 KiB.
    Postfix is told to use its TLS connections again, as smarthost does."""
    ours, theirs = [], []
    with place_and_tlssink() as (place, certs, sink), \
            Smarthost(place / "ours", sink.port,
                      {"upstream": secure_upstream(certs)}) as daemon, \
            Postfix(place / "theirs", sink.port,
                    more=secure_postfix(certs)) as postfix:
        for port in (daemon.port, postfix.port):
            rate(port, sink, WARM_UP)
        for _ in range(ROUNDS):
            ours.append(rate(daemon.port, sink, SECURE_COUNT))
            theirs.append(rate(postfix.port, sink, SECURE_PEER))
    return [at_least("relay rate through STARTTLS and AUTH", 8,
                     ratio(ours, theirs), " x Postfix", "Postfix",
                     note(ours, theirs))]


def lanes(place, sink, changes):
    """A daemon with two connections; None if it does not know them."""
    upstream = {"connections": LANES, **changes}
    try:
        return Smarthost(place, sink.port,
                         {"upstream": upstream}).wait_ready()
    except (OSError, subprocess.SubprocessError):
        return None


def trips():
    """Two connections to a relay whose every batch of replies comes 20 ms
    after the last byte it has read: what counts is round trips. 20 clients, so
    that there is always work."""
    kinds = {"PIPELINING": ({}, 1.45),
             "chunking = eager": ({"chunking": "eager"}, 2.8)}
    figures, found, theirs = [], {kind: [] for kind in kinds}, []
    with place_and_tlssink(DELAY_MS) as (place, _, sink), \
            contextlib.ExitStack() as stack:
        daemons = {kind: lanes(place / f"ours{number}", sink, changes)
                   for number, (kind, (changes, _)) in
                   enumerate(kinds.items())}
        for daemon in filter(None, daemons.values()):
            stack.callback(daemon.stop)
        postfix = stack.enter_context(
            Postfix(place / "theirs", sink.port, connections=LANES))
        for _ in range(ROUNDS):
            for kind, daemon in daemons.items():
                if daemon:
                    found[kind].append(rate(daemon.port, sink, TRIPS_COUNT))
            theirs.append(rate(postfix.port, sink, TRIPS_COUNT // 2))
    for kind, (_, floor) in kinds.items():
        name, ours = f"round trips, {kind}", found[kind]
        if ours:
            figures.append(at_least(name, floor, ratio(ours, theirs),
                                    " x Postfix", "Postfix",
                                    note(ours, theirs)))
        else:
            figures.append(Figure(name, f">= {floor} x Postfix", "skipped",
                                  note="this version does not know it"))
    return figures
