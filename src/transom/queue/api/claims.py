# SPDX-License-Identifier: Apache-2.0
"""`/v2/queues/{queue}/claims` and one claim of it."""

from transom.queue.api import query, wire
from transom.queue.api.messages import shown_messages
from transom.queue.api.parameters import CLAIM, IN_QUEUE, Bounded
from transom.queue.api.refusals import served
from transom.queue.app import QueueApp
from transom.queue.model import ClaimId, ClientId, claim_text
from transom.runtime.http.route import Answer, Call, Route


class ClaimHandlers:
    """One method a route."""

    def __init__(self, app: QueueApp, bounded: Bounded) -> None:
        self._app = app
        self._bounded = bounded

    def routes(self) -> list[Route]:
        every, one = "/v2/queues/{queue}/claims", "/v2/queues/{queue}/claims/{claim}"
        of_one = (*IN_QUEUE, CLAIM)
        return [
            Route(
                "POST",
                every,
                served(self.create),
                repeatable=True,
                body=wire.ClaimTerms,
                body_optional=True,
                parameters=self._bounded.claiming(),
                answers={201: wire.Messages, 204: None},
                summary="Claim the first messages that wait; 204 if none do",
            ),
            Route(
                "GET",
                one,
                served(self.get),
                parameters=of_one,
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
                parameters=of_one,
                answers={204: None},
                summary="Give a claim up: its messages are free",
            ),
        ]

    async def create(self, call: Call[wire.ClaimTerms | None], client: ClientId) -> Answer:
        name, terms = call.path["queue"], call.body or wire.ClaimTerms()
        limit = query.number(call.query, "limit")
        claim = await self._app.claim(
            call.context, name, terms.ttl, terms.grace, limit, call.repeat
        )
        if claim is None:
            return Answer(204)
        body = wire.Messages(shown_messages(name, claim.messages))
        return Answer(201, body, {"location": _href(name, claim.id)})

    async def get(self, call: Call[None], client: ClientId) -> Answer:
        name = call.path["queue"]
        claim = await self._app.get_claim(call.context, name, call.path["claim"])
        messages = shown_messages(name, claim.messages)
        return Answer(
            200, wire.ShownClaim(claim.age_s, claim.ttl_s, _href(name, claim.id), messages)
        )

    async def renew(self, call: Call[wire.ClaimTerms], client: ClientId) -> Answer:
        terms = call.body
        await self._app.renew_claim(
            call.context, call.path["queue"], call.path["claim"], terms.ttl, terms.grace
        )
        return Answer(204)

    async def release(self, call: Call[None], client: ClientId) -> Answer:
        await self._app.release_claim(call.context, call.path["queue"], call.path["claim"])
        return Answer(204)


def _href(name: str, claim_id: ClaimId) -> str:
    return f"/v2/queues/{name}/claims/{claim_text(claim_id)}"
