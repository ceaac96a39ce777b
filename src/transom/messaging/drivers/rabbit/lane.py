# SPDX-License-Identifier: Apache-2.0
"""A channel with confirms, and the messages on it: published, waiting, or in doubt.

Invariants:
1. Messages leave in the order in which they were given, also when they are sent again.
2. A message is given up to its owner once: confirmed, refused, returned, or lost with the channel.
3. At most `window` messages and WINDOW_BYTES bytes are unconfirmed (one message may be larger).
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from transom.errors import MessageDeliveryFailure, MessagingError
from transom.messaging.drivers.rabbit.channel import Channel, ChannelLost
from transom.messaging.drivers.rabbit.link import Link
from transom.messaging.drivers.rabbit.outgoing import Labels, Outgoing
from transom.messaging.proto.amqp import Confirmed, Flow, NotOpen, Returned, Unencodable
from transom.messaging.proto.amqp.methods import ConfirmSelect

WINDOW = 4096
WINDOW_BYTES = 32 * 1024 * 1024


class Owner(Protocol):
    """Who gave the messages."""

    def finish(self, message: Outgoing, error: MessagingError | None) -> None: ...

    def unroutable(self, message: Outgoing) -> None: ...

    def lane_lost(self, lane: "Lane", lost: ChannelLost, pending: list[Outgoing]) -> None: ...


class Lane:
    """Lives as long as the publisher; its channel comes and goes."""

    def __init__(self, owner: Owner, labels: Labels, *, window: int = WINDOW) -> None:
        self.waiting: deque[Outgoing] = deque()
        self._owner = owner
        self._labels = labels
        self._window = window
        self._loop = asyncio.get_running_loop()
        self._pending: dict[int, Outgoing] = {}
        self._pending_bytes = 0
        self._channel: Channel | None = None
        self._flowing = True
        self._alone = False

    async def open(self, link: Link) -> None:
        """On a new channel. Raises: ChannelLost."""
        channel = link.channel()
        await channel.ask(ConfirmSelect())
        if channel.lost is not None:
            raise channel.lost
        channel.on_confirmed = self._confirmed
        channel.on_returned = self._returned
        channel.on_flow = self._flow
        channel.on_lost = self._lost
        self._channel = channel
        self._flowing = True
        self.pump()

    @property
    def is_open(self) -> bool:
        return self._channel is not None

    def messages(self) -> Iterator[Outgoing]:
        """All that are not given up, the oldest first."""
        yield from self._pending.values()
        yield from self.waiting

    def send(self, message: Outgoing) -> None:
        """Now, or as soon as there is room."""
        if self.waiting or not self._has_room():
            self.waiting.append(message)
        else:
            self._publish(message)

    def pump(self) -> None:
        """What waits leaves, as far as there is room."""
        waiting = self.waiting
        while waiting and self._has_room():
            message = waiting.popleft()
            if message.sent is not None:
                self._publish(message)

    def _has_room(self) -> bool:
        channel = self._channel
        return (
            channel is not None
            and self._flowing
            and channel.link.writable
            and len(self._pending) < self._window
            and self._pending_bytes < WINDOW_BYTES
        )

    def _publish(self, message: Outgoing) -> None:
        channel = self._channel
        assert channel is not None
        try:
            tag = channel.link.machine.publish(
                channel.number,
                message.route.exchange,
                message.key,
                self._labels.of(message, self._loop.time()),
                message.body,
                mandatory=message.mandatory,
            )
        except NotOpen:
            # The close was read already and is told after what was read before it.
            self.waiting.appendleft(message)
            self._flowing = False
            return
        except Unencodable as error:
            self._owner.finish(message, MessageDeliveryFailure(detail=str(error)))
            return
        message.returned = False
        if self._pending or not self._alone:
            self._alone = not self._pending
            channel.link.flush_soon()
        else:
            # Measured: one caller waits a turn less; among many it would cost a packet more
            # (bench/messaging/rabbit_calls.py).
            channel.link.flush()
        self._pending[tag] = message
        self._pending_bytes += message.size_bytes

    def _confirmed(self, event: Confirmed) -> None:
        pending, owner = self._pending, self._owner
        for tag in event.tags:
            message = pending.pop(tag, None)
            if message is None:
                continue
            self._pending_bytes -= message.size_bytes
            if not event.ok:
                refused = MessageDeliveryFailure(detail="the broker refused the message")
                owner.finish(message, refused)
            elif message.returned:
                owner.unroutable(message)
            else:
                owner.finish(message, None)
        if self.waiting:
            self.pump()

    def _returned(self, event: Returned) -> None:
        """Its confirm follows. The broker returns in the order of publishing: the oldest is it."""
        for message in self._pending.values():
            if (
                message.mandatory
                and not message.returned
                and message.key == event.routing_key
                and message.route.exchange == event.exchange
                and message.body == event.body
            ):
                message.returned = True
                return

    def _flow(self, event: Flow) -> None:
        self._flowing = event.active
        self.pump()

    def _lost(self, lost: ChannelLost) -> None:
        pending, self._pending = list(self._pending.values()), {}
        self._pending_bytes = 0
        self._channel = None
        self._owner.lane_lost(self, lost, pending)
