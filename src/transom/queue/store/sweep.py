# SPDX-License-Identifier: Apache-2.0
"""Freeing the space of what has expired, in steps so small that no request waits for long.

Nothing depends on it but space, and the speed of a claim after very many have expired at once.
"""

from transom.node import once
from transom.queue.store import keys, subscriptions
from transom.queue.store.claims import DROP_STRAND, RELEASE_HELD
from transom.runtime.db.transaction import Transaction

EXPIRED = """
delete from message where (content_id, sequence) in (
  select content_id, sequence from message
  where expires_ms <= ? order by expires_ms limit ?)
returning content_id, length(body)
"""

FEWER_OF_CONTENT = """
update queue set total = total - ?, expired = expired + ?, body_bytes = body_bytes - ?
where content_id = ?
"""

ENDED = """
select content_id, claim_id, expires_ms from claim where expires_ms <= ? order by expires_ms limit ?
"""

ENDED_STRANDS = """
select content_id, claim_id, expires_ms from strand where expires_ms <= ?
order by expires_ms limit ?
"""

FORGET = "delete from claim where content_id = ? and claim_id = ? and expires_ms = ?"

FORSAKEN = "select content_id from forsaken order by content_id limit 1"

EMPTY_MESSAGES = """
delete from message where content_id = ? and sequence in (
  select sequence from message where content_id = ? limit ?)
"""

EMPTY_CLAIMS = """
delete from claim where content_id = ? and claim_id in (
  select claim_id from claim where content_id = ? limit ?)
"""

EMPTY_STRANDS = """
delete from strand where content_id = ? and (claim_id, expires_ms) in (
  select claim_id, expires_ms from strand where content_id = ? limit ?)
"""

REMEMBER_NO_MORE = "delete from forsaken where content_id = ?"

MOST_OF_A_CLAIM = 50


async def step(tx: Transaction, now_ms: int, batch: int) -> bool:
    """One transaction's worth of all of them; True if there may be more."""
    more = [
        await end_claims(tx, now_ms, max(1, batch // MOST_OF_A_CLAIM)),
        await remove_expired(tx, now_ms, batch),
        await remove_forsaken(tx, batch),
        await keys.forget(tx, now_ms, batch),
        await once.forget(tx, now_ms, batch),
        await subscriptions.end_expired(tx, now_ms, max(1, batch // MOST_OF_A_CLAIM)),
    ]
    return any(more)


async def remove_expired(tx: Transaction, now_ms: int, batch: int) -> bool:
    """Removes messages whose life has ended; True if there may be more."""
    rows = await tx.fetch(EXPIRED, (now_ms, batch))
    sizes_bytes: dict[int, list[int]] = {}
    for content_id, body_bytes in rows:
        sizes_bytes.setdefault(content_id, []).append(body_bytes)
    for content_id, sizes in sizes_bytes.items():
        number = len(sizes)
        await tx.execute(FEWER_OF_CONTENT, (number, number, sum(sizes), content_id))
    return len(rows) == batch


async def end_claims(tx: Transaction, now_ms: int, batch: int) -> bool:
    """Puts messages of ended claims among the waiting again; True if there may be more."""
    ended = await tx.fetch(ENDED, (now_ms, batch))
    for content_id, claim_id, end_ms in ended:
        await tx.execute(RELEASE_HELD, (content_id, end_ms, claim_id))
        await tx.execute(FORGET, (content_id, claim_id, end_ms))
    strands = await tx.fetch(ENDED_STRANDS, (now_ms, batch))
    for content_id, claim_id, end_ms in strands:
        await tx.execute(RELEASE_HELD, (content_id, end_ms, claim_id))
        await tx.execute(DROP_STRAND, (content_id, claim_id, end_ms))
    return len(ended) == batch or len(strands) == batch


async def remove_forsaken(tx: Transaction, batch: int) -> bool:
    """Removes what deleted and purged queues held; True if there may be more."""
    row = await tx.fetch_one(FORSAKEN)
    if row is None:
        return False
    content_id = row[0]
    removed = await tx.execute(EMPTY_MESSAGES, (content_id, content_id, batch))
    removed += await tx.execute(EMPTY_CLAIMS, (content_id, content_id, batch))
    removed += await tx.execute(EMPTY_STRANDS, (content_id, content_id, batch))
    if not removed:
        await tx.execute(REMEMBER_NO_MORE, (content_id,))
    return True
