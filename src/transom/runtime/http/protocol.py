# SPDX-License-Identifier: Apache-2.0
"""One connection: uvicorn's httptools protocol with bounds on bytes and on time.

Invariants:
1. What a connection makes this process hold is bounded: headers (also a single endless one),
   trailers and chunk framing, one chunk of body, requests sent ahead of their answers.
2. Whatever a connection waits for has a deadline. No timer is made per request: `check` is called
   for every connection a few times a second and compares `phase_since_s` with the limits.
3. A request that is refused before it is whole gets its answer: our side is shut, what still
   arrives is thrown away for a while, and only then is the connection closed.
4. Nothing is written to a connection between the parts of another answer.
5. Nobody in front can have read the request's bounds or target otherwise: one Host, and no transfer
   coding but `chunked` (RFC 9112, 3.2 and 6.1). The parser refuses the rest: both lengths, folded
   or bare-CR lines, NUL, sizes that are no plain numbers.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, cast

import httptools
import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from transom.errors import (
    BadRequest,
    HeadersTooLarge,
    RequestTimeout,
    TransomError,
    Unavailable,
    catalogued,
)
from transom.runtime.http.cycle import Application, Cycle
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.route import plain_error

LINGER_S = 2.0

_FRAMING = frozenset([b"host", b"transfer-encoding", b"expect"])
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")


class Phase(Enum):
    """What a connection's parser waits for."""

    IDLE = auto()
    HEADERS = auto()
    BODY = auto()
    CLOSING = auto()


