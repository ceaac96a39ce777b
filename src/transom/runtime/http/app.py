# SPDX-License-Identifier: Apache-2.0
"""All mounts of one port as one application.

Beside the mounts, the port's root has `/` (what is mounted), `/healthz`, `/readyz` and `/metrics`;
each mount, and the root, has its `/openapi.json`.

Invariants:
1. Every path that is not there, below a mount, is refused in that mount's form.
2. HEAD is served wherever GET is.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

from prometheus_client import CollectorRegistry

from transom.errors import BadRequest, MethodNotAllowed, NotFound
from transom.runtime.clock import Clock, SystemClock
from transom.runtime.http.cycle import Application, Cycle, Outgoing
from transom.runtime.http.dispatch import Authenticate, Door
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.openapi import documented
from transom.runtime.http.rates import Rates
from transom.runtime.http.request_ids import request_ids
from transom.runtime.http.root import Warnings, root_mount
from transom.runtime.http.route import Mount, Route
from transom.runtime.http.router import Responder, Router
from transom.runtime.http.visits import Census, openings
from transom.runtime.ids import Randomness
from transom.runtime.telemetry.audit import AuditLog
from transom.runtime.telemetry.metrics import RequestMetrics

Checks = Mapping[str, Callable[[], bool]]


def make_app(
    mounts: Sequence[Mount],
    *,
    authenticate: Authenticate,
    random: Randomness,
    registry: CollectorRegistry | None = None,
    checks: Checks | None = None,
    warnings: Warnings | None = None,
    www_authenticate: str = "",
    limits: HttpLimits | None = None,
    clock: Clock | None = None,
    share: float = 1.0,
    audit_log: AuditLog | None = None,
) -> Application:
    """The application.

    `registry`: what `/metrics` shows; the doors' own figures are added to it. `checks`: name ->
    whether that part is ready, for `/readyz`, and `warnings`: see `root`. `www_authenticate`: that
    header's value in every 401. `share`: what part of each rate limit this process gives away.
    `audit_log`: is told of what changes something and of denials; who started it stops it.

    Raises: ValueError for templates or prefixes that clash.
    """
    registry = registry or CollectorRegistry()
    metrics = RequestMetrics()
    registry.register(metrics)
    limits = limits or HttpLimits()
    rates = Rates(limits, clock or SystemClock(), share)
    registry.register(rates)
    if audit_log is not None:
        registry.register(audit_log)
    door = Door(
        authenticate,
        request_ids(random),
        metrics,
        limits,
        {"www-authenticate": www_authenticate} if www_authenticate else {},
        rates,
        audit_log,
    )
    root = root_mount(mounts, checks or {}, registry, warnings)
    census = Census(limits)
    registry.register(census)
    every_mount = [
        replace(shown, routes=[*shown.routes, *openings(door, shown, census)])
        for shown in map(documented, (*mounts, root))
    ]
    router = _routed(door, every_mount)

    def app(request: Cycle) -> Awaitable[Outgoing | None]:
        try:
            respond = router.find(request)[request.method]
        except BadRequest as error:
            mount = router.mount_of(request.raw_path.decode("ascii"))
            respond = door.refuser(mount, "other", partial(type(error), error.text))
        return respond(request)

    return app


def _routed(door: Door, mounts: Sequence[Mount]) -> Router:
    router = Router(mounts, lambda mount: door.refuser(mount, "other", NotFound))
    for mount in mounts:
        by_path = sorted(mount.routes, key=lambda route: route.path)
        for path, routes in groupby(by_path, key=lambda route: route.path):
            responders = _responders(door, mount, list(routes))
            allowed = tuple(sorted(responders))
            otherwise = door.refuser(mount, "other", partial(MethodNotAllowed, allowed=allowed))
            router.add(mount, path, responders, otherwise)
    return router


def _responders(door: Door, mount: Mount, routes: list[Route]) -> dict[str, Responder]:
    responders = {route.method: door.responder(mount, route) for route in routes}
    if len(responders) != len(routes):
        raise ValueError(f"{mount.prefix}{routes[0].path} has one method twice")
    if "GET" in responders:
        responders.setdefault("HEAD", responders["GET"])
    return responders
