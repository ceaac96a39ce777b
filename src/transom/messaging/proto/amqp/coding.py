# SPDX-License-Identifier: Apache-2.0
"""Methods to bytes and back, by the kinds of their fields.

Invariants:
1. `decode_method(encode_method(method)) == method`, but for the types that `wire` widens in tables.
2. Whatever the bytes, decoding gives a method, or raises UnknownMethod or one of BROKEN.

Neighbouring bits share an octet, the first in its lowest place.
"""

import struct
from collections.abc import Callable
from typing import Any, get_type_hints

from transom.messaging.proto.amqp.methods import METHODS, Method
from transom.messaging.proto.amqp.wire import (
    Kind,
    Malformed,
    Unencodable,
    encode_long_bytes,
    encode_short_text,
    encode_table,
    read_long_bytes,
    read_short_text,
    read_table,
)

Layout = tuple[tuple[str, Kind], ...]


class UnknownMethod(ValueError):
    """The bytes are of a method that is not spoken here. `method`: its class and number."""

    def __init__(self, method: int) -> None:
        super().__init__(f"method {method >> 16}.{method & 0xFFFF} is not spoken here")
        self.method = method


def _layout(kind: type[Method]) -> Layout:
    hints = get_type_hints(kind, include_extras=True)
    return tuple((name, hints[name].__metadata__[0]) for name in kind.__struct_fields__)


NUMBERS = {kind: number for number, kind in METHODS.items()}
_LAYOUTS: dict[type[Method], Layout] = {kind: _layout(kind) for kind in NUMBERS}
_NUMBER = struct.Struct(">I")
_INTEGERS = {
    Kind.OCTET: struct.Struct(">B"),
    Kind.SHORT: struct.Struct(">H"),
    Kind.LONG: struct.Struct(">I"),
    Kind.LONG_LONG: struct.Struct(">Q"),
}
_ENCODES: dict[Kind, Callable[[Any], bytes]] = {
    **{kind: form.pack for kind, form in _INTEGERS.items()},
    Kind.SHORT_TEXT: encode_short_text,
    Kind.LONG_BYTES: encode_long_bytes,
    Kind.TABLE: encode_table,
}


def _reading(form: struct.Struct) -> Callable[[bytes, int], tuple[int, int]]:
    return lambda data, at: (form.unpack_from(data, at)[0], at + form.size)


_READS: dict[Kind, Callable[[bytes, int], tuple[Any, int]]] = {
    **{kind: _reading(form) for kind, form in _INTEGERS.items()},
    Kind.SHORT_TEXT: read_short_text,
    Kind.LONG_BYTES: read_long_bytes,
    Kind.TABLE: read_table,
}


def encode_method(method: Method) -> bytes:
    """What a method frame carries. Raises: Unencodable."""
    parts = [_NUMBER.pack(NUMBERS[type(method)])]
    bits = place = 0
    for name, kind in _LAYOUTS[type(method)]:
        value = getattr(method, name)
        if kind is Kind.BIT:
            bits |= bool(value) << place
            place += 1
            continue
        if place:
            parts.append(bytes((bits,)))
            bits = place = 0
        try:
            parts.append(_ENCODES[kind](value))
        except struct.error as error:
            raise Unencodable(f"{name} cannot be {value}") from error
    if place:
        parts.append(bytes((bits,)))
    return b"".join(parts)


def decode_method(data: bytes) -> Method:
    """Raises: UnknownMethod, or one of BROKEN."""
    number = _NUMBER.unpack_from(data)[0]
    kind = METHODS.get(number)
    if kind is None:
        raise UnknownMethod(number)
    values: dict[str, Any] = {}
    at = 4
    place = 0
    for name, form in _LAYOUTS[kind]:
        if form is Kind.BIT:
            at += not place
            values[name] = bool(data[at - 1] >> place & 1)
            place += 1
        else:
            place = 0
            values[name], at = _READS[form](data, at)
    if at != len(data):
        raise Malformed(f"method {number >> 16}.{number & 0xFFFF} has {len(data) - at} bytes more")
    return kind(**values)
