"""A durable feed is its tables, exactly, at every step and over every fault."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from transom.errors import InternalError
from transom.messaging.proto.feed import (
    KEY_BYTES,
    MODULUS,
    OVERSIZE,
    ChangeSet,
    Chunk,
    Key,
    KeyTooLarge,
    Row,
    row_hash,
)
from transom.node import feed as feed_module
from transom.node.feed import DurableFeed, decoded_key, encoded_key, new_epoch, point
from transom.node.lease import Lease, LeaseLost
from transom.runtime.db.transaction import Database, Parameters, Transaction, Verb

from support.db import opened
from support.postgres import on_postgres
from support.thingfeed import (
    NODE_AND_THINGS,
    all_things,
    drop_pointed,
    put_pointed,
    read_thing,
    thing_feed,
)


async def gained(database: Database, feed: DurableFeed, now_ms: int = 1000) -> int:
    """`now_ms` moves a file's clock; a server has its own time, so the lease is ended there."""
    lease = Lease(feed.lease_name, f"test{now_ms}", 1000)
    if on_postgres():
        await database.write(lambda tx: tx.execute("update lease set until_ms = 0"))
    generation = await database.write(lambda tx: lease.acquire(tx, now_ms))
    assert generation is not None
    return generation


async def published(feed: DurableFeed, generation: int) -> list[ChangeSet]:
    found = []
    while await feed.waiting():
        change_set = await feed.publish_once(generation)
        if change_set is not None:
            found.append(change_set)
    return found


def replayed(sets: Iterable[ChangeSet]) -> dict[Key, Row]:
    rows: dict[Key, Row] = {}
    for n, change_set in enumerate(sets, 1):
        assert change_set.n == n
        for change in change_set.changes:
            if change.row is None:
                del rows[change.key]
            else:
                rows[change.key] = change.row
    return rows


async def paged(feed: DurableFeed, limit: int) -> dict[Key, Row]:
    rows: dict[Key, Row] = {}
    after = None
    while True:
        chunk: Chunk = await feed.snapshot(["things"], after, limit)
        assert len(chunk.rows) <= limit
        for change in chunk.rows:
            assert after is None or (change.table, change.key) > after
            assert change.row is not None
            after = (change.table, change.key)
            rows[change.key] = change.row
        if chunk.after is None:
            return rows
        assert chunk.after == after


async def agrees(feed: DurableFeed) -> None:
    """Log, snapshot and digest say what the table says."""
    wanted = await feed.database.read(all_things)
    head = await feed.head()
    sets = []
    while len(sets) < head.n:
        more = await feed.since(head.epoch, len(sets), 7)
        assert more
        sets += more
    assert replayed(sets) == wanted
    assert await paged(feed, 3) == wanted
    assert head.digest == sum(row_hash("things", *row) for row in wanted.items()) % MODULUS
    assert head.tables == {"things": head.digest}


async def test_rows_that_changed_together_are_one_set_of_net_changes(tmp_path: Path) -> None:
    async def several(transaction: Transaction) -> None:
        for name in ("a", "b", "c", "a"):
            await put_pointed(name, len(name))(transaction)
        await drop_pointed("c")(transaction)

    async with opened(tmp_path, *NODE_AND_THINGS) as database:
        feed = thing_feed(database)
        generation = await gained(database, feed)
        await database.write(several)
        (one,) = await published(feed, generation)
        assert [(change.key, change.row) for change in one.changes] == [
            (("a",), {"name": "a", "size": 1}),
            (("b",), {"name": "b", "size": 1}),
        ]
        await agrees(feed)


async def test_what_is_as_published_makes_no_step(tmp_path: Path) -> None:
    async with opened(tmp_path, *NODE_AND_THINGS) as database:
        feed = thing_feed(database)
        generation = await gained(database, feed)
        for _ in range(3):
            await database.write(put_pointed("a", 1))
            await published(feed, generation)
            await database.write(drop_pointed("never there"))
            await published(feed, generation)
        assert (await feed.head()).n == 1
        assert not await feed.waiting()


