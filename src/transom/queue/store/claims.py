# SPDX-License-Identifier: Apache-2.0
"""Claims: taken, looked at, renewed, released; and the move of messages claimed too often."""

from dataclasses import dataclass

from transom.queue.logic.attributes import DeadLetters, attributes_of
from transom.queue.logic.limits import ClaimTerms
from transom.queue.model import Claim, ClaimId, ClaimNotFound, ContentId, MessageId, Place
from transom.queue.store.messages import INSERT as INSERT_MESSAGE
from transom.queue.store.messages import new_ids, reserve
from transom.queue.store.rows import COLUMNS, CONTENT, FEWER, WAITING, content_of, message_of, wake
from transom.runtime.db.transaction import Row, Transaction
from transom.runtime.ids import Randomness

LONGER_LIFE = """
  ttl_s = case when expires_ms < ? then ? else ttl_s end,
  expires_ms = case when expires_ms < ? then ? else expires_ms end
"""

TAKE = f"""
update message set claim_id = ?, available_ms = ?, deliveries = deliveries + 1, {LONGER_LIFE}
where content_id = ? and sequence in ({WAITING})
returning {COLUMNS}
"""

INSERT = """
insert into claim (content_id, claim_id, renewed_ms, expires_ms, ttl_s) values (?, ?, ?, ?, ?)
"""

ALIVE = """
select renewed_ms, expires_ms, ttl_s from claim
where content_id = ? and claim_id = ? and expires_ms > ?
"""

HELD = f"""
select {COLUMNS} from message
where content_id = ? and sequence in (
  select sequence from message
  where content_id = ? and available_ms = ? and claim_id = ? and expires_ms > ?)
order by sequence
"""

RENEW = """
update claim set renewed_ms = ?, expires_ms = ?, ttl_s = ?
where content_id = ? and claim_id = ? and expires_ms = ?
"""

RENEW_HELD = f"""
update message set available_ms = ?, {LONGER_LIFE}
where content_id = ? and available_ms = ? and claim_id = ?
"""

RELEASE = "delete from claim where content_id = ? and claim_id = ? returning expires_ms"

RELEASE_HELD = """
update message set available_ms = null, claim_id = null
where content_id = ? and available_ms = ? and claim_id = ?
"""

TAKE_EXHAUSTED = f"""
delete from message
where content_id = ? and sequence in ({WAITING}) and deliveries >= ?
returning sequence, token, ttl_s, client_id, body
"""

BURIALS = 50


@dataclass(frozen=True, slots=True)
class _Buried:
    """`created`: a queue for dead letters came to be; `more`: not all that must go has gone."""

    created: bool
    more: bool


async def take(
    tx: Transaction,
    now_ms: int,
    place: Place,
    claim_id: ClaimId,
    terms: ClaimTerms,
    limit: int,
    random: Randomness,
) -> tuple[Claim | None, bool]:
    """Claims the first waiting messages in order, at most `limit`; None if there are none.

    The second answer: a queue for dead letters came to be.
    """
    row = await tx.fetch_one(CONTENT, (place.project_id, place.name))
    if row is None:
        return None, False
    content_id, letters = ContentId(row[0]), attributes_of(row[1]).dead_letters
    await wake(tx, content_id, now_ms)
    created = False
    if letters is not None:
        buried = await _bury(tx, now_ms, place, content_id, letters, limit, random)
        if buried.more:
            return None, buried.created
        created = buried.created
    end_ms = now_ms + terms.ttl_s * 1000
    parameters = (claim_id, end_ms, *_longer_life(now_ms, terms), content_id, content_id)
    rows = await tx.fetch(TAKE, (*parameters, now_ms, limit))
    if not rows:
        return None, created
    await tx.execute(INSERT, (content_id, claim_id, now_ms, end_ms, terms.ttl_s))
    rows.sort(key=lambda row: row[0])  # a change answers its rows in any order
    messages = tuple(message_of(row, now_ms) for row in rows)
    return Claim(claim_id, terms.ttl_s, 0, messages), created


