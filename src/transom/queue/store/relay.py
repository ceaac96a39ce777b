# SPDX-License-Identifier: Apache-2.0
"""Rows of live tables that lie in other databases than the home, brought there for its one feed.

Invariants:
1. A pointer is deleted where its row lies only after home has the row, and points to it itself.
2. Rows are taken from the latest relayer of a store alone: an earlier one may have read them before
   they changed. Taking them again changes nothing.
3. Rows of one key in two stores (a queue that was deleted here and made there) do not touch.
"""

from collections.abc import Sequence

import msgspec

from transom.messaging.proto.feed import Key, Row
from transom.node.feed import decoded_key, encoded_key, point
from transom.node.lease import LeaseLost
from transom.queue.contract import QUEUES, SOURCE
from transom.runtime.db.transaction import Transaction

POINTERS = "select id, table_name, key from pointer where source = ? order by id limit ?"
DROP = "delete from pointer where id = ?"

LATEST = """
insert into relay (store, generation) values (?, ?)
on conflict (store) do update set generation = excluded.generation
where relay.generation <= excluded.generation
"""
PUT = """
insert into directory (table_name, key, store, content) values (?, ?, ?, ?)
on conflict (table_name, key, store) do update set content = excluded.content
"""
REMOVE = "delete from directory where table_name = ? and key = ? and store = ?"
ROW = "select content from directory where table_name = ? and key = ? order by store limit 1"
PAGE = """
select key, content from directory
where store = ? and table_name = ? and key > ? and key < ? order by key limit ?
"""
NEXT_STORE = "select min(store) from directory where store > ?"
OF_STORE = "select table_name, key from directory where store = ?"
FORGET = "delete from directory where store = ?"


class Relayed(msgspec.Struct, frozen=True, array_like=True):
    """A row as its store has it: JSON; None if it is no more."""

    table: str
    key: Key
    content: bytes | None


async def pointers(tx: Transaction, limit: int) -> list[tuple[int, str, Key]]:
    """(number, table, key) of the oldest, at the store."""
    return [
        (row[0], row[1], decoded_key(row[2])) for row in await tx.fetch(POINTERS, (SOURCE, limit))
    ]


async def drop(tx: Transaction, numbers: Sequence[int]) -> None:
    await tx.execute_many(DROP, [(number,) for number in numbers])


async def take(tx: Transaction, store: str, generation: int, rows: Sequence[Relayed]) -> None:
    """At home. Raises: LeaseLost if another relays the store now."""
    if not await tx.execute(LATEST, (store, generation)):
        raise LeaseLost(f"Another process relays the rows of {store}.")
    for row in rows:
        key = encoded_key(row.key)
        if row.content is None:
            await tx.execute(REMOVE, (row.table, key, store))
        else:
            await tx.execute(PUT, (row.table, key, store, row.content))
        await point(tx, SOURCE, row.table, row.key)


async def relayed_row(tx: Transaction, table: str, key: Key) -> Row | None:
    """At home: the row of another store."""
    found = await tx.fetch_one(ROW, (table, encoded_key(key)))
    if found is None:
        return None
    row: Row = msgspec.json.decode(found[0])
    return row


async def queues_page(
    tx: Transaction, store: str, project_id: str, after: str, limit: int
) -> list[tuple[str, str]]:
    """At home: (name, metadata) of a store's queues, as they were when last relayed."""
    first = encoded_key((project_id, after))
    end = encoded_key((project_id,)) + b"\x00\x02"  # above every key that goes on from the project
    rows = await tx.fetch(PAGE, (store, QUEUES.name, first, end, limit))
    found = [msgspec.json.decode(content) for _, content in rows]
    return [(row["name"], msgspec.json.encode(row["metadata"]).decode()) for row in found]


async def stores(tx: Transaction) -> list[str]:
    """At home: those whose rows it has."""
    found: list[str] = []
    while row := await tx.fetch_one(NEXT_STORE, (found[-1] if found else "",)):
        if row[0] is None:
            break
        found.append(str(row[0]))
    return found


async def forget(tx: Transaction, store: str) -> None:
    """At home: the store has gone, with all its rows."""
    for table, key in await tx.fetch(OF_STORE, (store,)):
        await point(tx, SOURCE, table, decoded_key(key))
    await tx.execute(FORGET, (store,))
