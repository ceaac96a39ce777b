# SPDX-License-Identifier: Apache-2.0
"""What a part's `api` room says of itself: routes with their shapes, as a table.

The door turns the table into a served application, and the same table into documents. A handler
sees no framework: a `Call` comes in, an `Answer` goes out, errors of the tree are raised.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypedDict, TypeVar

from transom.errors import Entry
from transom.runtime.auth.context import Context
from transom.runtime.idempotency import Repeat

B = TypeVar("B")


@dataclass(slots=True)
class Call(Generic[B]):
    """One request. `path` holds the template's fields, percent-decoded.

    `url_path`: the path below the mount, as sent (links in answers start with it, as they would if
    the part were served alone). `query`: name -> last value, decoded; blank values are kept as "".
    `headers`: lower-case name -> value; headers that claim an identity (x-project-id, x-roles, ...)
    have been stripped, `context` is the identity. `body`: the decoded body, or None where the
    route takes none; raw bytes where the route's body type is `bytes`. `client`: the address that
    the request came from. `repeat`: what its Idempotency-Key says, where it has one and the route
    is `repeatable`. `hung_up`: returns when the caller is gone, for what makes callers wait.
    """

    context: Context
    url_path: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: B
    client: str = ""
    repeat: Repeat | None = None
    hung_up: Callable[[], Awaitable[None]] | None = None


@dataclass(slots=True)
class Answer:
    """What goes out. `body`: bytes go as they are, None is no body, anything else becomes JSON.

    `switch`: with status 101, what takes the connection over (see `runtime.http.websocket`).
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    switch: Any = None


Handler = Callable[[Call[Any]], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a route takes beside its path and body, for documents: handlers read it from the call.

    `where`: "query", "header" or "path" (a field of the template that is more than any text).
    `kind`: a type that msgspec describes; a list is sent as `a,b`, a dict as fields of their own.
    """

    name: str
    summary: str
    kind: Any = str
    where: str = "query"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path template (`/v2/queues/{queue}`; "" is the mount's root).

    `body`: a msgspec Struct or any type msgspec decodes (400 naming the field if it does not fit),
    `bytes` for the raw body, None for no body. `body_optional`: an absent body becomes None.
    `body_types`: the content types taken; an absent content type counts as the first.
    `body_bytes_max`: None is the door's limit. `public`: the door asks for no token;
    `checks_token`: but the handler does. `routine`: it changes nothing that anybody has to answer
    for, so the audit log is told of it as of a reading call: where it is denied. `repeatable`:
    takes an Idempotency-Key, in `Call.repeat`; a POST or PATCH that does not, refuses one.
    `answer_types`: the media types answered with; a caller that accepts none of them gets 406.
    `parameters`, `answers` (status -> type of the body; None: no body): for documents, which
    add what the door refuses by itself.
    """

    method: str
    path: str
    handler: Handler
    body: Any = None
    body_optional: bool = False
    body_types: tuple[str, ...] = ("application/json",)
    body_bytes_max: int | None = None
    public: bool = False
    checks_token: bool = False
    routine: bool = False
    repeatable: bool = False
    answer_types: tuple[str, ...] = ("application/json",)
    parameters: tuple[Parameter, ...] = ()
    answers: Mapping[int, Any] = field(default_factory=dict)
    summary: str = ""


@dataclass(frozen=True, slots=True)
class SocketRoute:
    """A path where a WebSocket can be opened.

    `handler`: (socket, its visit: who opened it and how its requests are carried out; see
    `runtime.http.visits`); it runs until the socket ends. `message_bytes_max`: of one message that
    comes in.
    """

    path: str
    handler: Callable[[Any, Any], Awaitable[None]]
    message_bytes_max: int
    summary: str = ""


ErrorShape = Callable[[Entry, str, str], Any]
"""(entry, text for the user, request id) -> JSON body, in the form that the API's clients know.

The annotation of what it returns is the form in documents."""


class PlainFault(TypedDict):
    code: str
    status: int
    message: str
    request_id: str


class PlainError(TypedDict):
    error: PlainFault


def plain_error(entry: Entry, text: str, request_id: str) -> PlainError:
    return {
        "error": {
            "code": entry.code,
            "status": entry.status,
            "message": text,
            "request_id": request_id,
        }
    }


Admits = Callable[[str, str, Sequence[tuple[bytes, bytes]]], Context | None]
"""(method, path below the mount as sent, headers as sent) -> who is let in without a token, or None
for what needs one. Raises: an error of the tree, for a request that is not let in at all."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A part's routes below one prefix (`/queue`).

    `admits`: who is let in by something else than a token; asked only for requests that show none.
    """

    prefix: str
    routes: Sequence[Route]
    error_shape: ErrorShape = plain_error
    unauthorized_headers: Mapping[str, str] = field(default_factory=dict)
    admits: Admits | None = None
    sockets: Sequence[SocketRoute] = ()
