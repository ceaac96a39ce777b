# SPDX-License-Identifier: Apache-2.0
"""One connection to one broker node: bytes in and out of the pure machine, on asyncio.

Invariants:
1. What one turn of the loop writes leaves as one write; what is said in answer to bytes that came,
   with those bytes; what is said while nothing is under way, at once.
2. A link ends once, whatever ended it: the broker, the network, silence, or we; every channel is
   lost with it, and nothing is written afterwards.
3. After a fork the child has no link: it writes nothing to the socket of its parent and says no
   farewell in its name.
"""

import asyncio
import contextlib
import logging
import os
import socket
import weakref
from collections.abc import Callable
from math import inf
from typing import cast

from transom.errors import MessagingError
from transom.messaging.drivers.rabbit.channel import REQUEST_S, Channel, ChannelLost
from transom.messaging.proto.amqp import (
    Answered,
    Blocked,
    ChannelClosed,
    Closed,
    Confirmed,
    Connection,
    ConsumerCancelled,
    Delivered,
    Event,
    Flow,
    NotOpen,
    Opened,
    Oversized,
    Returned,
    Settings,
    Unblocked,
)

log = logging.getLogger(__name__)

CLOSE_S = 2.0
PATIENCE_S = 0.02
READ_BYTES = 128 * 1024
HIGH_WATER_BYTES = 1024 * 1024


