# SPDX-License-Identifier: ISC
"""Every step of a delivery with every fault, used once; then a sane relay.

Without a spool the verdicts are told by the exit status of a sendmail that
talks to the relay itself: S is 0, what is put off is 75, what is bounced is
a refusal.  The relay counts the copies.
"""

import concurrent.futures
import pathlib
import re
import socket
import subprocess

import pytest

import harness
from badrelay import BadRelay, Fault, Session
from conftest import base_sections, make_place
from harness import REFUSED, TEMPORARY, merge, message, sendmail

# S: taken.  S+C: taken, and the connection is not used again.  DA: nothing
# was handed over, the relay is put off.  DM, DR: the message, the recipient
# is put off.  BM, BR: is refused.  AM: the relay may have taken it.
MATRIX = """
fault        banner ehlo starttls ehlo2 auth mail rcpt rcpt2 data dot  quit
hang         DA     DA   DA       DA    DA   DA   DA   DA    DA   AM   S
drop         DA     DA   DA       DA    DA   DA   DA   DA    DA   AM   S
rst          DA     DA   DA       DA    DA   DA   DA   DA    DA   AM   S
421          DA     DA   DA       DA    DA   DA   DA   DA    DA   DM   S
451          DA     DA   DA       DA    DA   DM   DR   DR    DM   DM   S
550          DA     DA   DA       DA    DA   BM   BR   BR    BM   BM   S
malformed    DA     DA   DA       DA    DA   DM   DM   DM    DM   AM   S
8xx          DA     DA   DA       DA    DA   DM   DM   DM    DM   AM   S
1xx          DA     DA   DA       DA    DA   DM   DM   DM    DM   AM   S
partial      DA     DA   DA       DA    DA   DA   DA   DA    DA   AM   S
partial_hang DA     DA   DA       DA    DA   DA   DA   DA    DA   AM   S
partial_code DA     DA   DA       DA    DA   DA   DA   DA    DA   AM   S
partial_line DA     DA   DA       DA    DA   DA   DA   DA    DA   AM   S
mixed        DA     DA   DA       DA    DA   DM   DM   DM    DM   AM   S
mixed_no     DA     DA   DA       DA    DA   DM   DM   DM    DM   AM   S
3xx          DA     DA   DA       DA    DA   DM   DM   DM    S    AM   S
8bit         S      S    S        S     S    S    S    S     S    S    S
lf           S      S    S        S     S    S    S    S     S    S    S
extra        DA     DA   DA       DA    DA   DM   DM   DM    DM   S+C  S
double       DA     DA   DA       DA    DA   DM   DM   DM    DM   S+C  S
huge         S/DA   S/DA S/DA     S/DA  S/DA S/DM S/DM S/DM  S/DM S/AM S
huge_multi   S/DA   S/DA S/DA     S/DA  S/DA S/DM S/DM S/DM  S/DM S/AM S
endless      DA     DA   DA       DA    DA   DA   DA   DA    DA   AM   S
huge_noeol   DA     DA   DA       DA    DA   DA   DA   DA    DA   AM   S
slow         S      S    S        S     S    S    S    S     S    S    S
"""

# Faults that only some steps have.
MORE = {
    ("connect", "drop"): "DA",
    ("connect", "rst"): "DA",
    ("connect", "hang"): "DA",
    ("handshake", "hang"): "DA",
    ("handshake", "drop"): "DA",
    ("handshake", "rst"): "DA",
    ("handshake", "tls_garbage"): "DA",
    ("handshake", "tls_alert"): "DA",
    ("handshake", "tls_plain"): "DA",
    ("handshake", "tls_partial"): "DA",
    ("handshake", "tls_slow"): "DA",
    ("ehlo2", "tls_inject"): "DA",
    ("data", "tls_alert"): "DM",
    ("dot", "tls_alert"): "AM",
    ("dot", "tls_inject"): "AM",
    ("dot", "no_goodbye"): "S",
    ("dot", "closing"): "S+C",
    ("dot", "accept_drop"): "AM",
    ("dot", "accept_rst"): "AM",
    ("dot", "accept_hang"): "AM",
    ("dot", "accept_partial"): "AM",
    ("dot", "accept_malformed"): "AM",
    ("dot", "accept_451"): "AM",
}
MORE.update({
    ("body", kind, after): verdict
    for kind, verdict in {
        "drop": "DM", "rst": "DM", "stall": "DM", "421": "DM",
        "early": "BM/DM", "early_open": "BM/DM", "tls_alert": "DM",
        "tls_garbage": "DM"}.items()
    for after in (0, 1, 1000, 1000000)})

