# SPDX-License-Identifier: Apache-2.0
"""Callers that hang, flood or do not listen, all at once: the others are served meanwhile."""

import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.load import Session, login
from support.stack import Stack

IDLE = 1000
FEW = 30
MESSAGES = "/queue/v2/queues/busy/messages"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    bounds = {"TRANSOM_HTTP__DRAIN_S": "1"}
    stack = Stack(tmp_path / "data", bounds)
    try:
        yield stack.start()
    finally:
        stack.stop()


class Crowd:
    """Connections by raw bytes, closed at the end."""

    def __init__(self, stack: Stack, token: str, held: ExitStack) -> None:
        place = urlsplit(stack.url)
        self._address = (str(place.hostname), int(place.port or 0))
        self._held = held
        self.authorised = (
            f"Host: x\r\nX-Auth-Token: {token}\r\n"
            "Client-ID: 3fa85f64-5717-4562-b3fc-2c963f66afa6\r\nContent-Type: application/json\r\n"
        ).encode()

    def connect(self, opening: bytes = b"", receive_bytes: int = 0) -> socket.socket:
        link = self._held.enter_context(socket.socket())
        if receive_bytes:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        link.settimeout(10)
        link.connect(self._address)
        link.sendall(opening)
        return link


def flood(link: socket.socket, megabytes: int) -> bytes:
    """Sends headers without end; the answer."""
    piece = b"x-filler: " + b"a" * 60_000 + b"\r\n"
    try:
        for _ in range(megabytes * 1_000_000 // len(piece)):
            link.sendall(piece)
    except OSError:
        pass
    try:
        return link.recv(300)
    except OSError:
        return b""


@pytest.mark.alone
def test_bad_callers_keep_nobody_from_being_served_and_not_the_stack_from_ending(
    stack: Stack,
) -> None:
    token = login(stack)
    session = Session(stack.url, token)
    for _ in range(4):
        body = {"messages": [{"body": "x" * 200_000, "ttl": 300}]}
        assert session.ask("POST", MESSAGES, body)[0] == 201
    with ExitStack() as held:
        crowd = Crowd(stack, token, held)
        for _ in range(IDLE):
            crowd.connect()
        for _ in range(FEW):
            crowd.connect(b"GET /queue/v2/queues HTTP/1.1\r\nHost: x\r\nX-Auth")
            crowd.connect(
                b"POST %b HTTP/1.1\r\n%bContent-Length: 1000\r\n\r\n{"
                % (MESSAGES.encode(), crowd.authorised)
            )
            big = b"GET %b?echo=true HTTP/1.1\r\n%b\r\n" % (MESSAGES.encode(), crowd.authorised)
            crowd.connect(big * 5, receive_bytes=4096)
        answer = flood(crowd.connect(b"GET / HTTP/1.1\r\n"), 100)
        assert answer.startswith(b"HTTP/1.1 431 ") or answer == b""
        waits_s = []
        for _ in range(100):
            began_s = time.monotonic()
            assert session.ask("POST", MESSAGES, {"messages": [{"body": 1, "ttl": 300}]})[0] == 201
            waits_s.append(time.monotonic() - began_s)
        assert statistics.median(waits_s) < 0.2
        assert max(waits_s) < 2
        role = stack.role("api")
        assert role["ready"]
        assert role["restarts"] == 0
        assert role["memory_mib"] < 400
        began_s = time.monotonic()
        assert stack.transom("down").returncode == 0
        assert time.monotonic() - began_s < 10
    session.close()
    assert "did not stop in time" not in stack.logs()
