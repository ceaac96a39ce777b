# SPDX-License-Identifier: Apache-2.0
"""From an error to an answer.

Invariant: the texts of our own failures stay in the log; the caller gets the catalogue's text and
the request id to ask by.
"""

import logging
from collections.abc import Mapping

from transom.errors import (
    InternalError,
    MessagingError,
    MethodNotAllowed,
    TransomError,
    Unauthorized,
    catalogued,
)
from transom.runtime.http.inflate import ACCEPTED, UnsupportedEncoding
from transom.runtime.http.route import Answer, Mount

log = logging.getLogger(__name__)

_OPAQUE = (InternalError, MessagingError)


def refusal(
    error: Exception, mount: Mount, request_id: str, unauthorized: Mapping[str, str]
) -> Answer:
    """The answer in the mount's form; logs what the caller is not told.

    `unauthorized`: headers of every 401.
    """
    if not isinstance(error, TransomError):
        log.error("request failed", exc_info=error, extra={"mount": mount.prefix})
        error = InternalError()
    entry = catalogued(type(error))
    text = entry.text if isinstance(error, _OPAQUE) else error.text
    if entry.status >= 500 and (error.detail or isinstance(error, _OPAQUE)):
        fields = {"code": entry.code, "reason": error.text, "detail": error.detail}
        log.warning("request refused", extra=fields)
    return Answer(
        entry.status,
        mount.error_shape(entry, text, request_id),
        _headers(error, entry.status, mount, unauthorized),
    )


def _headers(
    error: TransomError, status: int, mount: Mount, unauthorized: Mapping[str, str]
) -> dict[str, str]:
    headers: dict[str, str] = {}
    if status in (429, 503):
        headers["retry-after"] = str(getattr(error, "retry_after_s", 1))
    if isinstance(error, Unauthorized):
        headers.update(unauthorized)
        headers.update(mount.unauthorized_headers)
    if isinstance(error, UnsupportedEncoding):
        headers["accept-encoding"] = ACCEPTED
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(error.allowed)
    return headers
