# SPDX-License-Identifier: ISC
"""A relay that is down in the way that can be counted: it accepts connections
and closes them before its greeting."""
import socket
import threading
import time


class DownRelay:
    """Its port, and when (on time.monotonic()) somebody connected."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._socket.getsockname()[1]
        self.connects = []
        self._news = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _run(self):
        while True:
            try:
                self._socket.accept()[0].close()
            except OSError:
                return
            with self._news:
                self.connects.append(time.monotonic())
                self._news.notify_all()

    def wait_first(self, patience):
        """When the first one came; None if nobody did in so many seconds."""
        with self._news:
            self._news.wait_for(lambda: self.connects, patience)
            return self.connects[0] if self.connects else None
