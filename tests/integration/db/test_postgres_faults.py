"""PostgreSQL behind a proxy that misbehaves, and a server that says no: told in time and truly."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from transom.errors import (
    ConfigError,
    StorageFull,
    StorageUnavailable,
    TransomError,
    Unavailable,
)
from transom.runtime.clock import SystemClock
from transom.runtime.db.postgres import PostgresDatabase
from transom.runtime.db.postgres.database import COMMIT
from transom.runtime.db.transaction import Transaction
from transom.runtime.secrets import Secret

from fault_proxy import FaultProxy
from support.db import names, opened, put, things
from support.postgres import Server, schema_of

STATEMENT_S = 0.8
BOUND_S = 4 * STATEMENT_S + 5  # a verb, its commit, and what a busy machine adds
pytestmark = pytest.mark.usefixtures("postgres")


@asynccontextmanager
async def behind_proxy(
    server: Server, folder: Path, **options: Any
) -> AsyncIterator[tuple[PostgresDatabase, FaultProxy]]:
    options = {"statement_s": STATEMENT_S, "pool_max": 4} | options
    async with FaultProxy(*server.address) as proxy:
        database = server.database(
            folder / "test.db",
            [things(folder)],
            clock=SystemClock(),
            url=server.through(proxy.address),
            **options,
        )
        await database.start()
        try:
            yield database, proxy
        finally:
            proxy.faults.swallow = proxy.faults.refuse = False
            await database.stop()


async def in_time(waiting: Any, bound_s: float = BOUND_S) -> TransomError | None:
    """What it raised, within the bound."""
    began_s = time.monotonic()
    try:
        await waiting
        raised = None
    except TransomError as error:
        raised = error
    assert time.monotonic() - began_s < bound_s
    return raised


async def healed(database: PostgresDatabase, name: str) -> None:
    deadline_s = time.monotonic() + 10
    while await in_time(database.write(put(name))) is not None:
        assert time.monotonic() < deadline_s, "it does not heal"
        await asyncio.sleep(0.05)
    assert database.problem == ""


async def test_a_half_open_connection_is_told_in_time_and_healed(
    server: Server, tmp_path: Path
) -> None:
    async with behind_proxy(server, tmp_path) as (database, proxy):
        await database.write(put("before"))
        proxy.faults.swallow = True
        outcomes = await asyncio.gather(
            *(in_time(database.write(put(f"lost{at}"))) for at in range(10)),
            in_time(database.read(names)),
        )
        assert all(isinstance(outcome, Unavailable) for outcome in outcomes), outcomes
        proxy.faults.swallow = False
        await healed(database, "after")
        assert await database.read(names) == ["after", "before"]


async def test_reset_connections_cost_nobody_anything(server: Server, tmp_path: Path) -> None:
    async with behind_proxy(server, tmp_path) as (database, proxy):
        for at in range(10):
            await asyncio.gather(*(database.write(put(f"{at}{n}")) for n in range(4)))
            proxy.reset_all()
        assert len(await database.read(names)) == 40


@pytest.mark.alone
async def test_a_server_that_is_down_is_told_at_once_and_found_again(
    server: Server, tmp_path: Path
) -> None:
    async with behind_proxy(server, tmp_path) as (database, proxy):
        await database.write(put("before"))
        proxy.faults.refuse = True
        proxy.reset_all()
        assert isinstance(await in_time(database.write(put("lost"))), Unavailable)
        assert "goes on trying" in database.problem
        began_s = time.monotonic()
        for _ in range(100):
            assert isinstance(await in_time(database.read(names)), Unavailable)
        assert time.monotonic() - began_s < 1  # nobody waits for what is known to be away
        proxy.faults.refuse = False
        deadline_s = time.monotonic() + 10
        while database.problem:  # by itself, though nobody asks
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.02)
        assert await database.read(names) == ["before"]


async def test_a_slow_way_works_until_it_is_too_slow(server: Server, tmp_path: Path) -> None:
    async with behind_proxy(server, tmp_path) as (database, proxy):
        proxy.faults.delay_s = 0.01
        await database.write(put("slow"))
        proxy.faults.delay_s = 3 * STATEMENT_S
        assert isinstance(await in_time(database.write(put("lost"))), Unavailable)
        proxy.faults.delay_s = 0.0
        await healed(database, "after")
        assert await database.read(names) == ["after", "slow"]


@pytest.mark.parametrize("arrives", [False, True])
async def test_a_connection_cut_at_the_commit_is_told_as_unknown_and_not_run_again(
    server: Server, tmp_path: Path, arrives: bool
) -> None:
    runs = []

    async def cut(transaction: Transaction) -> None:
        runs.append(1)
        await put("half")(transaction)
        message_bytes = 1 + 4 + len(COMMIT) + 1
        # The last byte of the commit does not arrive; or all of it does, and no byte of the answer.
        proxy.faults.cut_after_bytes = message_bytes + (1 if arrives else -1)

    async with behind_proxy(server, tmp_path) as (database, proxy):
        error = await in_time(database.write(cut))
        assert isinstance(error, StorageUnavailable)
        assert "may or may not" in error.text
        assert runs == [1]
        await healed(database, "next")
        assert await database.read(names) == (["half", "next"] if arrives else ["next"])


async def test_a_commit_that_is_never_answered_is_unknown_too(
    server: Server, tmp_path: Path
) -> None:
    async def silent(transaction: Transaction) -> None:
        await put("half")(transaction)
        proxy.faults.swallow = True

    async with behind_proxy(server, tmp_path) as (database, proxy):
        error = await in_time(database.write(silent))
        assert isinstance(error, StorageUnavailable)
        assert "may or may not" in error.text
        proxy.faults.swallow = False
        await healed(database, "next")
        assert await database.read(names) == ["next"]


async def test_nothing_acknowledged_is_lost_nothing_refused_is_done_nothing_is_done_twice(
    server: Server, tmp_path: Path
) -> None:
    """Writers on a way that is cut, silent, slow and closed, by seed."""
    dice = random.Random(7)
    acknowledged, refused, unknown = set(), set(), set()

    def counted(name: str) -> Any:
        async def verb(transaction: Transaction) -> None:
            await transaction.execute("update thing set size = size + 1 where name = '#'")
            await transaction.execute("insert into thing (name, size) values (?, 1)", (name,))

        return verb

    async with behind_proxy(server, tmp_path) as (database, proxy):
        await database.write(put("#", 0))
        over = asyncio.Event()

        async def writer(number: int) -> None:
            at = 0
            while not over.is_set():
                at += 1
                name = f"{number}.{at}"
                error = await in_time(database.write(counted(name)), 2 * BOUND_S)
                if error is None:
                    acknowledged.add(name)
                elif "may or may not" in error.text:
                    unknown.add(name)
                else:
                    refused.add(name)
                    await asyncio.sleep(0.02)

        async def disturb() -> None:
            faults = proxy.faults
            for turn in range(18):
                mood = dice.choice(["well", "reset", "cut", "cut", "swallow", "slow", "refuse"])
                faults.swallow = mood == "swallow"
                faults.refuse = mood == "refuse"
                faults.jitter_s = 0.02 if mood == "slow" else 0.0
                if mood == "reset":
                    proxy.reset_all()
                if mood == "cut":
                    faults.cut_after_bytes = dice.randrange(3000)
                await asyncio.sleep(dice.uniform(0.05, 0.4))
                if turn % 6 == 5:
                    faults.swallow = faults.refuse = False
                    faults.cut_after_bytes = None
                    faults.jitter_s = 0.0
                    enough = len(acknowledged) + 20
                    async with asyncio.timeout(30):
                        while len(acknowledged) < enough:
                            await asyncio.sleep(0.02)
            over.set()

        await asyncio.gather(disturb(), *(writer(number) for number in range(4)))
        await healed(database, "#after")
        there = set(await database.read(names)) - {"#", "#after"}
        counted_up = await database.read(
            lambda tx: tx.fetch_one("select size from thing where name = '#'")
        )
    assert acknowledged <= there
    assert not refused & there
    assert there <= acknowledged | unknown
    assert counted_up == (len(there),)
    assert acknowledged
    assert refused


async def test_a_full_pool_and_a_slow_statement_are_told_in_time(
    server: Server, tmp_path: Path
) -> None:
    async def sleeping(transaction: Transaction) -> None:
        await transaction.fetch("select pg_sleep(60)")

    async with opened(tmp_path, statement_s=STATEMENT_S, pool_max=2) as database:
        sleepers = [asyncio.create_task(in_time(database.read(sleeping))) for _ in range(8)]
        await asyncio.sleep(0)
        assert isinstance(await in_time(database.read(sleeping)), Unavailable)
        for error in await asyncio.gather(*sleepers):
            assert isinstance(error, Unavailable)
        await database.write(put("next"))


async def test_a_server_without_room_for_another_connection_goes_on_with_those_that_are_there(
    server: Server, tmp_path: Path
) -> None:
    role = f"few_{tmp_path.name}_{random.randrange(1 << 30)}".replace("-", "_")[:60]
    await server.ask(f"create role {role} superuser login")
    parts = urlsplit(server.url)
    host, port = server.address
    url = urlunsplit(parts._replace(netloc=f"{role}@{host}:{port}"))

    async def pausing(transaction: Transaction) -> None:
        await transaction.fetch("select pg_sleep(0.1)")

    database = server.database(
        tmp_path / "test.db", [things(tmp_path)], clock=SystemClock(), url=url, pool_max=8
    )
    try:
        await database.start()
        await server.ask(f"alter role {role} nosuperuser connection limit 3")
        await server.ask(f"grant all on schema {schema_of(tmp_path / 'test.db')} to {role}")
        for _ in range(3):
            told = [in_time(database.read(pausing)) for _ in range(8)]
            assert await asyncio.gather(*told) == [None] * 8
            assert database.problem == ""
    finally:
        await database.stop()
        await server.ask(f"drop schema {schema_of(tmp_path / 'test.db')} cascade")
        await server.ask(f"drop owned by {role}")
        await server.ask(f"drop role {role}")


async def test_a_row_that_another_session_locks_is_told_in_time(
    server: Server, tmp_path: Path
) -> None:
    import asyncpg

    async with opened(tmp_path, statement_s=STATEMENT_S) as database:
        await database.write(put("a"))
        other = await asyncpg.connect(server.url)
        schema = schema_of(tmp_path / "test.db")
        await other.execute(f"begin; update {schema}.thing set size = 7")
        try:
            assert isinstance(await in_time(database.write(put("a", 8))), Unavailable)
        finally:
            await other.execute("rollback")
            await other.close()
        await database.write(put("a", 9))


async def test_sessions_that_the_server_ends_are_replaced(server: Server, tmp_path: Path) -> None:
    """As when it is started anew, or an operator ends them."""
    async with opened(tmp_path) as database:
        schema = schema_of(tmp_path / "test.db")
        for at in range(5):
            await asyncio.gather(*(database.write(put(f"{at}{n}")) for n in range(4)))
            await server.ask(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = $1",
                schema,
            )
        assert len(await database.read(names)) == 20


RAISE = """
create or replace function fail(state text) returns void language plpgsql as
$body$ begin raise exception 'as asked' using errcode = state; end $body$;
"""


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", StorageFull),
        ("53200", Unavailable),
        ("53300", Unavailable),
        ("57014", Unavailable),
        ("55P03", Unavailable),
        ("25006", StorageUnavailable),
        ("58030", StorageUnavailable),
        ("XX001", StorageUnavailable),
        ("40001", Unavailable),
        ("40P01", Unavailable),
    ],
)
async def test_what_the_server_says_is_told_as_what_it_is(
    server: Server, tmp_path: Path, state: str, kind: type[TransomError]
) -> None:
    tries = []

    async def failing(transaction: Transaction) -> None:
        tries.append(1)
        await put("lost")(transaction)
        await transaction.fetch("select fail(?)", (state,))

    async with opened(tmp_path, statement_s=STATEMENT_S) as database:
        schema = schema_of(tmp_path / "test.db")
        await server.ask(f"set search_path to {schema}")
        await database.write(lambda tx: tx.execute(RAISE))
        error = await in_time(database.write(failing))
        assert type(error) is kind
        assert (len(tries) > 3) == state.startswith("40")
        await database.write(put("next"))
        assert await database.read(names) == ["next"]


async def test_a_commit_that_waits_is_not_cut_short_by_the_servers_time(
    server: Server, tmp_path: Path
) -> None:
    """As for a standby: what makes a commit last here is a trigger that is put off until then."""
    statements = (
        f"""create function rest() returns trigger language plpgsql as
            $body$ begin perform pg_sleep({0.7 * STATEMENT_S}); return null; end $body$""",
        """create constraint trigger late after insert on thing deferrable initially deferred
           for each row execute function rest()""",
    )

    async def twice(transaction: Transaction) -> None:
        await put("a")(transaction)
        await put("b")(transaction)

    async with opened(tmp_path, statement_s=STATEMENT_S) as database:
        for statement in statements:
            await database.write(lambda tx, text=statement: tx.execute(text))
        assert await in_time(database.write(twice)) is None  # 1.4 times a statement's time
        assert await database.read(names) == ["a", "b"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://postgres:hidden@127.0.0.1:1/x", "does not answer"),
        ("postgresql://nobody_here:hidden@{where}/none_such", "refuses"),
        ("postgresql://u:hidden@no-such-host.invalid/x", "does not answer"),
    ],
)
async def test_a_start_says_what_to_do_and_no_password(
    server: Server, tmp_path: Path, url: str, says: str
) -> None:
    where = f"{server.address[0]}:{server.address[1]}"
    database = PostgresDatabase(
        Secret(url.format(where=where)), "transom_x", [things(tmp_path)], clock=SystemClock()
    )
    with pytest.raises((ConfigError, StorageUnavailable), match=says) as caught:
        await database.start()
    assert "hidden" not in repr(caught.value) + caught.value.detail + repr(caught.value.__cause__)


async def test_a_start_on_a_server_that_never_answers_ends(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transom.runtime.db.postgres.connecting.CONNECT_S", 0.3)
    async with FaultProxy(*server.address) as proxy:
        proxy.faults.swallow = True
        database = server.database(
            tmp_path / "test.db",
            [things(tmp_path)],
            clock=SystemClock(),
            url=server.through(proxy.address),
        )
        error = await in_time(database.start())
        assert isinstance(error, StorageUnavailable)
        assert "does not answer" in error.text
