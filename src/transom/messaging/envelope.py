# SPDX-License-Identifier: Apache-2.0
"""Messages and their bytes: oslo's envelope 2.0 around a JSON text.

    {"oslo.version": "2.0", "oslo.message": "<JSON text of the message>"}

Invariants:
1. `decode_x(encode_x(message)) == message` for whatever JSON can carry.
2. Whatever the bytes, decoding gives a message or raises InvalidEnvelope.
3. Keys that are not known are skipped.

A body without the two keys is a bare message of version 1.0. Any other version is refused, as
unmodified peers refuse it. Past this file there are only the models below.
Source: oslo.messaging's rabbit driver, its texts as captured on a broker.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from transom.errors import InvalidEnvelope

VERSION = "2.0"
BODY_BYTES_MAX = 64 * 1024 * 1024
CONTEXT_PREFIX = "_context_"
SECONDS_MAX = 10**9
Json = dict[str, Any]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A call, or a cast where `msg_id` and `reply_q` are None.

    `unique_id` is new for each sending, `msg_id` for each call. `monitor_s`: the caller wants a
    heartbeat at least that often.
    """

    method: str
    args: Mapping[str, Any]
    context: Mapping[str, Any]
    unique_id: str = ""
    namespace: str | None = None
    version: str | None = None
    msg_id: str | None = None
    reply_q: str | None = None
    monitor_s: int | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint raised, as texts. `kind` is the class, `traceback` its lines.

    `args`: what the exception is made of at a peer that makes it anew.
    """

    kind: str
    module: str
    message: str
    traceback: tuple[str, ...] = ()
    args: tuple[Any, ...] = ()
    kwargs: Json = {}


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer; with `ending` false and no result, a heartbeat."""

    msg_id: str
    result: Any = None
    failure: Failure | None = None
    ending: bool = True
    unique_id: str = ""

    @property
    def empty(self) -> bool:
        return self.result is None and self.failure is None


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """An event. `priority` is in capitals; `timestamp` is UTC, "YYYY-MM-DD HH:MM:SS.ffffff"."""

    message_id: str
    publisher_id: str
    event_type: str
    priority: str
    payload: Any
    timestamp: str
    context: Json
    unique_id: str = ""


class _Outer(msgspec.Struct, rename={"version": "oslo.version", "text": "oslo.message"}):
    version: str | msgspec.UnsetType = msgspec.UNSET
    text: str | msgspec.UnsetType = msgspec.UNSET


_decode_outer = msgspec.json.Decoder(_Outer).decode
_decode_message = msgspec.json.Decoder(Json).decode
_encode = msgspec.json.Encoder().encode


def seal(message: Mapping[str, Any]) -> bytes:
    """The message in its envelope. Raises: InvalidEnvelope if JSON cannot carry it."""
    return _encode(_Outer(VERSION, _encoded(message).decode()))


def unseal(body: bytes) -> Json:
    """The message in the envelope, or the bare message. Raises: InvalidEnvelope."""
    if len(body) > BODY_BYTES_MAX:
        raise InvalidEnvelope(f"the message has {len(body)} bytes, more than {BODY_BYTES_MAX}")
    try:
        outer = _decode_outer(body)
        if outer.version is msgspec.UNSET or outer.text is msgspec.UNSET:
            return _decoded(body)
        if outer.version != VERSION:
            raise InvalidEnvelope(f"envelope version {outer.version[:20]!r} is not spoken here")
        return _decoded(outer.text)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidEnvelope("the bytes are no message", detail=str(error)) from error


def _decoded(text: bytes | str) -> Json:
    """Peers on Python write NaN and infinities, which are not JSON: those are read the slow way."""
    try:
        return _decode_message(text)
    except msgspec.DecodeError:
        message = json.loads(text)
        if type(message) is not dict:
            raise
        return message


def encode_request(request: Request) -> bytes:
    """Raises: InvalidEnvelope."""
    message: Json = {
        "method": request.method,
        "args": request.args,
        "_unique_id": request.unique_id,
    }
    for key, value in request.context.items():
        message[CONTEXT_PREFIX + key] = value
    if request.namespace is not None:
        message["namespace"] = request.namespace
    if request.version is not None:
        message["version"] = request.version
    if request.msg_id is not None:
        message["_msg_id"] = request.msg_id
        message["_reply_q"] = request.reply_q
        message["_timeout"] = request.monitor_s
    return seal(message)


