# SPDX-License-Identifier: Apache-2.0
"""What the root of a port answers: its mounts, whether it lives, whether it is ready, its figures.

`/healthz` says that the process answers and nothing else, so it stays 200 while a needed system is
away; `/readyz` is what load balancers and supervisors ask.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from transom.runtime.http.route import Answer, Call, Mount, Route
from transom.runtime.telemetry.metrics import TEXT_FORMAT, exposition


def root_mount(
    mounts: Sequence[Mount],
    checks: Mapping[str, Callable[[], bool]],
    registry: CollectorRegistry,
) -> Mount:
    """The mount with the empty prefix; its routes ask for no token."""

    async def mounted(call: Call[None]) -> Answer:
        links = {"health": "/healthz", "ready": "/readyz", "metrics": "/metrics"}
        return Answer(body={"mounts": [mount.prefix for mount in mounts], "links": links})

    async def alive(call: Call[None]) -> Answer:
        return Answer(body={"status": "alive"})

    async def ready(call: Call[None]) -> Answer:
        found = {name: check() for name, check in checks.items()}
        if all(found.values()):
            return Answer(body={"status": "ready", "checks": found})
        return Answer(503, {"status": "not ready", "checks": found}, {"retry-after": "1"})

    async def metrics(call: Call[None]) -> Answer:
        return Answer(body=exposition(registry), media_type=TEXT_FORMAT)

    def public(path: str, handler: Any, summary: str, *answer_types: str) -> Route:
        kinds = answer_types or ("application/json",)
        return Route("GET", path, handler, public=True, answer_types=kinds, summary=summary)

    return Mount(
        "",
        [
            public("", mounted, "What is mounted on this port"),
            public("/healthz", alive, "Whether the process answers"),
            public("/readyz", ready, "Whether everything that it needs is there"),
            public("/metrics", metrics, "Figures for Prometheus", "text/plain"),
        ],
    )
