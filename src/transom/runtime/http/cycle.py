# SPDX-License-Identifier: Apache-2.0
"""One request and its answer on a connection: what a door reads of it, and how its answer goes out.

Invariants:
1. A request can be refused before any of its body is asked for (`100 Continue`) or read: `taken`
   asks for nothing.
2. An answer that begins before its request is whole says that the connection closes.
3. An answer is whole when its first byte goes out, and goes out in one write.
4. What is answered after the connection is gone is dropped.
5. Who waits for the caller to hang up is told.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from transom.errors import InternalError, TransomError
from transom.runtime.http.flow import FlowControl

log = logging.getLogger(__name__)

RawHeaders = list[tuple[bytes, bytes]]

STATUS_LINE = {
    int(status): f"HTTP/1.1 {status} {status.phrase}\r\n".encode() for status in HTTPStatus
}
BODILESS = frozenset([101, 204, 304])
NO_FIELDS: dict[str, str] = {}


class Disconnected(Exception):
    """The caller went away before its request was whole; nobody waits for an answer."""


class Outgoing(NamedTuple):
    """An answer as it goes out. `lines`: its headers but for those of framing, each with its end.

    `switch`: with status 101, what takes the connection over.
    """

    status: int
    lines: bytes
    body: bytes
    switch: Any = None


class Connection(Protocol):
    """What a cycle needs of its connection."""

    transport: asyncio.Transport
    flow: FlowControl

    def common_headers(self) -> bytes: ...

    def refusal(self, error: TransomError) -> bytes: ...

    def on_response_complete(self) -> None: ...

    def finish(self) -> None: ...

    def switch(self, switch: Any) -> None: ...


class Cycle:
    """Made when a request's headers are whole; `run` carries it out.

    `raw_path`, `query`: as sent. `headers`: lower-case name and value, as sent. `host`: where it
    comes from. `fields` and `url_path` are what the router found, `content` is the whole body, once
    it was read.
    """

    __slots__ = (
        "_connection",
        "_continue_awaited",
        "_heard",
        "attended",
        "body",
        "content",
        "disconnected",
        "fields",
        "headers",
        "host",
        "keep_alive",
        "method",
        "more_body",
        "query",
        "raw_path",
        "response_complete",
        "url_path",
    )

    def __init__(
        self,
        method: str,
        raw_path: bytes,
        query: bytes,
        headers: RawHeaders,
        host: str,
        connection: Connection,
        *,
        continue_awaited: bool,
        keep_alive: bool,
    ) -> None:
        self.method = method
        self.raw_path = raw_path
        self.query = query
        self.headers = headers
        self.host = host
        self.fields: dict[str, str] = NO_FIELDS
        self.url_path = ""
        self.content = b""
        self.body: bytes | bytearray = b""
        self.more_body = True
        self.keep_alive = keep_alive
        self.attended = False
        self.disconnected = False
        self.response_complete = False
        self._connection = connection
        self._continue_awaited = continue_awaited
        self._heard: asyncio.Event | None = None

    async def run(self, app: "Application") -> None:
        try:
            answer = await app(self)
            flow = self._connection.flow
            if flow.write_paused and not self.disconnected:
                await flow.drain()
            if answer is not None and not self.disconnected:
                self._send(answer)
        except asyncio.CancelledError:
            self._connection.transport.abort()
            raise
        except Exception:  # Safety: one request's failure ends its connection only
            log.exception("application failed", extra={"path": self.raw_path.decode("ascii")})
            if self.response_complete or self.disconnected:
                self._connection.transport.abort()
            else:
                self._connection.transport.write(self._connection.refusal(InternalError()))
                self.give_up()
                self._connection.finish()

    def taken(self) -> bytes:
        """What has come of the body and was not taken yet."""
        body, self.body = self.body, b""
        return body if type(body) is bytes else bytes(body)

    async def next_chunk(self) -> bytes:
        """Asks for more of the body, of which `more_body` says there is. Raises: Disconnected."""
        if self._continue_awaited:
            self._continue_awaited = False
            if not self.disconnected:
                self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._connection.flow.resume_reading()
        while self.more_body and not self.body and not self._is_over():
            await self._something()
        if self._is_over() and self.more_body:
            raise Disconnected
        return self.taken()

    async def hung_up(self) -> None:
        """Returns when the caller is gone, or has its answer. What is left of a body is dropped.

        `attended`: somebody asks, so a caller that closes its side has hung up.
        """
        try:
            while self.more_body:
                await self.next_chunk()
        except Disconnected:
            return
        self.attended = True
        self._connection.flow.resume_reading()
        while not self._is_over():
            await self._something()

    # From the connection

    def came(self, chunk: bytes) -> None:
        """More of the body."""
        if not self.body:
            self.body = chunk
        else:
            if type(self.body) is bytes:
                self.body = bytearray(self.body)
            self.body += chunk
        self._tell()

    def came_whole(self) -> None:
        self.more_body = False
        self._tell()

    def give_up(self) -> None:
        """Nobody will get the answer, or it has been written for the application."""
        self.disconnected = True
        self._tell()

    def _is_over(self) -> bool:
        return self.disconnected or self.response_complete

    def _tell(self) -> None:
        if self._heard is not None:
            self._heard.set()

    async def _something(self) -> None:
        if self._heard is None:
            self._heard = asyncio.Event()
        self._heard.clear()
        await self._heard.wait()

    def _send(self, answer: Outgoing) -> None:
        status, lines, body, switch = answer
        connection = self._connection
        if self.more_body:
            self.keep_alive = False
        ends = b"\r\n" if self.keep_alive or status == 101 else b"connection: close\r\n\r\n"
        if status not in BODILESS:
            ends = b"content-length: %d\r\n%b" % (len(body), ends)
            if self.method != "HEAD":
                ends += body
        connection.transport.write(
            b"".join((STATUS_LINE[status], connection.common_headers(), lines, ends))
        )
        self.response_complete = True
        self._tell()
        if status == 101:
            connection.switch(switch)
            return
        if not self.keep_alive:
            connection.finish()
        connection.on_response_complete()


Application = Callable[[Cycle], Awaitable[Outgoing | None]]
"""Carries a request out. None: there is nobody to answer."""
