# SPDX-License-Identifier: ISC
"""A relay that takes most of what it gets, and fails at random: it drops,
hangs up, refuses for now and for ever, and breaks handshakes. What it has taken
is in a ledger, by message and recipient.

The sender says which message it is, m17@soak.test or m17@other.test, and the
recipient which of its recipients: 0.m17@soak.test. A notice, which has no
sender and goes to m17@soak.test, says that its sender has been told."""
import array
import random
import re
import socket
import ssl
import threading

SENDER = re.compile(rb"FROM:<(?:m(\d+)@(?:soak|other)\.test)?>", re.I)
RECIPIENT = re.compile(rb"TO:<(?:(\d)\.)?m(\d+)@(?:soak|other)\.test>", re.I)
RESET = array.array("i", [1, 0]).tobytes()  # of SO_LINGER
PATIENCE = 60  # seconds without a word, and the client has gone

# How often each happens while the relay is shaky.
CHANCES = {
    "connect": [(0.010, "hang up"), (0.010, "reset"), (0.005, b"421 4.3.2 -")],
    "starttls": [(0.010, "hang up"), (0.010, "nonsense"),
                 (0.005, b"454 4.7.0 -")],
    "mail": [(0.002, b"451 4.3.0 -"), (0.002, b"550 5.7.1 -"),
             (0.0005, b"421 4.3.2 -"), (0.0005, "hang up"),
             (0.0001, "be silent")],
    "rcpt": [(0.003, b"450 4.2.1 -"), (0.003, b"550 5.1.1 -"),
             (0.0005, "reset")],
    "data": [(0.001, b"452 4.3.1 -"), (0.0005, "hang up")],
    "body": [(0.001, "hang up"), (0.001, "reset")],
    "dot": [(0.002, b"451 4.3.0 -"), (0.002, b"554 5.6.0 -"),
            (0.001, "hang up"), (0.0005, b"421 4.3.2 -")],
    # when it has been taken
    "answer": [(0.001, "hang up"), (0.001, "reset")],
}


class Over(Exception):
    """The connection has ended, as it was to."""


class Ledger:
    """One byte a message: a bit for each recipient, and one for the notice."""
    TOLD = 0x80

    def __init__(self, count):
        self.marks = bytearray(count)
        self.again = 0  # recipients who got a message once more
        self.lock = threading.Lock()

    def mark(self, number, bits):
        with self.lock:
            self.again += bin(self.marks[number] & bits & ~self.TOLD).count("1")
            self.marks[number] |= bits

    def knows(self, number, recipients):
        mark, all_of_them = self.marks[number], (1 << recipients) - 1
        return mark & self.TOLD or mark & all_of_them == all_of_them


class ShakyRelay:
    def __init__(self, ledger, context, seed):
        self.ledger, self.context = ledger, context
        self.shaky = True
        self.faults = {}
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            sock, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(sock,),
                             daemon=True).start()

    def _serve(self, sock):
        session = Session(self, sock)
        try:
            session.run()
        except (OSError, Over):
            pass
        finally:
            session.close()

    def fault(self, step):
        """What goes wrong there now, or None."""
        if not self.shaky:
            return None
        dice = self._random.random()
        for chance, what in CHANCES[step]:
            dice -= chance
            if dice < 0:
                key = f"{step}: {what if isinstance(what, str) else what[:3]}"
                self.faults[key] = self.faults.get(key, 0) + 1
                return what
        return None


class Session:
    def __init__(self, relay, sock):
        self.relay, self.sock = relay, sock
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = sock.makefile("rb")
        self.sender, self.recipients = None, []

    def close(self):
        self.file.close()
        self.sock.close()

    def say(self, line):
        self.sock.sendall(line + b"\r\n")

    def fails(self, step):
        """Whether the command is refused; does not return if the connection
        ends there."""
        what = self.relay.fault(step)
        if what is None:
            return False
        if isinstance(what, bytes):
            self.say(what)
            if what.startswith(b"421"):
                raise Over
            return True
        if what == "nonsense":
            self.sock.sendall(b"220 2.0.0 go on\r\n" + bytes(range(256)))
        elif what == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif what == "be silent":
            while self.file.readline():
                pass
        raise Over

    def run(self):
        if self.fails("connect"):
            raise Over
        self.say(b"220 shaky.test ESMTP")
        while line := self.file.readline():
            verb = line[:4].upper().strip()
            getattr(self, f"on_{verb.decode()}", self.on_other)(line)

    def on_other(self, line):
        if line[:4].upper() == b"QUIT":
            self.say(b"221 2.0.0 bye")
            raise Over
        if line[:4].upper() not in (b"RSET", b"NOOP"):
            self.say(b"502 5.5.2 -")
            return
        self.sender, self.recipients = None, []
        self.say(b"250 2.0.0 ok")

    def on_EHLO(self, _):
        lines = [b"shaky.test", b"PIPELINING", b"8BITMIME",
                 b"ENHANCEDSTATUSCODES", b"SIZE 0"]
        if not isinstance(self.sock, ssl.SSLSocket):
            lines.append(b"STARTTLS")
        self.sock.sendall(b"".join(b"250-" + line + b"\r\n"
                                   for line in lines[:-1]) +
                          b"250 " + lines[-1] + b"\r\n")

    def on_STAR(self, _):
        if self.fails("starttls"):
            return
        self.say(b"220 2.0.0 go on")
        self.file.close()
        self.sock = self.relay.context.wrap_socket(self.sock, server_side=True)
        self.file = self.sock.makefile("rb")

    def on_MAIL(self, line):
        found = SENDER.search(line)
        self.sender, self.recipients = None, []
        if not found:
            self.say(b"501 5.1.7 -")
        elif found[1] is None or not self.fails("mail"):
            self.sender = found[1] or b""
            self.say(b"250 2.1.0 ok")

    def on_RCPT(self, line):
        found = RECIPIENT.search(line)
        if self.sender is None or not found:
            self.say(b"503 5.5.1 -")
        elif not self.sender or not self.fails("rcpt"):
            self.recipients.append((found[1], int(found[2])))
            self.say(b"250 2.1.5 ok")

    def on_DATA(self, _):
        if not self.recipients:
            self.say(b"554 5.5.1 no valid recipients")
            return
        if self.sender and self.fails("data"):
            return
        self.say(b"354 go on")
        if self.sender and self.relay.fault("body"):
            raise Over
        while (line := self.file.readline()) != b".\r\n":
            if not line:
                raise Over
        if self.sender and self.fails("dot"):
            return
        for which, number in self.recipients:
            self.relay.ledger.mark(number, Ledger.TOLD if which is None
                                   else 1 << int(which))
        self.sender, self.recipients = None, []
        if self.fails("answer"):
            return
        self.say(b"250 2.0.0 taken")
