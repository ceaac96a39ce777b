# SPDX-License-Identifier: Apache-2.0
"""How a message lies in its table, and the state that its row is in at a moment.

| state   | claim_id | available_ms | found by                            |
|---------|----------|--------------|-------------------------------------|
| waiting | null     | null         | `message_place`, in order           |
| delayed | null     | in future    | `message_place`, by end of hiding   |
| claimed | set      | in future    | `message_place`, by claim and end   |
| due     | any      | past         | as before, until a claim `wakes` it |

Invariant: `available_ms` of a claimed message is an end of its claim, always: `claim.expires_ms`,
or `strand.expires_ms` where the claim's messages end apart (see `claims`).
One index serves all four states, so the planner has no other choice, and no claim looks at rows
that others hold. Measured: a claim of 20 costs 1.05 times as much on 1,000,000 waiting messages as
on 1,000, and 1.12 times behind 100,000 that are claimed (bench/queue/claim_depth.py).
"""

from collections.abc import Iterable

import msgspec

from transom.queue.model import ContentId, Death, Message, MessageId, Place, Reason
from transom.runtime.db.transaction import Row, Transaction

COLUMNS = (
    "sequence, token, body, ttl_s, created_ms, available_ms, claim_id, deliveries, "
    "expires_ms, key, source_id, deaths, key_generation"
)

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

FEWER = """
update queue set total = total - ?, body_bytes = body_bytes - ? where project_id = ? and name = ?
"""

REMOVE = "delete from message where content_id = ? and sequence = ?"

BODY_BYTES = "select length(body) from message where content_id = ? and sequence = ?"

WOKEN_AT_ONCE = 1000


async def content_of(tx: Transaction, place: Place) -> ContentId | None:
    row = await tx.fetch_one(CONTENT, (place.project_id, place.name))
    return None if row is None else ContentId(row[0])


async def fewer(tx: Transaction, place: Place, number: int, body_bytes: int) -> None:
    """So many messages, with so many bytes of bodies, have left the queue."""
    await tx.execute(FEWER, (number, body_bytes, place.project_id, place.name))


async def bytes_of(tx: Transaction, content_id: ContentId, sequences: Iterable[int]) -> int:
    """Of the bodies of these messages, as they are kept."""
    size_bytes = 0
    for sequence in sequences:
        row = await tx.fetch_one(BODY_BYTES, (content_id, sequence))
        size_bytes += 0 if row is None else int(row[0])
    return size_bytes


async def wake(tx: Transaction, content_id: ContentId, now_ms: int) -> None:
    """Puts messages whose hiding has ended back among the waiting, at their own places.

    At most `WOKEN_AT_ONCE`, so that no claim pays for a mass of others that ended together; the
    next claims and the sweep go on with the rest.
    """
    await tx.execute(WAKE, (content_id, content_id, now_ms, WOKEN_AT_ONCE))


def message_of(row: Row, now_ms: int) -> Message:
    """The message in a row of `COLUMNS`."""
    (
        sequence,
        token,
        body,
        ttl_s,
        created_ms,
        available_ms,
        claim_id,
        deliveries,
        expires_ms,
        key,
        source_id,
        deaths,
        key_generation,
    ) = row
    hidden = available_ms is not None and available_ms > now_ms
    age_ms = now_ms - created_ms
    return Message(
        MessageId(sequence, token),
        body,
        ttl_s,
        age_ms // 1000 if age_ms > 0 else 0,
        claim_id if hidden else None,
        deliveries,
        created_ms,
        expires_ms,
        available_ms if hidden else None,
        key,
        deaths_of(source_id, deaths, created_ms, ttl_s) if source_id or deaths else (),
        key_generation,
    )


def deaths_of(
    source_id: str | None, deaths: str | None, created_ms: int, ttl_s: int
) -> tuple[Death, ...]:
    """The message's moves to dead letters; the last one first."""
    if deaths is not None:
        return _decode_deaths(deaths)
    if source_id is None:
        return ()
    # Moved before there was more to know: then there was one reason, and one time.
    return (Death("", source_id, Reason.CLAIMED_TOO_OFTEN, "", None, created_ms, ttl_s),)


_decode_deaths = msgspec.json.Decoder(tuple[Death, ...]).decode
