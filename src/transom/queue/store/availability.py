# SPDX-License-Identifier: Apache-2.0
"""Whether a queue has a message for the next claim, and when it will have one by itself."""

from dataclasses import dataclass

from transom.queue.model import Place
from transom.runtime.db.transaction import Transaction

QUEUE = "select content_id, next_sequence from queue where project_id = ? and name = ?"

FREE = """
select 1 from message
where content_id = ? and available_ms is null and claim_id is null and expires_ms > ? limit 1
"""

DUE = """
select 1 from message
where content_id = ? and available_ms <= ? and expires_ms > ? limit 1
"""

NEXT = """
select available_ms from message
where content_id = ? and available_ms > ? and expires_ms > available_ms
order by available_ms limit 1
"""


@dataclass(frozen=True, slots=True)
class Look:
    """At one moment. `now`: a claim would find something; `next_ms`: the earliest end of a delay
    or claim to come; `number`: moves with every post, and when the queue is another one."""

    now: bool = False
    next_ms: int | None = None
    number: tuple[int, int] = (0, 0)


NOTHING = Look()
"""Of a queue that is not there."""


async def look(tx: Transaction, now_ms: int, place: Place) -> Look:
    row = await tx.fetch_one(QUEUE, (place.project_id, place.name))
    if row is None:
        return NOTHING
    content_id = row[0]
    found = await tx.fetch_one(FREE, (content_id, now_ms))
    found = found or await tx.fetch_one(DUE, (content_id, now_ms, now_ms))
    following = await tx.fetch_one(NEXT, (content_id, now_ms))
    return Look(found is not None, None if following is None else following[0], (row[0], row[1]))
