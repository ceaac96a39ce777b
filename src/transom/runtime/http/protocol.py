# SPDX-License-Identifier: Apache-2.0
"""One connection: a parser (httptools) with bounds on bytes and on time.

Invariants:
1. What a connection makes this process hold is bounded: headers (also a single endless one),
   trailers and chunk framing, one chunk of body, requests sent ahead of their answers.
2. Whatever a connection waits for has a deadline. No timer is made per request: `check` is called
   for every connection a few times a second and compares `phase_since_s` with the limits.
3. A request that is refused before it is whole gets its answer: our side is shut, what still
   arrives is thrown away for a while, and only then is the connection closed.
4. Nothing is written to a connection between the parts of another answer.
5. After an answer of 101 the connection is its socket's: bytes, ends and deadlines go there.
6. Nobody in front can have read the request's bounds or target otherwise: one Host, and no transfer
   coding but `chunked` (RFC 9112, 3.2 and 6.1). The parser refuses the rest: both lengths, folded
   or bare-CR lines, NUL, sizes that are no plain numbers.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import cast

import httptools
import msgspec

from transom.errors import (
    BadRequest,
    HeadersTooLarge,
    RequestTimeout,
    TransomError,
    Unavailable,
    catalogued,
)
from transom.runtime.http.cycle import STATUS_LINE, Application, Cycle, Outgoing
from transom.runtime.http.flow import HIGH_WATER_BYTES, FlowControl
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.route import plain_error
from transom.runtime.http.websocket import Socket, Switch

LINGER_S = 2.0

_FRAMING = frozenset([b"host", b"transfer-encoding", b"expect"])
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")


class Phase(Enum):
    """What a connection's parser waits for."""

    IDLE = auto()
    HEADERS = auto()
    BODY = auto()
    CLOSING = auto()
    SWITCHED = auto()


class Shared:
    """What all connections of a server share. `now_s` is set by the server's sweep."""

    def __init__(self, limits: HttpLimits, new_request_id: Callable[[], str], now_s: float) -> None:
        self.limits = limits
        self.new_request_id = new_request_id
        self.now_s = now_s
        self.draining = False
        self.common_headers = b""
        self.connection_lost = asyncio.Event()
        self.connections: set[BoundedProtocol] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.handshakes: set[asyncio.Task[None]] = set()
        self.socket_tasks: set[asyncio.Task[None]] = set()

    def refusal(self, error: TransomError) -> Outgoing:
        """An answer that the application does not make."""
        entry = catalogued(type(error))
        request_id = self.new_request_id()
        body = msgspec.json.encode(plain_error(entry, error.text, request_id))
        lines = f"x-openstack-request-id: {request_id}\r\ncontent-type: application/json\r\n"
        if entry.status == 503:
            lines += "retry-after: 1\r\n"
        return Outgoing(entry.status, lines.encode(), body)


class _Refused(Exception):
    """Raised in a parser's callback to leave it; `refused` holds why."""


