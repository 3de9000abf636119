# SPDX-License-Identifier: ISC
"""The matrix of test_matrix.py with a spool, and with BDAT: whatever the relay
says or does, after its recovery each recipient has the message exactly once.
Twice, where the relay had taken it and did not say so; never, where it was
refused.

direct        sendmail makes the attempt itself, and keeps what is left
queue         the daemon, delivery = queue
auto, eager   as direct, the content by BDAT
"""

import concurrent.futures
import re
import shutil
import threading

import pytest

import harness
import test_matrix
from badrelay import TAKING
from conftest import base_sections, make_place
from harness import REFUSED, merge, message, run, sendmail
from test_matrix import (PATIENCE, SILENT, hurry, long_text, make_relay,
                         nothing_in_clear)

PEOPLE = "b@example.test", "c@example.test"
ROUNDS = 4  # of retries: the message, and a notice about it

# Behind these the deadline is ten minutes; the relay lets go.
HELD = [(step, kind) for step in ("dot", "bdat")
        for kind in ("hang", "partial_hang", "accept_hang")]


def cells():
    """{name: (mode, step, kind, after, verdict)}"""
    found = {}
    for name, (step, kind, after, verdict) in test_matrix.CELLS.items():
        for mode in ("direct", "queue"):
            found[f"{mode}-{name}"] = mode, step, kind, after, verdict
        if step == "dot":
            for mode in ("auto", "eager"):
                found[f"{mode}-{name.replace('dot', 'bdat', 1)}"] = \
                    mode, "bdat", kind, after, verdict
        if step in ("mail", "rcpt", "rcpt2", "body"):
            found[f"eager-{name}"] = "eager", step, kind, after, verdict
        if step == "body":
            found[f"auto-{name}"] = "auto", step, kind, after, verdict
        if step == "banner":
            found[f"queue-rset-{kind}"] = "queue", "rset", kind, 0, "S"
    return found


CELLS = cells()


def allowed_copies(cell, one):
    """For each of the people how often the relay may have taken it."""
    mode, step, kind, _, verdict = cell
    eager = mode == "eager" and step in ("mail", "rcpt", "rcpt2", "bdat")
    if kind.startswith("accept_"):
        return [{2}, {2}]
    if "BR" in verdict:
        return [{0}, {1}] if step == "rcpt" else [{1}, {0}]
    if verdict == "BM/DM" and not one:
        return [{0, 1}] * 2
    if "BM" in verdict:
        never = not one or one.status in REFUSED
        return [{0}] * 2 if never else [{1}] * 2
    # the chunk is on its way, whatever becomes of the envelope
    doubt = eager and (kind in TAKING or verdict == "DM")
    if "/AM" in verdict or doubt:
        return [{1, 2}] * 2
    return [{1}] * 2


