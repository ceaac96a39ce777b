# SPDX-License-Identifier: Apache-2.0
"""`/v2/pools` and `/v2/pools/{pool}`: databases that queues may be in, for administrators."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from transom.queue.api import query
from transom.queue.api.parameters import CLIENT, IN_POOL, Bounded
from transom.queue.api.refusals import served
from transom.queue.api.wire import pools as wire
from transom.queue.api.wire.documents import Link, Refusal
from transom.queue.app.pools import Pools
from transom.queue.model import ClientId
from transom.queue.store.pools import Pool
from transom.runtime.http.paging import next_link
from transom.runtime.http.route import Answer, Call, Route

ONE = "/v2/pools/{pool}"


class PoolHandlers:
    """One method a route."""

    def __init__(self, pools: Pools, bounded: Bounded) -> None:
        self._pools = pools
        self._bounded = bounded

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/v2/pools",
                served(self.page),
                parameters=(CLIENT, *self._bounded.pool_page()),
                answers={200: wire.PoolPage},
                summary="List pools by name",
            ),
            Route(
                "PUT",
                ONE,
                served(self.create),
                body=wire.NewPool,
                parameters=IN_POOL,
                answers={201: None, 409: Refusal},
                summary="Add a database that queues may be in",
            ),
            Route(
                "GET",
                ONE,
                served(self.show),
                parameters=IN_POOL,
                answers={200: wire.ShownPool},
                summary="Show a pool",
            ),
            Route(
                "PATCH",
                ONE,
                served(self.change),
                body=wire.ChangedPool,
                parameters=IN_POOL,
                answers={200: wire.ShownPool, 409: Refusal},
                summary="Change a pool's weight, flavor, options or address",
            ),
            Route(
                "DELETE",
                ONE,
                served(self.delete),
                parameters=IN_POOL,
                answers={204: None},
                summary="Remove a pool that no queue and no flavor needs",
            ),
        ]

    async def page(self, call: Call[None], client: ClientId) -> Answer:
        given = call.query
        detailed = query.flag(given, "detailed")
        found = await self._pools.page(
            call.context, given.get("marker", ""), query.number(given, "limit")
        )
        links = []
        if found:
            links.append(Link("next", next_link("/v2/pools", given, marker=found[-1].name)))
        return Answer(200, wire.PoolPage([_shown(it, detailed=detailed) for it in found], links))

    async def create(self, call: Call[wire.NewPool], client: ClientId) -> Answer:
        name, body = call.path["pool"], call.body
        options = msgspec.json.encode(body.options or {})
        await self._pools.create(
            call.context, name, body.uri, body.weight, body.flavor or "", options
        )
        return Answer(201, headers={"location": f"/v2/pools/{name}"})

    async def show(self, call: Call[None], client: ClientId) -> Answer:
        pool = await self._pools.get(call.context, call.path["pool"])
        return Answer(200, _shown(pool, detailed=True))

    async def change(self, call: Call[wire.ChangedPool], client: ClientId) -> Answer:
        body = call.body
        options = _given(body.options, {})
        pool = await self._pools.change(
            call.context,
            call.path["pool"],
            uri=_given(body.uri, ""),
            weight=_given(body.weight, 0),
            flavor=_given(body.flavor, ""),
            options=None if options is None else msgspec.json.encode(options),
        )
        return Answer(200, _shown(pool, detailed=True))

    async def delete(self, call: Call[None], client: ClientId) -> Answer:
        await self._pools.delete(call.context, call.path["pool"])
        return Answer(204)


def _given(value: Any | UnsetType, null: Any) -> Any:
    """None if it is not there; `null` for a null."""
    if value is UNSET:
        return None
    return null if value is None else value


def _shown(pool: Pool, *, detailed: bool) -> wire.ShownPool:
    return wire.ShownPool(
        f"/v2/pools/{pool.name}",
        pool.name,
        pool.shown,
        pool.weight,
        pool.flavor or None,
        msgspec.json.decode(pool.options) if detailed else UNSET,
    )