class Link(asyncio.BufferedProtocol):
    """`on_lost`: told once, with the reason. `on_room`: told when it can be written to again."""

    def __init__(
        self,
        settings: Settings,
        *,
        on_lost: Callable[[str], None],
        on_room: Callable[[], None],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.machine = Connection(settings)
        self.opened: asyncio.Future[Opened] = self.loop.create_future()
        self.lost = ""
        self.blocked = ""
        self._heartbeat_s = settings.heartbeat_s
        self._on_lost = on_lost
        self._on_room = on_room
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._paused = False
        self._closing = False
        self._transport: asyncio.Transport | None = None
        self._channels: dict[int, Channel] = {}
        self._acknowledging: dict[Channel, None] = {}
        self._flushing = False
        self._reading = False
        self._patience: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        _LINKS.add(self)

    @property
    def writable(self) -> bool:
        """Whether messages may be published now."""
        return not (self.lost or self.blocked or self._paused or self._closing)

    def channel(self, *, patient: bool = False) -> Channel:
        """A new one; what is asked on it waits for its opening. Raises: ChannelLost."""
        if self.lost:
            raise ChannelLost(self.lost)
        try:
            number = self.machine.open_channel()
        except MessagingError as error:
            raise ChannelLost(str(error)) from error
        channel = self._channels[number] = Channel(self, number, patient=patient)
        self.flush_soon()
        return channel

    async def close_channel(self, channel: Channel) -> None:
        """Returns when the broker has put back what was unacknowledged on it. Raises nothing."""
        if channel.lost is not None:
            return
        self._write_acknowledgements()
        gone: asyncio.Future[None] = self.loop.create_future()

        def lost(reason: ChannelLost) -> None:
            if not gone.done():
                gone.set_result(None)

        try:
            self.machine.close_channel(channel.number)
        except NotOpen:
            return  # it goes with the link, or somebody else closes it
        channel.on_lost = lost
        self.flush_soon()
        try:
            async with asyncio.timeout(REQUEST_S):
                await gone
        except TimeoutError:
            self.give_up("a channel was not closed in time")

    async def close(self) -> None:
        """Says farewell and waits for it, briefly. Idempotent."""
        if not self.lost:
            self._flush()
            self._closing = True
            self.machine.close()
            self._flush()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._ended.wait()
        self.give_up("closed")

    def give_up(self, reason: str) -> None:
        """Ends it at once, without a farewell. Idempotent."""
        if self._transport is not None:
            self._transport.abort()
        self._end(reason)

    def flush_soon(self) -> None:
        """What the machine has to say leaves in the loop's next turn, or when all is read."""
        if not self._flushing:
            self._flushing = True
            if not self._reading:
                self.loop.call_soon(self._flush)

    def flush(self) -> None:
        """What the machine has to say leaves now, or when all is read."""
        if self._reading:
            self._flushing = True
        else:
            self._flush()

    def acknowledgements_due(self, channel: Channel, *, now: bool) -> None:
        """The channel has some: for the next turn, or for when there is something else to say."""
        self._acknowledging[channel] = None
        if now:
            self.flush_soon()
        elif self._patience is None and not self._flushing:
            self._patience = self.loop.call_later(PATIENCE_S, self._flush)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not every loop's transports are of asyncio's classes.
        transport = cast(asyncio.Transport, transport)
        if self.lost:
            transport.abort()
            return
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._tune(transport.get_extra_info("socket"))
        self.machine.start()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        for event in self.machine.ended():
            self._take(event)
        self._end(str(exc) if exc else "the broker closed the connection")

    def get_buffer(self, sizehint: int) -> memoryview:
        # Kept for the life of the link: asyncio would make a new large one for each read.
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._reading = True
        self._hear(self.machine.receive(self._buffer[:nbytes]))
        self._reading = False
        if self._flushing:
            self._flush()

    def _hear(self, events: list[Event]) -> None:
        channels = self._channels
        if not events:
            self.flush_soon()  # the handshake is answered without events
        for event in events:
            if isinstance(event, Delivered):
                channel = channels.get(event.channel)
                if channel is not None:
                    channel.delivered(event)
            elif isinstance(event, Confirmed):
                channel = channels.get(event.channel)
                if channel is not None:
                    channel.on_confirmed(event)
            else:
                self.flush_soon()
                self._take(event)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self.writable:
            self._on_room()

    def _take(self, event: Event) -> None:
        match event:
            case Answered(channel=number):
                if number in self._channels:
                    self._channels[number].answered(event)
            case Returned(channel=number):
                if number in self._channels:
                    self._channels[number].on_returned(event)
            case ConsumerCancelled(channel=number):
                if number in self._channels:
                    self._channels[number].on_cancelled(event)
            case Flow(channel=number):
                if number in self._channels:
                    self._channels[number].on_flow(event)
            case Oversized(channel=number):
                if number in self._channels:
                    self._channels[number].oversized(event)
            case ChannelClosed(channel=number):
                channel = self._channels.pop(number, None)
                if channel is not None:
                    channel.closed(event)
            case Opened():
                if not self.opened.done():
                    self.opened.set_result(event)
                self._tick()
            case Blocked(reason=reason):
                self.blocked = reason or "blocked"
                log.warning("broker takes no messages", extra={"reason": reason})
            case Unblocked():
                self.blocked = ""
                log.info("broker takes messages again")
                if self.writable:
                    self._on_room()
            case Closed(text=text, code=code):
                self._flush()
                if self._transport is not None:
                    self._transport.close()
                self._end(f"{code} {text}" if code else text)

    def _flush(self) -> None:
        self._flushing = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if self.lost or self._transport is None:
            return
        if self._acknowledging:
            self._write_acknowledgements()
        data = self.machine.take()
        if data:
            self._transport.write(data)

    def _write_acknowledgements(self) -> None:
        acknowledging, self._acknowledging = self._acknowledging, {}
        for channel in acknowledging:
            channel.write_acknowledgements()

    def _tick(self) -> None:
        """Heartbeats: says one where it is time, and hears whether there were any."""
        self._timer = None
        if self.lost:
            return
        for event in self.machine.tick(self.loop.time()):
            self._take(event)
        self._flush()
        if not self.lost and self.machine.wake_s < inf:
            self._timer = self.loop.call_at(self.machine.wake_s, self._tick)

    def _end(self, reason: str) -> None:
        if self.lost:
            return
        self.lost = reason or "closed"
        if self._timer is not None:
            self._timer.cancel()
        lost = ChannelLost(self.lost)
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.lose(lost)
        if not self.opened.done():
            self.opened.set_exception(lost)
            self.opened.exception()
        self._ended.set()
        self._on_lost(self.lost)

    def _tune(self, plain: socket.socket | None) -> None:
        if plain is None or plain.family not in (socket.AF_INET, socket.AF_INET6):
            return
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._heartbeat_s:
            # Bytes that the peer never acknowledges end the link as soon as heartbeats would.
            timeout_ms = self._heartbeat_s * 1000
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)

    def forked(self) -> None:
        """In the child of a fork: the socket is the parent's."""
        self.lost = "the process was forked; the child needs a transport of its own"
        self._transport = None


_LINKS: "weakref.WeakSet[Link]" = weakref.WeakSet()


def _leave_to_parent() -> None:
    for link in list(_LINKS):
        link.forked()


os.register_at_fork(after_in_child=_leave_to_parent)
