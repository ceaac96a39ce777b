# SPDX-License-Identifier: Apache-2.0
"""Every action, and the route that it is: which of its fields go where, what its answer looks like.

Invariants:
1. An action has a route's handler, its access rule with it, and no decision of its own but the form
   of the answer.
2. An action whose route is not mounted is not there.

Source: Zaqar's WebSocket API, version 2; ours beside it are marked so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from transom.errors import BadRequest
from transom.queue.api.socket.frames import Frame
from transom.queue.api.wire.documents import Refusal
from transom.queue.logic.turns import Kind
from transom.runtime.http.body import json_decoder
from transom.runtime.http.route import Answer, Route
from transom.runtime.http.visits import Action

Value = str | int | float | bool | list[str] | UnsetType | None
Shape = Callable[["Named", Answer], Answer]


class Named(Struct):
    """The fields of a body that name things or narrow them; whatever else there is, is the route's.

    Each is sent as its own type, or as the text that a query over HTTP would have.
    """

    queue_name: str | UnsetType = UNSET
    message_id: str | UnsetType = UNSET
    claim_id: str | UnsetType | None = UNSET
    subscription_id: str | UnsetType = UNSET
    subscriber: str | UnsetType | None = UNSET
    message_ids: list[str] | UnsetType | None = UNSET
    claim_ids: list[str] | UnsetType | None = UNSET
    bound: bool | UnsetType = UNSET
    limit: Value = UNSET
    marker: Value = UNSET
    echo: Value = UNSET
    include_claimed: Value = UNSET
    include_delayed: Value = UNSET
    detailed: Value = UNSET
    details: Value = UNSET
    with_count: Value = UNSET
    name: Value = UNSET
    pop: Value = UNSET
    wait: Value = UNSET
    delay: Value = UNSET
    type: Value = UNSET
    ttl: Value = UNSET


_named = json_decoder(Named)
PATHS = {
    "queue": "queue_name",
    "message": "message_id",
    "claim": "claim_id",
    "subscription": "subscription_id",
}
"""Field of a route's path -> field of an action's body."""
_IN_PATH = frozenset("/{}%")
QUERIES = {"message_ids": "ids"}
"""Field of an action's body -> parameter of a query, where they are called differently."""


@dataclass(frozen=True, slots=True)
class Spec:
    """`operation`: the route. `content`: the field that is the route's body; "" if all is.

    `many`: the route where no queue is named.
    """

    operation: str
    kind: Kind
    query: Sequence[str] = ()
    content: str = ""
    shape: Shape | None = None
    many: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """An action that is there. `decode`: what makes the route's body of JSON."""

    name: str
    spec: Spec
    route: Route
    decode: Callable[[bytes], Any] | None
    many: Route | None
    many_decode: Callable[[bytes], Any] | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A frame, understood."""

    known: Known
    action: Action
    named: Named
    queue: str
    kind: Kind


class Actions:
    """Those of a mount's routes."""

    def __init__(self, routes: Sequence[Route]) -> None:
        by_name = {f"{route.method} {route.path}": route for route in routes}
        self._known = {
            name: _known(name, spec, by_name)
            for name, spec in SPECS.items()
            if spec.operation in by_name
        }
        self._by_name = by_name

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._known)

    def asked(self, frame: Frame) -> Asked:
        """Raises: BadRequest."""
        known = self._known.get(frame.action)
        if known is None:
            raise BadRequest(f"{frame.action!r} is no action here.")
        content = frame.body() or b"{}"
        named: Named = _named(content)
        route, decode = known.route, known.decode
        if named.queue_name is UNSET and known.many is not None:
            route, decode = known.many, known.many_decode
        path = _path(route, named)
        query = _query(known.spec.query, named)
        headers = {**frame.headers, "content-length": str(len(content))}
        body = None
        pushes = frame.action == SUBSCRIPTION_CREATE and not named.subscriber
        if decode is not None and not pushes:
            body = _body(known.spec, route, decode, content)
        action = Action(frame.action, route, path, query, headers, body, content)
        kind = Kind.WAITING if query.get("wait", "0") != "0" else known.spec.kind
        return Asked(known, action, named, path.get("queue", ""), kind)

    def beside(self, asked: Asked, operation: str) -> Action:
        """Another route about the same thing, for a part of an answer."""
        route = self._by_name[operation]
        path = {name: asked.action.path[name] for name in asked.action.path if name in route.path}
        return Action(asked.action.name, route, path, headers=asked.action.headers)

    def route(self, operation: str) -> Route | None:
        return self._by_name.get(operation)


