# SPDX-License-Identifier: Apache-2.0
"""A queue's statistics: exact, from its kept total and from the ends of indexes."""

from transom.queue.model import Edge, MessageId, Place, Stats
from transom.runtime.db.transaction import Parameters, Row, Transaction

TOTAL = "select content_id, total from queue where project_id = ? and name = ?"

# The plus keeps the planner from counting through the whole queue: few are expired and not swept.
EXPIRED = "select count(*) from message where expires_ms <= ? and +content_id = ?"

CLAIMED = """
select count(*) from message
where content_id = ? and available_ms > ? and claim_id is not null and expires_ms > ?
"""

OLDEST = """
select sequence, token, created_ms from message
where content_id = ? and expires_ms > ? order by sequence limit 1
"""

NEWEST = """
select sequence, token, created_ms from message
where content_id = ? and expires_ms > ? order by sequence desc limit 1
"""


async def stats(tx: Transaction, now_ms: int, place: Place) -> Stats:
    """Of a queue that does not exist: zeros."""
    row = await tx.fetch_one(TOTAL, (place.project_id, place.name))
    if row is None:
        return Stats()
    content_id, total = row
    expired = await count(tx, EXPIRED, (now_ms, content_id))
    if total == expired:
        return Stats()
    return Stats(
        total=total - expired,
        claimed=await count(tx, CLAIMED, (content_id, now_ms, now_ms)),
        oldest=_edge(await tx.fetch_one(OLDEST, (content_id, now_ms)), now_ms),
        newest=_edge(await tx.fetch_one(NEWEST, (content_id, now_ms)), now_ms),
    )


async def count(tx: Transaction, sql: str, parameters: Parameters) -> int:
    """The one number that a query gives."""
    row = await tx.fetch_one(sql, parameters)
    return 0 if row is None else int(row[0])


def _edge(row: Row | None, now_ms: int) -> Edge | None:
    if row is None:
        return None
    sequence, token, created_ms = row
    return Edge(MessageId(sequence, token), max(0, now_ms - created_ms) // 1000, created_ms)
