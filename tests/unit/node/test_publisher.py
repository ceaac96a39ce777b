"""The publisher of a durable feed: at once when poked, else by itself; one of several at a time."""

import asyncio
from pathlib import Path

import pytest

from transom.errors import MessageDeliveryFailure, MessagingTimeout
from transom.messaging.proto.feed import ChangeSet
from transom.node.publisher import DurablePublisher
from transom.runtime.db.sqlite import SqliteDatabase

from support.db import opened
from support.thingfeed import NODE_AND_THINGS, all_things, put_pointed, thing_feed
from virtual import VirtualClock, run_virtual


class Heard:
    """A shell that keeps what it is given; `away`: it fails, as a bus that is gone."""

    def __init__(self) -> None:
        self.sets: list[ChangeSet] = []
        self.away = False
        self.serving = 0

    async def start(self) -> None:
        await asyncio.sleep(0.001)
        if self.away:
            raise MessagingTimeout
        self.serving += 1

    async def stop(self) -> None:
        self.serving = max(0, self.serving - 1)

    async def send(self, change_set: ChangeSet) -> None:
        await asyncio.sleep(0.001)
        if self.away:
            raise MessageDeliveryFailure
        self.sets.append(change_set)


def publisher(database: SqliteDatabase, shell: Heard, holder: str = "one") -> DurablePublisher:
    clock = VirtualClock()
    return DurablePublisher(thing_feed(database, clock), shell, holder=holder, clock=clock)


async def settled(database: SqliteDatabase, within_s: float) -> None:
    """Returns when nothing is pointed to any more."""
    async with asyncio.timeout(within_s):
        while await thing_feed(database, VirtualClock()).waiting():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("seed", range(3))
def test_a_poke_is_heard_at_once_and_silence_within_a_second(tmp_path: Path, seed: int) -> None:
    async def main() -> None:
        async with opened(
            tmp_path, *NODE_AND_THINGS, clock=VirtualClock(), inline_writer=True
        ) as database:
            heard = Heard()
            one = publisher(database, heard)
            await one.start()
            await asyncio.sleep(3)
            for at in range(10):
                await database.write(put_pointed("a", at))
                one.poke()
                await settled(database, 0.05)
            await database.write(put_pointed("b", 1))
            await settled(database, 1.2)
            await asyncio.sleep(0.01)
            await one.stop()
            assert [change_set.n for change_set in heard.sets] == list(range(1, 12))

    run_virtual(main, seed)


def test_a_bus_that_is_away_stops_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(
            tmp_path, *NODE_AND_THINGS, clock=VirtualClock(), inline_writer=True
        ) as database:
            heard = Heard()
            one = publisher(database, heard)
            await one.start()
            heard.away = True
            await database.write(put_pointed("a", 1))
            await settled(database, 2)
            await asyncio.sleep(0.01)  # what is written is sent a moment later
            heard.away = False
            await database.write(put_pointed("b", 1))
            await settled(database, 2)
            await asyncio.sleep(0.01)
            await one.stop()
            assert [change_set.n for change_set in heard.sets] == [2]
            missed = await thing_feed(database, VirtualClock()).since(1, 0, 1)
            assert missed is not None
            assert [change.key for change in missed[0].changes] == [("a",)]

    run_virtual(main, 1)


@pytest.mark.parametrize("seed", range(5))
def test_of_two_publishers_one_works_and_the_other_takes_over(tmp_path: Path, seed: int) -> None:
    async def main() -> None:
        async with opened(
            tmp_path, *NODE_AND_THINGS, clock=VirtualClock(), inline_writer=True
        ) as database:
            heard = Heard()
            one, two = publisher(database, heard, "one"), publisher(database, heard, "two")
            await one.start()
            await two.start()
            for at in range(20):
                await database.write(put_pointed(f"{at % 7}", at))
                await asyncio.sleep(0.5)
                if at == 10:
                    holder = one if one.generation is not None else two
                    assert (one.generation is None) != (two.generation is None)
                    await holder.stop()
            await settled(database, 20)
            await asyncio.sleep(1)
            await one.stop()
            await two.stop()
            assert [change_set.n for change_set in heard.sets] == list(
                range(1, len(heard.sets) + 1)
            )
            rows = {
                change.key: change.row for change_set in heard.sets for change in change_set.changes
            }
            assert rows == await database.read(all_things)

    run_virtual(main, seed)


def test_only_the_holder_serves_and_it_goes_on_trying(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(
            tmp_path, *NODE_AND_THINGS, clock=VirtualClock(), inline_writer=True
        ) as database:
            shells = {"one": Heard(), "two": Heard()}
            publishers = {name: publisher(database, shell, name) for name, shell in shells.items()}
            shells["one"].away = shells["two"].away = True
            for one in publishers.values():
                await one.start()
            await asyncio.sleep(5)
            assert [shell.serving for shell in shells.values()] == [0, 0]
            shells["one"].away = shells["two"].away = False
            await asyncio.sleep(5)
            held = {name: one.generation is not None for name, one in publishers.items()}
            assert sorted(held.values()) == [False, True]
            assert {name: shell.serving == 1 for name, shell in shells.items()} == held
            holder = next(name for name in held if held[name])
            await publishers[holder].stop()
            assert shells[holder].serving == 0
            await asyncio.sleep(20)
            assert sum(shell.serving for shell in shells.values()) == 1
            for one in publishers.values():
                await one.stop()
            assert [shell.serving for shell in shells.values()] == [0, 0]

    run_virtual(main, 1)


def test_a_row_reader_that_fails_is_tried_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(
            tmp_path, *NODE_AND_THINGS, clock=VirtualClock(), inline_writer=True
        ) as database:
            heard = Heard()
            one = publisher(database, heard)
            whole = one._feed._read_row

            async def failing(*_: object) -> None:
                raise ValueError("a fault of ours")

            one._feed._read_row = failing
            await one.start()
            await database.write(put_pointed("a", 1))
            await asyncio.sleep(5)
            assert heard.sets == []
            one._feed._read_row = whole
            await settled(database, 2)
            await asyncio.sleep(0.1)
            await one.stop()
            assert len(heard.sets) == 1

    run_virtual(main, 1)
