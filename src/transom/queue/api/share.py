# SPDX-License-Identifier: Apache-2.0
"""`/v2/queues/{queue}/share`: URLs that need no token."""

from transom.queue.api.parameters import IN_QUEUE
from transom.queue.api.refusals import served
from transom.queue.api.wire import shares as wire
from transom.queue.app.shares import Shares
from transom.queue.model import ClientId
from transom.runtime.http.route import Answer, Call, Route


class ShareHandlers:
    """One method a route."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST",
                "/v2/queues/{queue}/share",
                served(self.share),
                body=wire.ShareQueue,
                body_optional=True,
                parameters=IN_QUEUE,
                answers={200: wire.SignedUrl},
                summary="Sign a URL, with which others may do so much of this without a token",
            )
        ]

    async def share(self, call: Call[wire.ShareQueue | None], client: ClientId) -> Answer:
        asked = call.body or wire.ShareQueue()
        signed = await self._shares.share(
            call.context, call.path["queue"], asked.paths, asked.methods, asked.expires
        )
        shown = wire.SignedUrl(
            list(signed.paths),
            list(signed.methods),
            signed.project_id,
            signed.expires,
            signed.signature,
        )
        return Answer(200, shown)