class Cell:
    """One cell, from the fault to what came of it."""

    def __init__(self, cell, certs, tls, patience):
        self.cell, self.patience = cell, patience
        self.mode, self.step, self.kind, self.after, _ = cell
        self.place = make_place("sh-kept-")
        if self.mode == "eager":  # what still goes at once
            self.after = min(self.after, 50000)
        self.text = long_text(self.kind, self.after)
        self.relay = make_relay(self.step, self.kind, self.after, tls,
                                chunking=self.mode in ("auto", "eager"))
        self.usual = merge(base_sections(self.place, self.relay, certs.ca), {
            "queue": {"directory": self.place / "spool", "delivery":
                      "queue" if self.mode == "queue" else "direct"},
            "listen": {"control": self.place / "control"},
            "upstream": {"idle": "0s"}})
        if self.relay.chunking:
            self.usual["upstream"]["chunking"] = self.mode
        if (self.step, self.kind) in HELD:
            threading.Thread(target=self.let_go, daemon=True).start()

    def let_go(self):
        self.relay.holding.wait(harness.WAIT)
        self.relay.release.set()

    def configure(self, changes=None):
        return harness.write_config(self.place / "smarthost.conf",
                                    merge(self.usual, changes))

    def left(self):
        """What waits in the queue."""
        return list(self.place.glob("spool/queue/*"))

    def recover(self, config):
        """Has everything tried again, by a relay that is sane now."""
        self.hit, self.relay.fault = self.relay.fault_hit, None
        self.relay.release.set()
        for _ in range(ROUNDS):
            if not self.left():
                break
            self.last = run("-c", config, "queue", "retry", "--wait")

    def run_direct(self):
        config = self.configure(hurry(self.kind, self.patience))
        one = sendmail("-f", "a@example.test", *PEOPLE, config=config,
                       stdin=self.text)
        self.recover(self.configure())
        return one

    def run_queue(self):
        daemon = harness.Daemon(self.place, merge(
            self.usual, hurry(self.kind, self.patience)))
        try:
            daemon.wait_ready()
            if self.step == "rset":
                self.leave_open(daemon)
            self.submit(daemon, self.text)
            harness.wait_for(lambda: self.attempted(daemon))
            if self.step == "quit":
                self.relay.wait_ended()
            self.recover(daemon.config)
            self.submit(daemon, message("second"))
            self.recover(daemon.config)
        finally:
            self.status = daemon.stop()
            self.log = daemon.log.raw.decode(errors="replace")

    def leave_open(self, daemon):
        """Has the relay refuse somebody, so that it has to hear a RSET."""
        self.relay.recipients["no@example.test"] = "550 5.1.1 no"
        self.submit(daemon, message("third"), "", ["no@example.test"])
        harness.wait_for(lambda: self.relay.fault_hit)

    def attempted(self, daemon):
        names = ["sent", "deferred", "held", "upstream_down"]
        if self.step != "rset":
            names += ["bounced", "refused"]
        return any(daemon.events(name) for name in names)

    def submit(self, daemon, text, sender="a@example.test", to=PEOPLE):
        with daemon.connect() as client:
            client.ehlo()
            client.envelope(sender, to)
            client.send(text.replace(b"\n", b"\r\n") + b".\r\n")
            client.expect(250)

    def copies(self, marker):
        return [sum(marker in taken.body and who in taken.recipients
                    for taken in list(self.relay.messages))
                for who in PEOPLE]

    def remove(self):
        self.relay.close()
        shutil.rmtree(self.place, ignore_errors=True)


def outcome(cell, certs, tls):
    """With as much patience as it takes to meet the fault."""
    for patience in PATIENCE:
        seen = Cell(cell, certs, tls, patience)
        try:
            seen.one = seen.run_queue() if seen.mode == "queue" \
                else seen.run_direct()
            seen.relay.wait_ended()
            seen.waiting = seen.left()
        finally:
            seen.remove()
        if seen.hit:
            break
    return seen


@pytest.fixture(scope="module")
def outcomes(request, certs, tls):
    """As in test_matrix: the cells that were asked for, side by side."""
    wanted = [item.callspec.params["name"] for item in request.session.items
              if item.module is request.module]
    wanted.sort(key=lambda one: CELLS[one][2] not in SILENT)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        yield {one: pool.submit(outcome, CELLS[one], certs, tls)
               for one in wanted}


@pytest.mark.parametrize("name", CELLS)
def test_kept(name, outcomes):
    seen = outcomes[name].result()
    assert seen.hit, "the fault was not met"
    if seen.one:
        assert seen.one.status == 0 or "B" in seen.cell[-1] and \
            seen.one.status in REFUSED, seen.one.text
    assert seen.waiting == [], seen.last.text
    got = seen.copies(b"first")
    allowed = allowed_copies(seen.cell, seen.one)
    assert all(count in some for count, some in zip(got, allowed)), \
        (got, allowed)
    if seen.step == "rset":  # no failed attempt, for anybody
        assert "event=deferred" not in seen.log
        assert "event=upstream_down" not in seen.log
    if seen.mode == "queue":
        assert seen.status == 0
        assert seen.copies(b"second") == [1, 1]
    for session in seen.relay.sessions:
        nothing_in_clear(session)
        # one write has no 354 in it: an answer too many to a command of the
        # envelope may come before the one to BDAT, and is taken for that
        assert session.early == [] or re.fullmatch(
            "eager-(mail|rcpt2?)-(extra|double)", name)
