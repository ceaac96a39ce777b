"""Three workers, three files, each with one writing process."""

import random
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from transom.queue.logic.placing import MOST_WEIGHT

from support.fire import Fire, Strikes, complaints
from support.leftovers import Marked
from support.load import Session, login
from support.postgres import fresh_database
from support.stack import wait_for
from support.strict_receiver import strict_receiver
from support.watching import Watcher, queue_rows
from support.workers import WORKERS, at_each, path_of, pids, post, stopped

SEED = 2
NAMES = tuple(f"q{number}" for number in range(48))
"""So many that each store has some, whatever the project's id."""
OWNERS = {"": "api", "shard-1": "api-2", "shard-2": "api-3"}

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Marked]:
    stack = Marked(tmp_path / "data")
    stack.environment |= {"TRANSOM_API__WORKERS": "3", "TRANSOM_QUEUE__SHARDS": "3"}
    try:
        yield stack.start()
    finally:
        stack.stop()


def places(stack: Marked) -> Mapping[str, str]:
    """Name of a queue -> name of its store."""
    with closing(sqlite3.connect(f"file:{stack.data}/queue.db?mode=ro", uri=True)) as home:
        return dict(home.execute("select name, store from placed"))


def test_any_owner_may_be_killed_under_load(stack: Marked) -> None:
    with closing(Fire(stack, SEED)) as fire:
        strikes = Strikes(fire.light(), random.Random(SEED))
        for name in (*WORKERS, "api-3", "api-2"):
            strikes.kill(name)
            fire.goes_on()
        assert fire.douse() == []
    assert len(set(places(stack).values())) > 1
    assert stack.left() == []
    assert complaints(stack.data) == []
    assert strikes.median_s() < 1.5, strikes.back_s


def test_one_feed_has_the_queues_of_all_files(stack: Marked) -> None:
    with closing(Session(stack.url, login(stack))) as session:
        for name in NAMES:
            assert post(session, name, name) == 201
        assert set(places(stack).values()) == set(OWNERS)
        for name in NAMES[:8]:
            assert session.ask("DELETE", f"/queue/v2/queues/{name}")[0] == 204
        watcher = Watcher(stack, "queue:queues")
        try:
            projects = session.ask("GET", "/identity/v3/projects")[1]["projects"]
            own = next(project["id"] for project in projects if project["name"] == "admin")
            wanted = {(own, name): row for name, row in queue_rows(session).items()}
            assert watcher.differs(wanted) == []
            assert {key[1] for key in watcher.rows} == set(NAMES[8:])
        finally:
            watcher.stop()


def test_subscribers_are_told_of_posts_to_each_file_and_to_a_pool_on_a_server(
    tmp_path: Path,
) -> None:
    stack = Marked(tmp_path / "data")
    stack.environment |= {
        "TRANSOM_API__WORKERS": "3",
        "TRANSOM_QUEUE__SHARDS": "3",
        "TRANSOM_QUEUE__WEBHOOK_ALLOW": "127.0.0.0/8",
    }
    with fresh_database() as server, strict_receiver(SEED) as receiver:
        try:
            stack.start()
            with at_each(stack) as sessions:
                pool = {"uri": server.url, "weight": 100}
                assert sessions["api-2"].ask("PUT", "/queue/v2/pools/far", pool)[0] == 201
                for name in NAMES:
                    wanted = {"subscriber": f"{receiver.url}/{name}"}
                    path = path_of(name, "subscriptions")
                    assert sessions["api-3"].ask("POST", path, wanted)[0] == 201
                for number in range(6):
                    for name in NAMES:
                        session = sessions[WORKERS[number % 3]]
                        assert post(session, name, number) == 201
            assert set(places(stack).values()) == {*OWNERS, "pool-far"}
            for name in NAMES:
                wait_for(partial(receiver.has, f"/{name}", 6), 30)
                assert receiver.first_times(f"/{name}") == [*range(6)]
            assert stack.left() == []
        finally:
            stack.stop()


def test_while_one_owner_stands_still_the_files_of_others_are_written(stack: Marked) -> None:
    with at_each(stack) as sessions:
        for name in NAMES:
            assert post(sessions["api"], name, 1) == 201
        of, there = places(stack), pids(stack)
        with stopped(there["api-2"]):
            for name in NAMES:
                if OWNERS[of[name]] == "api-2":
                    kept = sessions["api-3"].ask("GET", path_of(name) + "?echo=true")
                    assert len(kept[1]["messages"]) == 1
                else:
                    assert post(sessions["api"], name, 2) == 201
                    assert post(sessions["api-3"], name, 3) == 201
            late = next(name for name in NAMES if OWNERS[of[name]] == "api-2")
            assert post(sessions["api"], late, 2) == 503
        assert post(sessions["api"], late, 4) == 201


def test_a_backup_holds_all_files_and_a_restore_finds_every_queue(
    stack: Marked, tmp_path: Path
) -> None:
    with closing(Session(stack.url, login(stack))) as session:
        for name in NAMES:
            assert post(session, name, name) == 201
    before = places(stack)
    archive = tmp_path / "b.tar"
    stack.transom("backup", str(archive))
    assert "queue-2.db" in stack.transom("doctor", check=False).stdout
    stack.stop()
    stack.data.rename(tmp_path / "broken")
    stack.transom("restore", str(archive))
    stack.transom("db", "upgrade")
    stack.start()
    assert places(stack) == before
    with closing(Session(stack.url, login(stack))) as session:
        for name in NAMES:
            found = session.ask("GET", path_of(name) + "?echo=true")[1]["messages"]
            assert [message["body"] for message in found] == [name]


def test_every_worker_knows_a_pool_once_its_making_is_answered(stack: Marked) -> None:
    with at_each(stack) as sessions:
        pool = {"uri": "sqlite:more", "weight": MOST_WEIGHT}
        assert sessions["api-2"].ask("PUT", "/queue/v2/pools/more", pool)[0] == 201
        for name, session in zip(NAMES[:12], [*sessions.values()] * 4, strict=True):
            assert post(session, name, name) == 201
        assert set(places(stack).values()) == {"pool-more"}
        for name in places(stack):
            for session in sessions.values():
                found = session.ask("GET", path_of(name) + "?echo=true")[1]["messages"]
                assert [message["body"] for message in found] == [name]
    assert (stack.data / "pools" / "more.db").stat().st_mode & 0o077 == 0
