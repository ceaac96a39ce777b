# SPDX-License-Identifier: Apache-2.0
"""All queues of a database with what is in them, a page at a time."""

from dataclasses import dataclass

from transom.queue.model import Place
from transom.queue.store.stats import CLAIMED, EXPIRED, count
from transom.runtime.db.transaction import Transaction

PAGE = """
select project_id, name, content_id, total, body_bytes, posted, expired from queue
where (project_id, name) > (?, ?)
order by project_id, name limit ?
"""

DELAYED = """
select count(*) from message
where content_id = ? and available_ms > ? and claim_id is null and expires_ms > ?
"""

OLDEST = """
select created_ms from message
where content_id = ? and expires_ms > ? order by sequence limit 1
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """A queue at one moment. `oldest_ms`: when its oldest message was posted, None if it is empty.

    `posted`, `expired`: since the queue was made, or counted. `expired` are counted as they are
    swept.
    """

    place: Place
    free: int
    claimed: int
    delayed: int
    oldest_ms: int | None
    body_bytes: int
    posted: int
    expired: int


async def page(tx: Transaction, now_ms: int, after: Place, limit: int) -> list[Seen]:
    """The queues after that one, by project and name."""
    found = []
    for row in await tx.fetch(PAGE, (after.project_id, after.name, limit)):
        project_id, name, content_id, total, body_bytes, posted, expired = row
        claimed = delayed = 0
        oldest_ms = None
        if total:
            total -= await count(tx, EXPIRED, (now_ms, content_id))
            claimed = await count(tx, CLAIMED, (content_id, now_ms, now_ms))
            delayed = await count(tx, DELAYED, (content_id, now_ms, now_ms))
            oldest = await tx.fetch_one(OLDEST, (content_id, now_ms))
            oldest_ms = None if oldest is None else int(oldest[0])
        free = max(0, total - claimed - delayed)
        place = Place(project_id, name)
        kept = max(0, body_bytes)  # 0.3.0 does not count, and may run on this database
        found.append(Seen(place, free, claimed, delayed, oldest_ms, kept, posted, expired))
    return found
