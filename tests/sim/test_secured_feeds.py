"""Live tables and events on a secured bus: only who may publish a feed is believed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from transom.messaging import Client, Target
from transom.messaging.events import Event, EventListener, EventPublisher
from transom.messaging.heartbeats import TOPIC as HEARTBEATS
from transom.messaging.proto.feed import Change, Live
from transom.messaging.proto.feed.wire import changes_topic, encode_beat, encode_changes
from transom.messaging.tables import MemoryFeed, TablePublisher, TableReplica
from transom.node.events import EventLog, append
from transom.node.events.migrations import EVENTS
from transom.node.migrations import NODE
from transom.node.publisher import DurablePublisher
from transom.runtime.db.transaction import Transaction

from support.db import opened
from support.secured_world import Station, Town
from support.tables import Consumer, consuming, of, rows
from virtual import run_virtual

LIE = {"name": "x", "value": 666}
READS = ("feed.source.changes", "feed.heartbeats")
suites = pytest.mark.parametrize("suite", ["shared-key", "public-key"])


def play(suite: str, scene: Callable[[Town], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with Town(7, suite, "encrypt") as town:
            await scene(town)

    run_virtual(main, seed=7)


async def cast(station: Station, topic: str, method: str, **args: Any) -> None:
    target = Target(topic=topic, fanout=True)
    await Client(station.transport, target, timeout_s=10).cast({}, method, **args)


async def tell_lies(liar: Station, epoch: int) -> None:
    """The next change set, and a head that agrees with it, again and again."""
    lie = MemoryFeed(epoch, ["a"])
    lie.replace({"a": rows(x=1, y=2)})
    made = lie.change([Change("a", ("x",), LIE)])
    assert made is not None
    for _ in range(20):
        await cast(liar, changes_topic("source"), "changed", changes=encode_changes(made))
        heads = {"source": await lie.head()}
        await cast(liar, HEARTBEATS, "heard", feeds=encode_beat(heads))
        await asyncio.sleep(0.25)


@asynccontextmanager
async def followed(town: Town) -> AsyncIterator[tuple[Callable[..., Any], Consumer]]:
    """Something that changes the feed and tells of it; and a replica of it that is live."""
    owner = await town.station("store.h1", "feed.source")
    reader = await town.station("reader.r1", *READS)
    feed = MemoryFeed(1, ["a"])
    feed.replace({"a": rows(x=1, y=2)})
    async with (
        TablePublisher(owner.transport, "source", feed) as publisher,
        consuming(TableReplica(reader.transport, "source", ["a"])) as consumer,
    ):

        async def change(**values: int) -> None:
            made = feed.replace({"a": rows(**values)})
            assert made is not None
            await publisher.send(made)

        await consumer.until(of("a", rows(x=1, y=2)))
        yield change, consumer


@suites
def test_a_replica_follows_over_an_encrypted_bus(suite: str) -> None:
    async def scene(town: Town) -> None:
        async with followed(town) as (change, consumer):
            await change(x=3)
            await consumer.until(of("a", rows(x=3)), within_s=1)
            await asyncio.sleep(10)
            assert consumer.states == [Live]

    play(suite, scene)


@suites
@pytest.mark.parametrize("epoch", [1, 1000], ids=["same epoch", "later epoch"])
@pytest.mark.parametrize("groups", [(), READS], ids=["any party", "another reader"])
def test_who_may_not_publish_a_feed_is_not_believed(
    suite: str, epoch: int, groups: tuple[str, ...]
) -> None:
    async def scene(town: Town) -> None:
        async with followed(town) as (change, consumer):
            await tell_lies(await town.station("liar.l1", *groups), epoch)
            await change(x=3)
            await consumer.until(of("a", rows(x=3)), within_s=1)
            assert consumer.states == [Live]
            told = [change.row for made in consumer.sets for change in made.changes]
            assert LIE not in told

    play(suite, scene)


@suites
def test_a_member_of_the_feeds_group_may_publish_it_and_is_believed(suite: str) -> None:
    """Which is what a publisher is that takes over; and shows that the lies are good ones."""

    async def scene(town: Town) -> None:
        async with followed(town) as (_, consumer):
            await tell_lies(await town.station("store.h2", "feed.*"), 1)
            assert consumer.rows[("a", ("x",))] == LIE

    play(suite, scene)


@suites
def test_events_reach_their_pools_over_an_encrypted_bus(suite: str, tmp_path: Path) -> None:
    async def scene(town: Town) -> None:
        async with opened(tmp_path, NODE, EVENTS, clock=town.clock, inline_writer=True) as database:
            owner = await town.station("store.h1", "events.source")
            log = EventLog(database, "source", clock=town.clock)
            shell = EventPublisher(owner.transport, "source", log)
            publisher = DurablePublisher(log, shell, holder="h1", clock=town.clock)

            async def tell(transaction: Transaction) -> None:
                for number in range(50):
                    await append(transaction, "source", town.clock.now_ms(), "made", number)

            await database.write(tell)
            await publisher.start()
            for name in ("audit", "search"):
                reader = await town.station(f"{name}.r1", "events.source.more")
                listener = EventListener(reader.transport, "source", name, begin="oldest")
                async with asyncio.timeout(30), listener:
                    for number in range(50):
                        item = await anext(listener)
                        assert isinstance(item, Event)
                        assert (item.n, item.payload) == (number + 1, number)
                        await listener.acknowledge(item)
                assert reader.refused == {}
            assert [state["out"] for state in await log.pools()] == [0, 0]
            await publisher.stop()

    play(suite, scene)
