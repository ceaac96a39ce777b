# SPDX-License-Identifier: Apache-2.0
"""Claims over several queues of one store, as values. `place`: a queue of that store."""

from collections.abc import Sequence

from transom.queue.logic.limits import ClaimTerms
from transom.queue.model import Claim, ClaimId, Place
from transom.queue.store import many_claims
from transom.queue.store.verbs.verb import Tools, Verb
from transom.runtime.db.transaction import Transaction


class TakeMany(Verb, frozen=True, tag=True, array_like=True):
    """`places`: in the order in which they are taken from, `place` the first of them."""

    moves = True
    places: tuple[Place, ...]
    claim_id: ClaimId
    terms: ClaimTerms
    limit: int

    async def run(self, tx: Transaction, tools: Tools) -> tuple[list[tuple[Place, Claim]], bool]:
        """The claims by queue, and whether a queue for dead letters came to be."""
        now_ms = tools.clock.now_ms()
        return await many_claims.take(
            tx, now_ms, self.places, self.claim_id, self.terms, self.limit, tools
        )


class RenewMany(Verb, frozen=True, tag=True, array_like=True):
    claim_id: ClaimId
    terms: ClaimTerms

    async def run(self, tx: Transaction, tools: Tools) -> list[Place]:
        """The queues in which it was alive."""
        now_ms = tools.clock.now_ms()
        project_id = self.place.project_id
        return await many_claims.renew(tx, now_ms, project_id, self.claim_id, self.terms)

    def rings(self, answer: list[Place], /) -> Sequence[Place]:
        """It may end sooner now."""
        return answer


class ReleaseMany(Verb, frozen=True, tag=True, array_like=True):
    claim_id: ClaimId
    delay_s: int = 0

    async def run(self, tx: Transaction, tools: Tools) -> list[Place]:
        """The queues in which it held messages."""
        now_ms = tools.clock.now_ms()
        project_id = self.place.project_id
        return await many_claims.release(tx, now_ms, project_id, self.claim_id, self.delay_s)

    def rings(self, answer: list[Place], /) -> Sequence[Place]:
        return answer
