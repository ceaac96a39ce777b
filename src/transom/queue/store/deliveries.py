# SPDX-License-Identifier: Apache-2.0
"""What there is to be said of all deliveries of a database: for figures, in bounded steps."""

from dataclasses import dataclass

from transom.queue.model import Place
from transom.queue.store import notices
from transom.runtime.db.transaction import Transaction

TOTALS = ("delivered", "retried", "buried", "dropped")

LAST = """
select sequence from notice
where project_id = ? and queue_name = ? order by sequence desc limit 1
"""

# Numbers between a position and the last notice are notices, but for keys that were known.
STANDING = """
select sum(? - position), min(position), sum(case when attempts > 0 then 1 else 0 end)
from subscription
where project_id = ? and queue_name = ? and active = 1 and expires_ms > ? and position < ?
"""

OLDEST = """
select created_ms from notice
where project_id = ? and queue_name = ? and sequence > ? order by sequence limit 1
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """`failing`: subscriptions whose last try failed."""

    notices: int
    oldest_ms: int | None
    failing: int


async def totals(tx: Transaction) -> dict[str, int]:
    """Since the database was made."""
    return {name: await notices.total(tx, f"notices_{name}") for name in TOTALS}


async def waiting(tx: Transaction, now_ms: int, place: Place) -> Waiting:
    """Of one queue; the number as it follows from the positions."""
    key = (place.project_id, place.name)
    last = await tx.fetch_one(LAST, key)
    if last is None:
        return Waiting(0, None, 0)
    row = await tx.fetch_one(STANDING, (last[0], *key, now_ms, last[0]))
    if row is None or row[1] is None:
        return Waiting(0, None, 0)
    oldest = await tx.fetch_one(OLDEST, (*key, row[1]))
    return Waiting(int(row[0]), None if oldest is None else oldest[0], int(row[2]))
