# SPDX-License-Identifier: ISC
"""Clients most of whom send mail, and some of whom vanish, reset, talk
nonsense or fall silent.

    strangers.py PORT SOCKET FIRST LAST SESSIONS SEED

sends the messages FIRST to LAST - 1, each once, over so many sessions at a
time. On standard output is, as 4 bytes for each, what has been acknowledged:
the number of the message, and in the upper 3 bits for how many recipients."""
import array
import random
import socket
import ssl
import struct
import sys
import threading

RESET = array.array("i", [1, 0]).tobytes()  # of SO_LINGER
PATIENCE = 120
OPENERS = [b"GET / HTTP/1.1\r\nHost: mail\r\n\r\n", b"\x16\x03\x01\x02\x00\x01",
           b"SSH-2.0-OpenSSH_9.2\r\n", bytes(range(256)) * 8, b"\r\n" * 50]
# While a message is sent: how often, and what.
TROUBLE = [(0.004, "vanish early"), (0.004, "reset early"),
           (0.004, "vanish in the body"), (0.004, "reset in the body"),
           (0.004, "vanish at the dot"), (0.004, "talk nonsense"),
           (0.0005, "fall silent")]
SILENT = threading.Semaphore(2)  # not all of them at a time


class Gone(Exception):
    """The connection has ended, or is to."""


class Client:
    def __init__(self, port, path, dice):
        self.dice = dice
        kind = dice.random()
        if kind < 0.3:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(PATIENCE)
            self.sock.connect(path)
        else:
            self.sock = socket.create_connection(("127.0.0.1", port),
                                                 PATIENCE)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")
        if dice.random() < 0.02:
            self.sock.sendall(dice.choice(OPENERS))
            self.end()
        self.expect(b"2")
        self.command(b"EHLO stranger.test")
        if 0.3 < kind < 0.4:
            self.command(b"STARTTLS")
            self.file.close()
            if dice.random() < 0.1:
                self.sock.sendall(b"\x16\x03\x01 and so on\r\n")
                self.end()
            self.sock = TLS.wrap_socket(self.sock)
            self.file = self.sock.makefile("rb")
            self.command(b"EHLO stranger.test")

    def reply(self):
        while (line := self.file.readline())[3:4] == b"-":
            pass
        if not line:
            raise Gone
        return line

    def expect(self, first):
        if not self.reply().startswith(first):
            raise Gone

    def command(self, line):
        self.sock.sendall(line + b"\r\n")
        self.expect(b"2")

    def end(self, reset=False):
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()
        raise Gone

    def close(self):
        self.file.close()
        self.sock.close()

    def trouble(self):
        chance = self.dice.random()
        for share, what in TROUBLE:
            chance -= share
            if chance < 0:
                return what
        return ""

    def nonsense(self):
        """Is it still there afterwards?"""
        self.sock.sendall(self.dice.randbytes(self.dice.randrange(2000)) +
                          b"\r\nRSET\r\n")
        while not self.reply().startswith(b"250"):
            pass

    def silence(self):
        with SILENT:
            while self.file.readline():
                pass
        raise Gone

    def envelope(self, number, recipients):
        """Whether the content is wanted."""
        commands = [b"MAIL FROM:<m%d@%s.test>" % (
            number, self.dice.choice([b"soak", b"other"]))]
        commands += [b"RCPT TO:<%d.m%d@soak.test>" % (i, number)
                     for i in range(recipients)]
        self.sock.sendall(b"\r\n".join([*commands, b"DATA", b""]))
        good = [self.reply()[:1] == b"2" for _ in commands]
        last = self.reply()[:3]
        if last == b"354" and not all(good):
            self.end()
        return last == b"354"

    def message(self, number):
        """Returns for how many recipients it has been taken."""
        recipients = 1 if self.dice.random() < 0.9 else self.dice.randint(2, 5)
        trouble = self.trouble()
        if trouble == "talk nonsense":
            self.nonsense()
        elif trouble == "fall silent":
            self.silence()
        elif trouble.endswith("early"):
            self.sock.sendall(b"MAIL FROM:<m%d@soak.test>" % number)
            self.end(trouble.startswith("reset"))
        if not self.envelope(number, recipients):
            return 0
        text = (b"Subject: %d\r\n\r\n" % number + b"..text\r\n" *
                int(self.dice.expovariate(1 / 150)))
        if trouble.endswith("body"):
            self.sock.sendall(text)
            self.end(trouble.startswith("reset"))
        self.sock.sendall(text + b".\r\n")
        if trouble:
            self.end()
        return recipients if self.reply().startswith(b"250") else 0


def work(port, path, numbers, dice):
    client, left = None, 0
    for number in numbers:
        try:
            if not left:
                left = dice.randint(1, 40)
                client = Client(port, path, dice)
            left -= 1
            taken = client.message(number)
            if taken:
                ACKNOWLEDGED.append(taken << 29 | number)
            if not left:
                client.command(b"QUIT")
                client.close()
        except (OSError, Gone):
            left = 0


def main(port, path, first, last, sessions, seed):
    numbers = iter(range(first, last))  # each is for whoever asks next
    threads = [threading.Thread(target=work, args=(
        port, path, numbers, random.Random(f"{seed} {first} {i}")))
        for i in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.buffer.write(struct.pack(f"={len(ACKNOWLEDGED)}I",
                                        *ACKNOWLEDGED))


TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE
ACKNOWLEDGED = []

if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
