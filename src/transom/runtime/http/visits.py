# SPDX-License-Identifier: Apache-2.0
"""From a request to open a WebSocket to what its handler may do: each request on a socket passes
what a request of its own would pass at the door.

Invariants:
1. Of a socket's requests each has its request id, is counted by its project's rate, by the figures
   and by the bound of requests at once, and is told to the audit log as one over HTTP would be.
2. No exception leaves `act`: what is not of the tree is answered 500 and logged.
3. There are never more sockets than the bounds of the process, of an address and of a project.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from websockets.datastructures import Headers as HandshakeHeaders
from websockets.http11 import Request as HandshakeRequest
from websockets.server import ServerProtocol

from transom.errors import BadRequest, TooManyRequests, Unavailable
from transom.runtime.auth.context import Context
from transom.runtime.http.audited import READS, unaudited
from transom.runtime.http.dispatch import Door, marked
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.rates import address_key
from transom.runtime.http.refusal import refusal
from transom.runtime.http.route import Answer, Call, Mount, Route, SocketRoute
from transom.runtime.http.websocket import Bounds, Code, Socket, carried_out, protocol_log
from transom.runtime.idempotency import HEADER, REPLAYED, Repeat, checked_key, digest
from transom.runtime.telemetry.correlation import current
from transom.runtime.telemetry.metrics import RequestMeter

RETRY_AFTER_S = 5
_KEY_HEADER = HEADER.decode()
_EMPTY: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Action:
    """A request on a socket: a route as it would be asked over HTTP.

    `name`: what it is called in figures and in the audit log. `content`: the body as it came, for
    an Idempotency-Key.
    """

    name: str
    route: Route
    path: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content: bytes = b""


class Acted(NamedTuple):
    """A request on a socket as the audit log is told of it."""

    method: str
    raw_path: bytes
    host: str


class Census(Collector):
    """How many sockets a process has, and requests on them under way.

    Register it: `registry.register(census)`."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self.sockets = self.acting = 0
        self._of_address: Counter[str] = Counter()
        self._of_project: Counter[str] = Counter()

    def collect(self) -> Iterable[Metric]:
        return [GaugeMetricFamily("transom_http_sockets", "Open WebSockets.", self.sockets)]

    def check(self, host: str, project_id: str) -> None:
        """Whether there is room for one more. Raises: Unavailable, TooManyRequests."""
        address = address_key(host)
        if host and self.sockets >= self._limits.sockets_max:
            raise Unavailable("This door has no room for a WebSocket; try again.")
        if address and self._of_address[address] >= self._limits.address_sockets_max:
            raise TooManyRequests(
                f"Your address has {self._limits.address_sockets_max} WebSockets open; close one.",
                retry_after_s=RETRY_AFTER_S,
            )
        if project_id and self._of_project[project_id] >= self._limits.project_sockets_max:
            raise TooManyRequests(
                f"Your project has {self._limits.project_sockets_max} WebSockets open; close one.",
                retry_after_s=RETRY_AFTER_S,
            )

    def enter(self, host: str) -> None:
        """Raises: Unavailable, TooManyRequests."""
        self.check(host, "")
        self.sockets += 1
        address = address_key(host)
        if address:
            self._of_address[address] += 1

    def leave(self, host: str, project_id: str) -> None:
        self.sockets -= 1
        _less(self._of_address, address_key(host) or "")
        _less(self._of_project, project_id)

    def move(self, before: str, project_id: str) -> None:
        """A socket's project is another now. Raises: TooManyRequests."""
        if project_id == before:
            return
        self.check("", project_id)
        _less(self._of_project, before)
        if project_id:
            self._of_project[project_id] += 1


def _less(counter: Counter[str], key: str) -> None:
    if key:
        counter[key] -= 1
        if not counter[key]:
            del counter[key]


