# SPDX-License-Identifier: Apache-2.0
"""A process that dies between its commit and its answer: the caller asks again, and has it once."""

import json
import os
import signal
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.load import login
from support.stack import Stack, wait_for

KILLS = 3
PATH = "/queue/v2/queues/repeated"

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path / "data")
    try:
        yield stack.start()
    finally:
        stack.stop()


class Caller:
    """Sends requests whose answers it may leave unread."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.token = login(stack)
        self.client = str(uuid.uuid4())

    def send(self, method: str, path: str, body: Any = None, key: str = "") -> socket.socket:
        parts = urlsplit(self.stack.url)
        content = b"" if body is None else json.dumps(body).encode()
        lines = [
            f"{method} {path} HTTP/1.1", "host: here", f"x-auth-token: {self.token}",
            f"client-id: {self.client}", "content-type: application/json", "connection: close",
            f"content-length: {len(content)}", *([f"idempotency-key: {key}"] if key else []),
        ]  # fmt: skip
        connection = socket.create_connection((parts.hostname, parts.port), timeout=20)
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        return connection

    def ask(self, method: str, path: str, body: Any = None, key: str = "") -> tuple[str, Any]:
        """Head and body of the answer."""
        with self.send(method, path, body, key) as connection, connection.makefile("rb") as file:
            head, _, content = file.read().partition(b"\r\n\r\n")
        return head.decode().lower(), json.loads(content) if content else None

    def bodies(self) -> list[Any]:
        _, found = self.ask("GET", f"{PATH}/messages?echo=true&include_claimed=true&limit=20")
        return [message["body"] for message in found["messages"]]


def test_what_was_committed_and_not_answered_is_not_done_again(stack: Stack) -> None:
    caller = Caller(stack)
    for number in range(KILLS):
        key, post = f"key-{number}", {"messages": [{"body": number, "ttl": 3600}]}
        with caller.send("POST", f"{PATH}/messages", post, key):
            wait_for(lambda number=number: number in caller.bodies())
            os.kill(stack.role("api")["pid"], signal.SIGKILL)
        stack.wait_ready()
        head, first = caller.ask("POST", f"{PATH}/messages", post, key)
        assert head.startswith("http/1.1 201 ")
        assert "idempotency-replayed: true" in head
        _, shown = caller.ask("GET", first["resources"][0].replace("/v2/", "/queue/v2/", 1))
        assert shown["body"] == number
        assert caller.bodies() == list(range(number + 1))
