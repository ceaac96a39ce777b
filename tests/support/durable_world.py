"""A durable feed on a SQLite file, publishers that are killed between any two steps, replicas."""

import asyncio
from pathlib import Path
from typing import Any

from transom.messaging.heartbeats import _RUNNING
from transom.messaging.proto.feed import ChangeSet, Key, Live, Row
from transom.messaging.tables import TablePublisher, TableReplica, poke
from transom.node.publisher import DurablePublisher
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.db.transaction import Verb

from support.db import opened
from support.mortal import Mortal, MortalWorld
from support.thingfeed import NODE_AND_THINGS, all_things, drop_pointed, put_pointed, thing_feed
from virtual import VirtualClock

TTL_S = 5.0
WRITES = 100
FOLLOWERS = 2
CALM_S = TTL_S + 25.0
Rows = dict[Key, Row]


class Life(Mortal):
    """One life of a publishing process."""

    def __init__(self, world: "World", number: int, holder: str) -> None:
        super().__init__(world, world.transport(f"owner{number}"))
        feed = thing_feed(
            self,  # type: ignore[arg-type]
            world.clock,
            pointers_max=5,
            keep_sets=20,
        )
        shell = TablePublisher(self.transport, "test", feed, on_poke=lambda: publisher.poke())
        self.publisher = publisher = DurablePublisher(
            feed, shell, holder=holder, clock=world.clock, ttl_s=TTL_S, jitter=world.random.random
        )

    async def start(self) -> None:
        await self.transport.start()
        await self.publisher.start()

    async def stop(self) -> None:
        """What a drain does; of a dead one it only tidies this process."""
        await self.publisher.stop()
        await self.transport.stop()


class Follower:
    """A replica and its consumer's rows."""

    def __init__(self, world: "World", number: int) -> None:
        self._world = world
        self.transport = world.transport(f"reader{number}")
        self.rows: Rows = {}
        self.sets = 0

    async def run(self) -> None:
        async with self.transport:
            self.replica = TableReplica(self.transport, "test")
            async for item in self.replica:
                if isinstance(item, ChangeSet):
                    self.apply(item)

    def apply(self, made: ChangeSet) -> None:
        for change in made.changes:
            if change.row is None:
                del self.rows[change.key]
            else:
                self.rows[change.key] = change.row
        self.sets += 1
        assert self.rows == self._world.rows_at[made.n], f"not as the feed was at {made.n}"

    @property
    def live(self) -> bool:
        return isinstance(self.replica.state, Live)


class World(MortalWorld):
    """One run."""

    deadly = 0.02

    def __init__(self, seed: int, database: SqliteDatabase) -> None:
        super().__init__(seed, database)
        self.rows_at: list[Rows] = [{}]
        self._feed = thing_feed(database, self.clock)

    async def write(self, verb: Verb[Any]) -> Any:
        """Runs the verb, and notes what the feed said then."""
        found = await self.database.write(verb)
        made = await self._feed.since(1, len(self.rows_at) - 1, 100)
        assert made is not None, "the log has a hole"
        for change_set in made:
            assert change_set.n == len(self.rows_at), "steps are counted one by one"
            rows = dict(self.rows_at[-1])
            for change in change_set.changes:
                rows.pop(change.key, None)
                if change.row is not None:
                    rows[change.key] = change.row
            self.rows_at.append(rows)
        return found

    def owner(self, place: int) -> Any:
        return lambda number: Life(self, number, self.holder(place))

    def reader_number(self) -> int:
        return self.random.randrange(FOLLOWERS)

    async def change(self, writes: int) -> None:
        """Writers: rows and pointers, some with a poke."""
        async with self.transport("writer") as ours:
            for _ in range(writes):
                name = self.random.choice("abcdefgh")
                if self.random.random() < 0.3:
                    await self.write(drop_pointed(name))
                else:
                    await self.write(put_pointed(name, self.random.randrange(5)))
                if self.random.random() < 0.5:
                    poke(ours, "test")
                if self.random.random() < 0.7:
                    await asyncio.sleep(self.random.expovariate(2))

    async def truth(self) -> Rows:
        return await self.database.read(all_things)


async def episode(folder: Path, seed: int) -> World:
    async with opened(
        folder, *NODE_AND_THINGS, clock=VirtualClock(), inline_writer=True
    ) as database:
        world = World(seed, database)
        over = asyncio.Event()
        followers = [Follower(world, number) for number in range(FOLLOWERS)]
        async with asyncio.TaskGroup() as group:
            following = [group.create_task(follower.run()) for follower in followers]
            publishing = [
                group.create_task(world.live(world.owner(place), over, 1)) for place in range(2)
            ]
            async with world.disturbed():
                await world.change(WRITES)
            await asyncio.sleep(CALM_S)
            truth = await world.truth()
            for follower in followers:
                assert follower.live
                assert follower.rows == truth == world.rows_at[-1]
            over.set()
            await asyncio.gather(*publishing)
            for follower in followers:
                await follower.transport.stop()
            await asyncio.gather(*following)
    assert _RUNNING == {}
    return world
