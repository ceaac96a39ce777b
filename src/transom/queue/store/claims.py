# SPDX-License-Identifier: Apache-2.0
"""Claims: taken, looked at, renewed, released. What is done to a part of one is in `parts`.

The messages of a claim end with it, all at one moment, until some of them are touched by
themselves. From then on the claim has several *strands*, each the messages that end together.

Invariants:
1. A claim is alive until its latest end, which is `claim.expires_ms`; a live strand that ends
   earlier has a row of its own. Renewing makes all strands one again.
2. What is changed for a claim is what it holds at that moment. A message whose strand has ended is
   no longer its, though the claim may be alive; it is told as lost.
3. The fence number of a message is its count of deliveries, and nothing sets that back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from msgspec import structs

from transom.queue.logic.attributes import DeadLetters, attributes_of
from transom.queue.logic.letters import claimed_too_often
from transom.queue.logic.limits import ClaimTerms
from transom.queue.model import (
    Claim,
    ClaimId,
    ClaimNotFound,
    ContentId,
    Message,
    Place,
    Reason,
)
from transom.queue.store import letters, project_keys
from transom.queue.store.rows import COLUMNS, CONTENT, WAITING, content_of, message_of, wake
from transom.queue.store.verbs.verb import Tools
from transom.runtime.db.transaction import Transaction

LONGER_LIFE = """
  ttl_s = case when expires_ms < ? then ? else ttl_s end,
  expires_ms = case when expires_ms < ? then ? else expires_ms end
"""

# What most claims leave as it is, is not named here: naming it costs its index being written.
TAKE = f"""
update message set claim_id = ?, available_ms = ?, deliveries = deliveries + 1
where content_id = ? and sequence in ({WAITING})
returning {COLUMNS}
"""

LENGTHEN = "update message set ttl_s = ?, expires_ms = ? where content_id = ? and sequence = ?"

INSERT = """
insert into claim (content_id, claim_id, renewed_ms, expires_ms, ttl_s) values (?, ?, ?, ?, ?)
"""

ALIVE = """
select renewed_ms, expires_ms, ttl_s from claim
where content_id = ? and claim_id = ? and expires_ms > ?
"""

STRANDS = """
select expires_ms from strand where content_id = ? and claim_id = ? and expires_ms > ?
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

DROP_STRAND = "delete from strand where content_id = ? and claim_id = ? and expires_ms = ?"

RELEASE = """
delete from claim where content_id = ? and claim_id = ?
returning expires_ms, (select 1 from strand where content_id = ? and claim_id = ? limit 1)
"""

RELEASE_STRANDS = "delete from strand where content_id = ? and claim_id = ? returning expires_ms"

RELEASE_HELD = """
update message set available_ms = null, claim_id = null
where content_id = ? and available_ms = ? and claim_id = ?
"""

DELAY_HELD = """
update message set available_ms = ?, claim_id = null
where content_id = ? and available_ms = ? and claim_id = ?
"""

EXHAUSTED = f"""
select sequence, token, ttl_s, deliveries, created_ms, source_id, deaths from message
where content_id = ? and sequence in ({WAITING}) and deliveries >= ?
order by sequence
"""

BURIALS = 50
_SEQUENCE, _EXPIRES = itemgetter(0), itemgetter(8)
"""Of a row of `COLUMNS`."""


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
    tools: Tools,
) -> tuple[Claim | None, bool]:
    """Claims the first waiting messages in order, at most `limit`; None if there are none.

    The second answer: a queue for dead letters came to be.
    """
    row = await tx.fetch_one(CONTENT, (place.project_id, place.name))
    if row is None:
        return None, False
    content_id, dead = ContentId(row[0]), attributes_of(row[1]).dead_letters
    await wake(tx, content_id, now_ms)
    created = False
    if dead is not None and dead.claims is not None:
        buried = await _bury(tx, now_ms, place, content_id, dead, dead.claims, limit, tools)
        if buried.more:
            return None, buried.created
        created = buried.created
    end_ms = now_ms + terms.ttl_s * 1000
    rows = await tx.fetch(TAKE, (claim_id, end_ms, content_id, content_id, now_ms, limit))
    if not rows:
        return None, created
    await tx.execute(INSERT, (content_id, claim_id, now_ms, end_ms, terms.ttl_s))
    rows.sort(key=_SEQUENCE)  # a change answers its rows in any order
    messages = tuple([message_of(row, now_ms) for row in rows])
    if min(map(_EXPIRES, rows)) < end_ms:
        messages = await _lengthened(tx, now_ms, content_id, messages, terms)
    await project_keys.check(tx, tools.keyring, place.project_id, messages)
    return Claim(claim_id, terms.ttl_s, 0, messages, end_ms), created


