# SPDX-License-Identifier: Apache-2.0
"""Verbs on registered groups, and on the keys of all groups."""

from collections.abc import Sequence
from typing import Any

from transom.keys.model import Group, GroupKey
from transom.runtime.db.dialect import sql
from transom.runtime.db.transaction import Transaction

_INSERT = "insert into member_group (name, created_ms) values (?, ?) on conflict (name) do nothing"
_INSERT_MEMBER = "insert into member (group_name, pattern) values (?, ?)"
_DELETE = "delete from member_group where name = ?"
_DELETE_MEMBERS = "delete from member where group_name = ?"
_ONE = "select created_ms from member_group where name = ?"
_MEMBERS = "select pattern from member where group_name = ? order by pattern"
_PAGE = "select name, created_ms from member_group where name > ? order by name limit ?"
_GROUPS_OF = "select distinct group_name from member where pattern in ({}) order by group_name"
_MEMBERS_OF = "select distinct pattern from member where group_name in ({}) order by pattern"
# The check is repeated here: of two processes that found no key, the first one's is made.
_INSERT_KEY = sql(
    """
insert into group_key (group_name, generation, sealed, created_ms, expires_ms, made_by)
select ?, ?, ?, ?, ?, ?
where not exists (select 1 from group_key where group_name = ? and expires_ms > ?)
on conflict (group_name, generation) do nothing
""",
    postgres="""
insert into group_key (group_name, generation, sealed, created_ms, expires_ms, made_by)
select ?::text, ?::bigint, ?::bytea, ?::bigint, ?::bigint, ?::text
where not exists (select 1 from group_key where group_name = ? and expires_ms > ?)
on conflict (group_name, generation) do nothing
""",
)
_INSERT_NEXT = """
insert into group_key (group_name, generation, sealed, created_ms, expires_ms, made_by)
values (?, ?, ?, ?, ?, ?)
"""
_LIVE = "select distinct group_name from group_key where expires_ms > ? order by group_name"
_MADE_BY = """
select count(distinct group_name) from group_key where made_by = ? and expires_ms > ?
"""
_FORGET = "delete from group_key where expires_ms <= ?"
_NEWEST = """
select generation, sealed, created_ms, expires_ms, made_by from group_key
where group_name = ? order by generation desc limit 1
"""
_KEY = """
select generation, sealed, created_ms, expires_ms, made_by from group_key
where group_name = ? and generation = ?
"""


async def find(tx: Transaction, name: str) -> Group | None:
    """Of the registered ones."""
    row = await tx.fetch_one(_ONE, (name,))
    return None if row is None else await _group(tx, name, row[0])


async def page(tx: Transaction, after: str, limit: int) -> list[Group]:
    """By name, those after the given one."""
    rows = await tx.fetch(_PAGE, (after, limit))
    return [await _group(tx, name, created_ms) for name, created_ms in rows]


async def put(tx: Transaction, now_ms: int, name: str, members: Sequence[str]) -> bool:
    """Registers the group with these members and no other; whether it is new."""
    new = await tx.execute(_INSERT, (name, now_ms))
    await tx.execute(_DELETE_MEMBERS, (name,))
    await tx.execute_many(_INSERT_MEMBER, [(name, pattern) for pattern in members])
    return new == 1


async def delete(tx: Transaction, name: str) -> bool:
    """False if none of the name was registered."""
    gone = await tx.execute(_DELETE, (name,))
    await tx.execute(_DELETE_MEMBERS, (name,))
    return gone == 1


async def groups_of(tx: Transaction, patterns: Sequence[str]) -> list[str]:
    """The registered groups with a member among the patterns."""
    return [row[0] for row in await tx.fetch(_GROUPS_OF.format(_marks(patterns)), patterns)]


async def members_of(tx: Transaction, patterns: Sequence[str]) -> list[str]:
    """The members of all registered groups that are among the patterns."""
    return [row[0] for row in await tx.fetch(_MEMBERS_OF.format(_marks(patterns)), patterns)]


async def newest_key(tx: Transaction, group: str) -> GroupKey | None:
    row = await tx.fetch_one(_NEWEST, (group,))
    return None if row is None else _key(*row)


async def key(tx: Transaction, group: str, generation: int) -> GroupKey | None:
    row = await tx.fetch_one(_KEY, (group, generation))
    return None if row is None else _key(*row)


async def add_key(
    tx: Transaction, group: str, made: GroupKey, needed_ms: int, forget_ms: int
) -> GroupKey | None:
    """Makes the key, unless there is one that ends after `needed_ms`; answers the newest.

    Forgets all keys, of any group, that ended before `forget_ms`.
    """
    row = _row(made)
    if await tx.execute(_INSERT_KEY, (group, *row, group, needed_ms)):
        await tx.execute(_FORGET, (forget_ms,))
    return await newest_key(tx, group)


async def add_next(tx: Transaction, group: str, made: GroupKey) -> None:
    """Makes the key, whatever there is; of a generation that there is not."""
    await tx.execute(_INSERT_NEXT, (group, *_row(made)))


async def live(tx: Transaction, now_ms: int) -> list[str]:
    """The groups that have a key which has not ended."""
    return [row[0] for row in await tx.fetch(_LIVE, (now_ms,))]


async def made_by(tx: Transaction, party: str, now_ms: int) -> int:
    """How many groups that are live the party brought to be."""
    row = await tx.fetch_one(_MADE_BY, (party, now_ms))
    return 0 if row is None else int(row[0])


def _row(made: GroupKey) -> tuple[int, bytes, int, int, str]:
    return made.generation, made.sealed, made.created_ms, made.expires_ms, made.made_by


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _key(*columns: Any) -> GroupKey:
    generation, sealed, created_ms, expires_ms, made_by = columns
    return GroupKey(generation, bytes(sealed), created_ms, expires_ms, made_by)


async def _group(tx: Transaction, name: str, created_ms: int) -> Group:
    rows = await tx.fetch(_MEMBERS, (name,))
    return Group(name, created_ms, tuple(row[0] for row in rows))
