"""A subscriber in threads, for tests of whole processes: it fails, stalls and hangs up at random,
and notes what it took."""

import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class StrictReceiver:
    """`taken`: path -> the bodies that it answered 204, in that order."""

    def __init__(self, seed: int, trouble: float) -> None:
        self.taken: dict[str, list[Any]] = {}
        self.refused = 0
        self._random = random.Random(seed)
        self._trouble = trouble
        self._lock = threading.Lock()
        self.url = ""

    def first_times(self, path: str) -> list[Any]:
        """What came there, each at its first time."""
        return list(dict.fromkeys(self.taken.get(path, [])))

    def has(self, path: str, number: int) -> bool:
        return len(self.first_times(path)) >= number

    def deal_with(self, path: str, body: bytes) -> int:
        """The status; 0 hangs up."""
        with self._lock:
            chance = self._random.random() / self._trouble if self._trouble else 9.0
            if chance < 1:
                self.refused += 1
                return [500, 503, 429, 0][int(chance * 4)]
            stall = self._random.random() < self._trouble / 4
        if stall:
            time.sleep(0.2)
        with self._lock:
            self.taken.setdefault(path, []).append(json.loads(body)["body"])
        return 204


@contextmanager
def strict_receiver(seed: int, trouble: float = 0.1) -> Iterator[StrictReceiver]:
    receiver = StrictReceiver(seed, trouble)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = receiver.deal_with(self.path, body)
            if not status:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            """Nobody reads it."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A killed sender's connection breaks: that is what is tested."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
