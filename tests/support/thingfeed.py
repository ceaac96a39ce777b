"""A small part with a durable feed: things with a size, each change pointed to."""

from pathlib import Path
from typing import Any

from transom.messaging.proto.feed import Key, Row
from transom.node.feed import DurableFeed, point
from transom.node.migrations import NODE
from transom.runtime.clock import Clock, SystemClock
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.transaction import Database, Transaction

NODE_AND_THINGS = (NODE, Migrations("things", Path(__file__).parent / "things"))


def put_pointed(name: str, size: int) -> Any:
    async def verb(transaction: Transaction) -> None:
        await transaction.execute(
            "insert into thing (name, size) values (?, ?) "
            "on conflict (name) do update set size = excluded.size",
            (name, size),
        )
        await point(transaction, "test", "things", (name,))

    return verb


def drop_pointed(name: str) -> Any:
    async def verb(transaction: Transaction) -> None:
        await transaction.execute("delete from thing where name = ?", (name,))
        await point(transaction, "test", "things", (name,))

    return verb


async def read_thing(transaction: Transaction, table: str, key: Key) -> Row | None:
    row = await transaction.fetch_one("select size from thing where name = ?", key)
    return None if row is None else {"name": key[0], "size": row[0]}


async def all_things(transaction: Transaction) -> dict[Key, Row]:
    """A verb: what the feed should say."""
    rows = await transaction.fetch("select name, size from thing")
    return {(name,): {"name": name, "size": size} for name, size in rows}


def thing_feed(database: Database, clock: Clock | None = None, **options: Any) -> DurableFeed:
    return DurableFeed(
        database, "test", ["things"], read_thing, clock=clock or SystemClock(), **options
    )
