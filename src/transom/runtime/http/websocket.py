# SPDX-License-Identifier: Apache-2.0
"""One WebSocket, from the end of its handshake to the end of its connection.

The `websockets` library takes the frames apart and puts them together (RFC 6455: masks, control
frames, fragments, the closing handshake); here are the bounds, the time, and the handler's side.

Invariants:
1. What a socket makes this process hold is bounded: one message in the making, messages that
   nobody has taken yet (`WAITING_MOST`, `waiting_bytes_max`, and what one read from the network
   brings), what waits to be sent. Over each of these nothing more is read of it, and a caller that
   reads too slowly is cut off.
2. Whatever it waits for has a deadline: a message, once begun; any sign of life; the other side's
   end of the closing handshake. `check` looks at them, no socket has a timer.
3. Nothing that a caller sends leaves this file as an exception: a fault of the protocol closes its
   socket with the code of RFC 6455, and text that is no UTF-8 with 1007.
4. The handler runs in one task, which ends after the connection: what is taken is seen through.
5. No extension is agreed to, so no message grows when it is unpacked.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side

from transom.runtime.http.limits import HttpLimits

log = logging.getLogger(__name__)
protocol_log = logging.getLogger("transom.http.websockets")
protocol_log.setLevel(logging.CRITICAL)  # what callers do wrong is told to them, by the close code

WAITING_MOST = 64
LINGER_S = 2.0
REASON_BYTES_MOST = 120


class Code(IntEnum):
    """Why a socket is closed. From 4000 on: ours, as Zaqar has them."""

    NORMAL = 1000
    GOING_AWAY = 1001
    INVALID_TEXT = 1007
    POLICY = 1008
    INTERNAL = 1011
    TRY_AGAIN = 1013
    TOKEN_ENDED = 4003


class Message(NamedTuple):
    """Whole, its fragments joined. `is_text`: then it is UTF-8."""

    data: bytes
    is_text: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one socket. `message_bytes_max`: of one message that comes in."""

    message_bytes_max: int
    limits: HttpLimits

    @property
    def waiting_bytes_max(self) -> int:
        return 2 * self.message_bytes_max


