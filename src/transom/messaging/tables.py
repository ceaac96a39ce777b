# SPDX-License-Identifier: Apache-2.0
"""Live tables on the bus: who owns a feed publishes it, who wants its rows replicates them.

    publisher = TablePublisher(transport, "images", MemoryFeed(epoch, ["images"]))
    async with publisher:
        await publisher.send(change_set)

    async with TableReplica(transport, source="images", tables=["images"]) as replica:
        async for change in replica:    # ChangeSet | Live | Stale
            ...

Topics: `feed.<source>` answers `head`, `since` and `snapshot`, and hears `poke`;
`feed.<source>.changes` is the fan-out of change sets (see `replica`); heartbeats are in
`heartbeats`.

Invariants:
1. A publisher is started once its feed holds its first full state: what it says is the state.
2. Change sets are sent in the order in which `send` is called; sending is no promise of arrival.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from transom.messaging.client import Client
from transom.messaging.heartbeats import Heartbeats
from transom.messaging.proto.feed import (
    Change,
    ChangeSet,
    Chunk,
    Cursor,
    Head,
    Key,
    Row,
    VolatileFeed,
    split,
)
from transom.messaging.proto.feed.wire import (
    changes_topic,
    decode_cursor,
    encode_changes,
    encode_chunk,
    encode_head,
    encode_since,
    feed_topic,
)
from transom.messaging.replica import TableReplica
from transom.messaging.server import Server
from transom.messaging.target import Target
from transom.messaging.transport import Transport
from transom.runtime.ids import new_hex
from transom.runtime.lifecycle import Entered

__all__ = ["Feed", "MemoryFeed", "TablePublisher", "TableReplica", "poke"]

SEND_S = 5.0
POKE_S = 1.0
SERVED_AT_ONCE = 8
LIMIT_MAX = 5000


class Feed(Protocol):
    """What a publisher serves."""

    async def head(self) -> Head:
        """Where the feed stands."""

    async def since(self, epoch: int, n: int, limit: int) -> Sequence[ChangeSet] | None:
        """The next change sets after (epoch, n), at most `limit`; None if they are not at hand."""

    async def snapshot(self, tables: Sequence[str], after: Cursor | None, limit: int) -> Chunk:
        """A page of the rows of `tables` (none: all) behind `after`, ordered by (table, key)."""


class MemoryFeed:
    """A volatile feed: the owner's rows, in memory. `epoch`: the generation of its lease."""

    def __init__(self, epoch: int, tables: Sequence[str]) -> None:
        self._feed = VolatileFeed(epoch, tables)

    def replace(self, tables: Mapping[str, Mapping[Key, Row]]) -> ChangeSet | None:
        """As `VolatileFeed.replace`; what comes out is to be sent."""
        return self._feed.replace(tables)

    def change(self, changes: Iterable[Change]) -> ChangeSet | None:
        """As `VolatileFeed.change`; what comes out is to be sent."""
        return self._feed.change(changes)

    async def head(self) -> Head:
        return self._feed.head()

    async def since(self, epoch: int, n: int, limit: int) -> Sequence[ChangeSet] | None:
        return self._feed.since(epoch, n, limit)

    async def snapshot(self, tables: Sequence[str], after: Cursor | None, limit: int) -> Chunk:
        return self._feed.snapshot(tables, after, limit)


class TablePublisher(Entered):
    """Sends a feed's change sets, serves who catches up, and beats. A lifecycle service.

    `on_poke`: somebody has changed what the feed is made of (see `poke`).
    """

    def __init__(
        self,
        transport: Transport,
        source: str,
        feed: Feed,
        *,
        on_poke: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._transport = transport
        self._feed = feed
        self._on_poke = on_poke
        self._everyone = Client(
            transport, Target(topic=changes_topic(source), fanout=True), timeout_s=SEND_S
        )
        self._server: Server | None = None

    async def start(self) -> None:
        """Raises: ValueError if the source is published on this transport already."""
        if self._server is not None:
            return
        target = Target(topic=feed_topic(self._source), server=new_hex(self._transport.random))
        endpoints = [_Served(self._feed, self._on_poke)]
        server = Server(self._transport, target, endpoints, concurrency=SERVED_AT_ONCE)
        await Heartbeats.of(self._transport).add(self._source, self._feed.head)
        self._server = server
        self._transport.adopt(self)
        try:
            await server.start()
        except BaseException:  # Safety: lets go of what it has, and goes on
            await self.stop()
            raise

    async def stop(self) -> None:
        """Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        self._transport.release(self)
        await Heartbeats.of(self._transport).remove(self._source)
        await server.stop()

    async def send(self, change_set: ChangeSet) -> None:
        """To all replicas, in parts if it is big. What does not arrive, they ask for.

        Raises: MessageDeliveryFailure.
        """
        for piece in split(change_set):
            await self._everyone.cast({}, "changed", changes=encode_changes(piece))


class _Served:
    """The endpoint of a feed. Each answer brings the head, read after the rest."""

    def __init__(self, feed: Feed, on_poke: Callable[[], None]) -> None:
        self._feed = feed
        self._on_poke = on_poke

    async def poke(self, context: Mapping[str, Any]) -> None:
        self._on_poke()

    async def head(self, context: Mapping[str, Any]) -> dict[str, Any]:
        return encode_head(await self._feed.head())

    async def since(
        self, context: Mapping[str, Any], epoch: int, n: int, limit: int
    ) -> dict[str, Any]:
        found = await self._feed.since(epoch, n, _bounded(limit))
        return encode_since(found, await self._feed.head())

    async def snapshot(
        self, context: Mapping[str, Any], tables: Sequence[str], after: object, limit: int
    ) -> dict[str, Any]:
        chunk = await self._feed.snapshot(tables, decode_cursor(after), _bounded(limit))
        return encode_chunk(chunk, await self._feed.head())


def poke(transport: Transport, source: str) -> None:
    """Tells whoever publishes the source's feed to look now. Does not wait, and may be lost."""
    Client(transport, Target(topic=feed_topic(source)), timeout_s=POKE_S).post({}, "poke")


def _bounded(limit: int) -> int:
    return max(1, min(int(limit), LIMIT_MAX))
