# SPDX-License-Identifier: Apache-2.0
"""All mounts of one port as one ASGI application.

Beside the mounts, the port's root has `/` (what is mounted), `/healthz`, `/readyz` and `/metrics`;
each mount, and the root, has its `/openapi.json`.

Invariants:
1. Every path that is not there, below a mount, is refused in that mount's form.
2. HEAD is served wherever GET is.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any, cast

import falcon
import falcon.asgi
from prometheus_client import CollectorRegistry

from transom.errors import MethodNotAllowed, NotFound, TransomError
from transom.runtime.auth.context import Context
from transom.runtime.clock import Clock, SystemClock
from transom.runtime.http.dispatch import Authenticate, Door, Request, write
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.openapi import documented
from transom.runtime.http.rates import Rates
from transom.runtime.http.refusal import by_status, refusal
from transom.runtime.http.request_ids import request_ids
from transom.runtime.http.root import Warnings, root_mount
from transom.runtime.http.route import Mount, Route
from transom.runtime.http.router import Responder, Router
from transom.runtime.ids import Randomness
from transom.runtime.telemetry.audit import AuditLog
from transom.runtime.telemetry.correlation import current
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
) -> falcon.asgi.App[Any, Any]:
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
    every_mount = [documented(mount) for mount in (*mounts, root)]
    router = _routed(door, every_mount)
    app: falcon.asgi.App[Any, Any] = falcon.asgi.App(
        request_type=Request, router=cast(Any, router), independent_middleware=True
    )
    app.resp_options.default_media_type = cast(Any, None)
    on_error = _error_handler(door, router)
    for kind in (Exception, falcon.HTTPError, falcon.HTTPStatus):
        app.add_error_handler(kind, on_error)
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


def _error_handler(door: Door, router: Router) -> Callable[..., Any]:
    """For what fails before a responder runs: falcon's own refusals, paths that do not decode."""

    async def on_error(
        req: Request, resp: falcon.asgi.Response, error: Exception, params: dict[str, Any]
    ) -> None:
        request_id = door.new_request_id()
        current.set(Context(request_id))
        known = error if isinstance(error, TransomError) else _translated(error)
        mount = router.mount_of(req.path)
        answer = refusal(known, mount, request_id, door.unauthorized)
        write(answer, request_id, resp)
        audit = door.audit(mount)
        if audit is not None:
            audit.told(req.scope, request_id, answer.status, 0.0)

    return on_error


def _translated(error: Exception) -> Exception:
    if isinstance(error, falcon.HTTPError | falcon.HTTPStatus):
        return by_status(error.status_code)
    return error
