# SPDX-License-Identifier: Apache-2.0
"""`/v2/queues/{queue}/redrive`."""

from transom.queue.api.parameters import IN_QUEUE
from transom.queue.api.refusals import served
from transom.queue.api.wire import letters as wire
from transom.queue.app.letters import Letters
from transom.queue.model import ClientId
from transom.runtime.http.route import Answer, Call, Route


class LetterHandlers:
    """One method a route."""

    def __init__(self, letters: Letters) -> None:
        self._letters = letters

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST",
                "/v2/queues/{queue}/redrive",
                served(self.redrive),
                repeatable=True,
                body=wire.Redrive,
                body_optional=True,
                parameters=IN_QUEUE,
                answers={200: wire.Redriven},
                summary="Move dead letters back to where they came from, or to another queue",
            )
        ]

    async def redrive(self, call: Call[wire.Redrive | None], client: ClientId) -> Answer:
        wished = call.body or wire.Redrive()
        done = await self._letters.redrive(
            call.context, call.path["queue"], wished.limit, wished.ids, wished.to, call.repeat
        )
        return Answer(200, wire.Redriven(done.moved, done.left))
