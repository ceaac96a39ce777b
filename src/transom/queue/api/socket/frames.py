# SPDX-License-Identifier: Apache-2.0
"""Frames: JSON in text, MessagePack in binary, answered in kind.

Invariants:
1. A body is JSON once it is past here: of a text frame the bytes as they came, of a binary
   one what its values are in JSON, where those that JSON does not have are refused (a name that
   is a number becomes a text).
2. What is answered in binary has the values of the JSON that would be answered in text. A whole
   number over 64 bits becomes a float there, half of a surrogate pair U+FFFD: MessagePack has
   neither.
3. Nothing is decoded that is nested deeper than the door allows.
4. A token is never echoed.
"""

import json
from math import isfinite
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from transom.errors import BadRequest
from transom.runtime.http.depth import DEPTH_MOST, is_too_deep

_LARGEST = 2**64 - 1
_LEAST = -(2**63)
_DIGITS_MOST = 400
_SECRET = frozenset({"x-auth-token", "x-service-token"})
_UNLIKE_JSON = bytes((*range(0xC4, 0xCC), *range(0xD4, 0xD9)))
"""First bytes of what JSON does not have (binary, extensions) or may not (floats: NaN)."""
_HARMLESS = bytes(byte for byte in range(256) if byte not in _UNLIKE_JSON)
_EMPTY = Raw(b"{}")


class _Sent(Struct):
    """A frame as it comes."""

    action: str = ""
    headers: dict[str, str | int | float | bool | None] | None = None
    body: Raw = Raw()
    id: str | int | UnsetType = UNSET


class Echo(Struct):
    """The request, in its answer: whole, or, if the client gave it an `id`, by that alone."""

    action: str | None
    body: Raw | UnsetType = UNSET
    headers: dict[str, Any] | UnsetType = UNSET
    id: str | int | UnsetType = UNSET
    api: str = "v2"


class _Reply(Struct):
    request: Echo
    body: Any
    headers: dict[str, Any]


class Frame(Struct):
    """A request as it came. `headers`: by lower-case names."""

    action: str
    headers: dict[str, str]
    sent: Raw
    is_text: bool
    echo: Echo

    def body(self) -> bytes:
        """As JSON; nothing if there is none. Raises: BadRequest."""
        if self.is_text:
            return bytes(self.sent)
        try:
            return _as_json(bytes(self.sent))
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise BadRequest(f"The body is no MessagePack that can be used: {error}.") from None


_from_json = msgspec.json.Decoder(_Sent).decode
_from_pack = msgspec.msgpack.Decoder(_Sent).decode
_values = msgspec.msgpack.Decoder().decode
_to_json = msgspec.json.Encoder().encode
_to_pack = msgspec.msgpack.Encoder().encode


def nothing() -> Echo:
    """Of a request that could not be read."""
    return Echo(None, _EMPTY, {})


def decoded(data: bytes, *, is_text: bool) -> Frame:
    """Raises: BadRequest."""
    try:
        if is_text:
            if is_too_deep(data, DEPTH_MOST + 1):
                raise BadRequest(f"The frame is nested more than {DEPTH_MOST} deep.")
            sent = _from_json(data)
        else:
            sent = _from_pack(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        form = "JSON" if is_text else "MessagePack"
        raise BadRequest(
            f"The frame is no object of action, headers and body in {form}: {error}."
        ) from None
    given = sent.headers or {}
    headers = {name.lower(): str(value) for name, value in given.items() if value is not None}
    if sent.id is not UNSET:
        echo = Echo(sent.action, id=sent.id)
    else:
        shown = {name: value for name, value in given.items() if name.lower() not in _SECRET}
        empty = _EMPTY if is_text else Raw(b"\x80")
        echo = Echo(sent.action, sent.body if bytes(sent.body) else empty, shown)
    return Frame(sent.action, headers, sent.body, is_text, echo)


def reply(echo: Echo, body: Any, headers: dict[str, Any], *, is_text: bool) -> bytes:
    """The frame of an answer. `body`: whatever can be JSON; bytes are JSON already."""
    shown = {} if body is None else Raw(body) if type(body) is bytes else body
    if is_text:
        return _to_json(_Reply(echo, shown, headers))
    if echo.body is _EMPTY:
        echo.body = Raw(b"\x80")
    return _to_pack(_Reply(echo, packable(_to_json(shown)), headers))


def message(body: Any, *, is_text: bool) -> bytes:
    """A frame that answers nothing: a message that is pushed."""
    text = _to_json(body)
    return text if is_text else _to_pack(packable(text))


def packable(text: bytes) -> Any:
    """What JSON says, as values that MessagePack has."""
    if not (b"\\ud" in text or b"\\uD" in text):
        try:
            value = msgspec.json.decode(text)
            _to_pack(value)
        except (msgspec.MsgspecError, OverflowError):
            pass
        else:
            return value
    return _mended(json.loads(text, parse_int=_whole))


def _whole(digits: str) -> int | float:
    """Of any length: what is over a float anyhow is not counted out."""
    return int(digits) if len(digits) <= _DIGITS_MOST else float(digits)


def _mended(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        paired = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return paired.encode("utf-8", "replace").decode()
    if kind is int and not _LEAST <= value <= _LARGEST:
        try:
            return float(value)
        except OverflowError:
            return float("inf") if value > 0 else float("-inf")
    if kind is list:
        return [_mended(item) for item in value]
    if kind is dict:
        return {_mended(key): _mended(item) for key, item in value.items()}
    return value


def _as_json(pack: bytes) -> bytes:
    """Raises: BadRequest, and what decoding raises."""
    if not pack:
        return b""
    value = _values(pack)
    if pack.translate(None, _HARMLESS):
        _check_plain(value, "body")
    try:
        text = _to_json(value)
    except (TypeError, UnicodeEncodeError) as error:
        raise BadRequest(f"The body has a value that JSON does not have: {error}.") from None
    if is_too_deep(text):
        raise BadRequest(f"The body is nested more than {DEPTH_MOST} deep.")
    return text


def _check_plain(value: Any, path: str) -> None:
    """Raises: BadRequest."""
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str and type(key) is not int:
                raise BadRequest(f"In {path} there is a name that is no text.")
            _check_plain(item, f"{path}.{key}")
    elif kind is list:
        for index, item in enumerate(value):
            _check_plain(item, f"{path}[{index}]")
    elif kind is float:
        if not isfinite(value):
            raise BadRequest(f"The number at {path} is none in JSON.")
    elif kind is not str and kind is not int and kind is not bool and value is not None:
        raise BadRequest(
            f"The value at {path} is none in JSON; send binary data as text, such as base64."
        )
