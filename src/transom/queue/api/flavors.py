# SPDX-License-Identifier: Apache-2.0
"""`/v2/flavors` and `/v2/flavors/{flavor}`: names for pools, of which a queue chooses one."""

from msgspec import UNSET

from transom.queue.api import query
from transom.queue.api.parameters import CLIENT, IN_FLAVOR, Bounded
from transom.queue.api.refusals import served
from transom.queue.api.wire import pools as wire
from transom.queue.api.wire.documents import Link, Refusal
from transom.queue.app.flavors import Flavors
from transom.queue.model import ClientId
from transom.queue.store.pools import Flavor
from transom.runtime.http.paging import next_link
from transom.runtime.http.route import Answer, Call, Route

ONE = "/v2/flavors/{flavor}"
CAPABILITIES = ("FIFO", "CLAIMS", "DURABILITY", "AOD", "HIGH_THROUGHPUT")
"""By Zaqar's words, of every database that can be a pool here."""


class FlavorHandlers:
    """One method a route."""

    def __init__(self, flavors: Flavors, bounded: Bounded) -> None:
        self._flavors = flavors
        self._bounded = bounded

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/v2/flavors",
                served(self.page),
                parameters=(CLIENT, *self._bounded.pool_page()),
                answers={200: wire.FlavorPage},
                summary="List flavors by name",
            ),
            Route(
                "PUT",
                ONE,
                served(self.put),
                body=wire.FlavorPools,
                parameters=IN_FLAVOR,
                answers={201: None, 409: Refusal},
                summary="Make a flavor of some pools, or give it these instead",
            ),
            Route(
                "GET",
                ONE,
                served(self.show),
                parameters=IN_FLAVOR,
                answers={200: wire.ShownFlavor},
                summary="Show a flavor",
            ),
            Route(
                "PATCH",
                ONE,
                served(self.change),
                body=wire.FlavorPools,
                parameters=IN_FLAVOR,
                answers={200: wire.ShownFlavor, 409: Refusal},
                summary="Give a flavor other pools",
            ),
            Route(
                "DELETE",
                ONE,
                served(self.delete),
                parameters=IN_FLAVOR,
                answers={204: None},
                summary="Delete a flavor; its queues stay where they are",
            ),
        ]

    async def page(self, call: Call[None], client: ClientId) -> Answer:
        given = call.query
        detailed = query.flag(given, "detailed")
        found = await self._flavors.page(
            call.context, given.get("marker", ""), query.number(given, "limit")
        )
        links = []
        if found:
            links.append(Link("next", next_link("/v2/flavors", given, marker=found[-1].name)))
        return Answer(200, wire.FlavorPage([_shown(it, detailed=detailed) for it in found], links))

    async def put(self, call: Call[wire.FlavorPools], client: ClientId) -> Answer:
        name = call.path["flavor"]
        await self._flavors.put(call.context, name, call.body.pool_list)
        return Answer(201, headers={"location": f"/v2/flavors/{name}"})

    async def show(self, call: Call[None], client: ClientId) -> Answer:
        found = await self._flavors.get(call.context, call.path["flavor"])
        return Answer(200, _shown(found, detailed=True))

    async def change(self, call: Call[wire.FlavorPools], client: ClientId) -> Answer:
        found = await self._flavors.change(call.context, call.path["flavor"], call.body.pool_list)
        return Answer(200, _shown(found, detailed=True))

    async def delete(self, call: Call[None], client: ClientId) -> Answer:
        await self._flavors.delete(call.context, call.path["flavor"])
        return Answer(204)


def _shown(flavor: Flavor, *, detailed: bool) -> wire.ShownFlavor:
    return wire.ShownFlavor(
        f"/v2/flavors/{flavor.name}",
        flavor.name,
        list(flavor.pools),
        list(CAPABILITIES) if detailed else UNSET,
    )
