# SPDX-License-Identifier: Apache-2.0
"""oslo's messages and their bytes, as its own rabbit driver writes and reads them.

Invariants:
1. What a service sends becomes the same JSON as with the stock driver: values that are not JSON's
   go through oslo's `to_primitive`.
2. A failure is passed through as the text that it is, both ways.
3. Whatever the bytes, decoding gives a message or raises InvalidEnvelope.

Contexts are flat, `_context_<key>` beside the message's own keys. Source: the texts that
oslo.messaging 18.3.1 was seen to send, and what its dispatchers look for in a message.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from oslo_messaging._utils import version_is_compatible
from oslo_serialization import jsonutils

from transom.errors import InvalidEnvelope

VERSION = "2.0"
PREFIX = "_context_"
NULL = msgspec.Raw(b"null")
Json = dict[str, Any]

_text_of = json.JSONEncoder(default=jsonutils.to_primitive).encode


class _Outer(msgspec.Struct, rename={"version": "oslo.version", "text": "oslo.message"}):
    version: str
    text: str


class Reply(msgspec.Struct, rename={"msg_id": "_msg_id"}):
    """An answer; with `ending` false and nothing in it, a heartbeat. `result` is not read yet."""

    msg_id: str
    result: msgspec.Raw = NULL
    failure: str | None = None
    ending: bool = False

    @property
    def value(self) -> Any:
        """The result."""
        return _loads(bytes(self.result))

    @property
    def empty(self) -> bool:
        """Neither a result nor a failure."""
        return not self.failure and bytes(self.result) == b"null"


_encode_outer = msgspec.json.Encoder().encode
_decode_outer = msgspec.json.Decoder(_Outer).decode
_decode_reply = msgspec.json.Decoder(Reply).decode
_decode = msgspec.json.Decoder().decode


def seal(message: Mapping[str, Any]) -> bytes:
    """In the envelope. Raises: TypeError, ValueError, as the stock driver does."""
    return _encode_outer(_Outer(VERSION, _text_of(message)))


def bare(message: Mapping[str, Any]) -> bytes:
    """Without the envelope: notifications of form 1.0."""
    return _text_of(message).encode()


def unseal(body: bytes) -> Json:
    """The message. Raises: InvalidEnvelope."""
    try:
        outer = _loads(body)
        if not isinstance(outer, dict):
            raise InvalidEnvelope("the message is no object")
        if "oslo.version" not in outer or "oslo.message" not in outer:
            return outer
        if not version_is_compatible(VERSION, outer["oslo.version"]):
            raise InvalidEnvelope(f"envelope version {outer['oslo.version']!r} is not spoken here")
        message = _loads(outer["oslo.message"])
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise InvalidEnvelope("the bytes are no message", detail=str(error)) from error
    if not isinstance(message, dict):
        raise InvalidEnvelope("the message is no object")
    return message


def read_reply(body: bytes) -> Reply:
    """Raises: InvalidEnvelope."""
    try:
        return _decode_reply(_decode_outer(body).text)
    except msgspec.MsgspecError:
        pass  # not what peers send as a rule: read it with patience
    message = unseal(body)
    msg_id = message.get("_msg_id")
    if not isinstance(msg_id, str):
        raise InvalidEnvelope("the reply names no call")
    return Reply(
        msg_id,
        msgspec.Raw(_text_of(message.get("result")).encode()),
        message.get("failure") or None,
        bool(message.get("ending")),
    )


def pack(message: Json, context: Any) -> Json:
    """Puts the context (a dict, or an object with `to_dict`) into the message, which it gives."""
    values = context if isinstance(context, dict) else context.to_dict()
    for key, value in values.items():
        message[f"{PREFIX}{key}"] = value
    return message


def unpack(message: Json) -> Json:
    """Takes the context out of the message."""
    start = len(PREFIX)
    return {key[start:]: message.pop(key) for key in list(message) if key.startswith(PREFIX)}


def _loads(text: bytes | str) -> Any:
    try:
        return _decode(text)
    except msgspec.MsgspecError:
        return json.loads(text)  # which takes NaN, and halves of characters