class Visit:
    """One socket's standing with the door. `token`: that of the handshake, valid then, or ""."""

    def __init__(
        self, door: Door, mount: Mount, census: Census, call: Call[None], token: str
    ) -> None:
        self.client = call.client
        self.token = token
        self.limits = door.limits
        self._door = door
        self._mount = mount
        self._census = census
        self._project_id = ""
        self._meters: dict[str, RequestMeter] = {}

    def cached(self, token: str) -> Context | None:
        """Whose the token is, if it is known to be valid now; asks nobody."""
        return self._door.authenticate.cached(token)

    async def identified(self, token: str, service_token: str = "") -> Context:
        """Whose a token is. Raises: Unauthorized, TooManyRequests, Unavailable."""
        known = None if service_token else self.cached(token)
        if known is None:
            headers = {b"x-service-token": service_token.encode("latin-1", "replace")}
            known = await self._door.identified(self.client, token, headers)
        return known

    def unidentified(self) -> None:
        """Counts a request that shows no valid token. Raises: TooManyRequests."""
        self._door.rates.of_address(self.client)

    def belongs(self, project_id: str) -> None:
        """The socket acts for this project from now on. Raises: TooManyRequests."""
        self._census.move(self._project_id, project_id)
        self._project_id = project_id

    def enter(self) -> None:
        """Raises: Unavailable, TooManyRequests."""
        self._census.enter(self.client)

    def leave(self) -> None:
        self._census.leave(self.client, self._project_id)

    async def act(
        self,
        action: Action,
        known: Context,
        hung_up: Callable[[], Awaitable[Any]],
        *,
        of_ours: bool = False,
    ) -> tuple[Answer, str]:
        """The answer, and its request id. `known`: whose it is, by a token that is valid now.

        `hung_up`: returns when nobody waits for it any more. `of_ours`: nobody asked for it now, so
        no rate and no bound refuses it.
        """
        door, route, census = self._door, action.route, self._census
        request_id = door.new_request_id()
        context = marked(known, request_id)
        current.set(context)
        audit = door.audit(self._mount, routine=route.routine or route.method in READS)
        meter = self._meter(action.name)
        began_s = perf_counter()
        meter.began()
        census.acting += 1
        status = 0
        try:
            try:
                if census.acting > door.limits.requests_max and not of_ours:
                    raise Unavailable("This door has no room for the request; try again.")
                if audit is not None and audit.log.needed:
                    audit.admit(action.name, request_id)
                if door.rates.limits_projects and not of_ours:
                    door.rates.of_project(context)
                answer = await self._answer(action, context, hung_up)
            except Exception as error:  # noqa: BLE001 Safety: one request's failure is its own
                answer = refusal(error, self._mount, request_id, _EMPTY)
            status = answer.status
        finally:
            census.acting -= 1
            duration_s = perf_counter() - began_s
            if audit is not None and not audit.told(
                self._audited(action), request_id, status, duration_s
            ):
                answer = refusal(unaudited(), self._mount, request_id, _EMPTY)
                status = answer.status
            meter.ended(status, duration_s)
        return answer, request_id

    async def _answer(
        self, action: Action, context: Context, hung_up: Callable[[], Awaitable[Any]]
    ) -> Answer:
        route = action.route
        path = _filled(route.path, action.path)
        call = Call(
            context,
            path,
            action.path,
            action.query,
            action.headers,
            action.body,
            self.client,
            hung_up=hung_up,
        )
        key = action.headers.get(_KEY_HEADER)
        if key is None or route.method not in ("POST", "PUT", "PATCH"):
            return await route.handler(call)
        if not route.repeatable:
            raise BadRequest("This action takes no Idempotency-Key; send it without.")
        query = "&".join(f"{name}={value}" for name, value in sorted(action.query.items()))
        found = digest(action.name, path.encode(), query.encode(), action.content)
        keep_ms = self.limits.idempotency_keep_s * 1000
        repeat = call.repeat = Repeat(checked_key([_latin(key)]), found, keep_ms)
        answer = await route.handler(call)
        if repeat.replayed:
            answer.headers = {**answer.headers, REPLAYED: "true"}
        return answer

    def _audited(self, action: Action) -> Acted:
        path = self._mount.prefix + _filled(action.route.path, action.path)
        return Acted(action.name, path.encode("latin-1", "replace"), self.client)

    def _meter(self, name: str) -> RequestMeter:
        meter = self._meters.get(name)
        if meter is None:
            meter = self._meters[name] = self._door.metrics.meter(self._mount.prefix, name)
        return meter


def _filled(template: str, fields: Mapping[str, str]) -> str:
    path = template
    for name, value in fields.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def _latin(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def openings(door: Door, mount: Mount, census: Census) -> list[Route]:
    """The routes by which the mount's sockets are opened. `census`: of all mounts."""
    return [_opening(door, mount, route, census) for route in mount.sockets]


def _opening(door: Door, mount: Mount, route: SocketRoute, census: Census) -> Route:
    bounds = Bounds(route.message_bytes_max, door.limits)

    async def open_socket(call: Call[None]) -> Answer:
        accepted = _accepted(call)
        token = call.headers.get("x-auth-token", "")
        project_id = ""
        if token:
            service = call.headers.get("x-service-token", "").encode("latin-1")
            known = door.authenticate.cached(token) or await door.identified(
                call.client, token, {b"x-service-token": service}
            )
            project_id = known.project_id
        visit = Visit(door, mount, census, call, token)

        def switch(transport: asyncio.Transport, now_s: float) -> Any:
            socket = Socket(transport, bounds, now_s)
            handler = partial(_visited, route, visit, project_id)
            return socket, asyncio.get_running_loop().create_task(carried_out(socket, handler))

        census.check(call.client, project_id)
        return Answer(101, headers=accepted, switch=switch)

    return Route("GET", route.path, open_socket, public=True, summary=route.summary)


async def _visited(route: SocketRoute, visit: Visit, project_id: str, socket: Socket) -> None:
    try:
        visit.enter()
    except (Unavailable, TooManyRequests) as error:  # others came in between
        socket.close(Code.TRY_AGAIN, error.text)
        return
    try:
        visit.belongs(project_id)
        await route.handler(socket, visit)
    except TooManyRequests as error:
        socket.close(Code.TRY_AGAIN, error.text)
    finally:
        visit.leave()


def _accepted(call: Call[None]) -> dict[str, str]:
    """The headers that finish the handshake. Raises: BadRequest."""
    headers = HandshakeHeaders()
    for name, value in call.headers.items():
        if name in ("connection", "upgrade") or name.startswith("sec-websocket-"):
            headers[name] = value
    request = HandshakeRequest("/", headers)
    protocol = ServerProtocol(extensions=None, logger=protocol_log)
    response = protocol.accept(request)
    if response.status_code != 101:
        raise BadRequest(
            "This is where a WebSocket is opened (RFC 6455, version 13): "
            f"{protocol.handshake_exc or 'the request does not ask for one'}."
        )
    kept = {name.lower(): value for name, value in response.headers.raw_items()}
    kept.pop("date", None)
    return kept