def shaped(asked: Asked, answer: Answer) -> Answer:
    """The answer as a socket's client knows it."""
    if isinstance(answer.body, Refusal):
        refused = {"error": answer.body.description, "title": answer.body.title}
        answer = Answer(answer.status, refused, answer.headers)
    shape = asked.known.spec.shape
    return answer if shape is None else shape(asked.named, answer)


def _known(name: str, spec: Spec, by_name: Mapping[str, Route]) -> Known:
    route, many = by_name[spec.operation], by_name.get(spec.many)
    many_decode = None if many is None else _decoder(many)
    return Known(name, spec, route, _decoder(route), many, many_decode)


def _decoder(route: Route) -> Callable[[bytes], Any] | None:
    return None if route.body is None else json_decoder(route.body)


def _path(route: Route, named: Named) -> dict[str, str]:
    path: dict[str, str] = {}
    for segment in route.path.split("/"):
        if segment[:1] == "{":
            field = segment[1:-1]
            value = getattr(named, PATHS[field])
            if not isinstance(value, str):
                raise BadRequest(f"The body needs {PATHS[field]}, a text.")
            if not _IN_PATH.isdisjoint(value):  # a signature is for a path, so there is one way
                raise BadRequest(f"The {PATHS[field]} has a character that no such name has.")
            path[field] = value
    return path


def _query(fields: Sequence[str], named: Named) -> dict[str, str]:
    query: dict[str, str] = {}
    for field in fields:
        value = getattr(named, field)
        if value is UNSET or value is None:
            continue
        if isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, list):
            text = ",".join(value)
        else:
            text = str(value)
        query[QUERIES.get(field, field)] = text
    return query


def _body(spec: Spec, route: Route, decode: Callable[[bytes], Any], content: bytes) -> Any:
    if spec.content:
        fields = msgspec.json.decode(content, type=dict[str, Raw])
        content = bytes(fields.get(spec.content, b""))
        if content == b"null":
            content = b""
    elif route.body_optional and content == b"{}":
        content = b""
    if not content and route.body_optional:
        return None
    return decode(content)


def _id_of(href: str) -> str:
    return href.partition("?")[0].rpartition("/")[2]


def _said(text: str) -> Shape:
    """A text in place of no body. `{}` in it is the queue, or what else is named."""

    def shape(named: Named, answer: Answer) -> Answer:
        if answer.status >= 300:
            return answer
        thing = next(
            value
            for value in (named.subscription_id, named.claim_id, named.queue_name, "")
            if isinstance(value, str)
        )
        return Answer(answer.status, text.format(thing), answer.headers)

    return shape


def _posted(named: Named, answer: Answer) -> Answer:
    if answer.status != 201:
        return answer
    body = {"message_ids": [_id_of(href) for href in answer.body.resources]}
    duplicates = getattr(answer.body, "duplicates", UNSET)
    if duplicates is not UNSET and duplicates is not None:
        body["duplicates"] = duplicates
    return Answer(201, body, answer.headers)


def _one(named: Named, answer: Answer) -> Answer:
    return answer if answer.status != 200 else Answer(200, {"messages": answer.body})


def _some(named: Named, answer: Answer) -> Answer:
    return answer if answer.status != 404 else Answer(200, {"messages": []})


def _claimed(named: Named, answer: Answer) -> Answer:
    if answer.status == 204:
        return Answer(204, {"claim_id": None})
    if answer.status != 201:
        return answer
    body = {
        name: value
        for name in answer.body.__struct_fields__
        if (value := getattr(answer.body, name)) is not UNSET
    }
    return Answer(201, {"claim_id": _id_of(answer.headers["location"]), **body}, answer.headers)