class BoundedProtocol(asyncio.Protocol):
    """See the module."""

    transport: asyncio.Transport
    flow: FlowControl

    def __init__(self, app: Application, shared: Shared) -> None:
        self.app = app
        self.shared = shared
        self.limits = shared.limits
        self.loop = asyncio.get_running_loop()
        # What follows a last request is thrown away, by `_linger`, and not a fault of the request.
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.host = ""
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.continue_awaited = False
        self.cycle: Cycle | None = None
        self.pipeline: deque[tuple[Cycle, Application]] = deque()
        self.phase = Phase.IDLE
        self.phase_since_s = shared.now_s
        self.unsent_bytes = 0
        self.unsent_since_s = shared.now_s
        self.refused: TransomError | None = None
        self.unparsed_bytes = 0
        self.body_bytes = 0
        self.body_bytes_checked = 0
        self.hosts = 0
        self.socket: Socket | None = None
        self.early: bytearray | None = None

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.flow = FlowControl(self.transport)
        peer = transport.get_extra_info("peername")
        self.host = str(peer[0]) if isinstance(peer, tuple) else ""
        connections = self.shared.connections
        connections.add(self)
        if len(connections) > self.limits.connections_max:
            self._refuse(Unavailable("This door has no free connection; try again."))
        elif self.shared.draining:
            self.finish()

    def data_received(self, data: bytes) -> None:
        if self.socket is not None:
            self.socket.data_received(data)
            return
        if self.phase is Phase.CLOSING:
            return
        if self.early is not None:
            self._keep_early(data)
            return
        self.unparsed_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as ended:
            self.early = bytearray()
            self._keep_early(data[ended.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(self.refused or BadRequest("This is no HTTP request."))
            return
        if self.phase is not Phase.IDLE and self.unparsed_bytes > self.limits.header_bytes_max:
            self._refuse(HeadersTooLarge())

    def eof_received(self) -> bool | None:
        """Half-closed by the caller: what was asked whole is answered, then it is closed; but for
        what waits as long as the caller does (`Cycle.attended`)."""
        if self.socket is not None:
            self.socket.eof_received()
            return None
        cycle = self.cycle
        if cycle is None or not self._answering() or self.phase is not Phase.IDLE:
            return None
        if cycle.attended or not self.transport.can_write_eof():
            return None
        cycle.keep_alive = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.phase = Phase.CLOSING
        self.pipeline.clear()
        self.shared.connections.discard(self)
        if self.cycle is not None:
            self.cycle.give_up()
        self.flow.resume_writing()
        if self.socket is not None:
            self.socket.connection_lost()
        self.shared.connection_lost.set()

    def pause_writing(self) -> None:
        self.flow.pause_writing()
        if self.socket is not None:
            self.socket.pause_writing()

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        if self.socket is not None:
            self.socket.resume_writing()

    # From the parser

    def on_message_begin(self) -> None:
        self.phase = Phase.HEADERS
        self.phase_since_s = self.shared.now_s
        self.url = b""
        self.headers = []
        self.hosts = 0
        self.continue_awaited = False

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
        url = httptools.parse_url(self.url)
        if not self.url.isascii() or not url.path or url.fragment is not None:
            self._fail(BadRequest("The request's target cannot be used."))
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._fail(BadRequest("HTTP/1.1 is spoken here."))
        if self.hosts != 1 and (self.hosts or version == "1.1"):
            self._fail(BadRequest("The request needs one Host header."))
        if parser.should_upgrade():
            self._check_upgrade(version)
        keep_alive = parser.should_keep_alive() and version != "1.0" and not parser.should_upgrade()
        self._begin(
            Cycle(
                parser.get_method().decode("ascii"),
                url.path,
                url.query or b"",
                self.headers,
                self.host,
                self,
                continue_awaited=self.continue_awaited,
                keep_alive=keep_alive and not self.shared.draining,
            )
        )

    def on_body(self, body: bytes) -> None:
        """Small chunks may cost some framing each; 8 bytes of it for each of theirs are free."""
        size = len(body)
        self.body_bytes += size
        self.unparsed_bytes -= 9 * size
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.came(body)
            if len(cycle.body) > HIGH_WATER_BYTES:
                self.flow.pause_reading()

    def on_message_complete(self) -> None:
        self.phase = Phase.IDLE
        self.phase_since_s = self.shared.now_s
        self.unparsed_bytes = 0
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.came_whole()

    # From the request

    def common_headers(self) -> bytes:
        return self.shared.common_headers

    def refusal(self, error: TransomError) -> bytes:
        """The whole answer, after which the connection closes."""
        status, lines, body, _ = self.shared.refusal(error)
        ends = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        return b"".join([STATUS_LINE[status], self.shared.common_headers, lines, ends, body])

    def on_response_complete(self) -> None:
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

    def switch(self, switch: Switch) -> None:
        """The answer was 101: the connection is a socket's from here on."""
        if self.transport.is_closing() or self.phase is Phase.CLOSING:
            return
        self.phase = Phase.SWITCHED
        early, self.early = self.early, None
        self.flow.resume_reading()
        self.socket, task = switch(self.transport, self.shared.now_s)
        self.shared.socket_tasks.add(task)
        task.add_done_callback(self.shared.socket_tasks.discard)
        if self.shared.draining:
            self.socket.shutdown()
        if early:
            self.socket.data_received(bytes(early))

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
        elif self.socket is not None:
            self.socket.check(now_s)
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
        if self.socket is not None:
            self.socket.shutdown()
        elif self.cycle is not None and self._answering():
            self.cycle.keep_alive = False
        elif self.phase is Phase.IDLE:
            self.finish()

    def _answering(self) -> bool:
        return self.cycle is not None and (bool(self.pipeline) or not self.cycle.response_complete)

    def _begin(self, cycle: Cycle) -> None:
        app = self.app
        if len(self.shared.tasks) >= self.limits.requests_max:
            app = self._overloaded
        waiting = self._answering()
        self.cycle = cycle
        if waiting:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))
        else:
            self._run(cycle, app)

    def _run(self, cycle: Cycle, app: Application) -> None:
        tasks = self.shared.tasks
        task = self.loop.create_task(cycle.run(app))
        task.add_done_callback(tasks.discard)
        tasks.add(task)

    async def _overloaded(self, cycle: Cycle) -> Outgoing:
        return self.shared.refusal(Unavailable("This door has no room for the request; try again."))

    def _stalled(self, now_s: float) -> bool:
        """True if nothing of what is to be sent has gone out for too long."""
        unsent_bytes = self.transport.get_write_buffer_size()
        if not unsent_bytes or unsent_bytes < self.unsent_bytes:
            self.unsent_since_s = now_s
        self.unsent_bytes = unsent_bytes
        return now_s - self.unsent_since_s > self.limits.write_s

    def _keep_early(self, data: bytes) -> None:
        """What came behind a request to upgrade is the socket's, if there will be one.

        Otherwise it is dropped: such a connection closes after its answer."""
        if self.early is not None:
            self.early += data
            if len(self.early) > self.limits.header_bytes_max:
                self.flow.pause_reading()

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
            self.continue_awaited = value.lower() == b"100-continue"
        elif name == b"host":
            self.hosts += 1
            if _HOST.fullmatch(value) is None:
                self._fail(BadRequest("The Host header is no host."))
        elif value.lower() != b"chunked" or self.parser.get_http_version() != "1.1":
            self._fail(BadRequest("The only Transfer-Encoding here is chunked, in HTTP/1.1."))

    def _check_upgrade(self, version: str) -> None:
        """What follows such a request is another protocol's to the parser, also if it is a body."""
        lengths = [value for name, value in self.headers if name == b"content-length"]
        if version == "1.0":
            self._fail(BadRequest("Another protocol is only asked for in HTTP/1.1."))
        if any(name == b"transfer-encoding" for name, _ in self.headers) or any(
            value.strip(b"0") for value in lengths
        ):
            self._fail(
                BadRequest(
                    "A request with a body cannot ask for another protocol: leave out Upgrade."
                )
            )

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
        if self.cycle is not None and self._answering():
            if not begun:
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
