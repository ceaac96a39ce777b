"""The log of events on both engines: numbers, pools, claims, what is lost and what is refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from transom.errors import BadRequest, TooLarge, TooManyRequests
from transom.messaging.events import Event, Item, Lost
from transom.node.events import EventLog, append
from transom.node.events import log as log_module
from transom.node.events.migrations import EVENTS
from transom.node.lease import Lease, LeaseLost
from transom.node.migrations import NODE
from transom.runtime.db.transaction import Database, Transaction

from support.db import opened

pytestmark = pytest.mark.usefixtures("engine")


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000 - 999_999_000


class Place:
    """A database with a log that is published here."""

    def __init__(self, database: Database, clock: Clock, **options: Any) -> None:
        self.database = database
        self.clock = clock
        self.log = EventLog(database, "test", clock=clock, **options)

    async def tell(self, *payloads: Any, number: bool = True) -> None:
        async def verb(transaction: Transaction) -> None:
            for payload in payloads:
                await append(transaction, "test", self.clock.ms, "made", payload)

        await self.database.write(verb)
        if number:
            await self.number()

    async def number(self) -> None:
        lease = Lease(self.log.lease_name, "test", 60_000)
        generation = await self.database.write(
            lambda tx: lease.acquire(tx, int(self.clock.monotonic_s() * 1000))
        )
        assert generation is not None
        while await self.log.waiting():
            await self.log.publish_once(generation)

    async def take(self, listener: str = "one", limit: int = 10, **options: Any) -> list[Item]:
        return await self.log.take("pool", listener, limit, **options)

    async def lapse(self) -> None:
        """The time of all claims is over."""
        await self.database.write(lambda tx: tx.execute("update event_out set until_ms = 0"))


def place(folder: Path, **options: Any) -> Any:
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def made() -> Any:
        clock = Clock()
        async with opened(folder, NODE, EVENTS, clock=clock) as database:
            yield Place(database, clock, **options)

    return made()


def said(items: list[Item]) -> list[Any]:
    return [item.payload if isinstance(item, Event) else (item.n, item.count) for item in items]


async def test_a_pool_gets_what_is_numbered_since_it_was_registered(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await here.tell("before")
        assert await here.take() == []
        await here.tell("a", {"b": [1, None]})
        items = await here.take()
        assert said(items) == ["a", {"b": [1, None]}]
        assert [item.n for item in items] == [2, 3]
        assert items[0] == Event(2, here.clock.ms, "made", "a", False)
        assert said(await here.log.take("from the start", "x", 10, (), "oldest")) == [
            "before",
            "a",
            {"b": [1, None]},
        ]


async def test_what_is_undone_is_not_told_and_what_commits_late_is_not_passed_over(
    tmp_path: Path,
) -> None:
    async def undone(transaction: Transaction) -> None:
        await append(transaction, "test", 0, "made", "undone")
        raise ZeroDivisionError

    async with place(tmp_path) as here:
        await here.take()
        with pytest.raises(ZeroDivisionError):
            await here.database.write(undone)
        await asyncio.gather(*(here.tell(number, number=False) for number in range(20)))
        await here.number()
        items = await here.take(limit=100)
        assert sorted(said(items)) == list(range(20))
        assert [item.n for item in items] == list(range(1, 21))


async def test_listeners_of_a_pool_share_its_events_and_pools_do_not(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await here.take()
        await here.log.take("other", "x", 1)
        await here.tell(*range(6))
        one, two = await here.take("one", 3), await here.take("two", 10)
        assert (said(one), said(two)) == ([0, 1, 2], [3, 4, 5])
        assert said(await here.log.take("other", "x", 10)) == list(range(6))
        assert await here.take("three") == []


async def test_many_takers_at_once_get_each_event_once(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await here.take()
        await here.tell(*range(60))
        taken = await asyncio.gather(*(here.take(f"l{number}", 7) for number in range(12)))
        assert sorted(payload for items in taken for payload in said(items)) == list(range(60))


async def test_what_is_not_acknowledged_in_time_goes_to_another(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await here.take()
        await here.tell("a", "b", "c")
        await here.take("one")
        assert await here.log.acknowledge("pool", "one", [1]) == 1
        assert await here.log.acknowledge("pool", "one", [1]) == 0
        assert await here.take("two") == []
        await here.lapse()
        assert await here.log.hold("pool", "one", [2]) == [2]
        again = await here.take("two")
        assert said(again) == ["c"]
        assert again[0].redelivered
        assert await here.log.hold("pool", "one", [2, 3]) == [2]
        assert await here.log.acknowledge("pool", "one", [3]) == 0
        await here.log.release("pool", "one")
        assert said(await here.take("two", have=[3])) == ["b"]
        assert await here.log.acknowledge("pool", "two", [2, 3]) == 2
        (state,) = await here.log.pools()
        assert (state["pool"], state["waiting"], state["out"]) == ("pool", 0, 0)


async def test_what_a_lost_answer_brought_comes_again_to_the_same_listener(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await here.take()
        await here.tell("a", "b", "c")
        await here.take("one", 2)
        assert said(await here.take("one", have=[1])) == ["b", "c"]
        assert await here.take("one", have=[1, 2, 3]) == []


async def test_a_pool_that_falls_behind_is_told_how_many_it_lost_and_goes_on(
    tmp_path: Path,
) -> None:
    async with place(tmp_path, keep_events=5) as here:
        await here.take()
        await here.tell(*range(3))
        assert said(await here.take("dies", 2)) == [0, 1]
        await here.tell(*range(3, 20))
        items = await here.take("one")
        assert said(items) == [(3, 13), 15, 16, 17, 18, 19]
        await here.lapse()
        again = await here.take("two")
        assert said(again) == [(1, 15), 15, 16, 17, 18, 19]
        assert isinstance(again[0], Lost)
        assert await here.log.acknowledge("pool", "two", [item.n for item in again]) == 6
        assert await here.take("three") == []


async def test_events_are_dropped_by_their_age_though_nothing_new_is_told(tmp_path: Path) -> None:
    async with place(tmp_path, keep_s=60) as here:
        await here.take()
        await here.tell("a", "b")
        here.clock.ms += 61_000
        await here.number()
        assert said(await here.take()) == [(1, 2)]
        await here.tell("c")
        assert said(await here.take(have=[1])) == ["c"]


async def test_a_pool_that_nobody_reads_is_dropped_and_told_when_it_comes_back(
    tmp_path: Path,
) -> None:
    async with place(tmp_path, keep_events=3, pool_idle_s=60) as here:
        await here.take()
        await here.tell("a", "b")
        await here.take("dies")
        here.clock.ms += 61_000
        await here.tell("c", "d", "e")
        (state,) = await here.log.pools()
        assert (state["waiting"], state["out"]) == (5, 0)
        assert said(await here.take("back")) == [(1, 2), "c", "d", "e"]
        await here.log.forget("pool")
        assert await here.log.pools() == []
        assert await here.take("back") == []


async def test_an_answer_is_bounded_by_bytes_and_moves_on(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await here.take()
        await here.tell(*(str(number) * 60_000 for number in range(10)), number=False)
        await here.tell(*(str(number) * 60_000 for number in range(10)), number=False)
        await here.tell(*(str(number) * 60_000 for number in range(10)))
        found, have = [], []
        while items := await here.take(limit=100, have=have):
            assert len(items) < 20
            have += [item.n for item in items]
            found += [item.payload[0] for item in items]
        assert found == list("0123456789") * 3


async def test_what_is_too_large_or_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "POOLS_MAX", 2)
    async with place(tmp_path) as here:
        with pytest.raises(TooLarge):
            await here.tell("x" * 70_000)
        for bad in ("", "x" * 256):
            with pytest.raises(BadRequest):
                await here.log.take(bad, "one", 1)
        with pytest.raises(BadRequest):
            await here.take(have=range(101))
        await here.take()
        await here.log.take("second", "one", 1)
        with pytest.raises(TooManyRequests):
            await here.log.take("third", "one", 1)


async def test_a_publisher_whose_lease_is_lost_numbers_nothing(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await here.take()
        await here.tell("a", number=False)
        with pytest.raises(LeaseLost):
            await here.log.publish_once(99)
        assert await here.take() == []
        await here.number()
        assert said(await here.take()) == ["a"]
