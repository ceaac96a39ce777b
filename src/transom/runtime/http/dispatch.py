# SPDX-License-Identifier: Apache-2.0
"""One request, from its headers to its answer.

The order is: request id, token, what the caller accepts, body, handler, answer. Nothing is read
of a request that may not be carried out, and nothing is carried out whose answer could not be sent.

Invariants:
1. Every answer carries its request id, which is made here.
2. Without `public`, no handler runs before a token was validated. Where there is none at all, its
   mount may let the request in (`Mount.admits`); no header switches the token off.
3. No exception leaves a responder; what is not of the tree is answered 500 and logged.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec

from transom.errors import BadRequest, InternalError, NotAcceptable, TransomError, Unauthorized
from transom.runtime.auth.context import SERVICE_ROLE, Context
from transom.runtime.http.audited import Audit, unaudited
from transom.runtime.http.body import body_reader
from transom.runtime.http.cycle import NO_FIELDS, Cycle, Disconnected, Outgoing
from transom.runtime.http.headers import Headers, accepts
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.rates import Rates
from transom.runtime.http.refusal import refusal
from transom.runtime.http.route import Admits, Answer, Call, Handler, Mount, Route
from transom.runtime.http.router import Responder
from transom.runtime.idempotency import HEADER, REPLAYED, Repeat, checked_key, digest
from transom.runtime.telemetry.audit import AuditLog
from transom.runtime.telemetry.correlation import current
from transom.runtime.telemetry.metrics import RequestMetrics

FIELDS_MOST = 256
TOKENS = frozenset([b"x-auth-token", b"x-service-token"])
request_log = logging.getLogger("transom.http.requests")
"""One line a request, at level INFO; off unless that level is set."""

_NOT_REPEATABLE = frozenset(["POST", "PATCH"])
_encode = msgspec.json.Encoder().encode


class Authenticate(Protocol):
    """What says whose a token is. Contexts come with an empty request id."""

    def cached(self, token: str) -> Context | None:
        """The token's context if it is known to be valid now."""

    async def validate(self, token: str) -> Context:
        """Asks. Raises: Unauthorized, Unavailable."""

    async def validate_for(self, service_token: str, token: str) -> Context:
        """The user's, for a service that shows its own token too. Raises as `validate`."""


@dataclass(frozen=True, slots=True)
class Door:
    """What all routes of one port share."""

    authenticate: Authenticate
    new_request_id: Callable[[], str]
    metrics: RequestMetrics
    limits: HttpLimits
    unauthorized: Mapping[str, str]
    rates: Rates
    audit_log: AuditLog | None = None

    def responder(self, mount: Mount, route: Route) -> Responder:
        """What carries out one route."""
        serve = _server(route, self, mount.admits, limited=bool(mount.prefix))
        return self._guarded(mount, route.method, serve, routine=route.routine)

    def known(self, headers: Mapping[bytes, bytes]) -> Context | None:
        """Whose the request's token is, if that can be told without asking anybody."""
        if headers.get(b"x-service-token"):
            return None
        token = headers.get(b"x-auth-token")
        return None if token is None else self.authenticate.cached(token.decode("latin-1"))

    async def asked(
        self, request: Cycle, headers: Mapping[bytes, bytes], admits: Admits | None
    ) -> Context:
        """Whose the request is, where `known` cannot tell. Raises: as `identified`, `admitted`."""
        if admits is not None and TOKENS.isdisjoint(headers):
            found = self.admitted(request, admits)
            if found is not None:
                return found
        token = headers.get(b"x-auth-token", b"").decode("latin-1")
        return await self.identified(request.host, token, headers)

    async def identified(self, host: str, token: str, headers: Mapping[bytes, bytes]) -> Context:
        """Whose a token is that is not known yet. Raises: Unauthorized, TooManyRequests, ..."""
        service = headers.get(b"x-service-token", b"").decode("latin-1")
        helper = self.authenticate.cached(service) if service else None
        if helper is None or SERVICE_ROLE not in helper.roles:
            self.rates.of_address(host)
        if not token:
            raise Unauthorized
        if not service:
            return await self.authenticate.validate(token)
        return await self.authenticate.validate_for(service, token)

    def admitted(self, request: Cycle, admits: Admits) -> Context | None:
        """Who is let in without a token; None if a token is needed. Raises: what the mount does,
        TooManyRequests."""
        try:
            return admits(request.method, request.url_path, request.headers)
        except TransomError:
            self.rates.of_address(request.host)
            raise

    def audit(self, mount: Mount, *, routine: bool = False) -> Audit | None:
        """What tells the audit log of the mount's requests, if there is one."""
        if self.audit_log is None:
            return None
        return Audit(self.audit_log, mount.prefix or "/", routine)

    def refuser(self, mount: Mount, method: str, error: Callable[[], TransomError]) -> Responder:
        """What answers with an error, for paths and methods that are not there."""

        async def serve(request: Cycle, request_id: str) -> Answer:
            current.set(Context(request_id))
            raise error()

        return self._guarded(mount, method, serve)

    def _guarded(
        self,
        mount: Mount,
        method: str,
        serve: Callable[[Cycle, str], Awaitable[Answer]],
        *,
        routine: bool = False,
    ) -> Responder:
        meter = self.metrics.meter(mount.prefix or "/", method)
        new_request_id = self.new_request_id
        logged = request_log.isEnabledFor
        audit = self.audit(mount, routine=routine)
        needs_audit = audit is not None and audit.log.needed

        async def respond(request: Cycle) -> Outgoing | None:
            began_s = perf_counter()
            meter.began()
            status = 0
            request_id = new_request_id()
            outgoing = None
            try:
                try:
                    if audit is not None and needs_audit:
                        audit.admit(request.method, request_id)
                    outgoing = sent(await serve(request, request_id), request_id)
                except Disconnected:
                    return None
                except Exception as error:  # noqa: BLE001 Safety: one request's failure is its own
                    answer = refusal(error, mount, request_id, self.unauthorized)
                    outgoing = sent(answer, request_id)
                status = outgoing.status
            finally:
                duration_s = perf_counter() - began_s
                if audit is not None and not audit.told(request, request_id, status, duration_s):
                    answer = refusal(unaudited(), mount, request_id, self.unauthorized)
                    outgoing = sent(answer, request_id)
                    status = outgoing.status
                meter.ended(status, duration_s)
                if logged(logging.INFO):
                    _log_request(request, status, duration_s)
            return outgoing

        return respond


