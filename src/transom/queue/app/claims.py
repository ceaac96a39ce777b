# SPDX-License-Identifier: Apache-2.0
"""What a caller may do with claims."""

from collections.abc import Sequence
from dataclasses import replace

from transom.queue.app.access import Access
from transom.queue.app.waiting import Gone
from transom.queue.logic import limits
from transom.queue.model import Claim, ClaimId, MessageId, Place, claim_from
from transom.queue.store import claims
from transom.queue.store.parts import Rejected, Released, Touched
from transom.queue.store.verbs.claims import Reject, Release, ReleaseSome, Renew, Take, Touch
from transom.runtime.auth.context import Context
from transom.runtime.idempotency import Repeat

CLAIM_ID_BYTES = 16


class Claims:
    """The use cases."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def _opened(self, place: Place, claim: Claim) -> Claim:
        return replace(claim, messages=await self._access.opened(place, claim.messages))

    async def take(
        self,
        context: Context,
        name: str,
        ttl_s: int | None,
        grace_s: int | None,
        limit: int | None,
        repeat: Repeat | None = None,
        *,
        wait_s: int | None = None,
        gone: Gone | None = None,
    ) -> Claim | None:
        """The first waiting messages, in order; None if there are none, also after `wait_s`."""
        place = self._access.place(context, "claims:create", name)
        terms = limits.claim_terms(ttl_s, grace_s, self._access.config)
        most = self._access.page_size(limit, self._access.config.max_messages_per_claim)
        claim_id = ClaimId(self._access.random(CLAIM_ID_BYTES))
        verb = Take(place, claim_id, terms, most)

        async def attempt() -> Claim | None:
            taken, created = await self._access.write_once(
                context,
                repeat,
                verb,
                tuple[Claim | None, bool],
                keep_nothing=not wait_s,
                kept_ms=terms.ttl_s * 1000,
            )
            if created:
                self._access.on_change()
            return taken

        async def undo(taken: Claim) -> None:
            await self._access.write(Release(place, taken.id))

        taken = await self._access.waiting.take(
            [place], wait_s, attempt, gone, undo, repeatable=repeat is not None
        )
        return None if taken is None else await self._opened(place, taken)

    async def get(self, context: Context, name: str, claim: str) -> Claim:
        """Raises: ClaimNotFound."""
        place = self._access.place(context, "claims:get", name)
        claim_id = claim_id_of(claim)
        found = await self._access.read(
            place, lambda tx, now_ms: claims.get(tx, now_ms, place, claim_id)
        )
        return await self._opened(place, found)

    async def renew(
        self, context: Context, name: str, claim: str, ttl_s: int | None, grace_s: int | None
    ) -> None:
        """Raises: ClaimNotFound, also for a claim that has expired."""
        place = self._access.place(context, "claims:update", name)
        terms = limits.claim_terms(ttl_s, grace_s, self._access.config)
        claim_id = claim_id_of(claim)
        await self._access.write(Renew(place, claim_id, terms))

    async def touch(
        self,
        context: Context,
        name: str,
        claim: str,
        ids: Sequence[str] | None,
        ttl_s: int | None,
        grace_s: int | None,
        repeat: Repeat | None = None,
    ) -> tuple[Touched, list[str]]:
        """Holds these messages of the claim anew, or all; and those asked for that it has lost.

        Raises: ClaimNotFound, also for a claim that has expired.
        """
        place = self._access.place(context, "claims:update", name)
        terms = limits.claim_terms(ttl_s, grace_s, self._access.config)
        wanted, never = self._ids(ids)
        verb = Touch(place, claim_id_of(claim), wanted, terms)
        touched = await self._access.write_once(context, repeat, verb, Touched)
        return touched, _texts(ids, touched.lost, never)

    async def release(
        self, context: Context, name: str, claim: str, delay_s: int | None = None
    ) -> None:
        """All that the claim holds waits again, at once or after the delay.

        Nothing to release is no error.
        """
        place = self._access.place(context, "claims:delete", name)
        delay_s = limits.release_delay(delay_s, self._access.config)
        claim_id = claim_from(claim)
        if claim_id is not None:
            await self._access.write(Release(place, claim_id, delay_s))

    async def release_some(
        self,
        context: Context,
        name: str,
        claim: str,
        ids: Sequence[str] | None,
        delay_s: int | None,
        repeat: Repeat | None = None,
    ) -> tuple[Released, list[str]]:
        """These messages, or all and the claim with them; and those that it has lost.

        Raises: ClaimNotFound, also for a claim that has expired.
        """
        place = self._access.place(context, "claims:delete", name)
        wanted, never = self._ids(ids)
        delay_s = limits.release_delay(delay_s, self._access.config)
        verb = ReleaseSome(place, claim_id_of(claim), wanted, delay_s)
        released = await self._access.write_once(context, repeat, verb, Released)
        return released, _texts(ids, released.lost, never)

    async def reject(
        self,
        context: Context,
        name: str,
        claim: str,
        ids: Sequence[str] | None,
        text: str,
        repeat: Repeat | None = None,
    ) -> tuple[Rejected, list[str]]:
        """Moves these messages, or all, to the queue's dead letters; and those that it has lost.

        Raises: ClaimNotFound, NoDeadLetters.
        """
        place = self._access.place(context, "claims:update", name)
        wanted, never = self._ids(ids)
        verb = Reject(place, claim_id_of(claim), wanted, limits.check_reason(text))
        rejected = await self._access.write_once(context, repeat, verb, Rejected)
        if rejected.created:
            self._access.on_change()
        return rejected, _texts(ids, rejected.lost, never)

    def _ids(self, ids: Sequence[str] | None) -> tuple[tuple[MessageId, ...] | None, set[str]]:
        """The ids, and those that can be none. Raises: OutOfRange."""
        if ids is None:
            return None, set()
        limits.within("The number of ids", len(ids), 1, self._access.config.max_messages_per_claim)
        parsed = {text: MessageId.parse(text) for text in ids}
        return (
            tuple(one for one in parsed.values() if one is not None),
            {text for text, one in parsed.items() if one is None},
        )


def _texts(ids: Sequence[str] | None, lost: Sequence[MessageId], never: set[str]) -> list[str]:
    """Those that are lost, as and in the order in which they were asked for."""
    gone = set(lost)
    return [text for text in ids or () if text in never or MessageId.parse(text) in gone]


def claim_id_of(text: str) -> ClaimId:
    """Raises: ClaimNotFound for a text that can be none."""
    claim_id = claim_from(text)
    if claim_id is None:
        raise claims.not_found()
    return claim_id
