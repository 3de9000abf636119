# SPDX-License-Identifier: ISC
"""A relay that is sane but for one fault, used once.

    relay = BadRelay(Fault("dot", "drop"), tls=context)

A fault has a step and a kind.  Steps: connect, banner, ehlo, starttls,
handshake, ehlo2 (inside TLS), auth, mail, rcpt (the first), rcpt2 (the
second), data, body, dot, bdat, rset, quit.  The kinds for the answer to a command
are the methods Session.fault_*; those for the handshake and for the body are
the methods handshake_* and body_*.  At the dot and at bdat "accept_" may stand
before a kind: the message has been taken all the same.

Everything that a connection sent is kept, and every message that was taken:
by its envelope and with the exact bytes between DATA and the final dot.
"""

import base64
import dataclasses
import hashlib
import hmac
import os
import re
import select
import socket
import ssl
import struct
import threading
import time

from harness import WAIT

USER, PASSWORD = "sender", "correct horse"

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST
ENDLESS = 64 << 20  # bytes: where an endless reply ends after all
SLOW = 0.003  # seconds between two bytes
ALERT = b"\x15"  # how a TLS alert begins

REFUSALS = {"421": b"421 4.3.2 shutting down\r\n",
            "451": b"451 4.3.0 not now\r\n",
            "550": b"550 5.7.1 never\r\n",
            "552": b"552 5.3.4 too much\r\n"}

# Faults in spite of which what was asked for is done.
TAKING = ("8bit", "lf", "bare", "extra", "double", "huge", "huge_multi",
          "slow", "no_goodbye", "closing")

# What follows an answer in `extra`.
UNASKED = b"250 2.0.0 unasked\r\n"


@dataclasses.dataclass
class Fault:
    step: str
    kind: str
    after: int = 0    # body: bytes of it to read first
    times: int = 1    # how often
    data: bytes = b""   # raw: what to say instead
    done: bool = False  # raw: whether what was asked for is done


@dataclasses.dataclass
class Message:
    """A message that was taken (or would have been, for the client)."""
    sender: str
    recipients: list
    parameters: str  # behind the path of MAIL
    body: bytes      # as sent, dots still stuffed, without the final one
    session: "Session"
    chunked: bool = False  # it came by BDAT
    batches: int = 0  # how often the relay had read by then

    @property
    def content(self):
        """The body with the dot-stuffing undone."""
        if self.chunked:
            return self.body
        return re.sub(rb"(?m)^\.", b"", self.body)

    @property
    def header(self):
        return self.content.partition(b"\r\n\r\n")[0] + b"\r\n"

    @property
    def text(self):
        return self.content.partition(b"\r\n\r\n")[2]


class Gone(Exception):
    """The connection has ended."""


