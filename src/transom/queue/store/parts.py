# SPDX-License-Identifier: Apache-2.0
"""Parts of a claim: some of its messages touched, released or rejected, or all of them.

Invariants: see `claims`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transom.queue.logic.attributes import attributes_of
from transom.queue.logic.limits import ClaimTerms
from transom.queue.model import ClaimId, ContentId, MessageId, NoDeadLetters, Place, Reason
from transom.queue.store import letters
from transom.queue.store.claims import (
    DROP_STRAND,
    HELD,
    LONGER_LIFE,
    alive,
    ends,
    get,
    longer_life,
    release,
    renew,
)
from transom.queue.store.rows import CONTENT
from transom.queue.store.verbs.verb import Tools
from transom.runtime.db.transaction import Row, Transaction

ONE_HELD = """
select sequence, available_ms, deliveries from message
where content_id = ? and sequence = ? and token = ? and claim_id = ? and available_ms > ?
  and expires_ms > ?
"""

TOUCH = f"""
update message set available_ms = ?, {LONGER_LIFE}
where content_id = ? and sequence = ?
"""

LATER_END = "update claim set expires_ms = ? where content_id = ? and claim_id = ?"

ANY_IN_STRAND = """
select 1 from message where content_id = ? and available_ms = ? and claim_id = ? limit 1
"""

ADD_STRAND = """
insert into strand (content_id, claim_id, expires_ms) values (?, ?, ?)
on conflict (content_id, claim_id, expires_ms) do nothing
"""

RELEASE_ONE = """
update message set available_ms = ?, claim_id = null where content_id = ? and sequence = ?
"""

DYING = """
select sequence, token, ttl_s, deliveries, created_ms, source_id, deaths from message
where content_id = ? and sequence = ?
"""


@dataclass(frozen=True, slots=True)
class Touch:
    """A message whose claim was renewed."""

    id: MessageId
    expires_ms: int
    fence: int


@dataclass(frozen=True, slots=True)
class Touched:
    """`lost`: those asked for that the claim does not hold."""

    messages: tuple[Touch, ...]
    lost: tuple[MessageId, ...]


@dataclass(frozen=True, slots=True)
class Released:
    """`lost`: those asked for that the claim does not hold."""

    number: int
    lost: tuple[MessageId, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """`lost`: as above. `created`: the queue for dead letters was made for them."""

    number: int
    lost: tuple[MessageId, ...]
    created: bool


@dataclass(frozen=True, slots=True)
class _Hold:
    """A message under a live claim, until `end_ms`."""

    id: MessageId
    end_ms: int
    fence: int


async def touch(
    tx: Transaction,
    now_ms: int,
    place: Place,
    claim_id: ClaimId,
    ids: Sequence[MessageId] | None,
    terms: ClaimTerms,
) -> Touched:
    """Holds these messages of the claim anew, or all of them. Raises: ClaimNotFound."""
    if ids is None:
        await renew(tx, now_ms, place, claim_id, terms)
        claim = await get(tx, now_ms, place, claim_id)
        return Touched(
            tuple(Touch(one.id, claim.expires_ms, one.deliveries) for one in claim.messages), ()
        )
    content_id, _, latest_ms, _ = await alive(tx, now_ms, place, claim_id)
    held, lost = await _held(tx, now_ms, content_id, claim_id, ids)
    if not held:
        return Touched((), lost)
    end_ms = now_ms + terms.ttl_s * 1000
    life = longer_life(now_ms, terms)
    rows = [(end_ms, *life, content_id, one.id.sequence) for one in held]
    await tx.execute_many(TOUCH, rows)
    if end_ms > latest_ms:
        await tx.execute(LATER_END, (end_ms, content_id, claim_id))
    final_ms = max(end_ms, latest_ms)
    for one_ms in {end_ms, latest_ms, *(one.end_ms for one in held)}:
        strand = (content_id, claim_id, one_ms)
        used = await tx.fetch_one(ANY_IN_STRAND, (content_id, one_ms, claim_id))
        if used is not None and one_ms != final_ms:
            await tx.execute(ADD_STRAND, strand)
        else:
            await tx.execute(DROP_STRAND, strand)
    return Touched(tuple(Touch(one.id, end_ms, one.fence) for one in held), lost)


async def release_some(
    tx: Transaction,
    now_ms: int,
    place: Place,
    claim_id: ClaimId,
    ids: Sequence[MessageId] | None,
    delay_s: int,
) -> Released:
    """Gives these messages of the claim up; for all of them, the claim itself.

    They wait again, at their own places, at once or after the delay.

    Raises: ClaimNotFound.
    """
    content_id, _, end_ms, _ = await alive(tx, now_ms, place, claim_id)
    held, lost = await _held(tx, now_ms, content_id, claim_id, ids, end_ms)
    if ids is None:
        await release(tx, now_ms, place, claim_id, delay_s)
    else:
        later_ms = now_ms + delay_s * 1000 if delay_s else None
        rows = [(later_ms, content_id, one.id.sequence) for one in held]
        await tx.execute_many(RELEASE_ONE, rows)
    return Released(len(held), lost)


async def reject(
    tx: Transaction,
    now_ms: int,
    place: Place,
    claim_id: ClaimId,
    ids: Sequence[MessageId] | None,
    text: str,
    tools: Tools,
) -> Rejected:
    """Moves these messages of the claim to the queue's dead letters; all of them, and it ends.

    Raises: ClaimNotFound, NoDeadLetters.
    """
    content_id, _, end_ms, _ = await alive(tx, now_ms, place, claim_id)
    row = await tx.fetch_one(CONTENT, (place.project_id, place.name))
    dead = None if row is None else attributes_of(row[1]).dead_letters
    if dead is None:
        raise NoDeadLetters(
            "The queue has no queue for dead letters; set its _dead_letter_queue first, "
            "or release or delete the messages."
        )
    held, lost = await _held(tx, now_ms, content_id, claim_id, ids, end_ms)
    created = False
    if held:
        rows: list[Row] = []
        for sequence in sorted(one.id.sequence for one in held):
            rows += await tx.fetch(DYING, (content_id, sequence))
        created = await letters.bury(
            tx, now_ms, place, content_id, dead, rows, Reason.REJECTED, text, tools
        )
    if ids is None:
        await release(tx, now_ms, place, claim_id, 0)
    return Rejected(len(held), lost, created)


async def _held(
    tx: Transaction,
    now_ms: int,
    content_id: ContentId,
    claim_id: ClaimId,
    ids: Sequence[MessageId] | None,
    latest_ms: int = 0,
) -> tuple[list[_Hold], tuple[MessageId, ...]]:
    """Those of the messages that the claim holds, in the order asked for, and those it does not.

    `ids` None: all that it holds; `latest_ms` is its latest end then.
    """
    held: list[_Hold] = []
    if ids is None:
        for end_ms in await ends(tx, now_ms, content_id, claim_id, latest_ms):
            rows = await tx.fetch(HELD, (content_id, content_id, end_ms, claim_id, now_ms))
            held += [_Hold(MessageId(row[0], row[1]), end_ms, row[7]) for row in rows]
        return held, ()
    lost = []
    for one in dict.fromkeys(ids):
        key = (content_id, one.sequence, one.token, claim_id, now_ms, now_ms)
        row = await tx.fetch_one(ONE_HELD, key)
        if row is None:
            lost.append(one)
        else:
            held.append(_Hold(one, row[1], row[2]))
    return held, tuple(lost)
