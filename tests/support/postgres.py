"""A PostgreSQL database of the test run's own, and the choice of the engine that a test runs on.

The server is named by TRANSOM_TEST_POSTGRES (`postgresql://user@host:port/database`); without it,
it is 127.0.0.1:5432 with the user postgres, who may make databases. Where there is none, tests
fail and say so.
"""

import asyncio
import hashlib
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from transom.runtime.clock import Clock
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.postgres import PostgresDatabase
from transom.runtime.secrets import Secret

T = TypeVar("T")
SERVER = os.environ.get("TRANSOM_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
STATEMENT_S = 5.0
ON_SERVER = ("postgres", "pools")


class Server:
    """`url`: of the database of this run."""

    def __init__(self, url: str) -> None:
        self.url = url

    def through(self, address: tuple[str, int]) -> str:
        """The same database, by way of a proxy."""
        parts = urlsplit(self.url)
        user = parts.netloc.rpartition("@")[0]
        netloc = f"{user}@{address[0]}:{address[1]}"
        return urlunsplit((parts.scheme, netloc, parts.path, "sslmode=disable", ""))

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "127.0.0.1", parts.port or 5432

    def database(
        self,
        place: Path,
        migrations: Sequence[Migrations],
        *,
        clock: Clock,
        url: str = "",
        **options: Any,
    ) -> PostgresDatabase:
        """Of a schema that stands where a file of the test's folder would."""
        options = {"statement_s": STATEMENT_S, "pool_max": 8} | options
        made = Secret(url or self.url)
        return PostgresDatabase(made, schema_of(place), migrations, clock=clock, **options)

    async def ask(self, sql: str, *parameters: Any) -> list[Any]:
        """On a connection of its own."""
        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            return list(await connection.fetch(sql, *parameters))
        finally:
            await connection.close()


_current: list[Server] = []
_engine = ["sqlite"]


def schema_of(place: Path) -> str:
    """A name for what would be the file at `place`."""
    digest = hashlib.sha256(str(place.absolute()).encode()).hexdigest()[:16]
    return f"transom_{place.stem}_{digest}"


def engine_now() -> str:
    """The one that the test runs on."""
    return _engine[0]


def on_postgres() -> Server | None:
    """The server if the test that runs now runs on PostgreSQL."""
    return _current[0] if _engine[0] in ON_SERVER else None


@contextmanager
def fresh_database() -> Iterator[Server]:
    """A new database, gone afterwards."""
    name = f"transom_test_{secrets.token_hex(6)}"
    _administer(f"create database {name} encoding 'UTF8' template template0")
    parts = urlsplit(SERVER)
    try:
        yield Server(urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, "")))
    finally:
        _administer(f"drop database if exists {name} with (force)")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The one of this run, in which each test has schemas of its own."""
    with fresh_database() as made:
        _current.append(made)
        yield made
        _current.remove(made)


@pytest.fixture
def postgres(server: Server) -> Iterator[Server]:
    """The test runs on PostgreSQL."""
    _engine.append(_engine[0])
    _engine[0] = "postgres"
    yield server
    _engine[0] = _engine.pop()


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs on both. In `integration/queue` there are two more: see its conftest."""
    yield from chosen_engine(request)


def chosen_engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """What a fixture does whose parameter is an engine."""
    chosen = str(request.param)
    if chosen in ON_SERVER:
        request.getfixturevalue("postgres")
    before, _engine[0] = _engine[0], chosen
    yield chosen
    _engine[0] = before


@contextmanager
def on_engine(chosen: str) -> Iterator[None]:
    """As `chosen_engine`, where no test asks; on a server, in a database of its own."""
    with ExitStack() as inside:
        if chosen in ON_SERVER:
            made = inside.enter_context(fresh_database())
            _current.append(made)
            inside.callback(_current.remove, made)
        before, _engine[0] = _engine[0], chosen
        try:
            yield
        finally:
            _engine[0] = before


def _administer(statement: str) -> None:
    async def run() -> None:
        try:
            connection = await asyncpg.connect(SERVER, timeout=10)
        except (OSError, asyncpg.PostgresError) as error:
            where = urlsplit(SERVER)
            pytest.fail(
                f"these tests need PostgreSQL at {where.hostname}:{where.port}: {error}. Start it "
                "(Debian: apt-get install postgresql; pg_ctlcluster 15 main start), or name one "
                "in TRANSOM_TEST_POSTGRES, whose user may make databases",
                pytrace=False,
            )
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    _in_own_loop(run)


def _in_own_loop(run: Callable[[], Awaitable[None]]) -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