async def get(tx: Transaction, now_ms: int, place: Place, claim_id: ClaimId) -> Claim:
    """Raises: ClaimNotFound."""
    content_id, renewed_ms, end_ms, ttl_s = await alive(tx, now_ms, place, claim_id)
    rows = []
    for one_ms in await ends(tx, now_ms, content_id, claim_id, end_ms):
        rows += await tx.fetch(HELD, (content_id, content_id, one_ms, claim_id, now_ms))
    rows.sort(key=lambda row: row[0])
    held = tuple(message_of(row, now_ms) for row in rows)
    return Claim(claim_id, ttl_s, max(0, now_ms - renewed_ms) // 1000, held, end_ms)


async def renew(
    tx: Transaction, now_ms: int, place: Place, claim_id: ClaimId, terms: ClaimTerms
) -> None:
    """Begins the claim's life anew, for the messages that it still holds.

    Raises: ClaimNotFound, also for a claim that has expired.
    """
    content_id, _, before_ms, _ = await alive(tx, now_ms, place, claim_id)
    end_ms = now_ms + terms.ttl_s * 1000
    key = (content_id, claim_id, before_ms)
    if not await tx.execute(RENEW, (now_ms, end_ms, terms.ttl_s, *key)):
        raise not_found()
    life = longer_life(now_ms, terms)
    for one_ms in await ends(tx, now_ms, content_id, claim_id, before_ms):
        await tx.execute(RENEW_HELD, (end_ms, *life, content_id, one_ms, claim_id))
        if one_ms != before_ms:
            await tx.execute(DROP_STRAND, (content_id, claim_id, one_ms))


async def release(
    tx: Transaction, now_ms: int, place: Place, claim_id: ClaimId, delay_s: int
) -> None:
    """Ends the claim; its messages wait again, at their own places, at once or after the delay.

    What it holds no longer, since it has ended, waits at once.
    """
    content_id = await content_of(tx, place)
    if content_id is None:
        return
    key = (content_id, claim_id)
    row = await tx.fetch_one(RELEASE, (*key, *key))
    if row is None:
        return
    strands = [row[0]]
    if row[1] is not None:
        strands += [end_ms for (end_ms,) in await tx.fetch(RELEASE_STRANDS, key)]
    for end_ms in strands:
        if delay_s and end_ms > now_ms:
            later_ms = now_ms + delay_s * 1000
            await tx.execute(DELAY_HELD, (later_ms, content_id, end_ms, claim_id))
        else:
            await tx.execute(RELEASE_HELD, (content_id, end_ms, claim_id))


async def alive(
    tx: Transaction, now_ms: int, place: Place, claim_id: ClaimId
) -> tuple[ContentId, int, int, int]:
    """(content, last renewal, latest end, ttl in s). Raises: ClaimNotFound."""
    content_id = await content_of(tx, place)
    if content_id is None:
        raise not_found()
    row = await tx.fetch_one(ALIVE, (content_id, claim_id, now_ms))
    if row is None:
        raise not_found()
    return content_id, row[0], row[1], row[2]


async def ends(
    tx: Transaction, now_ms: int, content_id: ContentId, claim_id: ClaimId, latest_ms: int
) -> list[int]:
    """Of each live strand."""
    rows = await tx.fetch(STRANDS, (content_id, claim_id, now_ms))
    return [latest_ms, *(row[0] for row in rows if row[0] != latest_ms)]


async def _lengthened(
    tx: Transaction,
    now_ms: int,
    content_id: ContentId,
    messages: Sequence[Message],
    terms: ClaimTerms,
) -> tuple[Message, ...]:
    """The messages of a new claim, none of which ends before it. See `longer_life`."""
    claim_end_ms, ttl_s, _, end_ms = longer_life(now_ms, terms)
    short = [one for one in messages if one.expires_ms < claim_end_ms]
    rows = [(ttl_s, end_ms, content_id, one.id.sequence) for one in short]
    await tx.execute_many(LENGTHEN, rows)
    return tuple(
        structs.replace(one, ttl_s=ttl_s, expires_ms=end_ms)
        if one.expires_ms < claim_end_ms
        else one
        for one in messages
    )


def longer_life(now_ms: int, terms: ClaimTerms) -> tuple[int, int, int, int]:
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
    dead: DeadLetters,
    most: int,
    limit: int,
    tools: Tools,
) -> _Buried:
    """Moves what was claimed too often to the dead letters, until none is among the first waiting.

    At most `BURIALS` times `limit`, so that no claim pays for a mass of them; while there may be
    more, nothing may be taken.
    """
    created = False
    for _ in range(BURIALS):
        rows = await tx.fetch(EXHAUSTED, (content_id, content_id, now_ms, limit, most))
        if not rows:
            return _Buried(created, more=False)
        created |= await letters.bury(
            tx,
            now_ms,
            place,
            content_id,
            dead,
            rows,
            Reason.CLAIMED_TOO_OFTEN,
            claimed_too_often(most),
            tools,
        )
        if tools.moved is not None:
            tools.moved.buried += len(rows)
    return _Buried(created, more=True)


def not_found() -> ClaimNotFound:
    return ClaimNotFound("There is no such claim, or it has expired.")
