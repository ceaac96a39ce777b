# SPDX-License-Identifier: Apache-2.0
"""Exceptions as they travel: which class may come back at a client.

Invariants:
1. What comes from the wire chooses from a table; nothing is imported or looked up by its name.
2. A class of `transom.errors` that says something about the bus at the *server* (a nested call's
   timeout) comes back as RemoteError, so that a client's own timeout is never feigned.
3. A part's own subclass travels as its nearest ancestor in `transom.errors`.
"""

import logging
import traceback

from transom.errors import (
    BadRequest,
    CallerError,
    Conflict,
    Forbidden,
    InternalError,
    MethodNotAllowed,
    NoSuchMethod,
    NotAcceptable,
    NotFound,
    OutcomeUnknown,
    PeerError,
    RemoteError,
    StorageFull,
    StorageUnavailable,
    TooLarge,
    TooManyRequests,
    TransomError,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
    UnsupportedVersion,
)
from transom.messaging.envelope import Failure

log = logging.getLogger(__name__)

MODULE = "transom.errors"
OSLO_DISPATCHER = "oslo_messaging.rpc.dispatcher"
TRACEBACK_LINES_MAX = 60
TEXT_MAX = 8192

RETURNING: dict[tuple[str, str], type[TransomError]] = {
    (MODULE, kind.__name__): kind
    for kind in (
        CallerError,
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        NotAcceptable,
        Conflict,
        TooLarge,
        UnsupportedMedia,
        TooManyRequests,
        PeerError,
        Unavailable,
        InternalError,
        StorageUnavailable,
        OutcomeUnknown,
        StorageFull,
        NoSuchMethod,
        UnsupportedVersion,
    )
}
RETURNING[(OSLO_DISPATCHER, "NoSuchMethod")] = NoSuchMethod
RETURNING[(OSLO_DISPATCHER, "UnsupportedVersion")] = UnsupportedVersion


def failure_of(error: BaseException) -> Failure:
    """The failure that tells of `error`."""
    kind, module = type(error).__name__, type(error).__module__
    kwargs: dict[str, object] = {}
    if isinstance(error, RemoteError):
        # Said once: who passes a remote error on is not its origin.
        return Failure(
            kind=error.exc_type,
            module="",
            message=error.value,
            traceback=error.traceback,
            args=(error.value,),
        )
    if isinstance(error, TransomError):
        kind = next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == MODULE)
        module = MODULE
        if isinstance(error, Unavailable):
            kwargs["retry_after_s"] = error.retry_after_s
        elif isinstance(error, MethodNotAllowed):
            kwargs["allowed"] = list(error.allowed)
    lines = traceback.format_exception(error)
    message = _sendable(_text_of(error))
    return Failure(
        kind=kind,
        module=module,
        message=message,
        traceback=tuple(_sendable(line) for line in lines[-TRACEBACK_LINES_MAX:]),
        args=(message,),
        kwargs=kwargs,
    )


def error_of(failure: Failure) -> TransomError:
    """The exception that the failure tells of: one that may return, else RemoteError."""
    kind = RETURNING.get((failure.module, failure.kind))
    if kind is None:
        return RemoteError(failure.kind, failure.message, failure.traceback)
    detail = "".join(failure.traceback)
    if kind is Unavailable:
        retry_after_s = failure.kwargs.get("retry_after_s")
        if type(retry_after_s) is int and 0 < retry_after_s < 86_400:
            return Unavailable(failure.message, retry_after_s=retry_after_s, detail=detail)
    if kind is MethodNotAllowed:
        allowed = failure.kwargs.get("allowed")
        if isinstance(allowed, list):
            methods = tuple(method for method in allowed if isinstance(method, str))
            return MethodNotAllowed(failure.message, allowed=methods, detail=detail)
    return kind(failure.message, detail=detail)


def _sendable(text: str) -> str:
    """Cut, and without what UTF-8 cannot carry (halves of characters, as of odd file names)."""
    return text[:TEXT_MAX].encode(errors="replace").decode()


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # Safety: a broken __str__ must not keep the caller from its answer
        log.exception("an exception has no text")
        return ""
