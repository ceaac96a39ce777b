"""Demand: a publisher's owner knows what is wanted, and polls only that, over a bad bus, too."""

import asyncio
from random import Random

import pytest

from transom.messaging.demand import HOLD_S
from transom.messaging.drivers.memory import Faults, MemoryBus
from transom.messaging.proto.feed import Change, Live, Loading, Stale
from transom.messaging.tables import MemoryFeed, TablePublisher, TableReplica
from transom.messaging.transport import Transport

from support.tables import bus, consuming, of, rows
from virtual import run_virtual

SEEDS = range(20)


class Lazy:
    """A source whose tables are polled once somebody wants them. `outside`: what a poll finds."""

    def __init__(self, transport: Transport, epoch: int = 1) -> None:
        self.feed = MemoryFeed(epoch, ["a", "b"], idle=["a", "b"])
        self.outside = {"a": rows(x=1), "b": rows(y=2)}
        self.told: list[frozenset[str]] = []
        self.polls: list[str] = []
        self.publisher = TablePublisher(transport, "source", self.feed, on_demand=self.demanded)

    def demanded(self, wanted: frozenset[str]) -> None:
        self.told.append(wanted)
        self.feed.rest({"a", "b"} - wanted)

    async def poll(self) -> None:
        """What is wanted, each second."""
        while True:
            for table in sorted(self.told[-1] if self.told else ()):
                self.polls.append(table)
                made = self.feed.replace({table: self.outside[table]})
                if made is not None:
                    await self.publisher.send(made)
            await asyncio.sleep(1)


@pytest.mark.parametrize("seed", SEEDS)
def test_only_what_is_wanted_is_polled_and_who_wants_it_waits_for_its_rows(seed: int) -> None:
    async def main() -> None:
        async with bus(seed) as (owner, reader):
            lazy = Lazy(owner)
            async with lazy.publisher:
                polling = asyncio.ensure_future(lazy.poll())
                await asyncio.sleep(30)
                assert lazy.polls == []
                async with consuming(TableReplica(reader, "source", ["a"])) as consumer:
                    assert isinstance(consumer.replica.state, Loading)
                    await consumer.until(of("a", rows(x=1)), within_s=3)
                    assert lazy.told == [frozenset("a")]
                    async with consuming(TableReplica(reader, "source")) as other:
                        await other.until(of("a", rows(x=1)) | of("b", rows(y=2)), within_s=3)
                        assert lazy.told[-1] == frozenset("ab")
                    await asyncio.sleep(1)
                    assert lazy.told[-1] == frozenset("a")
                await asyncio.sleep(1)
                assert lazy.told[-1] == frozenset()
                polls = len(lazy.polls)
                await asyncio.sleep(30)
                assert len(lazy.polls) <= polls + 1
                polling.cancel()

    run_virtual(main, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replica_that_dies_is_forgotten_and_one_behind_a_partition_comes_back(seed: int) -> None:
    async def main() -> None:
        async with bus(seed) as (owner, reader):
            lazy = Lazy(owner)
            async with lazy.publisher:
                polling = asyncio.ensure_future(lazy.poll())
                async with consuming(TableReplica(reader, "source", ["a"])) as consumer:
                    await consumer.until(of("a", rows(x=1)))
                    MemoryBus.named("bus").cut("owner", "reader")
                    await asyncio.sleep(HOLD_S + 1)
                    assert lazy.told[-1] == frozenset()
                    lazy.outside["a"] = rows(x=7, z=8)
                    MemoryBus.named("bus").heal()
                    await consumer.until(of("a", rows(x=7, z=8)), within_s=10)
                    assert consumer.states == [Live, Stale, Live]
                polling.cancel()

    run_virtual(main, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_publisher_learns_what_is_wanted_at_once(seed: int) -> None:
    async def main() -> None:
        async with (
            bus(seed) as (owner, reader),
            consuming(TableReplica(reader, "source", ["b"])),
        ):
            await asyncio.sleep(7)
            for epoch in (1, 2):
                lazy = Lazy(owner, epoch)
                async with lazy.publisher:
                    await asyncio.sleep(1)
                    assert lazy.told == [frozenset("b")]

    run_virtual(main, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_while_a_table_is_idle_its_replica_is_stale_and_keeps_its_rows(seed: int) -> None:
    async def main() -> None:
        async with bus(seed) as (owner, reader):
            feed = MemoryFeed(1, ["a", "b"])
            feed.replace({"a": rows(x=1), "b": rows(y=2)})
            async with (
                TablePublisher(owner, "source", feed),
                consuming(TableReplica(reader, "source", ["a"])) as consumer,
                consuming(TableReplica(reader, "source", ["b"])) as other,
            ):
                await consumer.until(of("a", rows(x=1)))
                feed.rest(["a"])
                await asyncio.sleep(20)
                assert isinstance(consumer.replica.state, Stale)
                assert isinstance(other.replica.state, Live)
                assert consumer.rows == of("a", rows(x=1))
                feed.replace({"a": rows(z=3)})
                await consumer.until(of("a", rows(z=3)), within_s=3)
                assert len(consumer.sets) == 2

    run_virtual(main, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_over_a_bad_bus_what_is_wanted_is_soon_known_and_replicas_end_equal(seed: int) -> None:
    async def main() -> None:
        draws = Random(seed)
        async with bus(seed) as (owner, reader):
            lazy = Lazy(owner)
            async with lazy.publisher:
                polling = asyncio.ensure_future(lazy.poll())
                MemoryBus.named("bus").faults = Faults(
                    draws, drop=0.3, duplicate=0.3, delay_s=1.0, reorder=0.5
                )
                for _ in range(6):
                    table = draws.choice(["a", "b"])
                    async with consuming(TableReplica(reader, "source", [table])):
                        for _ in range(5):
                            lazy.outside[draws.choice("ab")] = rows(x=draws.randrange(9))
                            await asyncio.sleep(draws.uniform(0, 8))
                MemoryBus.named("bus").faults = None
                async with consuming(TableReplica(reader, "source", ["a"])) as consumer:
                    await consumer.until(of("a", lazy.outside["a"]), within_s=15)
                await asyncio.sleep(HOLD_S + 2)
                assert lazy.told[-1] == frozenset()
                polling.cancel()

    run_virtual(main, seed)


def test_an_owner_that_fails_to_heed_demand_stops_no_feed() -> None:
    def refuse(wanted: frozenset[str]) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        async with bus(1) as (owner, reader):
            feed = MemoryFeed(1, ["a"])
            async with (
                TablePublisher(owner, "source", feed, on_demand=refuse),
                consuming(TableReplica(reader, "source")) as consumer,
            ):
                await consumer.until({})
                feed.change([Change("a", ("x",), {"v": 1})])
                await consumer.until({("a", ("x",)): {"v": 1}})

    run_virtual(main, 1)
