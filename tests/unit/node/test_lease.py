"""Leases: one holder at a time, told before its end, fenced after it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from transom.errors import StorageUnavailable
from transom.node.lease import Lease, Leased, LeaseLost, fence
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.db.transaction import Database, Transaction, Verb

from support.db import opened
from support.thingfeed import NODE_AND_THINGS
from virtual import VirtualClock, run_virtual

TTL_S = 10.0


class Breakable:
    """A database whose writes can be made to fail, or to hang."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.broken = False
        self.stuck = False

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def write(self, verb: Verb[Any]) -> Any:
        if self.stuck:
            await asyncio.sleep(3600)
        if self.broken:
            raise StorageUnavailable
        return await self._database.write(verb)

    async def read(self, verb: Verb[Any]) -> Any:
        return await self._database.read(verb)


class Candidate:
    """One process that wants the lease, and what it was told, with times."""

    def __init__(self, name: str, database: Database) -> None:
        self.database = Breakable(database)
        self.held: int | None = None
        self.told: list[tuple[str, float]] = []
        self.leased = Leased(
            self.database,
            Lease("one", name, int(TTL_S * 1000)),
            clock=VirtualClock(),
            on_gain=self.gain,
            on_loss=self.lose,
        )

    async def gain(self, generation: int) -> None:
        self.held = generation
        self.told.append(("gain", asyncio.get_running_loop().time()))

    async def lose(self) -> None:
        self.held = None
        self.told.append(("loss", asyncio.get_running_loop().time()))


@asynccontextmanager
async def candidates(folder: Path) -> AsyncIterator[tuple[Candidate, Candidate]]:
    async with opened(folder, *NODE_AND_THINGS, clock=VirtualClock(), inline_writer=True) as shared:
        one, two = Candidate("one", shared), Candidate("two", shared)
        await one.leased.start()
        await asyncio.sleep(0.1)
        await two.leased.start()
        try:
            yield one, two
        finally:
            await one.leased.stop()
            await two.leased.stop()


Scene = Callable[[Candidate, Candidate], Coroutine[Any, Any, None]]


def played(folder: Path, scene: Scene, seed: int = 1) -> None:
    async def main() -> None:
        async with candidates(folder) as (one, two):
            await scene(one, two)

    run_virtual(main, seed)


def test_a_holder_that_renews_keeps_it(tmp_path: Path) -> None:
    async def scene(one: Candidate, two: Candidate) -> None:
        await asyncio.sleep(1000)
        assert (one.held, two.held) == (1, None)
        assert len(one.told) == 1

    played(tmp_path, scene)


def test_a_holder_that_stops_hands_over_at_once(tmp_path: Path) -> None:
    async def scene(one: Candidate, two: Candidate) -> None:
        await one.leased.stop()
        await asyncio.sleep(TTL_S * 0.31)
        assert (one.held, two.held) == (None, 2)
        assert one.leased.generation is None
        assert two.leased.generation == 2

    played(tmp_path, scene)


@pytest.mark.parametrize("how", ["broken", "stuck"])
@pytest.mark.parametrize("seed", range(10))
def test_a_holder_that_cannot_renew_has_stopped_before_another_gains(
    tmp_path: Path, how: str, seed: int
) -> None:
    async def scene(one: Candidate, two: Candidate) -> None:
        await asyncio.sleep(20)
        setattr(one.database, how, True)
        while two.held is None:
            await asyncio.sleep(0.05)
        assert one.held is None
        (_, gained), (_, lost) = one.told
        assert lost < two.told[0][1]
        assert lost - gained < 20 + TTL_S
        setattr(one.database, how, False)
        await two.leased.stop()
        await asyncio.sleep(TTL_S * 2)
        assert one.held == 3

    played(tmp_path, scene, seed)


def test_a_fence_that_refused_makes_the_holder_try_anew(tmp_path: Path) -> None:
    async def scene(one: Candidate, two: Candidate) -> None:
        one.leased.lost()
        await asyncio.sleep(TTL_S * 0.4)
        assert [what for what, _ in one.told][:2] == ["gain", "loss"]
        assert {one.held, two.held} == {None, 2}

    played(tmp_path, scene)


