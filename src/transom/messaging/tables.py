# SPDX-License-Identifier: Apache-2.0
"""Live tables on the bus: who owns a feed publishes it, who wants its rows replicates them.

    publisher = TablePublisher(transport, "images", MemoryFeed(epoch, ["images"]), schemas=[IMAGES])
    async with publisher:
        await publisher.send(change_set)

    async with TableReplica(transport, source="images", tables=["images"]) as replica:
        async for change in replica:    # ChangeSet | Live | Stale
            ...

Topics: `feed.<source>` answers `head`, `since`, `snapshot`, `schemas` and `describe`, and hears
`poke` and `want`; `feed.<source>.changes` is the fan-out of change sets (see `replica`); heartbeats
are in `heartbeats`, demand is in `demand`.

Invariants:
1. A publisher is started once its feed holds its first full state: what it says is the state.
2. Change sets are sent in the order in which `send` is called; sending is no promise of arrival.
3. All that is sent carries the fingerprint of the schemas, where the publisher was given any.
"""

import logging
import os
import socket
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from transom.messaging.client import Client
from transom.messaging.demand import OnDemand, Wishes
from transom.messaging.heartbeats import Heartbeats
from transom.messaging.proto.feed import (
    OVERSIZE,
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
    PUBLISHER,
    changes_topic,
    decode_cursor,
    encode_changes,
    encode_chunk,
    encode_head,
    encode_since,
    feed_topic,
)
from transom.messaging.replica import TableReplica
from transom.messaging.schema import Table, encode_tables, fingerprint
from transom.messaging.server import Server
from transom.messaging.target import Target
from transom.messaging.transport import Transport
from transom.runtime.lifecycle import Entered

log = logging.getLogger(__name__)

__all__ = ["Feed", "MemoryFeed", "TablePublisher", "TableReplica", "poke"]

SEND_S = 5.0
POKE_S = 1.0
SERVED_AT_ONCE = 8
LIMIT_MAX = 5000


class Feed(Protocol):
    """What a publisher serves."""

    @property
    def tables(self) -> Sequence[str]:
        """All that it has."""

    async def counts(self) -> Mapping[str, int]:
        """How many rows each table has."""

    async def head(self) -> Head:
        """Where the feed stands."""

    async def since(self, epoch: int, n: int, limit: int) -> Sequence[ChangeSet] | None:
        """The next change sets after (epoch, n), at most `limit`; None if they are not at hand."""

    async def snapshot(self, tables: Sequence[str], after: Cursor | None, limit: int) -> Chunk:
        """A page of the rows of `tables` (none: all) behind `after`, ordered by (table, key)."""


class MemoryFeed:
    """A volatile feed: the owner's rows, in memory. `epoch`: the generation of its lease.

    `idle`: tables that are polled only once somebody wants them (see `TablePublisher.on_demand`):
    who replicates them waits for their first `replace`. `rest` makes them so again.
    """

    def __init__(self, epoch: int, tables: Sequence[str], *, idle: Collection[str] = ()) -> None:
        self._feed = VolatileFeed(epoch, tables, idle=idle)

    @property
    def tables(self) -> Sequence[str]:
        return self._feed.tables

    async def counts(self) -> Mapping[str, int]:
        return self._feed.counts()

    def rest(self, tables: Collection[str]) -> None:
        """As `VolatileFeed.rest`."""
        self._feed.rest(tables)

    def replace(self, tables: Mapping[str, Mapping[Key, Row]]) -> ChangeSet | None:
        """As `VolatileFeed.replace`; what comes out is to be sent."""
        return _told_of(self._feed.replace(tables))

    def change(self, changes: Iterable[Change]) -> ChangeSet | None:
        """As `VolatileFeed.change`; what comes out is to be sent."""
        return _told_of(self._feed.change(changes))

    async def head(self) -> Head:
        return self._feed.head()

    async def since(self, epoch: int, n: int, limit: int) -> Sequence[ChangeSet] | None:
        return self._feed.since(epoch, n, limit)

    async def snapshot(self, tables: Sequence[str], after: Cursor | None, limit: int) -> Chunk:
        return self._feed.snapshot(tables, after, limit)