def _subscribed(named: Named, answer: Answer) -> Answer:
    if answer.status != 201:
        return answer
    body = msgspec.to_builtins(answer.body)
    return Answer(201, {**body, "message": f"Subscription {named.queue_name} created."})


_QUEUE = "/v2/queues/{queue}"
_MESSAGES, _CLAIMS = f"{_QUEUE}/messages", f"{_QUEUE}/claims"
_SUBSCRIPTIONS = f"{_QUEUE}/subscriptions"
_MESSAGE, _CLAIM = f"{_MESSAGES}/{{message}}", f"{_CLAIMS}/{{claim}}"
_SUBSCRIPTION, _MANY = f"{_SUBSCRIPTIONS}/{{subscription}}", "/v2/claims/{claim}"
_PAGE = ("marker", "limit")
_READING, _WRITING = Kind.READING, Kind.WRITING
CLAIM_CREATE, CLAIM_CREATE_MANY = "claim_create", "claim_create_many"
SUBSCRIPTION_CREATE = "subscription_create"

SPECS: Mapping[str, Spec] = {
    "queue_list": Spec("GET /v2/queues", _READING, (*_PAGE, "detailed", "name", "with_count")),
    "queue_create": Spec(
        f"PUT {_QUEUE}", _WRITING, content="metadata", shape=_said("Queue {} created.")
    ),
    "queue_get": Spec(f"GET {_QUEUE}", _READING),
    "queue_get_stats": Spec(f"GET {_QUEUE}/stats", _READING),
    "queue_delete": Spec(f"DELETE {_QUEUE}", _WRITING, shape=_said("Queue {} removed.")),
    "queue_purge": Spec(f"POST {_QUEUE}/purge", _WRITING),
    "message_list": Spec(
        f"GET {_MESSAGES}",
        _READING,
        (*_PAGE, "echo", "include_claimed", "include_delayed", "details", "wait"),
    ),
    "message_get": Spec(f"GET {_MESSAGE}", _READING, ("details",), shape=_one),
    "message_get_many": Spec(f"GET {_MESSAGES}", _READING, ("message_ids", "details"), shape=_some),
    "message_post": Spec(f"POST {_MESSAGES}", _WRITING, shape=_posted),
    "message_delete": Spec(f"DELETE {_MESSAGE}", _WRITING, ("claim_id",)),
    "message_delete_many": Spec(
        f"DELETE {_MESSAGES}", _WRITING, ("message_ids", "claim_ids", "pop")
    ),
    "claim_create": Spec(f"POST {_CLAIMS}", _WRITING, ("limit", "details", "wait"), shape=_claimed),
    "claim_get": Spec(f"GET {_CLAIM}", _READING, ("details",), many=f"GET {_MANY}"),
    "claim_update": Spec(
        f"PATCH {_CLAIM}", _WRITING, shape=_said("Claim {} updated."), many=f"PATCH {_MANY}"
    ),
    "claim_delete": Spec(
        f"DELETE {_CLAIM}",
        _WRITING,
        ("delay",),
        shape=_said("Claim {} deleted."),
        many=f"DELETE {_MANY}",
    ),
    "subscription_list": Spec(f"GET {_SUBSCRIPTIONS}", _READING, _PAGE),
    "subscription_create": Spec(f"POST {_SUBSCRIPTIONS}", _WRITING, shape=_subscribed),
    "subscription_get": Spec(f"GET {_SUBSCRIPTION}", _READING),
    "subscription_delete": Spec(
        f"DELETE {_SUBSCRIPTION}", _WRITING, shape=_said("Subscription {} removed.")
    ),
    # ours
    "queue_update": Spec(f"PATCH {_QUEUE}", _WRITING, content="changes"),
    "queue_redrive": Spec(f"POST {_QUEUE}/redrive", _WRITING),
    "claim_create_many": Spec(
        "POST /v2/claims", _WRITING, ("limit", "details", "wait"), shape=_claimed
    ),
    "claim_touch": Spec(f"POST {_CLAIM}/touch", _WRITING),
    "claim_release": Spec(f"POST {_CLAIM}/release", _WRITING),
    "claim_reject": Spec(f"POST {_CLAIM}/reject", _WRITING),
}
"""Action -> its route."""
