# SPDX-License-Identifier: Apache-2.0
"""What the root of a port answers: its mounts, whether it lives, whether it is ready, its figures.

`/healthz` says that the process answers and nothing else, so it stays 200 while a needed system is
away; `/readyz` is what load balancers and supervisors ask. What is wrong elsewhere, and would be
no better behind another door (a Keystone that is away), is a warning there and leaves it 200.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

from prometheus_client import CollectorRegistry

from transom.runtime.http.openapi import PATH as OPENAPI
from transom.runtime.http.route import Answer, Call, Mount, Route
from transom.runtime.telemetry.metrics import TEXT_FORMAT, exposition

_JSON = "application/json"
Warnings = Mapping[str, Callable[[], str]]


class Mounted(TypedDict):
    """`documents`: where each mount describes itself."""

    mounts: list[str]
    links: dict[str, str]
    documents: list[str]


class Liveness(TypedDict):
    status: Literal["alive"]


class Readiness(TypedDict):
    status: Literal["ready", "not ready"]
    checks: dict[str, bool]
    warnings: NotRequired[dict[str, str]]


def root_mount(
    mounts: Sequence[Mount],
    checks: Mapping[str, Callable[[], bool]],
    registry: CollectorRegistry,
    warnings: Warnings | None = None,
) -> Mount:
    """The mount with the empty prefix; its routes ask for no token.

    `warnings`: name -> what is wrong there, for everybody's eyes; "" if nothing.
    """

    async def mounted(call: Call[None]) -> Answer:
        links = {"health": "/healthz", "ready": "/readyz", "metrics": "/metrics"}
        prefixes = [mount.prefix for mount in mounts]
        documents = [prefix + OPENAPI for prefix in (*prefixes, "")]
        return Answer(body={"mounts": prefixes, "links": links, "documents": documents})

    async def alive(call: Call[None]) -> Answer:
        return Answer(body={"status": "alive"})

    async def ready(call: Call[None]) -> Answer:
        found = {name: check() for name, check in checks.items()}
        told = {name: text for name, warn in (warnings or {}).items() if (text := warn())}
        more = {"warnings": told} if told else {}
        if all(found.values()):
            return Answer(body={"status": "ready", "checks": found, **more})
        return Answer(503, {"status": "not ready", "checks": found, **more}, {"retry-after": "1"})

    async def metrics(call: Call[None]) -> Answer:
        return Answer(body=exposition(registry), media_type=TEXT_FORMAT)

    def public(
        path: str, handler: Any, summary: str, answers: dict[int, Any], kind: str = _JSON
    ) -> Route:
        return Route(
            "GET",
            path,
            handler,
            public=True,
            answer_types=(kind,),
            answers=answers,
            summary=summary,
        )

    readiness = {200: Readiness, 503: Readiness}
    return Mount(
        "",
        [
            public("", mounted, "What is mounted on this port", {200: Mounted}),
            public("/healthz", alive, "Whether the process answers", {200: Liveness}),
            public("/readyz", ready, "Whether everything that it needs is there", readiness),
            public("/metrics", metrics, "Figures for Prometheus", {200: bytes}, "text/plain"),
        ],
    )