class TablePublisher(Entered):
    """Sends a feed's change sets, serves who catches up, and beats. A lifecycle service.

    `schemas`: what the tables look like, for readers and for people. `name`: whose it is, for
    people. `on_poke`: somebody has changed what the feed is made of (see `poke`). `on_demand`: see
    `demand`.
    """

    def __init__(
        self,
        transport: Transport,
        source: str,
        feed: Feed,
        *,
        schemas: Sequence[Table] = (),
        name: str = "",
        on_poke: Callable[[], None] = lambda: None,
        on_demand: OnDemand = lambda wanted: None,
    ) -> None:
        self._source = source
        self._transport = transport
        self._feed = feed
        self._schemas = tuple(schemas)
        self._schema = fingerprint(schemas) if schemas else ""
        self._name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._on_poke = on_poke
        self._on_demand = on_demand
        self._wishes: Wishes | None = None
        self._everyone = Client(
            transport, Target(topic=changes_topic(source), fanout=True), timeout_s=SEND_S
        )
        self._server: Server | None = None

    @property
    def source(self) -> str:
        return self._source

    def wanted(self) -> dict[str, int]:
        """By how many replicas each table that is wanted at all."""
        return {} if self._wishes is None else self._wishes.replicas()

    async def start(self) -> None:
        """Raises: ValueError if the source is published on this transport already."""
        if self._server is not None:
            return
        target = Target(topic=feed_topic(self._source), server=PUBLISHER)
        self._wishes = Wishes(self._source, self._feed.tables, self._on_demand)
        endpoints = [_Served(self, self._feed, self._wishes, self._on_poke)]
        server = Server(self._transport, target, endpoints, concurrency=SERVED_AT_ONCE)
        await Heartbeats.of(self._transport).add(self._source, self.head)
        self._server = server
        self._transport.adopt(self)
        try:
            await server.start()
            self._everyone.post({}, "renew")
        except BaseException:  # Safety: lets go of what it has, and goes on
            await self.stop()
            raise

    async def stop(self) -> None:
        """Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        self._transport.release(self)
        if self._wishes is not None:
            self._wishes.stop()
        await Heartbeats.of(self._transport).remove(self._source)
        await server.stop()

    async def send(self, change_set: ChangeSet) -> None:
        """To all replicas, in parts if it is big. What does not arrive, they ask for.

        Raises: MessageDeliveryFailure.
        """
        for piece in split(change_set):
            coded = encode_changes(piece, self._schema)
            await self._everyone.cast({}, "changed", changes=coded)

    async def head(self) -> Head:
        """The feed's, with the fingerprint of its schemas."""
        head = await self._feed.head()
        return replace(head, schema=self._schema) if self._schema else head

    def schemas(self) -> dict[str, Any]:
        """What the tables look like, as told over the bus."""
        return {"schema": self._schema, "tables": encode_tables(self._schemas)}

    async def described(self) -> dict[str, Any]:
        """Who and what this is."""
        return {
            "source": self._source,
            "publisher": self._name,
            "rows": await self._feed.counts(),
            "wanted": self.wanted(),
            "head": encode_head(await self.head()),
            **self.schemas(),
        }


class _Served:
    """The endpoint of a feed. Each answer brings the head, read after the rest."""

    def __init__(
        self,
        publisher: TablePublisher,
        feed: Feed,
        wishes: Wishes,
        on_poke: Callable[[], None],
    ) -> None:
        self._publisher = publisher
        self._feed = feed
        self._wishes = wishes
        self._on_poke = on_poke

    async def want(
        self, context: Mapping[str, Any], replica: str, tables: Sequence[str], hold_s: float
    ) -> None:
        self._wishes.hear(str(replica), [str(table) for table in tables], float(hold_s))

    async def schemas(self, context: Mapping[str, Any]) -> dict[str, Any]:
        return self._publisher.schemas()

    async def describe(self, context: Mapping[str, Any]) -> dict[str, Any]:
        return await self._publisher.described()

    async def poke(self, context: Mapping[str, Any]) -> None:
        self._on_poke()

    async def head(self, context: Mapping[str, Any]) -> dict[str, Any]:
        return encode_head(await self._publisher.head())

    async def since(
        self, context: Mapping[str, Any], epoch: int, n: int, limit: int
    ) -> dict[str, Any]:
        found = await self._feed.since(epoch, n, _bounded(limit))
        return encode_since(found, await self._publisher.head())

    async def snapshot(
        self, context: Mapping[str, Any], tables: Sequence[str], after: object, limit: int
    ) -> dict[str, Any]:
        chunk = await self._feed.snapshot(tables, decode_cursor(after), _bounded(limit))
        return encode_chunk(chunk, await self._publisher.head())


def poke(transport: Transport, source: str) -> None:
    """Tells whoever publishes the source's feed to look now. Does not wait, and may be lost."""
    Client(transport, Target(topic=feed_topic(source)), timeout_s=POKE_S).post({}, "poke")


def _told_of(made: ChangeSet | None) -> ChangeSet | None:
    """Says which rows are carried cut."""
    for change in made.changes if made is not None else ():
        if change.row is not None and OVERSIZE in change.row:
            log.error("row published cut", extra={"of": change.table, "key": change.key})
    return made


def _bounded(limit: int) -> int:
    return max(1, min(int(limit), LIMIT_MAX))
