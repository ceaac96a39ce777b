"""The real durable feed, its leased publishers and its replicas, on a bad bus, by seed.

Publishers are killed between any two of their steps and come back, under their name or another;
two places compete for the lease. Claims, each checked in every run:
1. steps are counted one by one over all lives of the publishers;
2. after each change set a replica's rows are those that the feed had at that step;
3. once the bus is well and nobody is killed any more, every replica is live and holds exactly the
   rows of the database, within the lease and a few heartbeats.
"""

from functools import partial
from pathlib import Path

import pytest

from transom.node import feed as feed_module

from support.durable_world import episode
from virtual import run_virtual


@pytest.mark.parametrize("seed", range(15))
def test_replicas_follow_through_kills_and_a_bad_bus(tmp_path: Path, seed: int) -> None:
    world = run_virtual(lambda: episode(tmp_path, seed), seed)
    assert len(world.rows_at) > 10
    assert world.deaths, "nobody was killed"


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