async def get(tx: Transaction, now_ms: int, place: Place, claim_id: ClaimId) -> Claim:
    """Raises: ClaimNotFound."""
    content_id = await content_of(tx, place)
    if content_id is None:
        raise _no_claim()
    row = await tx.fetch_one(ALIVE, (content_id, claim_id, now_ms))
    if row is None:
        raise _no_claim()
    renewed_ms, end_ms, ttl_s = row
    rows = await tx.fetch(HELD, (content_id, content_id, end_ms, claim_id, now_ms))
    held = tuple(message_of(row, now_ms) for row in rows)
    return Claim(claim_id, ttl_s, max(0, now_ms - renewed_ms) // 1000, held)


async def renew(
    tx: Transaction, now_ms: int, place: Place, claim_id: ClaimId, terms: ClaimTerms
) -> None:
    """Begins the claim's life anew, for the messages that it still holds.

    Raises: ClaimNotFound, also for a claim that has expired.
    """
    content_id = await content_of(tx, place)
    if content_id is None:
        raise _no_claim()
    row = await tx.fetch_one(ALIVE, (content_id, claim_id, now_ms))
    if row is None:
        raise _no_claim()
    before_ms, end_ms = row[1], now_ms + terms.ttl_s * 1000
    key = (content_id, claim_id, before_ms)
    if not await tx.execute(RENEW, (now_ms, end_ms, terms.ttl_s, *key)):
        raise _no_claim()
    life = _longer_life(now_ms, terms)
    await tx.execute(RENEW_HELD, (end_ms, *life, content_id, before_ms, claim_id))


async def release(tx: Transaction, place: Place, claim_id: ClaimId) -> None:
    """Ends the claim; its messages are waiting again, at their own places."""
    content_id = await content_of(tx, place)
    if content_id is None:
        return
    row = await tx.fetch_one(RELEASE, (content_id, claim_id))
    if row is not None:
        await tx.execute(RELEASE_HELD, (content_id, row[0], claim_id))


def _longer_life(now_ms: int, terms: ClaimTerms) -> tuple[int, int, int, int]:
    """A message that would end before its claim lives until the claim's end and the grace.

    Its age goes on from its posting, so the ttl that is shown is no longer its whole life.
    """
    claim_end_ms = now_ms + terms.ttl_s * 1000
    life_s = terms.ttl_s + terms.grace_s
    return (claim_end_ms, life_s, claim_end_ms, now_ms + life_s * 1000)


async def _bury(
    tx: Transaction,
    now_ms: int,
    place: Place,
    content_id: ContentId,
    letters: DeadLetters,
    limit: int,
    random: Randomness,
) -> _Buried:
    """Moves what was claimed too often to the dead letters, until none is among the first waiting.

    At most `BURIALS` times `limit`, so that no claim pays for a mass of them; while there may be
    more, nothing may be taken.
    """
    created = False
    for _ in range(BURIALS):
        parameters = (content_id, content_id, now_ms, limit, letters.claims)
        rows = await tx.fetch(TAKE_EXHAUSTED, parameters)
        if not rows:
            return _Buried(created, more=False)
        rows.sort(key=lambda row: row[0])
        await tx.execute(FEWER, (len(rows), place.project_id, place.name))
        created |= await _post_dead(tx, now_ms, place, letters, rows, random)
    return _Buried(created, more=True)


async def _post_dead(
    tx: Transaction,
    now_ms: int,
    place: Place,
    letters: DeadLetters,
    rows: list[Row],
    random: Randomness,
) -> bool:
    """They are new messages there and keep `source_id`. True: that queue was made for them."""
    target = Place(place.project_id, letters.queue_name)
    reserved = await reserve(tx, now_ms, target, len(rows))
    buried = []
    for new_id, row in zip(new_ids(reserved.first, len(rows), random), rows, strict=True):
        sequence, token, own_ttl_s, client_id, body = row
        ttl_s = letters.ttl_s or own_ttl_s
        buried.append(
            (
                reserved.content_id,
                new_id.sequence,
                new_id.token,
                now_ms,
                now_ms + ttl_s * 1000,
                ttl_s,
                None,
                client_id,
                str(MessageId(sequence, token)),
                body,
            )
        )
    await tx.execute_many(INSERT_MESSAGE, buried)
    return reserved.created


def _no_claim() -> ClaimNotFound:
    return ClaimNotFound("There is no such claim, or it has expired.")
