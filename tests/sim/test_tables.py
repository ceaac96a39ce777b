"""Publisher and replica shells over `memory://`, in virtual time and by seed."""

import asyncio
from random import Random

import pytest

from transom.errors import MessageDeliveryFailure
from transom.messaging.drivers.memory import Faults, MemoryBus
from transom.messaging.heartbeats import _RUNNING
from transom.messaging.inbox import Inbox
from transom.messaging.proto.feed import (
    Change,
    ChangeSet,
    Gap,
    Head,
    Live,
    Loading,
    Stale,
    Tick,
    row_hash,
)
from transom.messaging.tables import MemoryFeed, TablePublisher, TableReplica, poke

from support.tables import Consumer, Rows, bus, consuming, of, rows
from virtual import run_virtual

SEEDS = range(20)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replica_loads_follows_and_says_when_it_is_live(seed: int) -> None:
    async def main() -> None:
        async with bus(seed) as (owner, reader):
            feed = MemoryFeed(1, ["a", "b"])
            feed.replace({"a": rows(x=1, y=2), "b": rows(z=3)})
            async with (
                TablePublisher(owner, "source", feed) as publisher,
                consuming(TableReplica(reader, "source", ["a"])) as consumer,
            ):
                assert isinstance(consumer.replica.state, Loading)
                await consumer.until(of("a", rows(x=1, y=2)))
                made = feed.replace({"a": rows(x=5, w=4), "b": rows()})
                assert made is not None
                await publisher.send(made)
                await consumer.until(of("a", rows(x=5, w=4)), within_s=1)
                assert consumer.states == [Live]
                assert [len(made.changes) for made in consumer.sets] == [2, 3]
                await asyncio.sleep(7.7)
                age_s = consumer.replica.age_s
                assert age_s is not None
                assert 0 <= age_s < 1.1

    run_virtual(main, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_change_that_was_never_sent_is_found_within_two_heartbeats(seed: int) -> None:
    async def main() -> None:
        async with bus(seed) as (owner, reader):
            feed = MemoryFeed(1, ["a"])
            feed.replace({"a": rows(x=1)})
            async with (
                TablePublisher(owner, "source", feed),
                consuming(TableReplica(reader, "source")) as consumer,
            ):
                await consumer.until(of("a", rows(x=1)))
                feed.change([Change("a", ("x",), {"name": "x", "value": 2})])
                await consumer.until(of("a", rows(x=2)) | {}, within_s=2.0)
                assert consumer.states == [Live]

    run_virtual(main, seed)


def test_iterating_starts_a_replica_and_one_that_was_stopped_is_at_its_end() -> None:
    async def main() -> None:
        async with bus(1) as (owner, reader):
            feed = MemoryFeed(1, ["a"])
            feed.replace({"a": rows(x=1)})
            async with TablePublisher(owner, "source", feed):
                replica = TableReplica(reader, "source")
                async for item in replica:
                    assert isinstance(item, ChangeSet)
                    assert [change.key for change in item.changes] == [("x",)]
                    break
                await replica.stop()
                stopped = TableReplica(reader, "source")
                await stopped.stop()
                assert [item async for item in stopped] == []

    run_virtual(main, 1)


def test_who_writes_pokes_the_publisher_wherever_it_is() -> None:
    async def main() -> None:
        poked = asyncio.Event()
        async with bus(1) as (owner, reader):
            poke(reader, "source")  # nobody is there: no harm
            async with TablePublisher(owner, "source", MemoryFeed(1, ["a"]), on_poke=poked.set):
                poked.clear()
                poke(reader, "source")
                async with asyncio.timeout(0.1):
                    await poked.wait()

    run_virtual(main, 1)


def test_a_publisher_that_cannot_be_served_can_be_started_again() -> None:
    async def main() -> None:
        async with bus(1) as (owner, reader):
            publisher = TablePublisher(owner, "source", MemoryFeed(1, ["a"]))
            listen = owner.driver.listen

            async def refuse(*args: object, **options: object) -> None:
                raise MessageDeliveryFailure("no")

            owner.driver.listen = refuse  # type: ignore[method-assign,assignment]
            with pytest.raises(MessageDeliveryFailure):
                await publisher.start()
            assert _RUNNING == {}
            owner.driver.listen = listen  # type: ignore[method-assign]
            async with publisher, consuming(TableReplica(reader, "source")) as consumer:
                await consumer.until({})

    run_virtual(main, 1)


def test_gaps_that_nobody_reads_do_not_pile_up() -> None:
    inbox = Inbox(10)
    for _ in range(1000):
        inbox.put(Gap())
    assert len(inbox._events) == 0

    async def main() -> None:
        assert await inbox.get(None) == Gap()
        assert await inbox.get(asyncio.get_running_loop().time() + 1) == Tick()

    run_virtual(main, 1)


def test_an_empty_table_is_live_and_not_loading() -> None:
    async def main() -> None:
        async with (
            bus(1) as (owner, reader),
            TablePublisher(owner, "source", MemoryFeed(1, ["a"])),
            consuming(TableReplica(reader, "source")) as consumer,
        ):
            await consumer.until({})
            assert [made.changes for made in consumer.sets] == [()]

    run_virtual(main, 1)


def test_a_replica_without_a_publisher_is_loading_and_one_that_lost_it_is_stale() -> None:
    async def main() -> None:
        async with bus(1) as (owner, reader):
            feed = MemoryFeed(1, ["a"])
            feed.replace({"a": rows(x=1)})
            async with consuming(TableReplica(reader, "source")) as consumer:
                await asyncio.sleep(60)
                assert isinstance(consumer.replica.state, Loading)
                assert consumer.replica.age_s is None
                async with TablePublisher(owner, "source", feed):
                    await consumer.until(of("a", rows(x=1)))
                await asyncio.sleep(60)
                state = consumer.replica.state
                assert isinstance(state, Stale)
                assert 57 < asyncio.get_running_loop().time() - state.since_s < 62
                age_s = consumer.replica.age_s
                assert age_s is not None
                assert 57 < age_s < 62
                assert consumer.rows == of("a", rows(x=1))
                assert consumer.states == [Live, Stale]

    run_virtual(main, 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_owner_of_a_volatile_feed_changes_only_what_is_different(seed: int) -> None:
    async def main() -> None:
        async with bus(seed) as (owner, reader):
            before, after = MemoryFeed(1, ["a"]), MemoryFeed(2, ["a"])
            before.replace({"a": rows(x=1, y=2, gone=3)})
            after.replace({"a": rows(x=1, y=9, new=4)})
            async with consuming(TableReplica(reader, "source")) as consumer:
                async with TablePublisher(owner, "source", before):
                    await consumer.until(of("a", rows(x=1, y=2, gone=3)))
                async with TablePublisher(owner, "source", after):
                    await consumer.until(of("a", rows(x=1, y=9, new=4)))
                (takeover,) = consumer.sets[1:]
                assert takeover.epoch == 2
                assert {change.key for change in takeover.changes} == {("y",), ("gone",), ("new",)}

    run_virtual(main, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_with_losses_copies_and_delays_a_replica_still_ends_equal(seed: int) -> None:
    async def main() -> None:
        draws = Random(seed)
        async with bus(seed) as (owner, reader):
            feed = MemoryFeed(1, ["a", "b"])
            async with (
                TablePublisher(owner, "source", feed) as publisher,
                consuming(TableReplica(reader, "source")) as consumer,
            ):
                MemoryBus.named("bus").faults = Faults(
                    draws, drop=0.3, duplicate=0.2, delay_s=0.5, reorder=0.5
                )
                truth: Rows = {}
                for _ in range(100):
                    table, name = draws.choice("ab"), draws.choice("uvwxyz")
                    row = draws.choice([None, {"value": draws.randrange(9)}])
                    truth.pop((table, (name,)), None)
                    if row is not None:
                        truth[(table, (name,))] = row
                    made = feed.change([Change(table, (name,), row)])
                    if made is not None:
                        await publisher.send(made)
                    await asyncio.sleep(draws.random() * 0.3)
                MemoryBus.named("bus").faults = None
                await consumer.until(truth, within_s=40)

    run_virtual(main, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_partition_makes_a_replica_stale_and_its_end_makes_it_live_and_equal(seed: int) -> None:
    async def main() -> None:
        async with bus(seed) as (owner, reader):
            feed = MemoryFeed(1, ["a"])
            feed.replace({"a": rows(x=1)})
            async with (
                TablePublisher(owner, "source", feed) as publisher,
                consuming(TableReplica(reader, "source")) as consumer,
            ):
                await consumer.until(of("a", rows(x=1)))
                MemoryBus.named("bus").cut("owner", "reader")
                made = feed.replace({"a": rows(x=2)})
                assert made is not None
                await publisher.send(made)
                await asyncio.sleep(3)
                assert isinstance(consumer.replica.state, Stale)
                await asyncio.sleep(600)
                assert consumer.rows == of("a", rows(x=1))
                MemoryBus.named("bus").heal()
                await consumer.until(of("a", rows(x=2)), within_s=4)
                assert consumer.states == [Live, Stale, Live]

    run_virtual(main, seed)


def test_a_change_set_of_many_rows_comes_in_parts_and_is_applied_as_one() -> None:
    async def main() -> None:
        async with bus(1) as (owner, reader):
            feed = MemoryFeed(1, ["a"])
            async with (
                TablePublisher(owner, "source", feed) as publisher,
                consuming(TableReplica(reader, "source")) as consumer,
            ):
                await consumer.until({})
                many = rows(**{f"n{number}": number for number in range(5000)})
                made = feed.replace({"a": many})
                assert made is not None
                await publisher.send(made)
                await consumer.until(of("a", many), within_s=1)
                assert [len(made.changes) for made in consumer.sets] == [0, 5000]

    run_virtual(main, 1)


def test_a_slow_consumer_costs_bounded_memory_and_catches_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("transom.messaging.replica.INBOX_CHANGES", 500)

    async def main() -> None:
        async with bus(1) as (owner, reader):
            feed = MemoryFeed(1, ["a"])
            async with (
                TablePublisher(owner, "source", feed) as publisher,
                TableReplica(reader, "source") as replica,
            ):
                blob = "x" * 100
                for number in range(2000):
                    made = feed.change([Change("a", (f"k{number % 7}",), {"n": number, "b": blob})])
                    assert made is not None
                    await publisher.send(made)
                assert replica._inbox._held <= 500
                consumer = Consumer(replica)
                task = asyncio.get_running_loop().create_task(consumer.run())
                expected = {
                    ("a", (f"k{number % 7}",)): {"n": number, "b": blob}
                    for number in range(1993, 2000)
                }
                await consumer.until(expected)
                await replica.stop()
                await task

    run_virtual(main, 1)


def test_a_feed_whose_head_fails_does_not_silence_the_others() -> None:
    class Broken(MemoryFeed):
        async def head(self) -> Head:
            raise ZeroDivisionError

    async def main() -> None:
        async with bus(1) as (owner, reader):
            feed = MemoryFeed(1, ["a"])
            async with (
                TablePublisher(owner, "broken", Broken(1, ["a"])),
                TablePublisher(owner, "source", feed),
                consuming(TableReplica(reader, "source")) as consumer,
            ):
                await consumer.until({})
                await asyncio.sleep(30)
                assert consumer.states == [Live]

    run_virtual(main, 1)


def test_one_source_is_published_once_a_transport() -> None:
    async def main() -> None:
        feed = MemoryFeed(1, ["a"])
        async with bus(1) as (owner, _), TablePublisher(owner, "source", feed):
            with pytest.raises(ValueError, match="source"):
                await TablePublisher(owner, "source", feed).start()

    run_virtual(main, 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_feeds_that_come_and_go_at_once_share_one_heartbeat(seed: int) -> None:
    async def main() -> None:
        async with bus(seed) as (owner, _):

            async def publish(source: str) -> None:
                for _ in range(5):
                    async with TablePublisher(owner, source, MemoryFeed(1, ["a"])):
                        names = [task.get_name() for task in asyncio.all_tasks()]
                        assert names.count("feed heartbeats") == 1
                        await asyncio.sleep(0)

            await asyncio.gather(*(publish(f"source{number}") for number in range(4)))

    run_virtual(main, seed)


def test_iteration_ends_when_the_transport_stops() -> None:
    async def main() -> None:
        async with bus(1) as (_, reader):
            replica = TableReplica(reader, "source")
            await replica.start()
            consumer = asyncio.get_running_loop().create_task(Consumer(replica).run())
            await asyncio.sleep(1)
        async with asyncio.timeout(1):
            await consumer

    run_virtual(main, 1)


def test_a_head_told_over_the_bus_has_the_digest_of_its_rows() -> None:
    async def main() -> None:
        feed = MemoryFeed(1, ["a"])
        feed.replace({"a": rows(x=1, y=2)})
        head = await feed.head()
        hashes = [row_hash("a", key, row) for key, row in rows(x=1, y=2).items()]
        assert head == Head(1, 1, sum(hashes) % 2**128, {"a": sum(hashes) % 2**128})

    run_virtual(main, 1)
