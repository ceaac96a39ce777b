"""The real durable feed, its leased publishers and its replicas, on a bad bus, by seed.

Publishers are killed between any two of their steps and come back, under their name or another;
two places compete for the lease. Claims, each checked in every run:
1. steps are counted one by one over all lives of the publishers;
2. after each change set a replica's rows are those that the feed had at that step;
3. once the bus is well and nobody is killed any more, every replica is live and holds exactly the
   rows of the database, within the lease and a few heartbeats.
"""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from transom.messaging.drivers.memory import MemoryBus
from transom.messaging.heartbeats import _RUNNING
from transom.node import feed as feed_module

from support.db import opened
from support.durable_world import TTL_S, Follower, World
from support.thingfeed import NODE_AND_THINGS
from virtual import VirtualClock, run_virtual

WRITES = 100
CALM_S = TTL_S + 25.0


async def episode(folder: Path, seed: int) -> World:
    async with opened(
        folder, *NODE_AND_THINGS, clock=VirtualClock(), inline_writer=True
    ) as database:
        world = World(seed, database)
        over = asyncio.Event()
        followers = [Follower(world, number) for number in range(2)]
        async with asyncio.TaskGroup() as group:
            following = [group.create_task(follower.run()) for follower in followers]
            publishing = [group.create_task(world.publish(place, over)) for place in range(2)]
            disturbing = group.create_task(world.disturb())
            await world.change(WRITES)
            disturbing.cancel()
            world.killing = False
            MemoryBus.named("world").heal()
            MemoryBus.named("world").faults = None
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


@pytest.mark.parametrize("seed", range(15))
def test_replicas_follow_through_kills_and_a_bad_bus(tmp_path: Path, seed: int) -> None:
    world = run_virtual(lambda: episode(tmp_path, seed), seed)
    assert len(world.rows_at) > 10
    assert world.deaths > 3


PLANTED = {
    "_DROP_POINTER": "delete from pointer where id >= 0 or id = ?",  # also those not looked at
    "_SET_DIGEST": "insert into feed_digest (source, table_name, digest) values (?, ?, ?) "
    "on conflict (source, table_name) do nothing",  # of the first step for ever
    "_WAITING": "select 1 from pointer where source = ? and id > 3 limit 1",  # a cursor
}


@pytest.mark.parametrize("statement", PLANTED)
def test_a_planted_fault_is_caught(
    tmp_path: Path, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, statement, PLANTED[statement])
    caught = 0
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        try:
            run_virtual(partial(episode, tmp_path / str(seed), seed), seed)
        except ExceptionGroup as group:
            caught += group.subgroup(AssertionError) is not None
    assert caught
