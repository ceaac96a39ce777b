# SPDX-License-Identifier: Apache-2.0
"""Verbs on parties and the generations of their keys."""

from transom.errors import Conflict
from transom.keys.model import Party, PartyKey
from transom.runtime.db.dialect import sql
from transom.runtime.db.transaction import Transaction

_INSERT = "insert into party (name, created_ms) values (?, ?) on conflict (name) do nothing"
# Invariant: of a party's keys at most one has no end.
_INSERT_KEY = sql(
    """
insert into party_key (name, generation, sealed, created_ms)
select ?, ?, ?, ?
where not exists (select 1 from party_key where name = ? and until_ms is null)
on conflict (name, generation) do nothing
""",
    postgres="""
insert into party_key (name, generation, sealed, created_ms)
select ?::text, ?::bigint, ?::bytea, ?::bigint
where not exists (select 1 from party_key where name = ? and until_ms is null)
on conflict (name, generation) do nothing
""",
)
_RETIRE = """
update party_key set until_ms = ?
where name = ? and until_ms is null and generation = ?
"""
_END = "update party_key set until_ms = ? where name = ? and until_ms > ?"
_DELETE = "delete from party where name = ?"
_DELETE_KEYS = "delete from party_key where name = ?"
_DELETE_FORMER = "delete from party_key where name = ? and until_ms is not null"
_USED = """
update party_key set used_ms = ? where name = ? and generation = ? and used_ms is null
"""
_FORGET = "delete from party_key where until_ms <= ?"
_ONE = "select created_ms from party where name = ?"
_KEYS = """
select generation, sealed, created_ms, used_ms, until_ms from party_key
where name = ? order by generation desc
"""
_PAGE = "select name, created_ms from party where name > ? order by name limit ?"
_BETWEEN = "select name from party where name >= ? and name < ? order by name limit 1"
_ENDING = """
select name from party where substr(name, length(name) - length(?) + 1) = ? order by name
"""
_CHANGED = "The party was changed by somebody else at the same time; try again."


async def find(tx: Transaction, name: str) -> Party | None:
    row = await tx.fetch_one(_ONE, (name,))
    return None if row is None else await _party(tx, name, row[0])


async def page(tx: Transaction, after: str, limit: int) -> list[Party]:
    """By name, those after the given one."""
    rows = await tx.fetch(_PAGE, (after, limit))
    return [await _party(tx, name, created_ms) for name, created_ms in rows]


async def any_between(tx: Transaction, first: str, end: str) -> bool:
    """Whether a party's name is in the half-open range."""
    return await tx.fetch_one(_BETWEEN, (first, end)) is not None


async def ending(tx: Transaction, suffix: str) -> list[str]:
    """The names that end so. Looks at all of them."""
    return [row[0] for row in await tx.fetch(_ENDING, (suffix, suffix))]


async def insert(tx: Transaction, now_ms: int, name: str) -> bool:
    """A party without a key; False if there is one of the name."""
    return await tx.execute(_INSERT, (name, now_ms)) == 1


async def add_key(
    tx: Transaction, name: str, former: int | None, key: PartyKey, until_ms: int, forget_ms: int
) -> None:
    """The next key of the party, or its first (`former` None).

    The one before holds until `until_ms`, and older ones no longer. Forgets all keys, of any party,
    that ended before `forget_ms`. Raises: Conflict if `former` is not the newest any more.
    """
    if former is not None:
        if not await tx.execute(_RETIRE, (until_ms, name, former)):
            raise Conflict(_CHANGED)
        await tx.execute(_END, (until_ms, name, until_ms))
    row = (name, key.generation, key.sealed, key.created_ms, name)
    if not await tx.execute(_INSERT_KEY, row):
        raise Conflict(_CHANGED)
    await tx.execute(_FORGET, (forget_ms,))


async def drop_former(tx: Transaction, name: str) -> None:
    """All keys of the party but the newest are worth nothing from now on."""
    await tx.execute(_DELETE_FORMER, (name,))


async def delete(tx: Transaction, name: str) -> bool:
    """With all its keys; False if there is none."""
    gone = await tx.execute(_DELETE, (name,))
    await tx.execute(_DELETE_KEYS, (name,))
    return gone == 1


async def used(tx: Transaction, now_ms: int, name: str, generation: int) -> None:
    """Notes that the party has this key; once."""
    await tx.execute(_USED, (now_ms, name, generation))


async def _party(tx: Transaction, name: str, created_ms: int) -> Party:
    keys = tuple(
        PartyKey(generation, bytes(sealed), *times)
        for generation, sealed, *times in await tx.fetch(_KEYS, (name,))
    )
    return Party(name, created_ms, keys)