# The relay says nothing more: these wait for our own deadline. On a slow
# machine it may end before the fault is met; then again, with more time.
SILENT = ("hang", "partial_hang", "stall", "early_open", "tls_slow",
          "tls_garbage", "tls_inject")
# Behind the dot the deadline is ten minutes: the relay hangs up instead,
# after direct_wait has run out.
HELD = [("dot", kind) for kind in ("hang", "partial_hang", "accept_hang")]
PATIENCE = 2, 20  # seconds

BIG = "stall", "early_open"  # more than all buffers take

LINE = "0123456789abcdef" * 4 + "\n"


def cells():
    """Every cell as (step, kind, after, verdict)."""
    rows = [line.split() for line in MATRIX.strip().split("\n")]
    for row in rows[1:]:
        for step, verdict in zip(rows[0][1:], row[1:]):
            yield step, row[0], 0, verdict
    for (step, kind, *after), verdict in MORE.items():
        yield step, kind, after[0] if after else 0, verdict


def name(cell):
    step, kind, after, _ = cell
    return f"{step}-{kind}" + (f"-{after}" if after else "")


CELLS = {name(cell): cell for cell in cells()}


def statuses(verdict):
    """The exit statuses that tell of that verdict."""
    allowed = set()
    for one in verdict.split("/"):
        if one.startswith("S"):
            allowed.add(0)
        elif one.startswith("B"):
            allowed.update(REFUSED)
        else:
            allowed.add(TEMPORARY)
    return allowed


