# SPDX-License-Identifier: Apache-2.0
"""The properties of a message: a word of flags, then the fields whose flag is set.

Invariants:
1. `decode_properties(encode_properties(properties)) == properties`, but for the types that `wire`
   widens in headers.
2. Whatever the bytes, decoding gives properties or raises one of BROKEN.
"""

import struct
from collections.abc import Callable
from typing import Any

import msgspec

from transom.messaging.proto.amqp.wire import (
    Malformed,
    Table,
    Unencodable,
    encode_short_text,
    encode_table,
    read_short_text,
    read_table,
)


class Properties(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Of one message. None: not said.

    `delivery_mode`: 1 transient, 2 persistent. `expiration`: ms as a text. `timestamp`: seconds
    since 1970. What a delivery carries may be shared between deliveries: never change `headers`.
    """

    content_type: str | None = None
    content_encoding: str | None = None
    headers: Table | None = None
    delivery_mode: int | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None
    cluster_id: str | None = None


Encode = Callable[[Any], bytes]
Read = Callable[[bytes, int], tuple[Any, int]]
_FLAGS = struct.Struct(">H")
_SECONDS = struct.Struct(">Q")
_TEXT: tuple[Encode, Read] = (encode_short_text, read_short_text)
_OCTET: tuple[Encode, Read] = (lambda value: bytes((value,)), lambda data, at: (data[at], at + 1))
_CODES: dict[str, tuple[Encode, Read]] = {
    "headers": (encode_table, read_table),
    "delivery_mode": _OCTET,
    "priority": _OCTET,
    "timestamp": (_SECONDS.pack, lambda data, at: (_SECONDS.unpack_from(data, at)[0], at + 8)),
}
_FIELDS = tuple(
    (1 << (15 - place), name, *_CODES.get(name, _TEXT))
    for place, name in enumerate(Properties.__struct_fields__)
)
_UNUSED = 0b11
"""The lowest flag says that more flags follow, which nobody has defined."""


def encode_properties(properties: Properties) -> bytes:
    """Flags and fields. Raises: Unencodable."""
    flags = 0
    parts = [b""]
    for flag, name, encode, _ in _FIELDS:
        value = getattr(properties, name)
        if value is not None:
            flags |= flag
            try:
                parts.append(encode(value))
            except (ValueError, TypeError, struct.error) as error:
                raise Unencodable(f"the property {name} cannot be {value!r:.40}") from error
    parts[0] = _FLAGS.pack(flags)
    return b"".join(parts)


def decode_properties(data: bytes, at: int = 0) -> Properties:
    """From `at` to the end of the bytes. Raises: one of BROKEN."""
    flags = _FLAGS.unpack_from(data, at)[0]
    if flags & _UNUSED:
        raise Malformed("a message has properties that nobody has defined")
    at += 2
    values: dict[str, Any] = {}
    for flag, name, _, read in _FIELDS:
        if flags & flag:
            values[name], at = read(data, at)
    if at != len(data):
        raise Malformed(f"the properties of a message have {len(data) - at} bytes more")
    return Properties(**values)
