# SPDX-License-Identifier: Apache-2.0
"""An OpenAPI 3.1 document from a mount's routes, and the route that serves it.

Invariants:
1. The document follows from the mount alone: the same routes give the same bytes.
2. Every route stands in it. An operation's id follows from its method and path and changes only
   with them.
3. What the door refuses by itself stands with each operation it can happen to, in the mount's form;
   what a handler answers stands in the route's `answers`. 405 belongs to methods that are not
   there, and HEAD wherever GET is to the text at the beginning.

Source: https://spec.openapis.org/oas/v3.1.0
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from http import HTTPStatus
from typing import Any, get_type_hints

import msgspec

from transom import __version__, errors
from transom.errors import CATALOGUE, TransomError
from transom.runtime.http.route import Answer, Call, Mount, Parameter, Route
from transom.runtime.idempotency import LONGEST

Document = dict[str, Any]
PATH = "/openapi.json"
TOKEN_SCHEME = "token"  # noqa: S105 the scheme's name

_JSON = "application/json"
_FIELD = re.compile(r"\{(\w+)\}")
_SCHEMAS = "#/components/schemas/{name}"
_INTRODUCTION = (
    "HEAD is served wherever GET is. A method that a path does not have is answered 405, with "
    "those that it has in `Allow`. Every answer carries its request id in `X-Openstack-Request-Id`."
)
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Sent again with the same key, the request is carried out once",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[!-~]+$"},
}
_SECURED = (errors.Unauthorized, errors.Forbidden, errors.TooManyRequests)
_OF_BODIES = (errors.RequestTimeout, errors.TooLarge, errors.UnsupportedMedia)
_OF_ALL = (errors.BadRequest, errors.NotAcceptable, errors.InternalError, errors.Unavailable)
_OF_SOME = (errors.NotFound, errors.Conflict, errors.StorageFull)
_RETRIED = (429, 503)


def documented(mount: Mount) -> Mount:
    """The mount with one more public route, which answers with the mount's document."""

    @lru_cache(maxsize=1)
    def text() -> bytes:
        return msgspec.json.encode(document(whole))

    async def show(call: Call[None]) -> Answer:
        return Answer(body=text())

    own = Route(
        "GET", PATH, show, public=True, answers={200: dict[str, Any]}, summary="This document"
    )
    whole = replace(mount, routes=[*mount.routes, own])
    return whole


def part_of(mount: Mount) -> str:
    """What a mount's document is called: `queue`, and `root` for the port's root."""
    return mount.prefix.strip("/").replace("/", "-") or "root"


def secured(route: Route) -> bool:
    """Whether the route asks for a token."""
    return not route.public or route.checks_token


def document(mount: Mount) -> Document:
    """The mount's document. Raises: ValueError for two operations of one id."""
    shapes = _Shapes(mount)
    paths: dict[str, Document] = {}
    seen: set[str] = set()
    nouns = {noun for route in mount.routes for noun in re.findall(r"/([^/{]+)/\{", route.path)}
    for route in mount.routes:
        operation = _operation(route, shapes, nouns)
        if operation["operationId"] in seen:
            raise ValueError(f"two operations are called {operation['operationId']}")
        seen.add(operation["operationId"])
        paths.setdefault(route.path or "/", {})[route.method.lower()] = operation
    info = {"title": f"Transom {part_of(mount)}", "version": __version__}
    scheme = {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}
    return {
        "openapi": "3.1.0",
        "info": {**info, "description": _INTRODUCTION},
        "servers": [{"url": mount.prefix or "/"}],
        "paths": paths,
        "components": {
            "schemas": shapes.components,
            "responses": {entry.code: _refusal(kind, shapes) for kind, entry in _entries()},
            "headers": {
                "request-id": {"description": "The request's id.", "schema": {"type": "string"}},
                "retry-after": {
                    "description": "Seconds after which to ask again.",
                    "schema": {"type": "integer", "minimum": 0},
                },
            },
            "securitySchemes": {TOKEN_SCHEME: scheme},
        },
    }


class _Shapes:
    """The schemas of every type that a mount's routes name; what several use is a component."""

    def __init__(self, mount: Mount) -> None:
        kinds = list(_kinds(mount))
        found, components = msgspec.json.schema_components(kinds, ref_template=_SCHEMAS)
        self._found: dict[str, Document] = {
            repr(kind): _portable(one) for kind, one in zip(kinds, found, strict=True)
        }
        self.components = {name: _portable(components[name]) for name in sorted(components)}
        self.error = self.of(_error_kind(mount))

    def of(self, kind: Any) -> Document:
        if kind is bytes:
            return {"type": "string"}
        return self._found[repr(kind)]


def _kinds(mount: Mount) -> Iterator[Any]:
    yield _error_kind(mount)
    for route in mount.routes:
        named = [route.body, *route.answers.values(), *(at.kind for at in route.parameters)]
        yield from (kind for kind in named if kind is not None and kind is not bytes)


def _error_kind(mount: Mount) -> Any:
    return get_type_hints(mount.error_shape).get("return", Any)


