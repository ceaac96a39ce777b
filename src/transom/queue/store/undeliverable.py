# SPDX-License-Identifier: Apache-2.0
"""Giving a notice up: to the dead letters of its queue, if it has any.

The message itself may still be in its queue, or long be done with: the letter is made of the
notice. It lies for a moment, within the transaction, under a content that no queue has, from where
`letters` takes it as it takes any other message.
"""

from dataclasses import dataclass
from enum import StrEnum

from transom.queue.logic.attributes import attributes_of
from transom.queue.model import ContentId, MessageId, Place, Reason
from transom.queue.store import letters, notices
from transom.queue.store.rows import CONTENT, REMOVE
from transom.queue.store.verbs.verb import Tools
from transom.runtime.db.transaction import Transaction

STAGE = """
insert into message (content_id, sequence, token, created_ms, expires_ms, ttl_s, available_ms,
  claim_id, deliveries, client_id, source_id, body, key, deaths, key_generation)
select ?, sequence, token, created_ms, expires_ms, ttl_s, null, null, 0, client_id, null, body,
  null, null, key_generation
from notice where project_id = ? and queue_name = ? and sequence = ?
"""


class Fate(StrEnum):
    """What became of a notice that was given up."""

    BURIED = "buried"
    DROPPED = "dropped"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class GivenUp:
    """`fate`: stale if the subscription stood elsewhere or was changed by then; `letters`: the
    queue's name for dead letters, which was `created` for it."""

    fate: Fate
    letters: str = ""
    created: bool = False


async def give_up(
    tx: Transaction,
    now_ms: int,
    place: Place,
    subscription: MessageId,
    position: int,
    expires_ms: int,
    sequence: int,
    error: str,
    tools: Tools,
) -> GivenUp:
    """The subscription goes on after this notice. `expires_ms`: its end when that was decided."""
    moved = await notices.advance(
        tx,
        place,
        subscription,
        position,
        sequence,
        0,
        1,
        error,
        recovered=True,
        expires_ms=expires_ms,
    )
    if moved is None:
        return GivenUp(Fate.STALE)
    queue = await tx.fetch_one(CONTENT, (place.project_id, place.name))
    found = None if queue is None else attributes_of(queue[1]).dead_letters
    notice = await notices.one(tx, place, sequence)
    if found is None or notice is None:
        await notices.count(tx, 1, "notices_dropped")
        return GivenUp(Fate.DROPPED)
    staged = ContentId(-subscription.sequence)
    await tx.execute(STAGE, (staged, place.project_id, place.name, sequence))
    row = (sequence, notice.id.token, notice.ttl_s, 0, notice.created_ms, None, None)
    text = f"Subscription {subscription}: {error}"
    going = letters.dying(now_ms, place, found, row, Reason.UNDELIVERABLE, text, str(subscription))
    target = Place(place.project_id, found.queue_name)
    created, _ = await letters.copy(tx, now_ms, staged, target, [going], tools)
    await tx.execute(REMOVE, (staged, sequence))
    await notices.count(tx, 1, "notices_buried")
    return GivenUp(Fate.BURIED, found.queue_name, created)
