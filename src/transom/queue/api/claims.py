# SPDX-License-Identifier: Apache-2.0
"""`/v2/queues/{queue}/claims` and one claim of it, with `touch`, `release` and `reject`."""

from transom.queue.api import query
from transom.queue.api.messages import shown_messages
from transom.queue.api.parameters import CLAIM, DETAILS, IN_QUEUE, Bounded
from transom.queue.api.refusals import served
from transom.queue.api.wire import claims as wire
from transom.queue.api.wire.documents import Refusal
from transom.queue.api.wire.messages import moment
from transom.queue.app.claims import Claims
from transom.queue.model import ClaimId, ClientId, claim_text
from transom.runtime.http.route import Answer, Call, Route


class ClaimHandlers:
    """One method a route."""

    def __init__(self, claims: Claims, bounded: Bounded) -> None:
        self._claims = claims
        self._bounded = bounded

    def routes(self) -> list[Route]:
        every, one = "/v2/queues/{queue}/claims", "/v2/queues/{queue}/claims/{claim}"
        of_one = (*IN_QUEUE, CLAIM)
        return [
            *self._of_parts(one),
            Route(
                "POST",
                every,
                served(self.create),
                repeatable=True,
                body=wire.ClaimTerms,
                body_optional=True,
                parameters=self._bounded.claiming(),
                answers={201: wire.Claimed, 204: None},
                summary="Claim the first messages that wait; 204 if none do",
            ),
            Route(
                "GET",
                one,
                served(self.get),
                parameters=(*of_one, DETAILS),
                answers={200: wire.ShownClaim},
                summary="Show a claim and its messages",
            ),
            Route(
                "PATCH",
                one,
                served(self.renew),
                body=wire.ClaimTerms,
                parameters=of_one,
                answers={204: None},
                summary="Renew a claim",
            ),
            Route(
                "DELETE",
                one,
                served(self.release),
                parameters=self._bounded.releasing(),
                answers={204: None},
                summary="Give a claim up: its messages are free",
            ),
        ]

    def _of_parts(self, one: str) -> list[Route]:
        of_one = (*IN_QUEUE, CLAIM)
        return [
            Route(
                "POST",
                one + "/touch",
                served(self.touch),
                repeatable=True,
                body=wire.Touch,
                body_optional=True,
                parameters=of_one,
                answers={200: wire.Touched},
                summary="Hold messages of a claim anew, some or all",
            ),
            Route(
                "POST",
                one + "/release",
                served(self.release_some),
                repeatable=True,
                body=wire.Release,
                body_optional=True,
                parameters=of_one,
                answers={200: wire.Released},
                summary="Free messages of a claim, some or all, at once or after a delay",
            ),
            Route(
                "POST",
                one + "/reject",
                served(self.reject),
                repeatable=True,
                body=wire.Reject,
                body_optional=True,
                parameters=of_one,
                answers={200: wire.Rejected, 409: Refusal},
                summary="Move messages of a claim, some or all, to the queue's dead letters",
            ),
        ]

    async def create(self, call: Call[wire.ClaimTerms | None], client: ClientId) -> Answer:
        name, terms = call.path["queue"], call.body or wire.ClaimTerms()
        limit = query.number(call.query, "limit")
        claim = await self._claims.take(
            call.context,
            name,
            terms.ttl,
            terms.grace,
            limit,
            call.repeat,
            wait_s=query.number(call.query, "wait"),
            gone=call.hung_up,
        )
        if claim is None:
            return Answer(204)
        details = query.flag(call.query, "details")
        body = wire.Claimed(shown_messages(name, claim.messages, details=details))
        if details:
            body.claim_id, body.expires_at = claim_text(claim.id), moment(claim.expires_ms)
        return Answer(201, body, {"location": _href(name, claim.id)})

    async def get(self, call: Call[None], client: ClientId) -> Answer:
        name, details = call.path["queue"], query.flag(call.query, "details")
        claim = await self._claims.get(call.context, name, call.path["claim"])
        messages = shown_messages(name, claim.messages, details=details)
        shown = wire.ShownClaim(claim.age_s, claim.ttl_s, _href(name, claim.id), messages)
        if details:
            shown.claim_id, shown.expires_at = claim_text(claim.id), moment(claim.expires_ms)
        return Answer(200, shown)

    async def renew(self, call: Call[wire.ClaimTerms], client: ClientId) -> Answer:
        terms = call.body
        await self._claims.renew(
            call.context, call.path["queue"], call.path["claim"], terms.ttl, terms.grace
        )
        return Answer(204)

    async def release(self, call: Call[None], client: ClientId) -> Answer:
        delay_s = query.number(call.query, "delay")
        await self._claims.release(call.context, call.path["queue"], call.path["claim"], delay_s)
        return Answer(204)

    async def touch(self, call: Call[wire.Touch | None], client: ClientId) -> Answer:
        name, claim, wished = call.path["queue"], call.path["claim"], call.body or wire.Touch()
        touched, lost = await self._claims.touch(
            call.context, name, claim, wished.ids, wished.ttl, wished.grace, call.repeat
        )
        shown = [
            wire.TouchedMessage(str(one.id), moment(one.expires_ms), one.fence)
            for one in touched.messages
        ]
        return Answer(200, wire.Touched(shown, lost))

    async def release_some(self, call: Call[wire.Release | None], client: ClientId) -> Answer:
        name, claim, wished = call.path["queue"], call.path["claim"], call.body or wire.Release()
        released, lost = await self._claims.release_some(
            call.context, name, claim, wished.ids, wished.delay, call.repeat
        )
        return Answer(200, wire.Released(released.number, lost))

    async def reject(self, call: Call[wire.Reject | None], client: ClientId) -> Answer:
        name, claim, wished = call.path["queue"], call.path["claim"], call.body or wire.Reject()
        rejected, lost = await self._claims.reject(
            call.context, name, claim, wished.ids, wished.reason, call.repeat
        )
        return Answer(200, wire.Rejected(rejected.number, lost))


def _href(name: str, claim_id: ClaimId) -> str:
    return f"/v2/queues/{name}/claims/{claim_text(claim_id)}"