async def test_a_restart_goes_on_and_a_restore_begins_another_epoch(tmp_path: Path) -> None:
    async with opened(tmp_path, *NODE_AND_THINGS) as database:
        feed = thing_feed(database)
        await database.write(put_pointed("a", 1))
        await published(feed, await gained(database, feed))
    async with opened(tmp_path, *NODE_AND_THINGS) as database:
        feed = thing_feed(database)
        generation = await gained(database, feed, 5000)
        await database.write(put_pointed("b", 2))
        (two,) = await published(feed, generation)
        assert (two.epoch, two.n) == (1, 2)
        assert await database.write(lambda tx: new_epoch(tx, "test")) == 2
        assert await feed.since(1, 2, 10) is None
        await database.write(put_pointed("c", 3))
        (one,) = await published(feed, generation)
        assert (one.epoch, one.n) == (2, 1)
        assert await paged(feed, 10) == await database.read(all_things)
        assert await database.write(lambda tx: new_epoch(tx, "test", at_least=99)) == 99


async def test_since_says_what_it_has_and_none_beyond(tmp_path: Path) -> None:
    async with opened(tmp_path, *NODE_AND_THINGS) as database:
        feed = thing_feed(database, keep_sets=5)
        generation = await gained(database, feed)
        assert await feed.since(1, 0, 10) == []
        for at in range(12):
            await database.write(put_pointed(f"{at}", at))
            await published(feed, generation)
        assert await feed.since(1, 6, 10) is None  # too old
        kept = await feed.since(1, 7, 10)
        assert kept is not None
        assert [change_set.n for change_set in kept] == [8, 9, 10, 11, 12]
        some = await feed.since(1, 9, 2)
        assert some is not None
        assert [change_set.n for change_set in some] == [10, 11]
        assert await feed.since(1, 12, 10) == []
        assert await feed.since(1, 13, 10) is None  # not yet
        assert await feed.since(2, 0, 10) is None  # no such epoch


async def test_old_change_sets_go_by_age_too(tmp_path: Path) -> None:
    class Moved:
        ms = 0

        def now_ms(self) -> int:
            return self.ms

        def monotonic_s(self) -> float:
            return self.ms / 1000

    async with opened(tmp_path, *NODE_AND_THINGS) as database:
        clock = Moved()
        feed = thing_feed(database, clock, keep_s=60.0)
        generation = await gained(database, feed)
        for at in range(5):
            clock.ms = at * 50_000
            await database.write(put_pointed(f"{at}", at))
            await published(feed, generation)
        assert await feed.since(1, 2, 10) is None
        kept = await feed.since(1, 3, 10)
        assert kept is not None
        assert [change_set.n for change_set in kept] == [4, 5]


async def test_a_later_holder_fences_the_earlier_one(tmp_path: Path) -> None:
    async with opened(tmp_path, *NODE_AND_THINGS) as database:
        feed = thing_feed(database)
        first = await gained(database, feed, 1000)
        second = await gained(database, feed, 2000)
        await database.write(put_pointed("a", 1))
        with pytest.raises(LeaseLost):
            await feed.publish_once(first)
        assert await feed.waiting()
        assert (await feed.head()).n == 0
        assert len(await published(feed, second)) == 1