def test_a_gain_that_fails_lets_go(tmp_path: Path) -> None:
    async def scene(one: Candidate, two: Candidate) -> None:
        async def failing(generation: int) -> None:
            raise RuntimeError("no")

        two.leased._on_gain = failing
        await one.leased.stop()
        await asyncio.sleep(TTL_S)
        assert two.told
        assert all(what == "loss" for what, _ in two.told)
        await one.leased.start()
        await asyncio.sleep(TTL_S)
        assert one.held is not None

    played(tmp_path, scene)


def test_a_holder_that_fails_to_stop_is_tried_for_again(tmp_path: Path) -> None:
    async def scene(one: Candidate, two: Candidate) -> None:
        await two.leased.stop()

        async def failing() -> None:
            raise RuntimeError("no")

        whole, one.leased._on_loss = one.leased._on_loss, failing
        one.leased.lost()
        await asyncio.sleep(TTL_S)
        assert one.leased.generation is not None
        one.leased._on_loss = whole

    played(tmp_path, scene)


@asynccontextmanager
async def database(folder: Path) -> AsyncIterator[SqliteDatabase]:
    async with opened(folder, *NODE_AND_THINGS) as one:
        yield one


async def acquire(shared: Database, lease: Lease, now_ms: int) -> int | None:
    return await shared.write(lambda tx: lease.acquire(tx, now_ms))


async def test_a_paused_holder_is_fenced(tmp_path: Path) -> None:
    one, two = Lease("x", "one", 1000), Lease("x", "two", 1000)

    async def fenced_write(transaction: Transaction) -> None:
        await transaction.execute("insert into thing (name, size) values ('late', 1)")
        await fence(transaction, "x", 1)

    async with database(tmp_path) as shared:
        assert await acquire(shared, one, 5000) == 1
        await shared.write(fenced_write)
        await shared.write(lambda tx: tx.execute("delete from thing"))
        assert await acquire(shared, two, 5999) is None
        assert await acquire(shared, two, 6000) == 2
        with pytest.raises(LeaseLost):
            await shared.write(fenced_write)
        assert await shared.read(lambda tx: tx.fetch("select * from thing")) == []
        assert not await shared.write(lambda tx: one.renew(tx, 1, 6001))
        await shared.write(lambda tx: one.release(tx, 1))  # too late to matter
        assert await shared.write(lambda tx: two.renew(tx, 2, 6999))
        assert not await shared.write(lambda tx: two.renew(tx, 2, 7999))  # it has ended


async def test_a_lease_of_an_earlier_boot_counts_as_ended(tmp_path: Path) -> None:
    lease = Lease("x", "one", 1000)
    async with database(tmp_path) as shared:
        assert await acquire(shared, lease, 900_000_000) == 1
        assert await acquire(shared, Lease("x", "two", 1000), 50) == 2


async def test_of_many_who_try_at_once_one_gains(tmp_path: Path) -> None:
    async with database(tmp_path) as shared:
        for round_ in range(1, 6):
            gained = await asyncio.gather(
                *(acquire(shared, Lease("x", f"h{at}", 1000), round_ * 1000) for at in range(10))
            )
            assert [generation for generation in gained if generation] == [round_]


async def test_a_process_that_comes_back_gains_at_once_and_fences_its_former_self(
    tmp_path: Path,
) -> None:
    lease = Lease("x", "api", 1000)
    async with database(tmp_path) as shared:
        assert await acquire(shared, lease, 5000) == 1
        assert await acquire(shared, lease, 5001) == 2
        with pytest.raises(LeaseLost):
            await shared.write(lambda tx: fence(tx, "x", 1))
        assert not await shared.write(lambda tx: lease.renew(tx, 1, 5002))
        assert await shared.write(lambda tx: lease.renew(tx, 2, 5002))