def decode_request(body: bytes) -> Request:
    """Raises: InvalidEnvelope."""
    message = unseal(body)
    return Request(
        method=_text(message, "method"),
        args=_object(message, "args"),
        context=_context(message),
        unique_id=_text_or_none(message, "_unique_id") or "",
        namespace=_text_or_none(message, "namespace"),
        version=_text_or_none(message, "version"),
        msg_id=_text_or_none(message, "_msg_id"),
        reply_q=_text_or_none(message, "_reply_q"),
        monitor_s=_seconds(message, "_timeout"),
    )


def encode_reply(reply: Reply) -> bytes:
    """Raises: InvalidEnvelope."""
    return seal(
        {
            "result": reply.result,
            "failure": None if reply.failure is None else encode_failure(reply.failure),
            "ending": reply.ending,
            "_msg_id": reply.msg_id,
            "_unique_id": reply.unique_id,
        }
    )


def decode_reply(body: bytes) -> Reply:
    """Raises: InvalidEnvelope."""
    message = unseal(body)
    failure = _text_or_none(message, "failure")
    ending = message.get("ending")
    if type(ending) is not bool:
        raise _wrong("ending")
    return Reply(
        msg_id=_text(message, "_msg_id"),
        result=message.get("result"),
        failure=None if failure is None else decode_failure(failure),
        ending=ending,
        unique_id=_text_or_none(message, "_unique_id") or "",
    )


def encode_failure(failure: Failure) -> str:
    """JSON text, itself to be put into JSON as a text. Raises: InvalidEnvelope."""
    return _encoded(
        {
            "class": failure.kind,
            "module": failure.module,
            "message": failure.message,
            "tb": failure.traceback,
            "args": failure.args,
            "kwargs": failure.kwargs,
        }
    ).decode()


def decode_failure(text: str) -> Failure:
    """Raises: InvalidEnvelope."""
    try:
        fields = _decode_message(text)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidEnvelope("the failure in a reply is not JSON", detail=str(error)) from error
    return Failure(
        kind=_text(fields, "class").removesuffix("_Remote"),
        module=(_text_or_none(fields, "module") or "").removesuffix("_Remote"),
        message=_text_or_none(fields, "message") or "",
        traceback=_lines(fields.get("tb")),
        args=tuple(args) if type(args := fields.get("args")) is list else (),
        kwargs=_object(fields, "kwargs"),
    )


def encode_notification(notification: Notification, *, bare: bool = False) -> bytes:
    """`bare` is the form 1.0 without an envelope, for listeners that know no other."""
    message: Json = {
        "message_id": notification.message_id,
        "publisher_id": notification.publisher_id,
        "event_type": notification.event_type,
        "priority": notification.priority,
        "payload": notification.payload,
        "timestamp": notification.timestamp,
        "_unique_id": notification.unique_id,
    }
    for key, value in notification.context.items():
        message[CONTEXT_PREFIX + key] = value
    return _encoded(message) if bare else seal(message)


def decode_notification(body: bytes) -> Notification:
    """Raises: InvalidEnvelope."""
    message = unseal(body)
    return Notification(
        message_id=_text_or_none(message, "message_id") or "",
        publisher_id=_text_or_none(message, "publisher_id") or "",
        event_type=_text(message, "event_type"),
        priority=_text(message, "priority").upper(),
        payload=message.get("payload"),
        timestamp=_text_or_none(message, "timestamp") or "",
        context=_context(message),
        unique_id=_text_or_none(message, "_unique_id") or "",
    )


def _encoded(message: Mapping[str, Any]) -> bytes:
    try:
        return _encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidEnvelope(f"the message cannot be sent as JSON: {error}") from error


def _context(message: Json) -> Json:
    start = len(CONTEXT_PREFIX)
    return {key[start:]: value for key, value in message.items() if key.startswith(CONTEXT_PREFIX)}


def _text(message: Json, key: str) -> str:
    value = message.get(key)
    if type(value) is not str:
        raise _wrong(key)
    return value


def _text_or_none(message: Json, key: str) -> str | None:
    value = message.get(key)
    if value is not None and type(value) is not str:
        raise _wrong(key)
    return value


def _object(message: Json, key: str) -> Json:
    value = message.get(key)
    if value is None:
        return {}
    if type(value) is not dict:
        raise _wrong(key)
    return value


def _seconds(message: Json, key: str) -> int | None:
    """Peers say whole seconds; what a configuration of theirs made of it is no reason to refuse."""
    value = message.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 < value < SECONDS_MAX else None


def _lines(value: Any) -> tuple[str, ...]:
    return tuple(line for line in value if isinstance(line, str)) if type(value) is list else ()


def _wrong(key: str) -> InvalidEnvelope:
    return InvalidEnvelope(f"the message's {key!r} is missing or of the wrong type")