class Stumbling:
    """A database whose write fails at its statement number `at`."""

    def __init__(self, database: Database, at: int) -> None:
        self._database = database
        self._at = at
        self._left = at

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def write(self, verb: Verb[Any]) -> Any:
        async def stumbling(transaction: Transaction) -> Any:
            self._left = self._at  # a verb may be run again whole
            return await verb(_Stumbling(self, transaction))

        return await self._database.write(stumbling)

    async def read(self, verb: Verb[Any]) -> Any:
        return await self._database.read(verb)

    def step(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise InternalError("stumbled")


class _Stumbling:
    def __init__(self, owner: Stumbling, inner: Transaction) -> None:
        self._owner = owner
        self._inner = inner

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        self._owner.step()
        return await self._inner.execute(sql, parameters)

    async def execute_many(self, sql: str, rows: Iterable[Parameters]) -> None:
        self._owner.step()
        await self._inner.execute_many(sql, rows)

    async def fetch(self, sql: str, parameters: Parameters = ()) -> Any:
        self._owner.step()
        return await self._inner.fetch(sql, parameters)

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Any:
        self._owner.step()
        return await self._inner.fetch_one(sql, parameters)


async def test_a_publisher_that_fails_between_any_two_statements_changed_nothing(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, *NODE_AND_THINGS) as database:
        feed = thing_feed(database)
        generation = await gained(database, feed)
        await database.write(put_pointed("gone", 1))
        await published(feed, generation)
        await database.write(drop_pointed("gone"))
        await database.write(put_pointed("a", 1))
        await database.write(put_pointed("b", 1))
        before = await feed.head()
        at = 0
        while True:
            at += 1
            stumbling = thing_feed(Stumbling(database, at))
            try:
                change_set = await stumbling.publish_once(generation)
            except InternalError:
                assert await feed.head() == before
                assert await feed.waiting()
                continue
            break
        assert at > 10  # it did stumble on its way
        assert change_set is not None
        assert len(change_set.changes) == 3
        await agrees(feed)


async def test_no_pointer_is_passed_over_under_concurrent_writers(tmp_path: Path) -> None:
    async with opened(tmp_path, *NODE_AND_THINGS, group_max=5) as database:
        feed = thing_feed(database, pointers_max=7)
        generation = await gained(database, feed)
        writing = 4

        async def writer(number: int) -> None:
            nonlocal writing
            for at in range(60):
                name = f"{(number * at) % 11}"
                verb = drop_pointed(name) if at % 5 == 0 else put_pointed(name, at)
                await database.write(verb)
            writing -= 1

        async def publisher() -> list[ChangeSet]:
            found = []
            while writing or await feed.waiting():
                change_set = await feed.publish_once(generation)
                found += [change_set] if change_set is not None else []
            return found

        sent, *_ = await asyncio.gather(publisher(), *(writer(number) for number in range(4)))
        assert replayed(sent) == await database.read(all_things)
        await agrees(feed)


async def test_a_big_backlog_comes_in_several_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "SET_BYTES", 200)
    monkeypatch.setattr(feed_module, "PAGE_BYTES", 150)
    async with opened(tmp_path, *NODE_AND_THINGS) as database:
        feed = thing_feed(database)
        generation = await gained(database, feed)
        await asyncio.gather(*(database.write(put_pointed(f"{at}", at)) for at in range(50)))
        assert len(await published(feed, generation)) > 5
        await agrees(feed)
        chunk = await feed.snapshot([], None, 500)
        assert len(chunk.rows) == 50  # a page of the store at a time, cut by bytes after it


async def test_a_row_that_no_feed_can_carry_is_published_cut_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def huge(transaction: Transaction, table: str, key: Key) -> Row | None:
        return {"x": "y" * 300_000} if key == ("a",) else await read_thing(transaction, table, key)

    async with opened(tmp_path, *NODE_AND_THINGS) as database:
        feed = thing_feed(database)
        feed._read_row = huge
        generation = await gained(database, feed)
        await database.write(put_pointed("a", 1))
        await database.write(put_pointed("b", 2))
        (made,) = await published(feed, generation)
        rows = {change.key: change.row for change in made.changes}
        assert rows[("b",)] == {"name": "b", "size": 2}
        cut = rows[("a",)]
        assert cut is not None
        assert (cut["x"], cut[OVERSIZE]["columns"]) == (None, ["x"])
        assert "row published cut" in caplog.text
        assert (await paged(feed, 1))[("a",)] == cut
        assert await feed.counts() == {"things": 2}
        feed._read_row = read_thing
        await database.write(put_pointed("a", 1))
        await published(feed, generation)
        await agrees(feed)


async def test_a_key_that_no_feed_can_carry_is_refused_where_it_is_written(tmp_path: Path) -> None:
    async with opened(tmp_path, *NODE_AND_THINGS) as database:
        with pytest.raises(KeyTooLarge):
            await database.write(put_pointed("k" * (KEY_BYTES + 1), 1))
        assert await database.read(all_things) == {}


async def test_a_pointer_to_an_unknown_table_does_not_stop_the_feed(tmp_path: Path) -> None:
    async with opened(tmp_path, *NODE_AND_THINGS) as database:
        feed = thing_feed(database)
        generation = await gained(database, feed)
        await database.write(lambda tx: point(tx, "test", "nothings", ("a",)))
        await database.write(put_pointed("a", 1))
        (one,) = await published(feed, generation)
        assert [change.table for change in one.changes] == ["things"]


KEYS = [
    ("a",), ("a", ""), ("a", "b"), ("a\x00",), ("a\x00", "b"), ("a\x01",), ("ab",), ("ab", "c"),
    ("a\x00\x01b",), ("é",), ("\U0001f600",), ("\uffff",), ("", "a"), ("b",),
]  # fmt: skip


def test_keys_sort_as_their_bytes_and_come_back() -> None:
    assert sorted(KEYS) == sorted(KEYS, key=encoded_key)
    assert [decoded_key(encoded_key(key)) for key in KEYS] == KEYS
    for empty in ((), ("",)):
        with pytest.raises(InternalError):
            encoded_key(empty)