def _portable(schema: Any) -> Any:
    """Python's anchors are none of JSON Schema, whose expressions are ECMAScript's."""
    if isinstance(schema, dict):
        return {
            key: value.replace(r"\A", "^").replace(r"\Z", "$")
            if key == "pattern" and isinstance(value, str)
            else _portable(value)
            for key, value in schema.items()
        }
    return [_portable(one) for one in schema] if isinstance(schema, list) else schema


def _operation(route: Route, shapes: _Shapes, nouns: set[str]) -> Document:
    operation: Document = {
        "operationId": "_".join([route.method.lower(), *re.findall(r"\w+", route.path)]),
        "tags": [_tag(route.path, nouns)],
        "summary": route.summary,
        "security": [{TOKEN_SCHEME: []}] if secured(route) else [],
        "parameters": list(_parameters(route, shapes)),
        "responses": _responses(route, shapes),
    }
    if route.body is not None:
        operation["requestBody"] = _request_body(route, shapes)
    return {key: value for key, value in operation.items() if value or key == "security"}


def _tag(path: str, nouns: set[str]) -> str:
    """The noun that the operation is of: the last one that a field follows somewhere."""
    words = [word for word in path.split("/") if word and "{" not in word]
    own = [word for word in words if word in nouns]
    return (own or words[1:2] or ["versions"])[-1]


def _fields(route: Route, shapes: _Shapes) -> Iterator[Document]:
    """Of the path; those that the route says nothing of are any text but an empty one."""
    declared = {at.name: at for at in route.parameters if at.where == "path"}
    for name in _FIELD.findall(route.path):
        known = declared.pop(name, None)
        if known is not None:
            yield _parameter(known, shapes)
        else:
            schema = {"type": "string", "minLength": 1}
            yield {"name": name, "in": "path", "required": True, "schema": schema}
    if declared:
        raise ValueError(f"{route.path} has no field {', '.join(sorted(declared))}")


def _parameters(route: Route, shapes: _Shapes) -> Iterator[Document]:
    yield from _fields(route, shapes)
    yield from (_parameter(at, shapes) for at in route.parameters if at.where != "path")
    if route.repeatable:
        yield _IDEMPOTENCY_KEY


def _parameter(at: Parameter, shapes: _Shapes) -> Document:
    schema = shapes.of(at.kind)
    shown: Document = {"name": at.name, "in": at.where, "description": at.summary, "schema": schema}
    if at.required or at.where == "path":
        shown["required"] = True
    if schema.get("type") == "array":
        shown |= {"style": "form", "explode": False}
    if schema.get("type") == "object":
        shown |= {"style": "form", "explode": True}
    return shown


def _request_body(route: Route, shapes: _Shapes) -> Document:
    schema = {"schema": shapes.of(route.body)}
    shown: Document = {"content": dict.fromkeys(route.body_types, schema)}
    if route.body_bytes_max is not None:
        shown["description"] = f"At most {route.body_bytes_max:,} bytes are read."
    return shown if route.body_optional else {**shown, "required": True}


def _responses(route: Route, shapes: _Shapes) -> Document:
    """By status, in order; what the route says of a status goes before what the door does."""
    shown: dict[int, Document] = {}
    for status, kind in route.answers.items():
        types = route.answer_types if status < 400 else (_JSON,)
        shown[status] = _answer(status, None if kind is None else shapes.of(kind), types)
    for error in _refusals(route):
        entry = CATALOGUE[error]
        if route.method == "HEAD":
            shown.setdefault(entry.status, _answer(entry.status, None, ()))
        else:
            shown.setdefault(entry.status, {"$ref": f"#/components/responses/{entry.code}"})
    return {str(status): shown[status] for status in sorted(shown)}


def _refusals(route: Route) -> Iterator[type[TransomError]]:
    yield from _OF_ALL
    if secured(route):
        yield from _SECURED
    if "{" in route.path:
        yield errors.NotFound
    if route.body is not None:
        yield from _OF_BODIES
    if route.repeatable:
        yield errors.Conflict
    if route.method not in ("GET", "HEAD"):
        yield errors.StorageFull


def _entries() -> Iterator[tuple[type[TransomError], errors.Entry]]:
    kinds = (*_OF_ALL, *_SECURED, *_OF_BODIES, *_OF_SOME)
    return ((kind, CATALOGUE[kind]) for kind in sorted(kinds, key=lambda at: CATALOGUE[at].status))


def _refusal(kind: type[TransomError], shapes: _Shapes) -> Document:
    entry = CATALOGUE[kind]
    return _answer(entry.status, shapes.error, (_JSON,), entry.text)


def _answer(
    status: int, schema: Document | None, media_types: tuple[str, ...], text: str = ""
) -> Document:
    headers: Mapping[str, str] = {"X-Openstack-Request-Id": "request-id"}
    if status in _RETRIED:
        headers = {**headers, "Retry-After": "retry-after"}
    shown: Document = {
        "description": text or HTTPStatus(status).phrase,
        "headers": {name: {"$ref": f"#/components/headers/{at}"} for name, at in headers.items()},
    }
    if schema is not None:
        shown["content"] = {kind: {"schema": schema} for kind in media_types}
    return shown
