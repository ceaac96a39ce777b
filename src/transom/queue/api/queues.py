# SPDX-License-Identifier: Apache-2.0
"""`/v2/queues` and `/v2/queues/{queue}` with `stats` and `purge`."""

from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET, UnsetType

from transom.errors import BadRequest
from transom.queue.api import query, wire
from transom.queue.api.refusals import served
from transom.queue.app import QueueApp
from transom.queue.logic.selection import QueueFilter
from transom.queue.model import Change, ClientId, Edge, QueueNotFound
from transom.runtime.http.paging import next_link
from transom.runtime.http.route import Answer, Call, Route

OWN_PARAMETERS = frozenset({"marker", "limit", "detailed", "name", "with_count"})


class QueueHandlers:
    """One method a route."""

    def __init__(self, app: QueueApp, body_bytes_max: int) -> None:
        self._app = app
        self._body_bytes_max = body_bytes_max

    def routes(self) -> list[Route]:
        one = "/v2/queues/{queue}"
        return [
            Route("GET", "/v2/queues", served(self.page), answers={200: wire.QueuePage}),
            Route("GET", one, served(self.show), answers={200: wire.METADATA}),
            Route("HEAD", one, served(self.exists), answers={204: None, 404: wire.Refusal}),
            Route(
                "PUT",
                one,
                served(self.create),
                body=wire.METADATA,
                body_optional=True,
                body_bytes_max=self._body_bytes_max,
                answers={201: None, 204: None},
            ),
            Route(
                "PATCH",
                one,
                served(self.update),
                body=list[wire.Change],
                body_types=(wire.PATCH_TYPE,),
                body_bytes_max=self._body_bytes_max,
                answers={200: wire.METADATA, 404: wire.Refusal, 409: wire.Refusal},
            ),
            Route("DELETE", one, served(self.delete), answers={204: None}),
            Route("GET", one + "/stats", served(self.stats), answers={200: wire.ShownStats}),
            Route(
                "POST",
                one + "/purge",
                served(self.purge),
                body=wire.PurgeQueue,
                body_optional=True,
                answers={204: None},
            ),
        ]

    async def page(self, call: Call[None], client: ClientId) -> Answer:
        given = call.query
        detailed = query.flag(given, "detailed")
        wanted = QueueFilter(
            given.get("name", ""),
            tuple((key, value) for key, value in given.items() if key not in OWN_PARAMETERS),
        )
        found = await self._app.list_queues(
            call.context,
            wanted,
            given.get("marker", ""),
            query.number(given, "limit"),
            with_count=query.flag(given, "with_count"),
        )
        shown = [
            wire.ShownQueue(name, f"/v2/queues/{name}", metadata if detailed else UNSET)
            for name, metadata in found.queues
        ]
        links = []
        if shown:
            onward = next_link("/v2/queues", given, marker=shown[-1].name)
            links.append(wire.Link("next", onward))
        count = UNSET if found.count is None else found.count
        return Answer(200, wire.QueuePage(shown, links, count))

    async def show(self, call: Call[None], client: ClientId) -> Answer:
        return Answer(200, await self._app.show_queue(call.context, call.path["queue"]))

    async def exists(self, call: Call[None], client: ClientId) -> Answer:
        if not await self._app.queue_exists(call.context, call.path["queue"]):
            raise QueueNotFound("There is no such queue.")
        return Answer(204)

    async def create(self, call: Call[dict[str, Any] | None], client: ClientId) -> Answer:
        name = call.path["queue"]
        created = await self._app.create_queue(call.context, name, call.body or {})
        return Answer(201 if created else 204, headers={"location": f"/v2/queues/{name}"})

    async def update(self, call: Call[list[wire.Change]], client: ClientId) -> Answer:
        changes = [
            Change(change.op, change.path, change.value, change.value is not UNSET)
            for change in call.body
        ]
        if not changes:
            raise BadRequest("The list of changes is empty.")
        metadata = await self._app.update_queue(call.context, call.path["queue"], changes)
        return Answer(200, metadata)

    async def delete(self, call: Call[None], client: ClientId) -> Answer:
        await self._app.delete_queue(call.context, call.path["queue"])
        return Answer(204)

    async def stats(self, call: Call[None], client: ClientId) -> Answer:
        name = call.path["queue"]
        stats = await self._app.queue_stats(call.context, name)
        counts = wire.ShownCounts(
            stats.claimed,
            stats.free,
            stats.total,
            _edge(name, stats.oldest),
            _edge(name, stats.newest),
        )
        return Answer(200, wire.ShownStats(counts))

    async def purge(self, call: Call[wire.PurgeQueue | None], client: ClientId) -> Answer:
        types = (call.body or wire.PurgeQueue()).resource_types
        name = call.path["queue"]
        await self._app.purge_queue(call.context, name, messages_too="messages" in types)
        return Answer(204)


def _edge(name: str, edge: Edge | None) -> wire.ShownEdge | UnsetType:
    if edge is None:
        return UNSET
    created = datetime.fromtimestamp(edge.created_ms // 1000, UTC)
    return wire.ShownEdge(
        edge.age_s,
        created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        f"/v2/queues/{name}/messages/{edge.id}",
    )