def server_context(pem, version=None):
    """A server's TLS context; weak keys and signatures are fine here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(pem)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


class Wire:
    """Bytes in and out, plain or TLS; and below TLS, for the faults."""

    def __init__(self, sock):
        self.sock = sock
        self.tls = None
        self.handshaken = False
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()

    def send_raw(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone(str(error)) from error

    def recv_raw(self):
        try:
            data = self.sock.recv(65536)
        except OSError as error:
            raise Gone(str(error)) from error
        if not data:
            raise Gone("end of file")
        return data

    def readable(self, patience=0.0):
        """Whether bytes have come that nobody has read: neither the end of
        the connection nor a TLS alert is a command."""
        if self.tls and self._in.pending:
            waiting = self._in.read()
            self._in.write(waiting)
            return not waiting.startswith(ALERT)
        if not select.select([self.sock], [], [], patience)[0]:
            return False
        try:
            first = self.sock.recv(1, socket.MSG_PEEK)
        except OSError:
            return False
        return bool(first) and not (self.tls and first == ALERT)

    def _flush(self):
        if self._out.pending:
            self.send_raw(self._out.read())

    def begin_tls(self, context):
        self.tls = context.wrap_bio(self._in, self._out, server_side=True)

    def flight(self):
        """The server's first flight, read but not sent."""
        while not self._out.pending:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                if not self._out.pending:
                    self._in.write(self.recv_raw())
        return self._out.read()

    def handshake(self):
        while True:
            try:
                self.tls.do_handshake()
                self._flush()
                self.handshaken = True
                return
            except ssl.SSLWantReadError:
                self._flush()
                self._in.write(self.recv_raw())
            except ssl.SSLError as error:
                self._flush()
                raise Gone(str(error)) from error

    def recv(self):
        if not self.tls:
            return self.recv_raw()
        while True:
            try:
                data = self.tls.read(65536)
                if not data:
                    raise Gone("close_notify")
                return data
            except ssl.SSLWantReadError:
                self._flush()
                self._in.write(self.recv_raw())
            except ssl.SSLError as error:
                raise Gone(str(error)) from error

    def send(self, data):
        if not self.tls:
            self.send_raw(data)
            return
        try:
            self.tls.write(data)
        except ssl.SSLError as error:
            raise Gone(str(error)) from error
        self._flush()

    def fatal_alert(self):
        """Sends an encrypted fatal alert, as OpenSSL does when it has read
        a record that makes no sense."""
        self._in.write(b"\x17\x03\x03\x00\x20" + os.urandom(32))
        try:
            while True:
                self.tls.read(65536)
        except ssl.SSLError:
            pass
        self._flush()

    def close(self, reset=False):
        try:
            if reset:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                     RESET)
            else:
                # so that bytes we have not read do not turn it into a RST
                self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self.sock.close()


def will_take(fault, normal):
    """Whether the answer to the dot, with that fault, stands for a message
    that was taken."""
    if not fault:
        return normal[:1] == b"2"
    if fault.kind == "raw":
        return fault.done
    return fault.kind in TAKING or fault.kind.startswith("accept_")


