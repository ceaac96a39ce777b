# SPDX-License-Identifier: Apache-2.0
"""Which feeds there are on a bus, and what each of them says of itself.

Invariant: nothing here must be known before: sources are heard of by their heartbeats, tables and
columns are told by their publishers.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from transom.errors import InvalidEnvelope, NoSuchMethod
from transom.messaging.client import Client
from transom.messaging.heartbeats import TOPIC, Ears
from transom.messaging.proto.feed import Head
from transom.messaging.proto.feed.wire import decode_head, feed_topic
from transom.messaging.schema import Table, decode_tables
from transom.messaging.server import Server
from transom.messaging.target import Target
from transom.messaging.transport import Transport

ASK_S = 2.0


@dataclass(frozen=True, slots=True)
class Source:
    """A feed as its publisher describes it; `tables`: those whose schema it tells.

    `rows`: how many each table has, of all that it publishes. `wanted`: by how many replicas each.
    A publisher that cannot say (an older one) leaves all but the head empty.
    """

    name: str
    publisher: str
    head: Head
    tables: tuple[Table, ...]
    rows: Mapping[str, int]
    wanted: Mapping[str, int]

    def names(self) -> list[str]:
        """All its tables."""
        return sorted({*self.rows, *(self.head.tables or {}), *(own.name for own in self.tables)})

    def table(self, name: str) -> Table | None:
        return next((own for own in self.tables if own.name == name), None)


async def heard(transport: Transport, within_s: float) -> dict[str, float]:
    """The sources that beat within this time, and when each did last, on the loop's clock."""
    loop = asyncio.get_running_loop()
    found: dict[str, float] = {}

    def hear(heads: Mapping[str, Head]) -> None:
        found.update(dict.fromkeys(heads, loop.time()))

    target = Target(topic=TOPIC, fanout=True)
    async with Server(transport, target, [Ears(transport, hear)]):
        await asyncio.sleep(within_s)
    return found


async def describe(transport: Transport, source: str, *, timeout_s: float = ASK_S) -> Source:
    """Asks who publishes the source. Raises: MessagingError, among it MessageUndeliverable."""
    target = Target(topic=feed_topic(source))
    client = Client(transport, target, timeout_s=timeout_s)
    try:
        return _source(source, await client.call({}, "describe"))
    except NoSuchMethod:
        return Source(source, "", decode_head(await client.call({}, "head")), (), {}, {})


class _Described(msgspec.Struct):
    head: object
    publisher: str = ""
    tables: object = ()
    rows: dict[str, int] = {}
    wanted: dict[str, int] = {}


def _source(name: str, answer: Any) -> Source:
    try:
        found = msgspec.convert(answer, _Described)
    except msgspec.ValidationError as error:
        raise InvalidEnvelope("a feed describes itself otherwise", detail=str(error)) from error
    tables = decode_tables(found.tables)
    return Source(name, found.publisher, decode_head(found.head), tables, found.rows, found.wanted)
