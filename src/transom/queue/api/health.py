# SPDX-License-Identifier: Apache-2.0
"""`/v2/health`: the stores, tried. One store is shown by itself, several by their names."""

from typing import Any

from msgspec import UNSET

from transom.queue.api.parameters import CLIENT
from transom.queue.api.refusals import served
from transom.queue.api.wire import health as wire
from transom.queue.app.health import Health, StoreHealth
from transom.queue.model import ClientId
from transom.runtime.http.route import Answer, Call, Route

HOME_SHOWN = "home"


class HealthHandlers:
    """One method a route."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/v2/health",
                served(self.check),
                parameters=(CLIENT,),
                answers={200: dict[str, Any]},
                summary="Try every store, and show how long its operations took",
            )
        ]

    async def check(self, call: Call[None], client: ClientId) -> Answer:
        found = await self._health.check(call.context)
        if len(found) == 1:
            return Answer(200, _shown(found[0]))
        shown: dict[str, Any] = {"catalog_reachable": found[0].reachable}
        for store in found:
            shown[store.name or HOME_SHOWN] = _shown(store)
        return Answer(200, shown)


def _shown(store: StoreHealth) -> wire.ShownHealth:
    operations = {
        name: wire.ShownTried(tried.succeeded, tried.seconds, tried.ref)
        for name, tried in store.operations.items()
    }
    held = store.volume
    volume = UNSET if held is None else wire.ShownVolume(held.free, held.claimed, held.total)
    return wire.ShownHealth(store.reachable, operations, volume)