class Socket:
    """What the handler has, and (from `data_received` on) what its connection has.

    `closed` is set when the connection is gone, `ending` as soon as nothing more is taken from it.
    """

    def __init__(self, transport: asyncio.Transport, bounds: Bounds, now_s: float) -> None:
        self.closed = asyncio.Event()
        self.ending = asyncio.Event()
        self._transport = transport
        self._limits = bounds.limits
        self._bounds = bounds
        self._loop = asyncio.get_running_loop()
        self._protocol = Protocol(
            Side.SERVER, max_size=bounds.message_bytes_max, logger=protocol_log
        )
        self._arrived: deque[Message] = deque()
        self._arrived_bytes = 0
        self._partial = bytearray()
        self._partial_is_text = False
        self._partial_since_s: float | None = None
        self._taker: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._reading = True
        self._flushing = False
        self._heard_s = self._now_s = now_s
        self._pinged_s: float | None = None
        self._closing_s: float | None = None
        self._told_to_end = False

    # The handler's side

    async def receive(self) -> Message | None:
        """The next message; None when none will come any more."""
        while not self._arrived:
            if self.ending.is_set():
                return None
            self._taker = self._loop.create_future()
            try:
                await self._taker
            finally:
                self._taker = None
        if self._told_to_end:
            return None
        message = self._arrived.popleft()
        self._arrived_bytes -= len(message.data)
        self._regulate()
        return message

    async def drain(self) -> None:
        """Returns when the caller has read enough that more may be sent, or is gone."""
        if not self._writable.is_set():
            await self._writable.wait()

    def send(self, data: bytes, *, is_text: bool) -> None:
        """Sends a message after those before it; dropped if the socket is closed."""
        protocol = self._protocol
        if protocol.state is not OPEN:
            return
        if is_text:
            protocol.send_text(data)
        else:
            protocol.send_binary(data)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def close(self, code: int = Code.NORMAL, reason: str = "") -> None:
        """Says why, and closes when the other side has said so too, or `LINGER_S` later."""
        self._end()
        if self._protocol.state is OPEN:
            short = reason.encode()[:REASON_BYTES_MOST].decode(errors="ignore")
            self._protocol.send_close(code, short)
            self._flush()
        if self._closing_s is None:
            self._closing_s = self._loop.time()

    # The connection's side

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._now_s
        self._pinged_s = None
        protocol = self._protocol
        try:
            protocol.receive_data(data)
        except EOFError:
            return  # it said that it would send nothing any more
        for event in protocol.events_received():
            if not isinstance(event, Frame) or not self._on_frame(event):
                break
        if protocol.state is not OPEN:
            self._end()
            if self._closing_s is None:
                self._closing_s = self._loop.time()
        elif self._partial_since_s is None and (protocol.reader.buffer or self._partial):
            self._partial_since_s = self._now_s
        self._flush()
        self._regulate()

    def eof_received(self) -> None:
        self._end()
        self._transport.close()

    def connection_lost(self) -> None:
        self._end()
        self._arrived.clear()
        self._writable.set()
        self.closed.set()

    def pause_writing(self) -> None:
        self._writable.clear()
        self._regulate()

    def resume_writing(self) -> None:
        self._writable.set()
        self._regulate()

    def check(self, now_s: float) -> None:
        """Closes the socket if it has waited too long for what it waits for."""
        self._now_s = now_s
        limits = self._limits
        if self._closing_s is not None:
            if now_s - self._closing_s > LINGER_S:
                self._transport.abort()
        elif self._partial_since_s is not None and now_s - self._partial_since_s > limits.body_s:
            self.close(Code.POLICY, "a message took too long to arrive")
        elif not self._reading:
            self._heard_s = now_s  # we are the slow ones
        elif self._pinged_s is not None:
            if now_s - self._pinged_s > limits.socket_pong_s:
                self.close(Code.INTERNAL, "a ping was not answered")
                self._transport.abort()
        elif now_s - self._heard_s > limits.socket_ping_s:
            self._pinged_s = now_s
            self._protocol.send_ping(b"")
            self._flush()

    def shutdown(self) -> None:
        """The server stops: nothing more is taken; the handler sees through what it has."""
        self._told_to_end = True
        self._end()

    @property
    def told_to_end(self) -> bool:
        return self._told_to_end

    # Within

    def _end(self) -> None:
        self.ending.set()
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)

    def _on_frame(self, frame: Frame) -> bool:
        """False if the socket is closed by it."""
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            is_text = opcode is Opcode.TEXT
            if frame.fin:
                return self._on_message(bytes(frame.data), is_text)
            self._partial_is_text = is_text
            self._partial += frame.data
        elif opcode is Opcode.CONT:
            self._partial += frame.data
            if frame.fin:
                whole = bytes(self._partial)
                self._partial = bytearray()
                return self._on_message(whole, self._partial_is_text)
        return True

    def _on_message(self, data: bytes, is_text: bool) -> bool:
        self._partial_since_s = None
        if is_text and not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError:
                self.close(Code.INVALID_TEXT, "a text message is not UTF-8")
                return False
        if not self.ending.is_set():
            self._arrived.append(Message(data, is_text))
            self._arrived_bytes += len(data)
            if self._taker is not None and not self._taker.done():
                self._taker.set_result(None)
        return True

    def _regulate(self) -> None:
        """Reads no further while messages wait to be taken, or answers to be read."""
        full = (
            len(self._arrived) >= WAITING_MOST
            or self._arrived_bytes > self._bounds.waiting_bytes_max
            or not self._writable.is_set()
        ) and not self.ending.is_set()
        if full == self._reading and not self._transport.is_closing():
            self._reading = not full
            if full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _flush(self) -> None:
        """All that was made to be sent, in one piece."""
        self._flushing = False
        transport = self._transport
        pieces = self._protocol.data_to_send()
        if not pieces or transport.is_closing():
            return
        ends = pieces[-1] == b""
        transport.write(b"".join(pieces))
        if ends:
            self._hang_up()
        elif transport.get_write_buffer_size() > self._limits.socket_unsent_bytes_max:
            self.close(Code.POLICY, "you read too slowly")

    def _hang_up(self) -> None:
        """Ends our side. What the caller has sent by then must not take the reason from it."""
        if self._protocol.close_rcvd is None and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()


Handler = Callable[[Socket], Awaitable[None]]


async def carried_out(socket: Socket, handler: Handler) -> None:
    """Runs the handler to its end, and closes the socket."""
    code, reason = Code.NORMAL, ""
    try:
        await handler(socket)
        if socket.told_to_end:
            code, reason = Code.GOING_AWAY, "the server stops or restarts; connect again"
    except asyncio.CancelledError:
        code = Code.GOING_AWAY
        raise
    except Exception:  # Safety: one socket's failure is its own
        log.exception("socket failed")
        code, reason = Code.INTERNAL, "the server failed"
    finally:
        socket.close(code, reason)


Switch = Callable[[asyncio.Transport, float], tuple[Socket, "asyncio.Task[None]"]]
"""(transport, now in s) -> what takes over a connection whose answer was 101, and its handler."""
