# SPDX-License-Identifier: Apache-2.0
"""Verbs on what was asked: the nonces that were answered, and the moment they begin at."""

from transom.runtime.db.transaction import Transaction

FORGOTTEN_AT_ONCE = 100
FLOOR = "floor"
_TAKE = """
insert into nonce (source, nonce, expires_ms) values (?, ?, ?)
on conflict (source, nonce) do nothing
"""
_FORGET = """
delete from nonce where (source, nonce) in (
  select source, nonce from nonce where expires_ms <= ? order by expires_ms limit ?)
"""
_AT = "select at_ms from moment where name = ?"
_SET = """
insert into moment (name, at_ms) values (?, ?)
on conflict (name) do update set at_ms = excluded.at_ms where excluded.at_ms > moment.at_ms
"""


async def take(tx: Transaction, now_ms: int, source: str, nonce: bytes, expires_ms: int) -> bool:
    """Whether the nonce is new; it is not from now on. Some that are due are forgotten."""
    await tx.execute(_FORGET, (now_ms, FORGOTTEN_AT_ONCE))
    return await tx.execute(_TAKE, (source, nonce, expires_ms)) == 1


async def floor_ms(tx: Transaction) -> int:
    row = await tx.fetch_one(_AT, (FLOOR,))
    return 0 if row is None else int(row[0])


async def raise_floor(tx: Transaction, at_ms: int) -> None:
    await tx.execute(_SET, (FLOOR, at_ms))