def _server(
    route: Route, door: Door, admits: Admits | None, *, limited: bool
) -> Callable[[Cycle, str], Awaitable[Answer]]:
    """`limited`: callers without a token are counted (by the rate of their address)."""
    handler: Handler = route.handler
    read = body_reader(route, door.limits.body_bytes_max, door.limits.body_s)
    rates = door.rates
    limited = limited and rates.limits_addresses
    looks_for_key = route.repeatable or route.method in _NOT_REPEATABLE
    public, answer_types = route.public, route.answer_types
    admitted = frozenset([b"*/*", *(kind.partition(";")[0].encode() for kind in answer_types)])

    async def serve(request: Cycle, request_id: str) -> Answer:
        headers = dict(request.headers)
        if not public:
            known = door.known(headers)
            if known is None:
                current.set(Context(request_id))
                known = await door.asked(request, headers, admits)
            context = marked(known, request_id)
            current.set(context)
            if rates.limits_projects:
                rates.of_project(context)
        else:
            context = Context(request_id)
            current.set(context)
            if limited:
                rates.of_address(request.host)
        accept = headers.get(b"accept")
        if accept is not None and accept not in admitted and not accepts(accept, answer_types):
            raise NotAcceptable(f"Answers here are {', '.join(answer_types)}.")
        query = request.query
        call = Call(
            context,
            request.url_path,
            request.fields,
            parsed_query(query) if query else NO_FIELDS,
            Headers(request.headers),
            None if read is None else await read(request, headers),
            request.host,
            hung_up=request.hung_up,
        )
        if looks_for_key and HEADER in headers:
            return await _repeatable(route, request, call, door.limits.idempotency_keep_s)
        return await handler(call)

    return serve


async def _repeatable(route: Route, request: Cycle, call: Call[Any], keep_s: int) -> Answer:
    """Carries out a request that has an Idempotency-Key. Raises: BadRequest, and the handler's."""
    if not route.repeatable:
        raise BadRequest("This call takes no Idempotency-Key; send it without.")
    texts = [value for name, value in request.headers if name == HEADER]
    found = digest(route.method, request.raw_path, request.query, request.content)
    repeat = call.repeat = Repeat(checked_key(texts), found, keep_s * 1000)
    answer = await route.handler(call)
    if repeat.replayed:
        answer.headers = {**answer.headers, REPLAYED: "true"}
    return answer


def marked(known: Context, request_id: str) -> Context:
    """The token's context, in this request."""
    return Context(
        request_id,
        known.user_id,
        known.user_name,
        known.user_domain_id,
        known.project_id,
        known.project_name,
        known.project_domain_id,
        known.domain_id,
        known.system,
        known.roles,
        known.expires_ms,
        known.is_admin_project,
        known.credential_id,
        known.signed,
    )


def parsed_query(query: bytes) -> dict[str, str]:
    """Name -> last value; blank values stay. Raises: BadRequest."""
    try:
        text = query.decode("ascii")
        if "%" not in text and "+" not in text and text.count("&") < FIELDS_MOST:  # as most are
            parts = [part.partition("=") for part in text.split("&") if part]
            return {name: value for name, _, value in parts}
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            errors="strict",
            max_num_fields=FIELDS_MOST,
        )
    except ValueError:
        raise BadRequest(
            f"The query cannot be decoded: it has to be UTF-8 with at most {FIELDS_MOST} fields."
        ) from None
    return dict(pairs)


def sent(answer: Answer, request_id: str) -> Outgoing:
    """The answer as it goes out. Raises: InternalError for a header that cannot be."""
    body = answer.body
    data = body if type(body) is bytes else b"" if body is None else _encode(body)
    lines = f"x-openstack-request-id: {request_id}\r\n"
    if data:
        lines += f"content-type: {answer.media_type}\r\n"
    for name, value in answer.headers.items():
        if not (value.isascii() and value.isprintable()):
            raise InternalError(detail=f"header {name} has a value that cannot be sent")
        lines += f"{name}: {value}\r\n"
    return Outgoing(answer.status, lines.encode("ascii"), data, answer.switch)


def _log_request(request: Cycle, status: int, duration_s: float) -> None:
    fields = {
        "method": request.method,
        "path": request.raw_path.decode("ascii"),
        "status": status,
        "duration_ms": round(duration_s * 1000, 3),
    }
    request_log.info("request", extra=fields)
