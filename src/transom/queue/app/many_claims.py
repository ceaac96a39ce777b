# SPDX-License-Identifier: Apache-2.0
"""What a caller may do with a claim over several queues.

Invariants:
1. Messages are taken in the order of the list, and in each queue in its own, until the limit.
2. What is taken from queues that lie together in one store is taken in one step, or not at all;
   from several stores it is taken in several steps, each of them whole.
3. The claim has one id everywhere, and each of its queues knows it as one of its own claims.
4. A store that cannot be asked now hides nothing that others gave: that is answered, and the
   failure only if there is nothing. Where the request may be repeated by its key, nothing is asked
   after a failure, so that what is remembered are the first steps, and a repetition goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter

from transom.errors import (
    BadRequest,
    InternalError,
    OutcomeUnknown,
    PeerError,
    TooManyRequests,
    TransomError,
)
from transom.queue.app.access import Access
from transom.queue.app.claims import CLAIM_ID_BYTES, claim_id_of
from transom.queue.app.waiting import Gone
from transom.queue.logic import limits
from transom.queue.model import Claim, ClaimId, Place, check_queue_name, claim_from
from transom.queue.store import claims, many_claims
from transom.queue.store.verbs.many_claims import ReleaseMany, RenewMany, TakeMany
from transom.runtime.auth.context import Context
from transom.runtime.idempotency import Repeat

QUEUES_MOST = 20
NOT_NOW = (PeerError, InternalError, TooManyRequests)
"""What says of a store that it cannot be asked, and nothing of the request."""


@dataclass(frozen=True, slots=True)
class ManyClaim:
    """`parts`: the claim as each of its queues knows it, in the order in which they were taken."""

    id: ClaimId
    parts: tuple[tuple[Place, Claim], ...]

    @property
    def ttl_s(self) -> int:
        return max(part.ttl_s for _, part in self.parts)

    @property
    def age_s(self) -> int:
        return max(part.age_s for _, part in self.parts)

    @property
    def expires_ms(self) -> int:
        """The first end of any part."""
        return min(part.expires_ms for _, part in self.parts)


class ManyClaims:
    """The use cases."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def take(
        self,
        context: Context,
        names: Sequence[str],
        ttl_s: int | None,
        grace_s: int | None,
        limit: int | None,
        repeat: Repeat | None = None,
        *,
        wait_s: int | None = None,
        gone: Gone | None = None,
    ) -> ManyClaim | None:
        """The first waiting messages of the queues; None if there are none."""
        access = self._access
        access.enforce(context, "claims:create")
        places = _places(context.project_id, names)
        terms = limits.claim_terms(ttl_s, grace_s, access.config)
        most = access.page_size(limit, access.config.max_messages_per_claim)
        claim_id = ClaimId(access.random(CLAIM_ID_BYTES))
        verb = TakeMany(places[0], places, claim_id, terms, most)

        async def attempt() -> ManyClaim | None:
            return await self._attempt(context, verb, repeat, patient=bool(wait_s))

        async def undo(taken: ManyClaim) -> None:
            await self._release(context.project_id, taken.id)

        taken = await access.waiting.take(
            places, wait_s, attempt, gone, undo, repeatable=repeat is not None
        )
        return None if taken is None else await self._opened(taken)

    async def get(self, context: Context, claim: str) -> ManyClaim:
        """Raises: ClaimNotFound."""
        access, project_id = self._access, context.project_id
        access.enforce(context, "claims:get")
        claim_id = claim_id_of(claim)
        parts: list[tuple[Place, Claim]] = []
        for store in access.stores.every():
            parts += await store.database.read(
                lambda tx: many_claims.get(tx, access.now_ms(), project_id, claim_id)
            )
        if not parts:
            raise claims.not_found()
        return await self._opened(ManyClaim(claim_id, tuple(parts)))

    async def renew(
        self, context: Context, claim: str, ttl_s: int | None, grace_s: int | None
    ) -> None:
        """Raises: ClaimNotFound, if it is alive in no queue."""
        access = self._access
        access.enforce(context, "claims:update")
        terms = limits.claim_terms(ttl_s, grace_s, access.config)
        claim_id = claim_id_of(claim)
        renewed = False
        for place in await self._one_place_a_store(context.project_id, claim_id):
            renewed |= bool(await access.write(RenewMany(place, claim_id, terms)))
        if not renewed:
            raise claims.not_found()

    async def release(self, context: Context, claim: str, delay_s: int | None = None) -> None:
        """Its messages wait again, at once or after the delay. Nothing to release is no error."""
        self._access.enforce(context, "claims:delete")
        delay_s = limits.release_delay(delay_s, self._access.config)
        claim_id = claim_from(claim)
        if claim_id is not None:
            await self._release(context.project_id, claim_id, delay_s)

    async def _opened(self, claim: ManyClaim) -> ManyClaim:
        """With the bodies as their users may see them."""
        parts = [
            (place, replace(part, messages=await self._access.opened(place, part.messages)))
            for place, part in claim.parts
        ]
        return replace(claim, parts=tuple(parts))

    async def _release(self, project_id: str, claim_id: ClaimId, delay_s: int = 0) -> None:
        for place in await self._one_place_a_store(project_id, claim_id):
            await self._access.write(ReleaseMany(place, claim_id, delay_s))

    async def _attempt(
        self, context: Context, verb: TakeMany, repeat: Repeat | None, *, patient: bool
    ) -> ManyClaim | None:
        """One step for each run of queues that lie in one store."""
        access, left, claim_id = self._access, verb.limit, verb.claim_id
        homes = [(await self._home(place), place) for place in verb.places]
        parts: list[tuple[Place, Claim]] = []
        failures: list[TransomError] = []
        for at, (home, group) in enumerate(groupby(homes, key=itemgetter(0))):
            if left <= 0:
                break
            places = tuple(place for _, place in group)
            step = TakeMany(places[0], places, claim_id, verb.terms, left)
            try:
                if isinstance(home, TransomError):
                    raise home
                taken, created = await access.write_once(
                    context,
                    _of_step(repeat, at),
                    step,
                    tuple[list[tuple[Place, Claim]], bool],
                    keep_nothing=not patient,
                    kept_ms=verb.terms.ttl_s * 1000,
                )
            except NOT_NOW as error:
                failures.append(error)
                if repeat is not None:
                    break
                continue
            parts += taken
            left -= sum(len(part.messages) for _, part in taken)
            if taken:
                claim_id = taken[0][1].id  # another one where it was taken before
            if created:
                access.on_change()
        if failures and not parts:
            raise next((it for it in failures if isinstance(it, OutcomeUnknown)), failures[0])
        return ManyClaim(claim_id, tuple(parts)) if parts else None

    async def _home(self, place: Place) -> str | TransomError:
        """The name of the queue's store, or why that cannot be asked."""
        try:
            return (await self._access.stores.of(place)).name
        except NOT_NOW as error:
            return error

    async def _one_place_a_store(self, project_id: str, claim_id: ClaimId) -> list[Place]:
        """A queue that holds the claim, of each store that has one."""
        found = []
        for store in self._access.stores.every():
            places = await store.database.read(
                lambda tx: many_claims.places_of(tx, self._access.now_ms(), project_id, claim_id)
            )
            found += places[:1]
        return found


def _places(project_id: str, names: Sequence[str]) -> tuple[Place, ...]:
    """Raises: BadRequest, OutOfRange, InvalidQueueName."""
    limits.within("The number of queues", len(names), 1, QUEUES_MOST)
    if len(set(names)) < len(names):
        raise BadRequest("A queue is in the list twice; name each of them once.")
    return tuple(Place(project_id, check_queue_name(name)) for name in names)


def _of_step(repeat: Repeat | None, at: int) -> Repeat | None:
    """Each step is remembered by itself, also two of one store. A key has no space in it."""
    if repeat is None or at == 0:
        return repeat
    return Repeat(f"{repeat.key} {at}", repeat.request, repeat.kept_ms)
