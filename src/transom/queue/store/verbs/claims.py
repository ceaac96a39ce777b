# SPDX-License-Identifier: Apache-2.0
"""Claims taken, renewed and released, and what they hold rejected, as values.

`ids` None: all that the claim holds.
"""

from collections.abc import Sequence

from transom.queue.logic.limits import ClaimTerms
from transom.queue.model import Claim, ClaimId, MessageId, Place
from transom.queue.store import claims, parts
from transom.queue.store.parts import Rejected, Released, Touched
from transom.queue.store.verbs.verb import Tools, Verb
from transom.runtime.db.transaction import Transaction


class Take(Verb, frozen=True, tag=True, array_like=True):
    moves = True
    claim_id: ClaimId
    terms: ClaimTerms
    limit: int

    async def run(self, tx: Transaction, tools: Tools) -> tuple[Claim | None, bool]:
        """The claim, and whether a queue for dead letters came to be."""
        now_ms = tools.clock.now_ms()
        return await claims.take(
            tx, now_ms, self.place, self.claim_id, self.terms, self.limit, tools
        )


class Renew(Verb, frozen=True, tag=True, array_like=True):
    claim_id: ClaimId
    terms: ClaimTerms

    async def run(self, tx: Transaction, tools: Tools) -> None:
        await claims.renew(tx, tools.clock.now_ms(), self.place, self.claim_id, self.terms)

    def rings(self, answer: None, /) -> Sequence[Place]:
        return (self.place,)


class Touch(Verb, frozen=True, tag=True, array_like=True):
    claim_id: ClaimId
    ids: tuple[MessageId, ...] | None
    terms: ClaimTerms

    async def run(self, tx: Transaction, tools: Tools) -> Touched:
        now_ms = tools.clock.now_ms()
        return await parts.touch(tx, now_ms, self.place, self.claim_id, self.ids, self.terms)

    def rings(self, answer: Touched, /) -> Sequence[Place]:
        return (self.place,) if answer.messages else ()


class Release(Verb, frozen=True, tag=True, array_like=True):
    """A claim that is not there is no error."""

    claim_id: ClaimId
    delay_s: int = 0

    async def run(self, tx: Transaction, tools: Tools) -> None:
        now_ms = tools.clock.now_ms()
        await claims.release(tx, now_ms, self.place, self.claim_id, self.delay_s)

    def rings(self, answer: None, /) -> Sequence[Place]:
        return (self.place,)


class ReleaseSome(Verb, frozen=True, tag=True, array_like=True):
    claim_id: ClaimId
    ids: tuple[MessageId, ...] | None
    delay_s: int

    async def run(self, tx: Transaction, tools: Tools) -> Released:
        now_ms = tools.clock.now_ms()
        return await parts.release_some(
            tx, now_ms, self.place, self.claim_id, self.ids, self.delay_s
        )

    def rings(self, answer: Released, /) -> Sequence[Place]:
        return (self.place,) if answer.number else ()


class Reject(Verb, frozen=True, tag=True, array_like=True):
    moves = True
    claim_id: ClaimId
    ids: tuple[MessageId, ...] | None
    text: str

    async def run(self, tx: Transaction, tools: Tools) -> Rejected:
        now_ms = tools.clock.now_ms()
        return await parts.reject(tx, now_ms, self.place, self.claim_id, self.ids, self.text, tools)
