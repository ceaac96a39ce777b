# SPDX-License-Identifier: Apache-2.0
"""What the client raises, all of one tree.

QueueError
├── Refused                 the server said no: `status`, and its `title` and `description`
│   ├── BadRequest (400), Unauthorized (401), Forbidden (403), NotFound (404), Conflict (409)
│   └── TooLarge (413), TooManyRequests (429)
├── Unavailable             the server could not be reached, or not in the client's patience
└── Ended                   the client is closed
"""

from transom.errors import TransomError


class QueueError(TransomError):
    """Root."""


class Refused(QueueError):
    """The server's answer. `request_id` is what its log calls the request."""

    def __init__(self, status: int, title: str, description: str, request_id: str = "") -> None:
        words = f"{title}: {description}" if description else title
        super().__init__(words, detail=f"status {status}, request {request_id}")
        self.status = status
        self.title = title
        self.description = description
        self.request_id = request_id


class BadRequest(Refused):
    """400: it cannot be understood, or the claim named in it has ended."""


class Unauthorized(Refused):
    """401: the token does not hold, and a new one did not either."""


class Forbidden(Refused):
    """403: the roles do not allow it, or a live claim of somebody else holds the message."""


class NotFound(Refused):
    """404: the queue, message or claim is not there, or no longer."""


class Conflict(Refused):
    """409: what is there does not admit it; the description says what to do."""


class TooLarge(Refused):
    """413: more than the server takes in one request."""


class TooManyRequests(Refused):
    """429: over the rate or the share of the project, also after waiting as long as told."""


class Unavailable(QueueError):
    """The server could not be reached or could not answer. Whether it did what it was asked is not
    known."""


class Ended(QueueError):
    """The client is closed, or belongs to the process that forked this one."""


_KINDS: dict[int, type[Refused]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    429: TooManyRequests,
}


def refusal(status: int, title: str, description: str, request_id: str = "") -> Refused:
    """Of the class for the status."""
    return _KINDS.get(status, Refused)(status, title, description, request_id)
