# SPDX-License-Identifier: Apache-2.0
"""Verbs on the server's own key pairs."""

from transom.errors import Conflict
from transom.keys.model import Authority
from transom.runtime.db.dialect import sql
from transom.runtime.db.transaction import Transaction

_KNOWN = """
select public_key, sealed, created_ms, until_ms from authority
where until_ms is null or until_ms > ?
order by case when until_ms is null then 0 else 1 end, created_ms desc
"""
_INSERT_FIRST = sql(
    """
insert into authority (public_key, sealed, created_ms)
select ?, ?, ? where not exists (select 1 from authority where until_ms is null)
""",
    postgres="""
insert into authority (public_key, sealed, created_ms)
select ?::bytea, ?::bytea, ?::bigint
where not exists (select 1 from authority where until_ms is null)
""",
)
_INSERT = "insert into authority (public_key, sealed, created_ms) values (?, ?, ?)"
_RETIRE = "update authority set until_ms = ? where public_key = ? and until_ms is null"
_FORGET = "delete from authority where until_ms <= ?"


async def known(tx: Transaction, now_ms: int) -> list[Authority]:
    """The one that signs, then those whose certificates may still be good, the newest first."""
    return [
        Authority(bytes(public_key), bytes(sealed), created_ms, until_ms)
        for public_key, sealed, created_ms, until_ms in await tx.fetch(_KNOWN, (now_ms,))
    ]


async def ensure(tx: Transaction, made: Authority) -> None:
    """Makes it the first that signs, unless there is one."""
    await tx.execute(_INSERT_FIRST, (made.public_key, made.sealed, made.created_ms))


async def replace(
    tx: Transaction, now_ms: int, former: bytes, made: Authority, until_ms: int
) -> None:
    """The next one that signs. Raises: Conflict if `former` is not the one that did."""
    if not await tx.execute(_RETIRE, (until_ms, former)):
        raise Conflict("The authority was changed by somebody else at the same time; try again.")
    await tx.execute(_INSERT, (made.public_key, made.sealed, made.created_ms))
    await tx.execute(_FORGET, (now_ms,))
