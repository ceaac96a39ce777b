# SPDX-License-Identifier: Apache-2.0
"""A claim over several queues of one store: the claims of its queues, which share their id."""

from collections.abc import Sequence

from transom.queue.logic.limits import ClaimTerms
from transom.queue.model import Claim, ClaimId, Place
from transom.queue.store import claims
from transom.queue.store.verbs.verb import Tools
from transom.runtime.db.transaction import Transaction

# The empty text keeps SQLite from looking at all queues of the project first.
ALIVE = """
select queue.name from claim join queue on queue.content_id = claim.content_id
where claim.claim_id = ? and claim.expires_ms > ? and queue.project_id || '' = ?
"""

HELD = """
select queue.name from claim join queue on queue.content_id = claim.content_id
where claim.claim_id = ? and queue.project_id || '' = ?
"""


async def take(
    tx: Transaction,
    now_ms: int,
    places: Sequence[Place],
    claim_id: ClaimId,
    terms: ClaimTerms,
    limit: int,
    tools: Tools,
) -> tuple[list[tuple[Place, Claim]], bool]:
    """The first waiting messages of the first queue, then those of the next, until the limit.

    The second answer: a queue for dead letters came to be.
    """
    taken: list[tuple[Place, Claim]] = []
    created = False
    for place in places:
        if limit <= 0:
            break
        claim, made = await claims.take(tx, now_ms, place, claim_id, terms, limit, tools)
        created |= made
        if claim is not None:
            taken.append((place, claim))
            limit -= len(claim.messages)
    return taken, created


async def places_of(
    tx: Transaction, now_ms: int, project_id: str, claim_id: ClaimId
) -> list[Place]:
    """The project's queues in which the claim is alive, by name."""
    rows = await tx.fetch(ALIVE, (claim_id, now_ms, project_id))
    return [Place(project_id, name) for name in sorted(row[0] for row in rows)]


async def get(
    tx: Transaction, now_ms: int, project_id: str, claim_id: ClaimId
) -> list[tuple[Place, Claim]]:
    """The claim's parts by queue; none if it is not alive."""
    found = []
    for place in await places_of(tx, now_ms, project_id, claim_id):
        found.append((place, await claims.get(tx, now_ms, place, claim_id)))
    return found


async def renew(
    tx: Transaction, now_ms: int, project_id: str, claim_id: ClaimId, terms: ClaimTerms
) -> list[Place]:
    """Renews what is alive of it; where that was."""
    places = await places_of(tx, now_ms, project_id, claim_id)
    for place in places:
        await claims.renew(tx, now_ms, place, claim_id, terms)
    return places


async def release(
    tx: Transaction, now_ms: int, project_id: str, claim_id: ClaimId, delay_s: int
) -> list[Place]:
    """Ends it in each of its queues; which these were. See `claims.release`."""
    rows = await tx.fetch(HELD, (claim_id, project_id))
    places = [Place(project_id, name) for name in sorted(row[0] for row in rows)]
    for place in places:
        await claims.release(tx, now_ms, place, claim_id, delay_s)
    return places
