# SPDX-License-Identifier: Apache-2.0
"""The heartbeats of feeds: one message a process tells where each of its feeds stands.

Invariants:
1. A transport has at most one task that beats and one server that hears, whatever the number of
   feeds and replicas on it; they end with the last of those.
2. A feed that cannot say where it stands is left out of the beat, and holds no other up.
3. On a secured bus a head is heeded only of who may answer for its feed.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from transom.errors import InvalidEnvelope, TransomError
from transom.messaging.authenticated import sender, serves
from transom.messaging.client import Client
from transom.messaging.proto.feed.change import Head
from transom.messaging.proto.feed.wire import decode_beat, encode_beat, feed_topic
from transom.messaging.server import Server
from transom.messaging.target import Target
from transom.messaging.transport import Transport

log = logging.getLogger(__name__)

TOPIC = "feed.heartbeats"
HEARTBEAT_S = 1.0

ReadHead = Callable[[], Awaitable[Head]]
Hear = Callable[[Head], None]

_RUNNING: dict[Transport, "Heartbeats"] = {}


class Heartbeats:
    """Of one transport; had by `of`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._feeds: dict[str, ReadHead] = {}
        self._ears: list[tuple[str, Hear]] = []
        self._beating: asyncio.Task[None] | None = None
        self._server: Server | None = None
        self._turn = asyncio.Lock()
        self._coming = 0  # who waits for a turn to be added: we are not to be forgotten

    @classmethod
    def of(cls, transport: Transport) -> "Heartbeats":
        return _RUNNING.setdefault(transport, cls(transport))

    async def add(self, source: str, read_head: ReadHead) -> None:
        """From now on the feed's head is in the beat.

        Raises: ValueError if the source has a feed on this transport.
        """
        async with self._joining():
            if source in self._feeds:
                raise ValueError(f"{source} is published on this transport already")
            self._feeds[source] = read_head
            if self._beating is None:
                name = "feed heartbeats"
                self._beating = asyncio.get_running_loop().create_task(self._beat(), name=name)

    async def remove(self, source: str) -> None:
        async with self._turn:
            self._feeds.pop(source, None)
            beating = self._beating
            if not self._feeds and beating is not None:
                self._beating = None
                beating.cancel()
                await asyncio.wait([beating])
            self._forget()

    async def listen(self, source: str, hear: Hear) -> None:
        """`hear` is called on the loop with each head of the source's feed."""
        async with self._joining():
            if self._server is None:
                target = Target(topic=TOPIC, fanout=True)
                server = Server(self._transport, target, [Ears(self._transport, self._heard)])
                await server.start()
                self._server = server
            self._ears.append((source, hear))

    async def unlisten(self, source: str, hear: Hear) -> None:
        async with self._turn:
            if (source, hear) in self._ears:
                self._ears.remove((source, hear))
            server = self._server
            if not self._ears and server is not None:
                self._server = None
                await server.stop()
            self._forget()

    @asynccontextmanager
    async def _joining(self) -> AsyncIterator[None]:
        self._coming += 1
        try:
            async with self._turn:
                yield
        finally:
            self._coming -= 1
            self._forget()

    def _forget(self) -> None:
        if not self._feeds and not self._ears and not self._coming:
            _RUNNING.pop(self._transport, None)

    def _heard(self, heads: Mapping[str, Head]) -> None:
        for source, hear in self._ears:
            head = heads.get(source)
            if head is not None:
                hear(head)

    async def _beat(self) -> None:
        everyone = Client(
            self._transport, Target(topic=TOPIC, fanout=True), timeout_s=2 * HEARTBEAT_S
        )
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            try:
                await everyone.cast({}, "heard", feeds=encode_beat(await self._heads()))
            except TransomError as error:
                log.warning("heartbeat not sent", extra={"detail": error.detail or error.text})
            except Exception:  # Safety: replicas know of a fault only by the next beat
                log.exception("heartbeat failed")
            next_s = max(next_s + HEARTBEAT_S, loop.time())
            await asyncio.sleep(next_s - loop.time())

    async def _heads(self) -> dict[str, Head]:
        heads: dict[str, Head] = {}
        for source, read_head in list(self._feeds.items()):
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    heads[source] = await read_head()
            except (TransomError, TimeoutError) as error:
                log.warning("head not known", extra={"feed": source, "detail": repr(error)})
            except Exception:  # Safety: one feed's fault must not silence the others
                log.exception("head failed", extra={"feed": source})
        return heads


class Ears:
    """The endpoint of the beats: `heard` gets the heads of a process's feeds by source."""

    def __init__(self, transport: Transport, heard: Callable[[Mapping[str, Head]], None]) -> None:
        self._transport = transport
        self._heard = heard

    async def heard(self, context: Mapping[str, Any], feeds: object) -> None:
        try:
            heads = decode_beat(feeds)
        except InvalidEnvelope as error:
            log.warning("heartbeat of another form dropped", extra={"detail": error.detail})
            return
        own = {name: heads[name] for name in heads if serves(self._transport, feed_topic(name))}
        if len(own) < len(heads):
            about = {"sender": sender(), "count": len(heads) - len(own)}
            log.warning("heads of somebody who does not publish dropped", extra=about)
        self._heard(own)
