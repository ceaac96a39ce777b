# SPDX-License-Identifier: Apache-2.0
"""Posting with keys under fire: each number again and again until it is acknowledged.

Promise: whatever breaks, each acknowledged number is stored exactly once, in order; the one that
was not, at most once.
"""

import json
import random
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, Self

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from support.load import Hand, Session
from support.stack import Stack

ANSWER_S = 10.0
PAUSE_S = 0.03
"""After each batch, so that a subscriber can follow."""


class Numbered(NamedTuple):
    """The body of a message: whose it is, and which."""

    name: str
    number: int

    @classmethod
    def of(cls, text: str) -> Self:
        name, _, number = text.partition(".")
        return cls(name, int(number))

    def __str__(self) -> str:
        return f"{self.name}.{self.number}"


class Keyed(Hand):
    """`queues`: the n-th batch goes to one that the seed draws, however often it is posted.

    `posted`: all that was acknowledged, by queue. `perhaps`: the batch under way at the end.
    """

    def __init__(self, stack: Stack, token: str, queues: Sequence[str], name: str) -> None:
        super().__init__(stack, token)
        self.name = name
        self.queues = queues
        self.posted: dict[str, list[Numbered]] = {queue: [] for queue in queues}
        self.perhaps: list[Numbered] = []
        self.again = 0
        self._draw = random.Random(name)
        self._number = 0
        self._queue = ""
        self._messages: list[dict[str, Any]] = []

    def turn(self, session: Session) -> None:
        if self.perhaps:
            self.again += 1
        else:
            self._next()
        if self.send(session, self._queue, self._messages) != 201:
            self.refuse()
            return
        self.posted[self._queue] += self.perhaps
        self.perhaps = []
        self._stop.wait(PAUSE_S)

    def send(self, session: Session, queue: str, messages: list[dict[str, Any]]) -> int:
        """The status. Raises: OSError, HTTPException."""
        path = f"/queue/v2/queues/{queue}/messages"
        return session.ask("POST", path, {"messages": messages})[0]

    def _next(self) -> None:
        size, delay_s = self._draw.randint(1, 4), self._draw.choice([0, 0, 0, 1])
        self.perhaps = [Numbered(self.name, self._number + at) for at in range(size)]
        self._number += size
        self._queue = self._draw.choice(self.queues)
        self._messages = [
            {"body": str(one), "key": str(one), "delay": delay_s, "ttl": 3600}
            for one in self.perhaps
        ]

    def missing(self, queue: str, found: Sequence[Numbered]) -> list[str]:
        """When all is quiet: what is wrong with what lies in the queue, in its order."""
        faults = []
        mine = [one for one in found if one.name == self.name]
        lost = sorted(set(self.posted[queue]) - set(mine))
        if lost:
            faults.append(f"{queue}: {len(lost)} of {self.name} are lost, first {lost[0]}")
        if mine != sorted(set(mine)):
            faults.append(f"{queue}: those of {self.name} are doubled or out of order")
        if set(mine) - set(self.posted[queue]) - set(self.perhaps):
            faults.append(f"{queue}: some of {self.name} were never posted there")
        return faults


class KeyedSocket(Keyed):
    """Posts over a WebSocket, which is made anew when it breaks."""

    def __init__(self, stack: Stack, token: str, queues: Sequence[str], name: str) -> None:
        super().__init__(stack, token, queues, name)
        self._socket: ClientConnection | None = None
        self._open = ExitStack()

    def send(self, session: Session, queue: str, messages: list[dict[str, Any]]) -> int:
        frame = {
            "action": "message_post",
            "headers": {"Client-ID": str(uuid.UUID(int=1))},
            "body": {"queue_name": queue, "messages": messages},
        }
        try:
            if self._socket is None:
                self._socket = self._connected()
            self._socket.send(json.dumps(frame))
            answer = json.loads(self._socket.recv(ANSWER_S))
        except (OSError, WebSocketException) as error:
            self._close()
            raise ConnectionError(str(error)) from error
        status = int(answer["headers"]["status"])
        if status >= 500 and "Retry-After" not in answer["headers"]:
            self.unexcused.append(f"message_post: {status}")
        return status

    def stop(self) -> None:
        super().stop()
        self._close()

    def _connected(self) -> ClientConnection:
        address = self.stack.url.replace("http", "ws", 1) + "/queue/v2/websocket"
        shown = {"x-auth-token": self.token}
        return self._open.enter_context(
            connect(address, additional_headers=shown, compression=None, open_timeout=ANSWER_S)
        )

    def _close(self) -> None:
        self._socket = None
        self._open.close()
