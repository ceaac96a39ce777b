# SPDX-License-Identifier: Apache-2.0
"""What a project has in a database, and what it may have there.

The counts of a queue are kept in its row, by the statement that reserves its numbers, so a post
pays nothing for them. Where messages or bytes are bounded, a sum over the project's queues says
what is left; then the project may use a part of that before the next sum, so sums are rare far from
the limit. Without a bound nothing is asked.

Invariants:
1. A write that would go over a limit is undone whole, in the transaction that saw it.
2. In a file, which one process writes in order, no project ever goes over. In a database of several
   writers it may by what they commit in that very moment: each of them uses at most a sixteenth of
   what was left, within a second of seeing it. Counting that exactly would make all posts of a
   project wait for each other.
"""

from transom.queue.logic import quota
from transom.queue.model import Place
from transom.queue.store.verbs.verb import Tools
from transom.runtime.db.transaction import Transaction

HELD = """
select coalesce(sum(total), 0), coalesce(sum(body_bytes), 0) from queue where project_id = ?
"""

QUEUES = "select count(*) from queue where project_id = ?"


async def check_held(
    tx: Transaction, place: Place, number: int, body_bytes: int, tools: Tools
) -> None:
    """After `number` messages were reserved: whether they may stay. Raises: QuotaReached."""
    limits = tools.quotas.of(place.project_id)
    if not limits.bound_messages:
        return
    now_ms = tools.clock.now_ms()
    if tools.leeway.covers(place.project_id, number, body_bytes, now_ms, limits):
        return
    row = await tx.fetch_one(HELD, (place.project_id,))
    messages, held_bytes = (0, 0) if row is None else (int(row[0]), int(row[1]))
    quota.check("messages", messages - number, number, limits.messages)
    quota.check("bytes of bodies", held_bytes - body_bytes, body_bytes, limits.bytes)
    tools.leeway.saw(place.project_id, messages, held_bytes, now_ms, limits)


async def check_queues(tx: Transaction, place: Place, tools: Tools) -> None:
    """After a queue was made: whether it may stay. Raises: QuotaReached."""
    most = tools.quotas.of(place.project_id).queues
    if not most:
        return
    row = await tx.fetch_one(QUEUES, (place.project_id,))
    number = 0 if row is None else int(row[0])
    quota.check("queues", number - 1, 1, most)
