# SPDX-License-Identifier: Apache-2.0
"""How a message lies in its table, and the state that its row is in at a moment.

| state   | claim_id | available_ms | found by                            |
|---------|----------|--------------|-------------------------------------|
| waiting | null     | null         | `message_place`, in order           |
| delayed | null     | in future    | `message_place`, by end of hiding   |
| claimed | set      | in future    | `message_place`, by claim and end   |
| due     | any      | past         | as before, until a claim `wakes` it |

Invariant: `available_ms` of a claimed message is `expires_ms` of its claim, always.
One index serves all four states, so the planner has no other choice, and no claim looks at rows
that others hold. Measured: a claim of 20 costs 1.05 times as much on 1,000,000 waiting messages as
on 1,000, and 1.12 times behind 100,000 that are claimed (bench/queue/claim_depth.py).
"""

from transom.queue.model import ClaimId, ContentId, Message, MessageId, Place
from transom.runtime.db.transaction import Row, Transaction

COLUMNS = "sequence, token, body, ttl_s, created_ms, available_ms, claim_id, deliveries"

WAITING = """
select sequence from message
where content_id = ? and available_ms is null and claim_id is null and expires_ms > ?
order by sequence limit ?
"""

WAKE = """
update message set available_ms = null, claim_id = null
where content_id = ? and sequence in (
  select sequence from message
  where content_id = ? and available_ms <= ?
  order by available_ms limit ?)
"""

CONTENT = "select content_id, metadata from queue where project_id = ? and name = ?"

FEWER = "update queue set total = total - ? where project_id = ? and name = ?"

WOKEN_AT_ONCE = 1000


async def content_of(tx: Transaction, place: Place) -> ContentId | None:
    row = await tx.fetch_one(CONTENT, (place.project_id, place.name))
    return None if row is None else ContentId(row[0])


async def wake(tx: Transaction, content_id: ContentId, now_ms: int) -> None:
    """Puts messages whose hiding has ended back among the waiting, at their own places.

    At most `WOKEN_AT_ONCE`, so that no claim pays for a mass of others that ended together; the
    next claims and the sweep go on with the rest.
    """
    await tx.execute(WAKE, (content_id, content_id, now_ms, WOKEN_AT_ONCE))


def message_of(row: Row, now_ms: int) -> Message:
    """The message in a row of `COLUMNS`."""
    sequence, token, body, ttl_s, created_ms, available_ms, claim_id, deliveries = row
    held = claim_id is not None and available_ms > now_ms
    return Message(
        MessageId(sequence, token),
        body,
        ttl_s,
        max(0, now_ms - created_ms) // 1000,
        ClaimId(claim_id) if held else None,
        deliveries,
    )