def held_send(relay, config, text, direct_wait):
    """A sendmail whose relay does not answer the dot: it has to wait for
    longer than direct_wait, and must say nothing more meanwhile."""
    process = subprocess.Popen(
        [*harness.WRAPPER, str(harness.BIN), "sendmail", "-C", str(config),
         "b@example.test", "c@example.test"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=harness.environment())
    process.stdin.write(text)
    process.stdin.close()
    process.stdin = None
    while process.poll() is None and not relay.holding.wait(0.05):
        pass
    try:
        process.wait(direct_wait * 1.5)
        cut = relay.holding.is_set()
    except subprocess.TimeoutExpired:
        cut = False
    relay.release.set()
    out, err = process.communicate(timeout=harness.WAIT)
    harness.check_alarms(err)
    assert not cut, "direct_wait ended the wait for the answer to the dot"
    for session in relay.sessions:
        assert session.rest == b"", "something went behind the dot"
    return harness.Result(process.returncode, out, err)


def send_buffer():
    """Bytes that the kernel may take from the program, at most."""
    limits = pathlib.Path("/proc/sys/net/ipv4/tcp_wmem").read_text()
    return int(limits.split()[2])


def long_text(kind, after):
    """A message that is long enough for the fault."""
    size = after + send_buffer() if kind in BIG else 2 * after
    return message("first\n" + LINE * (size // len(LINE)))


def make_relay(step, kind, after, tls, chunking=False):
    return BadRelay(Fault(step, kind, after), tls=tls, chunking=chunking,
                    mechanisms=("PLAIN",),
                    receive_buffer=4096 if kind in BIG else None)


def hurry(kind, patience):
    """What the configuration says of a relay that falls silent."""
    if kind not in SILENT:
        return {}
    return {"upstream": {"connect_timeout": f"{patience}s",
                         "timeout": f"{patience}s"}}


def run_cell(cell, certs, tls, patience):
    """Sends with the fault, and once more; returns what was seen."""
    step, kind, after, _ = cell
    place = make_place("sh-cell-")
    first = long_text(kind, after)
    relay = make_relay(step, kind, after, tls)
    usual = base_sections(place, relay, certs.ca)
    changes = hurry(kind, patience)
    if (step, kind) in HELD:
        changes["queue"] = {"direct_wait": f"{patience}s"}
    people = "b@example.test", "c@example.test"
    try:
        config = harness.write_config(place / "conf", merge(usual, changes))
        if (step, kind) in HELD:
            one = held_send(relay, config, first, patience)
        else:
            one = sendmail(*people, config=config, stdin=first)
        hit, relay.fault = relay.fault_hit, None
        relay.release.set()
        config = harness.write_config(place / "conf", usual)
        two = sendmail(*people, config=config, stdin=message("second"))
        relay.wait_ended()
        return relay, hit, one, two
    finally:
        relay.close()
        for path in place.iterdir():
            path.unlink()
        place.rmdir()


def outcome(cell, certs, tls):
    """What run_cell() has seen, with as much patience as it takes."""
    for patience in PATIENCE:
        seen = run_cell(cell, certs, tls, patience)
        if seen[1]:
            break
    return seen


@pytest.fixture(scope="module")
def outcomes(request, certs, tls):
    """Runs the cells that were asked for, several at a time, as most of
    them wait; each test then looks at its own."""
    wanted = [item.callspec.params["cell"] for item in request.session.items
              if "outcomes" in getattr(item, "fixturenames", ()) and
              item.module is request.module]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        # the slow ones first
        wanted.sort(key=lambda one: CELLS[one][1] not in SILENT)
        yield {one: pool.submit(outcome, CELLS[one], certs, tls)
               for one in wanted}


@pytest.mark.parametrize("cell", CELLS)
def test_cell(cell, outcomes):
    step, kind, _, verdict = CELLS[cell]
    relay, hit, one, two = outcomes[cell].result()
    assert hit, "the fault was not met"
    assert one.status in statuses(verdict), one.text
    if one.status:
        assert one.text.strip().count("\n") == 0, "one sentence"

    copies = relay.copies(b"first")
    taken = kind.startswith("accept_") or (
        step == "dot" and kind in ("huge", "huge_multi"))
    assert copies == (1 if taken or one.status == 0 else 0)
    assert two.status == 0, two.text
    assert relay.copies(b"second") == 1

    for session in relay.sessions:
        nothing_in_clear(session)
        assert session.early == [], "sent before the answer to what was asked"


def nothing_in_clear(session):
    """Only EHLO, STARTTLS and a QUIT may go before TLS."""
    assert re.fullmatch(rb"(EHLO [\w.\[\]:]+\r\n)?(STARTTLS\r\n)?"
                        rb"(QUIT\r\n)?", session.plain), session.plain


def test_connect_refused(nobody_there, sections, place):
    config = harness.write_config(place / "conf", sections(nobody_there))
    result = sendmail("b@example.test", config=config, stdin=message())
    assert result.status == TEMPORARY
    assert b"refused" in result.stderr.lower()


def test_connect_black_hole(sections, place):
    """A SYN that nobody answers: the backlog of the relay is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fill = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
        fill.append(sock)
    config = harness.write_config(place / "conf", sections(
        listener.getsockname()[1], {"upstream": {"connect_timeout": "1s"}}))
    result = sendmail("b@example.test", config=config, stdin=message())
    for sock in [listener, *fill]:
        sock.close()
    assert result.status == TEMPORARY
    assert b"timed out" in result.stderr.lower() \
        or b"did not answer" in result.stderr.lower(), result.text


@pytest.mark.parametrize("reply", ["500 what", "502 no", "550 no"])
def test_helo_fallback(reply, relay, sections, place):
    """HELO is good enough where neither TLS nor AUTH is wanted."""
    one = relay(replies={"ehlo": reply})
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail("b@example.test", config=config, stdin=message())
    assert result.status == 0, result.text
    assert one.copies() == 1


# Odd lines as the answer to RCPT (cases UX-06, UX-07, and rule 1).
LINES = {
    "bare code": (b"250\r\n", "S"),
    "short": (b"25\r\n", "DM"),
    "no blank": (b"250ok\r\n", "DM"),
    "tab": (b"250\tok\r\n", "DM"),
    "letter": (b"2x0 ok\r\n", "DM"),
    "empty": (b"\r\n", "DM"),
    "NUL": (b"\x00250 ok\r\n", "DM"),
    "zero": (b"050 ok\r\n", "DM"),
    "six": (b"650 ok\r\n", "DM"),
    "four digits": (b"2500 ok\r\n", "DM"),
    "blank first": (b" 250 ok\r\n", "DM"),
    "empty text": (b"553-\r\n553\r\n", "BR"),
    "LF lines": (b"250-ok\n250 ok\n", "S"),
    "other code": (b"250-ok\r\n251 ok\r\n", "DM"),
    "junk in between": (b"250-ok\r\njunk\r\n250 ok\r\n", "DM"),
    "long enhanced": (b"550 5.999.999 no\r\n", "BR"),
    "escape": (b"550 5.1.1 \x1b[31mno\x07\r\n", "BR"),
}


@pytest.mark.parametrize("case", LINES)
def test_reply_lines(case, relay, sections, place):
    data, verdict = LINES[case]
    one = relay(Fault("rcpt", "raw", data=data, done=verdict == "S"))
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail("b@example.test", config=config, stdin=message())
    assert result.status in statuses(verdict), result.text
    assert one.copies() == (verdict == "S")
    assert re.fullmatch(rb"[\x20-\x7e\n]*", result.stderr)


@pytest.mark.parametrize("step, pipelining", [
    ("rcpt2", True), ("mail", False), ("rcpt", False), ("rcpt2", False)])
def test_refusal_out_of_step(step, pipelining, relay, sections, place):
    """A refusal at the end of a group with something behind it is no
    refusal (rule 2)."""
    one = relay(Fault(step, "raw", data=b"550 5.1.1 no\r\n250 2.0.0 ok\r\n"),
                pipelining=pipelining)
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail("b@example.test", "c@example.test", config=config,
                      stdin=message())
    assert result.status == TEMPORARY, result.text
    assert one.copies() == 0


# 5xx that say that we are wrong, not the message (rule 5 and UX-47).
OUR_FAULT = ["503 5.5.1 out of order", "530 5.7.0 Must issue STARTTLS first",
             "530 5.7.1 Authentication required", "534 5.7.9 too weak",
             "535 5.7.8 bad login", "538 5.7.11 need encryption",
             "554 5.7.8 authentication failed"]


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
@pytest.mark.parametrize("reply", OUR_FAULT)
def test_our_own_fault(step, reply, relay, sections, place):
    one = relay(Fault(step, "raw", data=reply.encode() + b"\r\n"))
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail("b@example.test", config=config, stdin=message())
    assert result.status == TEMPORARY, result.text
    assert one.copies() == 0


def test_relaying_denied_is_final(relay, sections, place):
    one = relay(recipients={"b@example.test": "550 5.7.1 relaying denied"})
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail("b@example.test", config=config, stdin=message())
    assert result.status in REFUSED
    assert b"relaying denied" in result.stderr


def test_250_to_data(relay, sections, place):
    """Not one byte of the body goes out (UX-28)."""
    one = relay(Fault("data", "raw", data=b"250 ok\r\n"))
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail("b@example.test", config=config,
                      stdin=message("secret body"))
    assert result.status == TEMPORARY
    one.wait_ended()
    assert b"secret body" not in one.sessions[0].received


def test_data_without_recipients(relay, sections, place):
    """All RCPT refused, and DATA is answered 354: an empty body (UX-27)."""
    one = relay(recipients={"b@example.test": "550 5.1.1 no"},
                data_anyway=True, group_wait=True)
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail("b@example.test", config=config,
                      stdin=message("secret body"))
    assert result.status in REFUSED
    one.wait_ended()
    assert b"secret body" not in one.sessions[0].received
    assert one.sessions[0].empty_body in (None, b"")


def test_421_to_the_second_recipient(relay, sections, place):
    """Nobody is refused, nobody is done (UX-23)."""
    one = relay(Fault("rcpt2", "421"))
    config = harness.write_config(place / "conf", sections(one))
    three = ["b@example.test", "c@example.test", "d@example.test"]
    result = sendmail(*three, config=config, stdin=message())
    assert result.status == TEMPORARY
    assert one.copies() == 0
    assert sendmail(*three, config=config, stdin=message()).status == 0
    assert one.messages[0].recipients == three


# Answers in the login that must not be taken as "never" (UX-16), and one
# that means no mechanism at all.
LOGIN = ["454 4.7.0 temporary", "421 4.7.0 bye", "432 4.7.12 transition",
         "534 5.7.9 too weak", "538 5.7.11 encrypt", "500 5.5.1 what",
         "503 5.5.1 no", "535 5.7.8 bad", "334 ", "334 b2s="]


@pytest.mark.parametrize("reply", LOGIN)
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_login_refused(mechanism, reply, relay, sections, place, tls):
    one = relay(Fault("auth", "raw", data=reply.encode() + b"\r\n",
                      times=100), tls=tls, mechanisms=(mechanism,))
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail("b@example.test", config=config, stdin=message())
    assert result.status == TEMPORARY, result.text
    assert sum(session.said("AUTH ") for session in one.sessions) == 1
    assert not any(session.said("MAIL") for session in one.sessions)
    assert b"correct horse" not in result.stderr


def test_endless_challenges(relay, sections, place, tls, monkeypatch):
    """334 for ever is not followed for ever (UX-18)."""
    one = relay(tls=tls, mechanisms=("LOGIN",))
    answers = []

    def ask_on(session, _challenge):
        while len(answers) < 1000:
            session.wire.send(b"334 VXNlcm5hbWU6\r\n")
            answers.append(session.line())
            if answers[-1] == "*":
                break
        return b"x"
    monkeypatch.setattr(Session, "ask", ask_on)
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail("b@example.test", config=config, stdin=message())
    assert result.status == TEMPORARY
    assert len(answers) < 20


@pytest.mark.parametrize("mechanisms", [
    (), ("NTLM", "GSSAPI"), ("SCRAM-SHA-256",)])
def test_login_not_offered(mechanisms, relay, sections, place, tls):
    """No try without the login that is configured (UX-12, UX-13)."""
    one = relay(tls=tls, mechanisms=mechanisms)
    config = harness.write_config(place / "conf", sections(
        one, {"upstream": {"user": "sender", "password": "x"}}))
    result = sendmail("b@example.test", config=config, stdin=message())
    assert result.status == TEMPORARY
    assert not any(session.said("MAIL") for session in one.sessions)
    assert b"AUTH" in result.stderr or b"login" in result.stderr.lower()


# Odd capabilities (UX-10): known words are used, the rest is harmless.
KEYWORDS = {
    "many": [f"X-WORD-{i}" for i in range(1000)],
    "long": ["X-LONG " + "y" * 20000],
    "old auth": ["AUTH=LOGIN PLAIN"],
    "many mechanisms": ["AUTH " + " ".join(f"X-{i}" for i in range(1000))],
    "size without number": ["SIZE"],
    "huge size": ["SIZE 99999999999999999999999"],
    "negative size": ["SIZE -1"],
    "odd size": ["SIZE abc"],
    "zero size": ["SIZE 0"],
    "lower case": ["pipelining", "8bitmime", "size 1000000"],
    "twice": ["PIPELINING", "PIPELINING", "SIZE 1000000", "SIZE 2000000"],
    "empty": ["", " ", "-"],
}


@pytest.mark.parametrize("case", KEYWORDS)
def test_odd_keywords(case, relay, sections, place):
    one = relay(keywords=KEYWORDS[case])
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail("b@example.test", config=config, stdin=message())
    assert result.status == 0, result.text
    assert one.copies() == 1


def test_group_in_one_write(relay, sections, place):
    """PIPELINING offered: MAIL, RCPT and DATA go together for one
    recipient; for more, DATA waits until all of them are taken."""
    one = relay(group_wait=True)
    config = harness.write_config(place / "conf", sections(one))
    assert sendmail("b@example.test", config=config,
                    stdin=message()).status == 0
    assert one.sessions[0].groups == [2]


@pytest.mark.parametrize("offer, setting", [(False, "auto"), (True, "off")])
def test_one_command_at_a_time(offer, setting, relay, sections, place):
    """PIPELINING not offered, or not wanted."""
    one = relay(pipelining=offer, patience=0.05)
    config = harness.write_config(place / "conf", sections(
        one, {"upstream": {"pipelining": setting}}))
    assert sendmail("b@example.test", "c@example.test", config=config,
                    stdin=message()).status == 0
    assert one.sessions[0].groups == [0]
    assert one.sessions[0].early == []


def test_nothing_behind_what_stands_alone(relay, sections, place, tls):
    """Nothing goes out behind EHLO, STARTTLS, AUTH, DATA or the dot before
    its answer, even if the relay pipelines and takes its time (SO-24)."""
    one = relay(tls=tls, mechanisms=("LOGIN",), patience=0.1)
    config = harness.write_config(place / "conf", sections(one))
    assert sendmail("b@example.test", config=config,
                    stdin=message()).status == 0
    assert one.sessions[0].early == []


# Parameters of MAIL only where they were offered (SO-14, SO-22).
PARAMETERS = [
    # eightbit, size, body, wanted, unwanted
    (True, 1000000, "gr\xfc\xdfe", ["BODY=8BITMIME", "SIZE="], []),
    (False, None, "gr\xfc\xdfe", [], ["BODY=", "SIZE="]),
    (False, "", "x", ["SIZE="], ["BODY="]),
]


@pytest.mark.parametrize("eightbit, size, body, wanted, unwanted",
                         PARAMETERS)
def test_mail_parameters(eightbit, size, body, wanted, unwanted, relay,
                         sections, place):
    one = relay(eightbit=eightbit, size=size)
    config = harness.write_config(place / "conf", sections(one))
    text = message("@@").replace(b"@@", body.encode("latin-1"))
    assert sendmail("b@example.test", config=config, stdin=text).status == 0
    taken = one.messages[0]
    assert all(word in taken.parameters for word in wanted)
    assert not any(word in taken.parameters for word in unwanted)
    assert body.encode("latin-1") in taken.body


def test_over_the_size_offered(relay, sections, place):
    """What EHLO says is never final: the size goes with MAIL, where the relay
    can refuse it (rule 6)."""
    one = relay(size=1000)
    config = harness.write_config(place / "conf", sections(one))
    result = sendmail("b@example.test", config=config,
                      stdin=message("x" * 2000))
    assert result.status == 0, result.text
    [line] = [line for line in one.sessions[0].received.splitlines()
              if line.startswith(b"MAIL FROM:")]
    assert int(re.search(rb" SIZE=(\d+)", line)[1]) > 2000
