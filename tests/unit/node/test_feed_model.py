"""Random changes, publishing, faults and restarts: the feed always adds up to the tables."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from transom.errors import Conflict
from transom.messaging.proto.feed import MODULUS, Key, Row, row_hash
from transom.node.lease import Lease
from transom.runtime.db.transaction import Transaction

from support.db import opened
from support.thingfeed import (
    NODE_AND_THINGS,
    all_things,
    drop_pointed,
    put_pointed,
    read_thing,
    thing_feed,
)

NAMES = st.sampled_from("abcdef")
SIZES = st.integers(0, 3)


class FeedMachine(RuleBasedStateMachine):
    """`published`: the rows that a replica would hold, from the change sets alone."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.boots = 0
        self.published: dict[Key, Row | None] = {}
        self.n = 0
        self.fails = False
        self.run(self.open())

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    async def open(self) -> None:
        self.database = await self.stack.enter_async_context(
            opened(Path(self.folder.name), *NODE_AND_THINGS, inline_writer=True)
        )
        self.feed = thing_feed(self.database, pointers_max=3)
        self.feed._read_row = self.read_or_fail
        self.boots += 1
        lease = Lease(self.feed.lease_name, f"boot{self.boots}", 1000)
        now_ms = self.boots * 1000
        self.generation = await self.database.write(lambda tx: lease.acquire(tx, now_ms))

    async def read_or_fail(self, transaction: Transaction, table: str, key: Key) -> Row | None:
        if self.fails:
            raise Conflict("as drawn")
        return await read_thing(transaction, table, key)

    @rule(name=NAMES, size=SIZES)
    def put(self, name: str, size: int) -> None:
        self.run(self.database.write(put_pointed(name, size)))

    @rule(name=NAMES)
    def drop(self, name: str) -> None:
        self.run(self.database.write(drop_pointed(name)))

    @rule(name=NAMES, size=SIZES)
    def put_undone(self, name: str, size: int) -> None:
        async def verb(transaction: Transaction) -> None:
            await put_pointed(name, size)(transaction)
            raise Conflict("undone")

        async def work() -> None:
            for outcome in await asyncio.gather(
                self.database.write(verb),
                self.database.write(put_pointed(name, size + 1)),
                return_exceptions=True,
            ):
                assert outcome is None or isinstance(outcome, Conflict)

        self.run(work())

    @rule(fails=st.booleans())
    def publish(self, fails: bool) -> None:
        self.fails = fails
        try:
            change_set = self.run(self.feed.publish_once(self.generation))
        except Conflict:
            return
        finally:
            self.fails = False
        if change_set is not None:
            assert change_set.n == self.n + 1
            self.n += 1
            for change in change_set.changes:
                assert self.published.get(change.key) != change.row
                self.published[change.key] = change.row

    @rule()
    def restart(self) -> None:
        async def work() -> None:
            await self.stack.aclose()
            await self.open()

        self.run(work())

    @invariant()
    def adds_up(self) -> None:
        async def work() -> None:
            rows = {key: row for key, row in self.published.items() if row is not None}
            head = await self.feed.head()
            assert head.n == self.n
            assert head.digest == sum(row_hash("things", *row) for row in rows.items()) % MODULUS
            chunk = await self.feed.snapshot([], None, 100)
            assert {change.key: change.row for change in chunk.rows} == rows
            if not await self.feed.waiting():
                assert rows == await self.database.read(all_things)

        self.run(work())

    def teardown(self) -> None:
        while self.run(self.feed.waiting()):
            self.publish(fails=False)
        self.adds_up()
        self.run(self.stack.aclose())
        self.runner.close()
        self.folder.cleanup()


TestFeed = FeedMachine.TestCase
TestFeed.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