class Shared:
    """What all connections of a server share. `now_s` is set by the server's sweep."""

    def __init__(self, limits: HttpLimits, new_request_id: Callable[[], str], now_s: float) -> None:
        self.limits = limits
        self.new_request_id = new_request_id
        self.now_s = now_s
        self.draining = False
        self.common_headers = b""
        self.connection_lost = asyncio.Event()
        self.state = ServerState()
        self.handshakes: set[asyncio.Task[None]] = set()

    def refusal(self, error: TransomError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and body of an answer that the application does not make."""
        entry = catalogued(type(error))
        request_id = self.new_request_id()
        body = msgspec.json.encode(plain_error(entry, error.text, request_id))
        headers = [
            (b"x-openstack-request-id", request_id.encode()),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        if entry.status == 503:
            headers.append((b"retry-after", b"1"))
        return entry.status, headers, body


class _Refused(Exception):
    """Raised in a parser's callback to leave it; `refused` holds why."""


class BoundedProtocol(HttpToolsProtocol):
    """See the module."""

    cycle: Cycle  # type: ignore[assignment]
    pipeline: deque[tuple[Cycle, Application]]  # type: ignore[assignment]

    def __init__(self, config: Config, shared: Shared) -> None:
        super().__init__(config, shared.state, {}, asyncio.get_running_loop())
        self.shared = shared
        self.limits = shared.limits
        self.phase = Phase.IDLE
        self.phase_since_s = shared.now_s
        self.unsent_bytes = 0
        self.unsent_since_s = shared.now_s
        self.refused: TransomError | None = None
        self.answered = False
        self.unparsed_bytes = 0
        self.body_bytes = 0
        self.body_bytes_checked = 0
        self.hosts = 0

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        if len(self.connections) > self.limits.connections_max:
            self._refuse(Unavailable("This door has no free connection; try again."))
        elif self.shared.draining:
            self.finish()

    def data_received(self, data: bytes) -> None:
        if self.phase is Phase.CLOSING:
            return
        self.unparsed_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # answered as if no upgrade had been asked for; the connection closes afterwards
        except httptools.HttpParserError:
            self._refuse(self.refused or BadRequest("This is no HTTP request."))
            return
        if self.phase is not Phase.IDLE and self.unparsed_bytes > self.limits.header_bytes_max:
            self._refuse(HeadersTooLarge())

    def eof_received(self) -> None:
        """Half-closed by the caller: what was asked whole is answered, then it is closed."""
        if self._answering() and self.phase is Phase.IDLE and self.transport.can_write_eof():
            self.cycle.keep_alive = False
            return True  # type: ignore[return-value]
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.phase = Phase.CLOSING
        self.pipeline.clear()
        super().connection_lost(exc)
        self.shared.connection_lost.set()

    # From the parser

    def on_message_begin(self) -> None:
        self.phase = Phase.HEADERS
        self.phase_since_s = self.shared.now_s
        self.hosts = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.limits.line_bytes_max:
            self._fail(HeadersTooLarge("The path and query are longer than allowed."))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.phase is not Phase.HEADERS:
            return  # a trailer; nothing here takes one
        name = name.lower()
        if name in _FRAMING:
            self._on_framing(name, value)
        headers = self.headers
        headers.append((name, value))
        if len(headers) > self.limits.header_count_max:
            self._fail(HeadersTooLarge("The request has more headers than allowed."))

    def on_headers_complete(self) -> None:
        """Starts the request; from here on `unparsed_bytes` counts the body's framing alone."""
        limits = self.limits
        if self.unparsed_bytes > limits.header_bytes_max and self._header_bytes_over():
            self._fail(HeadersTooLarge())
        self.unparsed_bytes = 0
        self.phase = Phase.BODY
        self.phase_since_s = self.shared.now_s
        self.body_bytes = self.body_bytes_checked = 0
        parser = self.parser
        scope = cast(dict[str, Any], self.scope)
        url = httptools.parse_url(self.url)
        if not self.url.isascii() or not url.path or url.fragment is not None:
            self._fail(BadRequest("The request's target cannot be used."))
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._fail(BadRequest("HTTP/1.1 is spoken here."))
        if self.hosts != 1 and (self.hosts or version == "1.1"):
            self._fail(BadRequest("The request needs one Host header."))
        scope["method"] = parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["raw_path"] = url.path
        scope["path"] = url.path.decode("ascii")
        scope["query_string"] = url.query or b""
        keep_alive = parser.should_keep_alive() and version != "1.0" and not parser.should_upgrade()
        self._begin(keep_alive and not self.shared.draining)

    def on_body(self, body: bytes) -> None:
        """Small chunks may cost some framing each; 8 bytes of it for each of theirs are free."""
        size = len(body)
        self.body_bytes += size
        self.unparsed_bytes -= 9 * size
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.phase = Phase.IDLE
        self.phase_since_s = self.shared.now_s
        self.unparsed_bytes = 0
        super().on_message_complete()

    # From the request

    def common_headers(self) -> bytes:
        return self.shared.common_headers

    def refusal(self, error: TransomError) -> bytes:
        """The whole answer, after which the connection closes."""
        status, headers, body = self.shared.refusal(error)
        lines = [b"%b: %b\r\n" % header for header in headers]
        head = [STATUS_LINE[status], self.shared.common_headers, *lines]
        return b"".join([*head, b"connection: close\r\n\r\n", body])

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing() or self.phase is Phase.CLOSING:
            return
        if self.phase is not Phase.BODY:
            self.phase_since_s = self.shared.now_s
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            cycle.keep_alive = cycle.keep_alive and not self.shared.draining
            self._run(cycle, app)
            if self.pipeline or self.refused is not None:
                return  # what was sent ahead is answered before more is read
        elif self.refused is not None:
            self._refuse(self.refused)
            return
        elif self.shared.draining and self.phase is Phase.IDLE:
            self.finish()
            return
        self.flow.resume_reading()

    def finish(self) -> None:
        """Closes after the last answer, or without one; lingers if a request is still coming."""
        if self.phase is Phase.IDLE:
            self.phase = Phase.CLOSING
            self.phase_since_s = self.shared.now_s
            self.transport.close()
        else:
            self._linger()

    # From the server

    def check(self, now_s: float) -> None:
        """Closes the connection if it has waited too long for what it waits for."""
        limits = self.limits
        waited_s = now_s - self.phase_since_s
        if self._stalled(now_s):
            self.transport.abort()
        elif self.phase is Phase.CLOSING:
            if not self.unsent_bytes and waited_s > LINGER_S:
                self.transport.abort()
        elif self.phase is Phase.BODY:
            self._check_progress(waited_s)
        elif self._answering():
            return
        elif self.phase is Phase.HEADERS:
            if waited_s > limits.header_s:
                self._refuse(RequestTimeout())
        elif waited_s > (limits.keep_alive_s if self.cycle is not None else limits.header_s):
            self.finish()

    def shutdown(self) -> None:
        """Stops taking requests; those under way are answered."""
        if self._answering():
            self.cycle.keep_alive = False
        elif self.phase is Phase.IDLE:
            self.finish()

    def _answering(self) -> bool:
        return self.cycle is not None and (bool(self.pipeline) or not self.cycle.response_complete)

    def _begin(self, keep_alive: bool) -> None:
        app: Any = self.app
        if len(self.tasks) >= self.limits.requests_max:
            app = self._overloaded
        waiting = self._answering()
        self.cycle = Cycle(
            cast(dict[str, Any], self.scope), self, self.expect_100_continue, keep_alive
        )
        if waiting:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, app))
        else:
            self._run(self.cycle, app)

    def _run(self, cycle: Cycle, app: Application) -> None:
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _overloaded(self, scope: Any, receive: Any, send: Any) -> None:
        error = Unavailable("This door has no room for the request; try again.")
        status, headers, body = self.shared.refusal(error)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _stalled(self, now_s: float) -> bool:
        """True if nothing of what is to be sent has gone out for too long."""
        unsent_bytes = self.transport.get_write_buffer_size()
        if not unsent_bytes or unsent_bytes < self.unsent_bytes:
            self.unsent_since_s = now_s
        self.unsent_bytes = unsent_bytes
        return now_s - self.unsent_since_s > self.limits.write_s

    def _check_progress(self, waited_s: float) -> None:
        if self.flow.read_paused:
            self.phase_since_s = self.shared.now_s  # we are the slow ones
        elif waited_s > self.limits.body_pause_s:
            if self.body_bytes - self.body_bytes_checked < self.limits.body_progress_bytes:
                self._refuse(RequestTimeout())
            else:
                self.body_bytes_checked = self.body_bytes
                self.phase_since_s = self.shared.now_s

    def _on_framing(self, name: bytes, value: bytes) -> None:
        if name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        elif name == b"host":
            self.hosts += 1
            if _HOST.fullmatch(value) is None:
                self._fail(BadRequest("The Host header is no host."))
        elif value.lower() != b"chunked" or self.parser.get_http_version() != "1.1":
            self._fail(BadRequest("The only Transfer-Encoding here is chunked, in HTTP/1.1."))

    def _header_bytes_over(self) -> bool:
        """Exact, for when other requests came in the same packets."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        return size > self.limits.header_bytes_max

    def _fail(self, error: TransomError) -> None:
        self.refused = error
        raise _Refused

    def _refuse(self, error: TransomError) -> None:
        """Answers with the error as soon as an answer may be written, and hangs up."""
        if self.phase is Phase.CLOSING:
            return
        self.refused = error
        begun = self.phase is Phase.BODY  # then the last cycle is the request that is refused
        if begun and self.pipeline:
            self.pipeline.popleft()
            self.flow.pause_reading()
            return
        if self._answering():
            if not begun or self.cycle.response_started:
                self.cycle.keep_alive = self.cycle.keep_alive and not begun
                self.flow.pause_reading()
                return
            self.cycle.give_up()
        self.transport.write(self.refusal(error))
        self._linger()

    def _linger(self) -> None:
        self.phase = Phase.CLOSING
        self.phase_since_s = self.shared.now_s
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()  # TLS has no such thing: there, `check` closes in a while
