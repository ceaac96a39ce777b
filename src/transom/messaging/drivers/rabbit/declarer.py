# SPDX-License-Identifier: Apache-2.0
"""Declares, binds and looks at things on channels of its own.

Invariants:
1. A declaration that the broker refuses closes one of these channels, never one that carries
   messages or consumers.
2. What exists already with other flags is taken as it is: a queue of a peer with other options is
   used, and said in the log, once.
3. What was declared on this link is not declared again until it is known to be gone.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from transom.messaging.drivers.rabbit.channel import INEQUIVALENT, NOT_FOUND, Channel, ChannelLost
from transom.messaging.drivers.rabbit.link import Link
from transom.messaging.drivers.rabbit.topology import Binding, Exchange, Queue, Topology
from transom.messaging.proto.amqp import Method
from transom.messaging.proto.amqp.methods import (
    QueueDeclare,
    QueueDeclareOk,
    QueueDelete,
)

log = logging.getLogger(__name__)

CHANNELS_MAX = 4
DECLARED_MAX = 50_000


class Declarer:
    """Of one link."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._free: list[Channel] = []
        self._places = asyncio.Semaphore(CHANNELS_MAX)
        self._declared: set[Exchange | Queue | Binding] = set()

    async def declare(self, topology: Topology) -> None:
        """All of it, in its order. Raises: ChannelLost (with the broker's code)."""
        for step in topology.steps():
            if step not in self._declared:
                await self._declare_one(step)
                if len(self._declared) >= DECLARED_MAX:
                    self._declared.clear()
                self._declared.add(step)

    def forget(self, topology: Topology) -> None:
        """Some of it may be gone."""
        self._declared.difference_update(topology.steps())

    async def consumers(self, queue: str) -> int | None:
        """How many the queue has; None: there is no such queue. Raises: ChannelLost."""
        try:
            answer = await self._ask(QueueDeclare(queue=queue, passive=True))
        except ChannelLost as lost:
            if lost.code == NOT_FOUND:
                return None
            raise
        return answer.consumer_count if isinstance(answer, QueueDeclareOk) else 0

    async def delete_queue(self, name: str) -> None:
        """Raises: ChannelLost."""
        await self._ask(QueueDelete(queue=name))

    async def _declare_one(self, step: Exchange | Queue | Binding) -> None:
        try:
            await self._ask(step.declare())
        except ChannelLost as lost:
            if lost.code != INEQUIVALENT or isinstance(step, Binding):
                raise
            log.warning(
                "exists with other flags, used as it is",
                extra={"name_there": step.name, "reason": lost.detail},
            )
            await self._ask(step.declare(passive=True))

    async def _ask(self, method: Method) -> Method:
        async with self._channel() as channel:
            return await channel.ask(method)

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[Channel]:
        async with self._places:
            while self._free and self._free[-1].lost is not None:
                self._free.pop()
            channel = self._free.pop() if self._free else self.link.channel()
            try:
                yield channel
            finally:
                if channel.lost is None:
                    self._free.append(channel)
