# SPDX-License-Identifier: Apache-2.0
"""Verbs on certificates: the newest one of each party, kept for others to ask for."""

from transom.runtime.db.transaction import Transaction

_KEEP = """
insert into certificate (name, document, expires_ms) values (?, ?, ?)
on conflict (name) do update set document = excluded.document, expires_ms = excluded.expires_ms
where certificate.expires_ms <= excluded.expires_ms
"""
_DELETE = "delete from certificate where name = ?"
_ONE = "select document from certificate where name = ? and expires_ms > ?"
_BETWEEN = """
select name, document from certificate
where name >= ? and name < ? and expires_ms > ? order by name limit ?
"""
_LATEST = "select max(expires_ms) from certificate"
_FORGET = "delete from certificate where expires_ms <= ?"


async def keep(tx: Transaction, now_ms: int, name: str, document: bytes, expires_ms: int) -> None:
    """In place of the one before, unless that ends later: one of a party without a long-term key
    is not replaced by what somebody with a former one asks for. Forgets those that have ended.
    """
    await tx.execute(_FORGET, (now_ms,))
    await tx.execute(_KEEP, (name, document, expires_ms))


async def delete(tx: Transaction, name: str) -> None:
    """If there is one."""
    await tx.execute(_DELETE, (name,))


async def find(tx: Transaction, now_ms: int, name: str) -> bytes | None:
    row = await tx.fetch_one(_ONE, (name, now_ms))
    return None if row is None else bytes(row[0])


async def between(
    tx: Transaction, now_ms: int, first: str, end: str, limit: int
) -> dict[str, bytes]:
    """Of the parties whose names are in the half-open range."""
    rows = await tx.fetch(_BETWEEN, (first, end, now_ms, limit))
    return {name: bytes(document) for name, document in rows}


async def latest_end_ms(tx: Transaction) -> int:
    """When the last of them ends; 0 if there is none."""
    row = await tx.fetch_one(_LATEST)
    return 0 if row is None or row[0] is None else int(row[0])
