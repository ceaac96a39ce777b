# SPDX-License-Identifier: Apache-2.0
"""How refusals look: `{"title", "description"}`, with the titles that Zaqar's clients know.

Invariants:
1. Every request but for the public documents names its client by a UUID in `Client-ID`.
2. Statuses come from the catalogue; only the title is chosen here.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from transom.errors import (
    BadRequest,
    CallerError,
    Conflict,
    Entry,
    Forbidden,
    NotFound,
    TooManyRequests,
    catalogued,
)
from transom.queue.api.query import InvalidParameter
from transom.queue.api.wire.documents import Refusal
from transom.queue.model import (
    ClaimUnknown,
    ClientId,
    InvalidQueueName,
    MessageClaimed,
    NotClaimed,
    ProjectMissing,
    QuotaReached,
    uuid_bytes,
)
from transom.runtime.http.route import Answer, Call, Handler

Operation = Callable[[Call[Any], ClientId], Awaitable[Answer]]

CLIENT_HEADER = "client-id"
UNABLE_TO_DELETE = "Unable to delete"


class ClientMissing(BadRequest):
    """The request does not say which client sends it."""


class ClientMalformed(BadRequest):
    """What names the client is no UUID."""


class InvalidBody(BadRequest):
    """The body is JSON, but not what can be stored."""


TITLES: dict[type[CallerError], str] = {
    ClientMissing: "Missing header value",
    ClientMalformed: "Wrong UUID value",
    ProjectMissing: "Project-Id Missing",
    InvalidQueueName: "Invalid queue identification",
    InvalidBody: "Invalid request body",
    InvalidParameter: "Invalid parameter",
    MessageClaimed: UNABLE_TO_DELETE,
    NotClaimed: UNABLE_TO_DELETE,
    ClaimUnknown: UNABLE_TO_DELETE,
    QuotaReached: "Limit reached",
    Forbidden: "Not authorized",
    NotFound: "Not found",
    Conflict: "Resource conflict",
    CallerError: "Invalid API request",
}

TITLES_AT_THE_DOOR = {
    400: "Invalid request body",
    401: "Unauthorized",
    403: "Not authorized",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Resource conflict",
    413: "Request body too large",
    415: "Unsupported media type",
    429: "Too many requests",
    500: "Internal server error",
    503: "Service temporarily unavailable",
    507: "Insufficient storage",
}


def error_shape(entry: Entry, text: str, request_id: str) -> Refusal:
    """For what is refused before or beside the handlers; the id is in the answer's header."""
    title = TITLES_AT_THE_DOOR.get(entry.status, "Request refused")
    return Refusal(title, text)


def served(operation: Operation) -> Handler:
    """The operation as a handler: told its client, its refusals given their titles."""

    async def handler(call: Call[Any]) -> Answer:
        try:
            return await operation(call, _client_of(call))
        except TooManyRequests:
            raise  # the door says when to come again
        except CallerError as error:
            title = next(TITLES[kind] for kind in type(error).__mro__ if kind in TITLES)
            return Answer(catalogued(type(error)).status, Refusal(title, error.text))

    return handler


def _client_of(call: Call[Any]) -> ClientId:
    text = call.headers.get(CLIENT_HEADER)
    if text is None:
        raise ClientMissing("The request needs the header Client-ID, with a UUID.")
    raw = uuid_bytes(text.strip())
    if raw is None:
        raise ClientMalformed("The header Client-ID holds a UUID, like that of `uuidgen`.")
    return ClientId(raw)
