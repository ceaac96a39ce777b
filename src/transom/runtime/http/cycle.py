# SPDX-License-Identifier: Apache-2.0
"""One request and its answer on a connection: the ASGI server's side of it.

Invariants:
1. The first event comes at once, empty if no body is there yet: the application can refuse a
   request before any of its body is asked for (`100 Continue`) or read.
2. An answer that begins before its request is whole says that the connection closes.
3. A header that would break the answer's form (line ends, NUL) is never written.
4. What the application sends after the connection is gone is dropped.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from transom.errors import InternalError, TransomError

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Application = Callable[..., Awaitable[None]]

_BODILESS = frozenset([204, 304])


class Connection(Protocol):
    """What a cycle needs of its connection."""

    transport: asyncio.Transport
    flow: FlowControl

    def common_headers(self) -> bytes: ...

    def refusal(self, error: TransomError) -> bytes: ...

    def on_response_complete(self) -> None: ...

    def finish(self) -> None: ...


class Cycle:
    """Made when a request's headers are whole; `run_asgi` carries it out."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_continue_awaited",
        "_first",
        "_left",
        "_start",
        "body",
        "disconnected",
        "keep_alive",
        "message_event",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
    )

    def __init__(
        self,
        scope: dict[str, Any],
        connection: Connection,
        continue_awaited: bool,
        keep_alive: bool,
    ) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.message_event = asyncio.Event()
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self._connection = connection
        self._continue_awaited = continue_awaited
        self._first = True
        self._start: Message | None = None
        self._chunked = False
        self._left = 0

    async def run_asgi(self, app: Application) -> None:
        try:
            await app(self.scope, self.receive, self.send)
            if not self.response_complete and not self.disconnected:
                raise InternalError(detail="the application ended without an answer")
        except asyncio.CancelledError:
            self._connection.transport.abort()
            raise
        except Exception:  # Safety: one request's failure ends its connection only
            log.exception("application failed", extra={"path": self.scope["path"]})
            if self._start is None and not self.disconnected:
                self._connection.transport.write(self._connection.refusal(InternalError()))
                self.give_up()
                self._connection.finish()
            else:
                self._connection.transport.abort()

    async def receive(self) -> Message:
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        if self._first:
            self._first = False
        else:
            if self._continue_awaited:
                self._continue_awaited = False
                self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._connection.flow.resume_reading()
            if self.more_body and not self.body:
                self.message_event.clear()
                await self.message_event.wait()
            if self.disconnected or self.response_complete:
                return {"type": "http.disconnect"}
        body = bytes(self.body)
        self.body.clear()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        flow = self._connection.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            if message["type"] == "http.response.start":
                self._start = message
                self.response_started = True
                return
        elif not self.response_complete and message["type"] == "http.response.body":
            self._send_body(message.get("body", b""), message.get("more_body", False))
            return
        raise RuntimeError(f"{message['type']} is not what an answer goes on with")

    def give_up(self) -> None:
        """Nobody will get the answer, or it has been written for the application."""
        self.disconnected = True
        self.message_event.set()

    def _send_body(self, body: bytes, more: bool) -> None:
        start, self._start = self._start, None
        head = self._head(start) if start is not None else b""
        if self.scope["method"] == "HEAD":
            self._left = 0
            body = b""
        elif self._chunked:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if not more:
                body += b"0\r\n\r\n"
        else:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("the answer's body is not as long as announced")
        if head or body:
            self._connection.transport.write(head + body)
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self._connection.finish()
            self._connection.on_response_complete()

    def _head(self, start: Message) -> bytes:
        status: int = start["status"]
        parts = [STATUS_LINE[status], self._connection.common_headers()]
        has_length = False
        for name, value in start.get("headers", ()):
            if name == b"content-length":
                has_length = True
                self._left = int(value)
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive = False
                continue
            elif name == b"transfer-encoding":
                continue  # framing is decided here alone
            parts.append(b"%b: %b\r\n" % (name, value))
        if self.more_body:
            self.keep_alive = False
        lines = len(parts) - 2 + parts[1].count(b"\n") + 1
        if not has_length and status not in _BODILESS and self.scope["method"] != "HEAD":
            self._chunked = True
            parts.append(b"transfer-encoding: chunked\r\n")
            lines += 1
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
            lines += 1
        parts.append(b"\r\n")
        head = b"".join(parts)
        if head.count(b"\n") != lines + 1 or head.count(b"\r") != lines + 1 or b"\0" in head:
            raise RuntimeError("a header of the answer holds a line end")
        return head