class Session:
    """One connection."""

    def __init__(self, relay, sock):
        self.relay = relay
        self.wire = Wire(sock)
        self.received = b""   # all that came, decrypted
        self.plain = b""      # of it, what came before TLS
        self.commands = []    # lines, without their ends
        self.early = []       # steps at which more had come than asked
        self.groups = []      # commands that came behind MAIL unasked
        self.login = None     # (mechanism, user, password or True)
        self.helo = None
        self.resumed = False            # an earlier TLS session
        self.client_certificate = None  # DER
        self.sni = None
        self.batches = 0      # how often something came
        self.peer = None      # the client's address
        self.too_many = False  # it is one more than sessions_max
        self.taken = 0        # messages
        self.end = ""         # why it ended
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.empty_body = None  # of DATA without a recipient
        self._body = b""
        self.rest = b""       # came behind what a fault had let in
        self._buffer = b""
        self._authenticated = False
        self._count = 0
        self.reset_envelope()

    def reset_envelope(self):
        self._sender = self._parameters = None
        self._recipients = []
        self._count = 0

    # Input

    def _more(self):
        data = self.wire.recv()
        self.batches += 1
        self.received += data
        if not self.wire.tls:
            self.plain += data
        self._buffer += data

    def line(self):
        while b"\r\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        self.commands.append(line)
        return line.decode("latin-1")

    def break_body(self):
        fault = self.relay.take("body")
        if fault:
            while len(self._buffer) < fault.after:
                self._more()
            getattr(self, "body_" + fault.kind)()

    def chunk(self, size):
        """So many bytes."""
        self.break_body()
        while len(self._buffer) < size:
            self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def body(self):
        """Everything up to the final dot."""
        self.break_body()
        data, searched = bytearray(b"\r\n"), 0
        while True:
            data += self._buffer
            self._buffer = b""
            at = data.find(b"\r\n.\r\n", max(0, searched - 4))
            if at >= 0:
                self._buffer = bytes(data[at + 5:])
                return bytes(data[2:at + 2])
            searched = len(data)
            self._more()

    # Output

    def answer(self, step, normal):
        """Sends the answer to that step: the normal one, or what the fault
        makes of it.  Returns whether what was asked for has been done."""
        if isinstance(normal, str):
            normal = normal.encode()
        normal = normal.rstrip(b"\r\n") + b"\r\n"
        if step not in ("mail", "rcpt", "rcpt2", "rcptn") and (
                self._buffer or self.wire.readable(self.relay.patience)):
            self.early.append(step)
        name = "rcpt" if step == "rcpt2" else step
        if name in self.relay.replies:
            normal = self.relay.replies[name].encode() + b"\r\n"
        fault = self.relay.take(step)
        if step in ("dot", "bdat") and will_take(fault, normal):
            self.take_message(step == "bdat")  # before the client can know of it
        if not fault:
            self.wire.send(normal)
            return normal[:1] in b"23"
        kind = fault.kind.removeprefix("accept_")
        if kind in REFUSALS:
            return self.refuse(kind)
        if kind == "raw":
            self.wire.send(fault.data)
            return fault.done
        return getattr(self, "fault_" + kind)(normal)

    def refuse(self, code):
        self.wire.send(REFUSALS[code])
        if code == "421":
            raise Gone("421")
        return False

    def hold(self):
        """Says nothing more until the client goes away or the test lets
        go."""
        self.relay.holding.set()
        while not self.relay.release.is_set():
            if select.select([self.wire.sock], [], [], 0.05)[0]:
                data = self.wire.recv()
                self.received += data
                self.rest += data
        raise Gone("let go")

    def fault_hang(self, _normal):
        self.hold()

    def fault_drop(self, _normal):
        raise Gone("drop")

    def fault_rst(self, _normal):
        self.wire.close(reset=True)
        raise Gone("rst")

    def fault_malformed(self, _normal):
        self.wire.send(b"what do you mean?\r\n")
        return False

    def fault_8xx(self, _normal):
        self.wire.send(b"850 what\r\n")
        return False

    def fault_1xx(self, _normal):
        self.wire.send(b"150 what\r\n")
        return False

    def fault_3xx(self, normal):
        if normal[:3] == b"354":
            self.wire.send(normal)
            return True
        self.wire.send(b"354 go ahead\r\n")
        return False

    def fault_partial(self, normal):
        self.wire.send(normal[:3] + b"-half of it\r\n")
        raise Gone("partial")

    def fault_partial_hang(self, normal):
        self.wire.send(normal[:3] + b"-half of it\r\n")
        self.hold()

    def fault_partial_code(self, normal):
        self.wire.send(normal[:2])
        raise Gone("partial_code")

    def fault_partial_line(self, normal):
        self.wire.send(normal[:3] + b" ok")
        raise Gone("partial_line")

    def fault_mixed(self, normal):
        self.wire.send(normal[:3] + b"-ok\r\n550 5.0.0 no\r\n")
        return False

    def fault_mixed_no(self, normal):
        self.wire.send(b"550-5.0.0 no\r\n" + normal[:3] + b" ok\r\n")
        return False

    def fault_8bit(self, normal):
        first = normal[:3] + b"-gr\xfc\xdfe \xff\xfe\x80\r\n"
        self.wire.send(first + normal)
        return True

    def fault_lf(self, normal):
        self.wire.send(normal.replace(b"\r\n", b"\n"))
        return True

    def fault_bare(self, normal):
        """Only the code (RFC 5321 section 4.2 wants it taken)."""
        self.wire.send(normal[:3] + b"\r\n")
        return True

    def fault_extra(self, normal):
        self.out_of_step(normal)
        self.wire.send(normal + UNASKED)
        return True

    def fault_double(self, normal):
        self.out_of_step(normal)
        self.wire.send(normal + normal)
        return True

    def out_of_step(self, normal):
        """Whoever takes the unasked 250 for the answer to the dot has not
        read that the message is refused."""
        if normal[:3] == b"354":
            self.relay.fault = Fault("dot", "550")

    def fault_huge(self, normal):
        self.wire.send(normal[:3] + b"-" + b"x" * 100000 + b"\r\n" + normal)
        return True

    def fault_huge_multi(self, normal):
        line = normal[:3] + b"-one more line of a very long answer\r\n"
        self.wire.send(line * 5000 + normal)
        return True

    def fault_endless(self, normal):
        chunk = (normal[:3] + b"-and on\r\n") * 1000
        for _ in range(ENDLESS // len(chunk)):
            self.wire.send(chunk)
        raise Gone("endless")

    def fault_huge_noeol(self, normal):
        self.wire.send(normal[:3] + b" ")
        for _ in range(ENDLESS // 65536):
            self.wire.send(b"x" * 65536)
        raise Gone("huge_noeol")

    def fault_slow(self, normal):
        for at in range(len(normal)):
            self.wire.send(normal[at:at + 1])
            time.sleep(SLOW)
        return True

    def fault_tls_alert(self, _normal):
        self.wire.fatal_alert()
        raise Gone("alert")

    def fault_tls_inject(self, normal):
        """The answer, but outside of TLS."""
        self.wire.send_raw(normal)
        self.hold()

    def fault_no_goodbye(self, normal):
        """A whole answer, then FIN without close_notify."""
        self.wire.send(normal)
        raise Gone("no_goodbye")

    def fault_closing(self, normal):
        """The answer and at once a 421, then the end."""
        self.wire.send(normal + REFUSALS["421"])
        raise Gone("closing")

    # The handshake; the client's hello has not been read

    def handshake_hang(self):
        self.hold()

    def handshake_drop(self):
        raise Gone("drop")

    def handshake_rst(self):
        self.wire.recv_raw()
        self.wire.close(reset=True)
        raise Gone("rst")

    def handshake_tls_garbage(self):
        self.wire.recv_raw()
        self.wire.send_raw(b"\x16\x03\x03\x01\x00" + os.urandom(256))
        self.hold_raw()

    def handshake_tls_alert(self):
        self.wire.recv_raw()
        self.wire.send_raw(b"\x15\x03\x03\x00\x02\x02\x28")
        self.hold_raw()

    def handshake_tls_plain(self):
        self.wire.recv_raw()
        self.wire.send_raw(b"220 ok\r\n250-relay.test\r\n250 AUTH PLAIN\r\n")
        self.hold_raw()

    def handshake_tls_partial(self):
        self.wire.begin_tls(self.relay.tls)
        flight = self.wire.flight()
        self.wire.send_raw(flight[:len(flight) // 2])
        raise Gone("tls_partial")

    def handshake_tls_slow(self):
        self.wire.begin_tls(self.relay.tls)
        for byte in self.wire.flight():
            self.wire.send_raw(bytes([byte]))
            time.sleep(0.02)
        self.hold_raw()

    def hold_raw(self):
        """As hold(), while no TLS can be spoken; what comes counts as
        received, as it may be plain text."""
        self.wire.tls = None
        self.hold()

    # The body

    def body_drop(self):
        raise Gone("drop")

    def body_rst(self):
        self.wire.close(reset=True)
        raise Gone("rst")

    def body_stall(self):
        self.relay.holding.set()
        self.relay.release.wait(WAIT)
        raise Gone("stall")

    def body_421(self):
        self.refuse("421")

    def body_early(self):
        """Refuses in the middle, then closes."""
        self.wire.send(REFUSALS["552"])
        raise Gone("early")

    def body_early_open(self):
        """Refuses in the middle, then neither reads nor closes."""
        self.wire.send(REFUSALS["552"])
        self.body_stall()

    def body_tls_alert(self):
        self.wire.fatal_alert()
        raise Gone("alert")

    def body_tls_garbage(self):
        self.wire.send_raw(b"\x17\x03\x03\x00\x20" + os.urandom(32))
        self.hold()

    # The conversation

    def run(self):
        try:
            if self.relay.implicit:
                self.start_tls()
            self.greet()
            while self.obey(self.line()):
                pass
        except Gone as gone:
            self.end = str(gone)
        finally:
            self.rest += self._buffer
            self.wire.close()
            self.ended.set()

    def greet(self):
        fault = self.relay.take("connect")
        if fault:
            if fault.kind == "hang":
                self.hold()
            self.wire.close(reset=fault.kind == "rst")
            raise Gone("connect")
        if self.too_many:
            self.wire.send(b"421 4.7.0 too many connections\r\n")
            raise Gone("sessions_max")
        self.answer("banner", "220 relay.test ESMTP")

    def start_tls(self):
        if self._buffer:
            self.early.append("handshake")
        fault = self.relay.take("handshake")
        if fault:
            getattr(self, "handshake_" + fault.kind)()
        self.wire.begin_tls(self.relay.tls)
        self.wire.handshake()
        self.sni = self.relay.last_sni
        self.resumed = self.wire.tls.session_reused
        self.client_certificate = self.wire.tls.getpeercert(True)
        self.reset_envelope()
        self._buffer = b""

    def obey(self, line):
        verb, _, rest = line.partition(" ")
        method = getattr(self, "smtp_" + verb.lower(), None)
        if not method:
            self.wire.send(b"500 5.5.1 unknown command\r\n")
            return True
        method(rest)
        return verb.upper() != "QUIT"

    def capabilities(self):
        relay, lines = self.relay, ["relay.test"]
        if relay.pipelining:
            lines.append("PIPELINING")
        if relay.chunking:
            lines.append("CHUNKING")
        if relay.eightbit:
            lines.append("8BITMIME")
        if relay.size is not None:
            lines.append(f"SIZE {relay.size}".rstrip())
        if relay.tls and not self.wire.tls and relay.offer_starttls:
            lines.append(relay.offer_starttls)
        if relay.mechanisms and (self.wire.tls or not relay.tls):
            lines.append("AUTH " + " ".join(relay.mechanisms))
        return lines + list(relay.keywords)

    def smtp_ehlo(self, name):
        self.helo = name
        self.reset_envelope()
        lines = self.capabilities()
        reply = [f"250{'-' if at < len(lines) - 1 else ' '}{line}\r\n"
                 for at, line in enumerate(lines)]
        step = "ehlo2" if self.wire.tls and not self.relay.implicit \
            else "ehlo"
        self.answer(step, "".join(reply))

    def smtp_helo(self, name):
        self.helo = name
        self.reset_envelope()
        self.answer("helo", "250 relay.test")

    def smtp_starttls(self, _):
        if not self.relay.tls or self.wire.tls:
            self.wire.send(b"503 5.5.1 no\r\n")
        elif self.answer("starttls", self.relay.starttls_reply):
            self.start_tls()

    def smtp_auth(self, line):
        words = line.split()
        method = getattr(self, "auth_" + words[0].lower().replace("-", "_"),
                         None)
        if words[0] not in self.relay.mechanisms or not method:
            self.wire.send(b"504 5.5.4 unknown mechanism\r\n")
            return
        user, password = method(words[1:])
        self.login = (words[0], user, password)
        if user == self.relay.user and password in (True,
                                                    self.relay.password):
            self._authenticated = self.answer("auth", "235 2.7.0 welcome")
        else:
            self.answer("auth", "535 5.7.8 bad user name or password")

    def ask(self, challenge):
        self.wire.send(b"334 " + base64.b64encode(challenge) + b"\r\n")
        return base64.b64decode(self.line())

    def auth_plain(self, initial):
        data = base64.b64decode(initial[0]) if initial else self.ask(b"")
        _, user, password = data.decode().split("\0")
        return user, password

    def auth_login(self, initial):
        user = base64.b64decode(initial[0]) if initial \
            else self.ask(b"Username:")
        return user.decode(), self.ask(b"Password:").decode()

    def auth_cram_md5(self, _):
        challenge = b"<1896.697170952@relay.test>"
        user, _, digest = self.ask(challenge).decode().rpartition(" ")
        right = hmac.new(self.relay.password.encode(), challenge,
                         hashlib.md5).hexdigest()
        return user, digest == right

    def refuse_token(self, resignation):
        """Tells why a token is refused, as Google does, and wants it heard."""
        self.wire.send(b"334 " + base64.b64encode(
            b'{"status":"401","schemes":"bearer"}') + b"\r\n")
        assert self.line() == resignation

    def check_token(self, user, token, resignation):
        if (user, token) != (self.relay.user, self.relay.password):
            self.refuse_token(resignation)
        return user, token

    def auth_xoauth2(self, initial):
        data = base64.b64decode(initial[0]) if initial else self.ask(b"")
        user, token = re.fullmatch(
            "user=(.*)\1auth=Bearer (.*)\1\1", data.decode()).groups()
        return self.check_token(user, token, "")

    def auth_oauthbearer(self, initial):
        data = base64.b64decode(initial[0]) if initial else self.ask(b"")
        user, self.relay.told, token = re.fullmatch(
            "n,a=(.*),\1(host=.*\1port=[0-9]+)\1auth=Bearer (.*)\1\1",
            data.decode()).groups()
        return self.check_token(user.replace("=2C", ",").replace("=3D", "="),
                                token, "AQ==")

    def smtp_mail(self, rest):
        found = re.match(r"(?i)from:<((?:\"(?:\\.|[^\"])*\"|[^\">])*)>(.*)",
                         rest)
        if not found or self._sender is not None or (
                self.relay.mechanisms and not self._authenticated):
            self.wire.send(b"530 5.7.0 not now\r\n")
            return
        if self.taken == self.relay.messages_max:
            self.wire.send(b"421 4.7.0 too many messages\r\n")
            raise Gone("messages_max")
        if self.relay.group_wait:
            self.wait_for_group()
        self.groups.append(self._buffer.count(b"\r\n"))
        if self.answer("mail", "250 2.1.0 ok"):
            self._sender, self._parameters = found[1], found[2].strip()

    def wait_for_group(self):
        """Answers MAIL only when DATA is there too."""
        until = time.monotonic() + WAIT
        while not self._buffer.endswith(b"DATA\r\n"):
            if not self.wire.readable(max(0, until - time.monotonic())):
                return  # the test then sees that nothing was there
            self._more()

    def smtp_rcpt(self, rest):
        found = re.match(r"(?i)to:<((?:\"(?:\\.|[^\"])*\"|[^\">])+)>(.*)",
                         rest)
        if not found or self._sender is None:
            self.wire.send(b"503 5.5.1 no\r\n")
            return
        self._count += 1
        normal = self.relay.recipients.get(found[1], "250 2.1.5 ok")
        if len(self._recipients) == self.relay.recipients_max:
            normal = "452 4.5.3 too many recipients"
        step = {1: "rcpt", 2: "rcpt2"}.get(self._count, "rcptn")
        if self.answer(step, normal):
            self._recipients.append(found[1])

    def smtp_data(self, _):
        if not self._recipients and not self.relay.data_anyway:
            self.wire.send(b"554 5.5.1 no valid recipients\r\n")
            return
        if not self.answer("data", "354 go ahead"):
            return
        self._body = self.body()
        self.relay.dot_seen.set()
        if not self._recipients:
            self.empty_body = self._body
            self.answer("dot", "554 5.5.1 no valid recipients")
        else:
            self.answer("dot", "250 2.0.0 ok taken")
        self.reset_envelope()

    def smtp_bdat(self, rest):
        """Takes the chunk, whatever becomes of it."""
        size, _, last = rest.partition(" ")
        self._body = self.chunk(int(size))
        self.relay.dot_seen.set()
        if last != "LAST" or not self._recipients:
            self.answer("nobody", "503 5.5.1 no valid recipients")
            return
        self.answer("bdat", "250 2.0.0 ok taken")
        self.reset_envelope()

    def take_message(self, chunked):
        self.taken += 1
        self.relay.add(Message(self._sender, list(self._recipients),
                               self._parameters, self._body, self, chunked,
                               self.batches))

    def smtp_rset(self, _):
        self.relay.rset_seen.set()
        self.reset_envelope()
        self.answer("rset", "250 2.0.0 ok")

    def smtp_noop(self, _):
        self.answer("noop", "250 2.0.0 ok")

    def smtp_quit(self, _):
        self.answer("quit", "221 2.0.0 bye")

    def close(self):
        """Ends it from the relay's side, whatever it is waiting for."""
        try:
            self.wire.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    @property
    def text(self):
        return b"\n".join(self.commands).decode("latin-1")

    def said(self, verb):
        """How often that command came."""
        return sum(line.upper().startswith(verb.encode())
                   for line in self.commands)


class BadRelay:
    """Listens, on a port of the kernel's choice if need be, until close()."""

    def __init__(self, fault=None, *, tls=None, implicit=False,
                 mechanisms=(), pipelining=True, chunking=False,
                 eightbit=True, size=None,
                 keywords=(), recipients=None, replies=None, patience=0.0,
                 group_wait=False, offer_starttls="STARTTLS",
                 starttls_reply="220 2.0.0 go ahead", user=USER,
                 password=PASSWORD, receive_buffer=None, data_anyway=False,
                 recipients_max=None, messages_max=None, sessions_max=None,
                 address=("127.0.0.1", 0)):
        self.fault = fault
        self.fault_hit = 0
        self.tls, self.implicit = tls, implicit
        self.mechanisms = mechanisms
        self.pipelining, self.eightbit = pipelining, eightbit
        self.chunking = chunking
        self.size, self.keywords = size, keywords
        self.recipients = recipients or {}  # address: reply to its RCPT
        self.recipients_max = recipients_max  # in one transaction
        self.messages_max = messages_max  # on one connection
        self.sessions_max = sessions_max  # at the same time
        self.turned_away = 0
        self.replies = replies or {}        # step: reply, always
        self.patience = patience  # seconds to look for bytes sent too early
        self.group_wait = group_wait
        self.offer_starttls = offer_starttls
        self.starttls_reply = starttls_reply
        self.user, self.password = user, password
        self.data_anyway = data_anyway  # 354 even without a recipient
        self.sessions, self.messages = [], []
        self.holding, self.release = threading.Event(), threading.Event()
        self.dot_seen, self.rset_seen = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self.last_sni = None
        if tls:
            tls.sni_callback = self._sni
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                 receive_buffer)
        self.sock.bind(address)
        self.port = self.sock.getsockname()[1]
        self.sock.listen(100)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _sni(self, _connection, name, _context):
        self.last_sni = name

    def _accept(self):
        while True:
            try:
                sock, peer = self.sock.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(WAIT * 3)
            session = Session(self, sock)
            session.peer = peer
            with self._news:
                session.too_many = self._is_full()
                self.turned_away += session.too_many
                self.sessions.append(session)
                self._news.notify_all()
            session.thread.start()

    def take(self, step):
        """The fault, if it is for that step and not used up."""
        with self._lock:
            fault = self.fault
            if not fault or fault.step != step or not fault.times:
                return None
            fault.times -= 1
            self.fault_hit += 1
            return fault

    def _is_full(self):
        """With the lock: whether one more connection is one too many. That is
        seen in the order in which they come, or two that meet would both be
        turned away."""
        here = sum(not one.too_many and not one.ended.is_set()
                   for one in self.sessions)
        return bool(self.sessions_max) and here >= self.sessions_max

    def add(self, message):
        with self._news:
            self.messages.append(message)
            self._news.notify_all()

    def wait_messages(self, count=1):
        """The messages, once there are count of them."""
        with self._news:
            if not self._news.wait_for(
                    lambda: len(self.messages) >= count, WAIT):
                raise AssertionError(f"{len(self.messages)} messages")
            return list(self.messages)

    def wait_sessions(self, count=1):
        with self._news:
            if not self._news.wait_for(
                    lambda: len(self.sessions) >= count, WAIT):
                raise AssertionError(f"{len(self.sessions)} sessions")
            return list(self.sessions)

    def wait_ended(self):
        """Waits until no connection is open."""
        for session in list(self.sessions):
            assert session.ended.wait(WAIT), "the client does not hang up"

    def copies(self, marker=b""):
        """How many messages with these bytes were taken."""
        with self._lock:
            return sum(marker in one.body for one in self.messages)

    def close_sessions(self):
        """Ends all connections; new ones are still served."""
        for session in list(self.sessions):
            session.close()
            session.ended.wait(WAIT)

    def close(self):
        """Ends everything; from now on connecting is refused."""
        self.release.set()
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        self._thread.join(WAIT)
        for session in list(self.sessions):
            session.close()
