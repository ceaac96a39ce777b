# SPDX-License-Identifier: Apache-2.0
"""A role's line to its supervisor: one socket pair, JSON lines.

supervisor -> role: the charge (first line, then the payload), `{"ask": true}`, `{"stop": true}`
role -> supervisor: `{"ready": {...}}`, `{"answer": true, "complaint": "..."}` (if there is one),
`{"problem": "...", "hopeless": bool}`

Invariants:
1. The end of the line means that the supervisor is gone, however it went: the role drains, and is
   ended by SIGALRM (default action) where it has not ended itself `grace_s` later.
2. Questions are answered on the role's event loop, so a stuck loop does not answer.
3. A line is at most `LINE_BYTES_MOST` long; a longer one ends the line.
"""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

LINE_BYTES_MOST = 65536


class Lines:
    """Bytes in, whole JSON objects out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Raises: ValueError for a line that is too long or no JSON object."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES_MOST:
            raise ValueError("line too long")
        messages = [json.loads(line) for line in whole]
        if not all(isinstance(message, dict) for message in messages):
            raise ValueError("not an object")
        return messages


def encode_line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Channel:
    """The role's end. `listeners`: the listening sockets that it inherits, by name.

    `complain`: what keeps the role from all of its work though it runs, for people; "" if nothing.
    """

    def __init__(
        self, line: socket.socket, listeners: Mapping[str, socket.socket], grace_s: float
    ) -> None:
        self.listeners = listeners
        self.complain: Callable[[], str] = str
        self._line = line
        self._grace_s = grace_s

    def ready(self, info: Mapping[str, Any] | None = None) -> None:
        """Tells the supervisor that the role serves. `info`: JSON; shown to who asks for status."""
        self._tell({"ready": dict(info or {})})

    def give_up(self, problem: str, *, hopeless: bool = False) -> None:
        """Tells why the role is about to end. `hopeless`: starting it again cannot help."""
        self._tell({"problem": problem[:2000], "hopeless": hopeless})

    @asynccontextmanager
    async def attend(self) -> AsyncIterator[asyncio.Event]:
        """Answers the supervisor while inside; the event is set when the role is to drain.

        That is: when the supervisor says so, when it has died, or at SIGTERM.
        """
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        lines = Lines()
        loop.add_reader(self._line, self._read, loop, lines, stopping)
        loop.add_signal_handler(signal.SIGTERM, stopping.set)
        try:
            yield stopping
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_reader(self._line)

    def _read(self, loop: asyncio.AbstractEventLoop, lines: Lines, stopping: asyncio.Event) -> None:
        try:
            data = self._line.recv(LINE_BYTES_MOST, socket.MSG_DONTWAIT)
            messages = lines.feed(data)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            data, messages = b"", []
        if not data:
            loop.remove_reader(self._line)
            self._orphaned()
            stopping.set()
        for message in messages:
            if "ask" in message:
                complaint = self.complain()
                self._tell({"answer": True, **({"complaint": complaint} if complaint else {})})
            if "stop" in message:
                stopping.set()

    def _orphaned(self) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, self._grace_s)

    def _tell(self, message: Mapping[str, Any]) -> None:
        """Safety: a line that is broken or full is found by `_read`; nobody is left to be told."""
        with suppress(OSError):
            self._line.sendall(encode_line(message))
