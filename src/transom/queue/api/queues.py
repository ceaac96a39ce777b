# SPDX-License-Identifier: Apache-2.0
"""`/v2/queues` and `/v2/queues/{queue}` with `stats` and `purge`."""

from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET, UnsetType

from transom.errors import BadRequest
from transom.queue.api import query
from transom.queue.api.parameters import IN_QUEUE, Bounded
from transom.queue.api.refusals import InvalidBody, served
from transom.queue.api.wire import queues as wire
from transom.queue.api.wire.documents import Link, Refusal
from transom.queue.app.queues import Queues
from transom.queue.logic.selection import QueueFilter
from transom.queue.model import Change, ClientId, Edge, InvalidQueueName, QueueNotFound
from transom.runtime.http.paging import next_link
from transom.runtime.http.route import Answer, Call, Route

OWN_PARAMETERS = frozenset({"marker", "limit", "detailed", "name", "with_count"})


class QueueHandlers:
    """One method a route."""

    def __init__(self, queues: Queues, bounded: Bounded, body_bytes_max: int) -> None:
        self._queues = queues
        self._bounded = bounded
        self._body_bytes_max = body_bytes_max

    def routes(self) -> list[Route]:
        page = Route(
            "GET",
            "/v2/queues",
            served(self.page),
            parameters=self._bounded.queue_page(),
            answers={200: wire.QueuePage},
            summary="List queues by name",
        )
        one = "/v2/queues/{queue}"
        return [page, *self._reading(one), *self._writing(one)]

    def _reading(self, one: str) -> list[Route]:
        return [
            Route(
                "GET",
                one,
                served(self.show),
                parameters=IN_QUEUE,
                answers={200: wire.Metadata},
                summary="Show a queue's metadata; all are defaults if it is not there",
            ),
            Route(
                "HEAD",
                one,
                served(self.exists),
                parameters=IN_QUEUE,
                answers={204: None},
                summary="Whether a queue is there",
            ),
            Route(
                "GET",
                one + "/stats",
                served(self.stats),
                parameters=IN_QUEUE,
                answers={200: wire.ShownStats},
                summary="Count what a queue holds",
            ),
        ]

    def _writing(self, one: str) -> list[Route]:
        return [
            Route(
                "PUT",
                one,
                served(self.create),
                repeatable=True,
                body=wire.Metadata,
                body_optional=True,
                body_bytes_max=self._body_bytes_max,
                parameters=IN_QUEUE,
                answers={201: None, 204: None},
                summary="Make a queue; 204 if it was there, with its metadata as they were",
            ),
            Route(
                "PATCH",
                one,
                served(self.update),
                body=wire.Changes,
                body_types=(wire.PATCH_TYPE,),
                body_bytes_max=self._body_bytes_max,
                parameters=IN_QUEUE,
                answers={200: wire.Metadata, 409: Refusal},
                summary="Change a queue's metadata; all changes are made or none",
            ),
            Route(
                "DELETE",
                one,
                served(self.delete),
                parameters=IN_QUEUE,
                answers={204: None},
                summary="Delete a queue and what it holds",
            ),
            Route(
                "POST",
                one + "/purge",
                served(self.purge),
                body=wire.PurgeQueue,
                body_optional=True,
                parameters=IN_QUEUE,
                answers={204: None},
                summary="Remove what a queue holds",
            ),
        ]

    async def page(self, call: Call[None], client: ClientId) -> Answer:
        given = call.query
        detailed = query.flag(given, "detailed")
        wanted = QueueFilter(
            given.get("name", ""),
            tuple((key, value) for key, value in given.items() if key not in OWN_PARAMETERS),
        )
        found = await self._queues.page(
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
            links.append(Link("next", onward))
        count = UNSET if found.count is None else found.count
        return Answer(200, wire.QueuePage(shown, links, count))

    async def show(self, call: Call[None], client: ClientId) -> Answer:
        return Answer(200, await self._queues.show(call.context, call.path["queue"]))

    async def exists(self, call: Call[None], client: ClientId) -> Answer:
        if not await self._queues.exists(call.context, call.path["queue"]):
            raise QueueNotFound("There is no such queue.")
        return Answer(204)

    async def create(self, call: Call[dict[str, Any] | None], client: ClientId) -> Answer:
        name = call.path["queue"]
        created = await self._queues.create(call.context, name, call.body or {}, call.repeat)
        return Answer(201 if created else 204, headers={"location": f"/v2/queues/{name}"})

    async def update(self, call: Call[list[wire.Change]], client: ClientId) -> Answer:
        changes = [
            Change(change.op, change.path, change.value, change.value is not UNSET)
            for change in call.body
        ]
        if not changes:
            raise BadRequest("The list of changes is empty.")
        try:
            metadata = await self._queues.update(call.context, call.path["queue"], changes)
        except InvalidQueueName:
            raise
        except BadRequest as error:
            raise InvalidBody(error.text) from error
        return Answer(200, metadata)

    async def delete(self, call: Call[None], client: ClientId) -> Answer:
        await self._queues.delete(call.context, call.path["queue"])
        return Answer(204)

    async def stats(self, call: Call[None], client: ClientId) -> Answer:
        name = call.path["queue"]
        stats = await self._queues.stats(call.context, name)
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
        await self._queues.purge(
            call.context,
            name,
            messages_too="messages" in types,
            subscriptions_too="subscriptions" in types,
        )
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
