# SPDX-License-Identifier: Apache-2.0
"""A zmq socket on the event loop's reader, without a task or a future a message.

zmq's descriptor tells only of changes, and any call on the socket may swallow one. So:

Invariants:
1. Every wake-up reads until the socket is empty, or goes on in the next turn.
2. After every send the socket is asked whether something came meanwhile.
"""

import asyncio
import contextlib
import struct
from collections.abc import Callable

import zmq

FRAMES_PER_TURN = 256
# Plain numbers: arithmetic on zmq's flag types costs more than the calls that they are for.
_EVENTS, _RCVMORE = int(zmq.EVENTS), int(zmq.RCVMORE)
_POLLIN, _POLLOUT = int(zmq.POLLIN), int(zmq.POLLOUT)
_NOBLOCK, _SNDMORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
_EVENT = struct.Struct("=hi")
_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_WATCHED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _FAILED
# zmq does not try again by itself after it was told that it is not wanted.
_FINAL = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
AGAIN_S = 1.0

Receive = Callable[[list[bytes]], None]
Socket = zmq.Socket[bytes]


class EdgeSocket:
    """One socket. `receive` gets each message's parts. Runs on the loop that `open` is called on.

    `turned` is called after each wake-up, when all that came has been handed over.
    """

    def __init__(
        self,
        socket: "zmq.Socket[bytes]",
        receive: Receive,
        turned: Callable[[], None] = lambda: None,
    ) -> None:
        self._socket = socket
        self._receive = receive
        self._turned = turned
        self._descriptor = -1
        self._drain_wanted = False

    def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor = int(self._socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._descriptor, self.drain)
        self._want_drain()

    def send(self, *parts: bytes) -> bool:
        """Hands a message to zmq; false if it can't take it (no connection, or nobody there)."""
        if self._descriptor < 0:
            return False
        try:
            for part in parts[:-1]:
                self._socket.send(part, _SNDMORE)
            self._socket.send(parts[-1], _NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            return False
        finally:
            if not self._drain_wanted and self._events() & _POLLIN:
                self._want_drain()
        return True

    def can_send(self) -> bool:
        return self._descriptor >= 0 and bool(self._events() & _POLLOUT)

    def drain(self) -> None:
        """Reads what has come."""
        self._drain_wanted = False
        drained = False
        try:
            for _ in range(FRAMES_PER_TURN):
                parts = self._read()
                if not parts:
                    drained = True
                    break
                self._receive(parts)
                if self._descriptor < 0:
                    return
                # Measured: asking costs 10 us, less than being refused; but the first read of a
                # wake-up is seldom refused.
                if not self._events() & _POLLIN:
                    drained = True
                    break
        finally:
            # Also where a message was one too many for who receives: the descriptor won't tell.
            if not drained and self._descriptor >= 0:
                self._want_drain()
        self._turned()

    def _read(self) -> list[bytes]:
        """The parts of the next message; empty if there is none."""
        if self._descriptor < 0:
            return []
        try:
            parts = [self._socket.recv(_NOBLOCK)]
        except zmq.Again:
            return []
        while self._socket.get(_RCVMORE):
            parts.append(self._socket.recv(_NOBLOCK))
        return parts

    def close(self, linger_ms: int) -> None:
        """Idempotent. What was sent has `linger_ms` to leave, once the context ends."""
        if self._descriptor < 0:
            return
        self._loop.remove_reader(self._descriptor)
        self._descriptor = -1
        self._socket.close(linger_ms)

    def _events(self) -> int:
        return int(self._socket.get(_EVENTS))

    def _want_drain(self) -> None:
        self._drain_wanted = True
        self._loop.call_soon(self.drain)


class Dealer:
    """A DEALER to one endpoint, and the word of each connection made and lost.

    zmq reconnects by itself. Nothing is queued without a connection, and what was queued on a
    connection that broke is dropped by zmq: who sends writes it again. `refused`: a handshake has
    failed, as with another key; it is tried again.
    """

    def __init__(
        self,
        identity: bytes,
        receive: Callable[[bytes], None],
        connected: Callable[[], None],
        disconnected: Callable[[], None],
        refused: Callable[[], None],
    ) -> None:
        self._identity = identity
        self._receive = receive
        self._connected = connected
        self._disconnected = disconnected
        self._refused = refused
        self._greeting = False
        self._endpoint = ""
        self._again: asyncio.TimerHandle | None = None

    def open(
        self, context: "zmq.Context[zmq.Socket[bytes]]", prepare: Callable[[Socket], None]
    ) -> None:
        """`prepare`: the place's own options."""
        self._loop = asyncio.get_running_loop()
        socket = self._socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.ROUTING_ID, self._identity)
        socket.setsockopt(zmq.IMMEDIATE, 1)
        # Safety: both directions are bounded by the windows in `outbound`.
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        prepare(socket)
        self._monitor = EdgeSocket(socket.get_monitor_socket(_WATCHED), self._event)
        self._edge = EdgeSocket(socket, self._arrived, self._greet)
        self._monitor.open()
        self._edge.open()

    def connect(self, endpoint: str) -> None:
        """To there, and nowhere else from now on."""
        if endpoint == self._endpoint:
            return
        self._disconnect()
        self._endpoint = endpoint
        self._socket.connect(endpoint)

    def send(self, *parts: bytes) -> bool:
        """False without a connection."""
        return self._edge.send(*parts)

    def close(self, linger_ms: int = 0) -> None:
        self._greeting = False
        if self._again is not None:
            self._again.cancel()
        # Safety: in this order. zmq's own thread, telling of an event to a monitor that is closed
        # already, would block for ever, and we with it.
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._edge.close(linger_ms)

    def _arrived(self, parts: list[bytes]) -> None:
        if len(parts) == 1:
            self._receive(parts[0])

    def _event(self, parts: list[bytes]) -> None:
        kind, _ = _EVENT.unpack(parts[0][: _EVENT.size])
        if kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._greeting = True
            self._greet()
        elif kind == zmq.EVENT_DISCONNECTED:
            self._greeting = False
            self._disconnected()
        elif kind & _FAILED:
            if kind & _FINAL and self._again is None:
                self._again = self._loop.call_later(AGAIN_S, self._connect_again)
            self._refused()

    def _connect_again(self) -> None:
        self._again = None
        self._disconnect()
        self._socket.connect(self._endpoint)

    def _disconnect(self) -> None:
        if self._endpoint:
            # What zmq has given up it does not know any more.
            with contextlib.suppress(zmq.ZMQError):
                self._socket.disconnect(self._endpoint)

    def _greet(self) -> None:
        # The event may come a little before the pipe; the descriptor tells of the pipe then.
        if self._greeting and self._edge.can_send():
            self._greeting = False
            self._connected()


def router(context: "zmq.Context[zmq.Socket[bytes]]", *, unbounded: bool = False) -> Socket:
    """A ROUTER that says whom it can't reach. `unbounded`: bounded by the senders' windows."""
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    if unbounded:
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
    return socket
