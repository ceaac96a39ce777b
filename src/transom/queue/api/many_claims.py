# SPDX-License-Identifier: Apache-2.0
"""`/v2/claims`: a claim over several queues."""

from typing import Any

from transom.queue.api import query
from transom.queue.api.messages import shown_messages
from transom.queue.api.parameters import CLAIM, CLIENT, DETAILS, Bounded
from transom.queue.api.refusals import served
from transom.queue.api.wire import many_claims as wire
from transom.queue.api.wire.claims import ClaimTerms
from transom.queue.api.wire.messages import ShownMessage, moment
from transom.queue.app.many_claims import ManyClaim, ManyClaims
from transom.queue.model import ClientId, claim_text
from transom.runtime.http.route import Answer, Call, Route

BASE = "/v2/claims"


class ManyClaimHandlers:
    """One method a route."""

    def __init__(self, claims: ManyClaims, bounded: Bounded) -> None:
        self._claims = claims
        self._bounded = bounded

    def routes(self) -> list[Route]:
        one, of_one = f"{BASE}/{{claim}}", (CLIENT, CLAIM)
        return [
            Route(
                "POST",
                BASE,
                served(self.create),
                repeatable=True,
                body=wire.TakeMany,
                parameters=self._bounded.claiming_many(),
                answers={201: wire.ManyTaken, 204: None},
                summary="Claim the first messages that wait in several queues, one queue after "
                "another; 204 if none do",
            ),
            Route(
                "GET",
                one,
                served(self.get),
                parameters=(*of_one, DETAILS),
                answers={200: wire.ShownManyClaim},
                summary="Show a claim and its messages, in whichever queues they are",
            ),
            Route(
                "PATCH",
                one,
                served(self.renew),
                body=ClaimTerms,
                parameters=of_one,
                answers={204: None},
                summary="Renew a claim in all of its queues",
            ),
            Route(
                "DELETE",
                one,
                served(self.release),
                parameters=(*of_one, self._bounded.delay()),
                answers={204: None},
                summary="Give a claim up in all of its queues",
            ),
        ]

    async def create(self, call: Call[wire.TakeMany], client: ClientId) -> Answer:
        asked = call.body
        claim = await self._claims.take(
            call.context,
            asked.queues,
            asked.ttl,
            asked.grace,
            query.number(call.query, "limit"),
            call.repeat,
            wait_s=query.number(call.query, "wait"),
            gone=call.hung_up,
        )
        if claim is None:
            return Answer(204)
        body = wire.ManyTaken(
            claim_text(claim.id), moment(claim.expires_ms), _messages(call, claim)
        )
        return Answer(201, body, {"location": _href(claim)})

    async def get(self, call: Call[None], client: ClientId) -> Answer:
        claim = await self._claims.get(call.context, call.path["claim"])
        return Answer(
            200,
            wire.ShownManyClaim(
                claim_text(claim.id),
                claim.age_s,
                claim.ttl_s,
                _href(claim),
                moment(claim.expires_ms),
                _messages(call, claim),
            ),
        )

    async def renew(self, call: Call[ClaimTerms], client: ClientId) -> Answer:
        terms = call.body
        await self._claims.renew(call.context, call.path["claim"], terms.ttl, terms.grace)
        return Answer(204)

    async def release(self, call: Call[None], client: ClientId) -> Answer:
        delay_s = query.number(call.query, "delay")
        await self._claims.release(call.context, call.path["claim"], delay_s)
        return Answer(204)


def _messages(call: Call[Any], claim: ManyClaim) -> list[ShownMessage]:
    """Each says its queue."""
    details = query.flag(call.query, "details")
    every = []
    for place, part in claim.parts:
        for shown in shown_messages(place.name, part.messages, details=details):
            shown.queue = place.name
            every.append(shown)
    return every


def _href(claim: ManyClaim) -> str:
    return f"{BASE}/{claim_text(claim.id)}"
