# SPDX-License-Identifier: Apache-2.0
"""The primitives of AMQP 0-9-1: short texts, long byte strings, and field tables.

| tag | in Python | tag | in Python |
|---|---|---|---|
| t | bool | S | str if it is UTF-8, else bytes; str is sent as it |
| b B s u I i l L | int; sent as I, or as l where I is too small | x | bytes |
| f d | float; sent as d | A | list |
| D | Decimal | F | dict |
| T | Timestamp | V | None |

Invariants:
1. Whatever the bytes, a read gives a value and the place behind it, or raises one of BROKEN. It
   takes nothing from behind the end of the bytes.
2. Short texts are any bytes: what is not UTF-8 comes back as it was (surrogate escapes).
3. What is nested deeper than DEPTH_MAX stays bytes when read, and is not encodable: a message of a
   stranger must not be able to end the connection of who reads it.

Source: the AMQP 0-9-1 errata for the tags. An `l` is signed, as RabbitMQ has it.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

from transom.errors import MessagingError

Table = Mapping[str, object]
DEPTH_MAX = 32
_SHORT_BYTES_MAX = 255
_LONG_BYTES_MAX = 2**32 - 1


class Malformed(ValueError):
    """The bytes are not what they must be."""


BROKEN = (Malformed, struct.error, IndexError)
"""What a read raises: the last two where the bytes end too early."""


class Unencodable(MessagingError):
    """A value that has no form on the wire; nothing was written."""


class Timestamp(int):
    """Seconds since 1970, UTC, in a table."""


class Kind(StrEnum):
    """How a field of a method is coded."""

    BIT = "bit"
    OCTET = "octet"
    SHORT = "short"
    LONG = "long"
    LONG_LONG = "long long"
    SHORT_TEXT = "short text"
    LONG_BYTES = "long bytes"
    TABLE = "table"


_LENGTH = struct.Struct(">I")
_NUMBERS = {
    ord(tag): struct.Struct(form)
    for tag, form in (
        ("b", ">b"), ("B", ">B"), ("s", ">h"), ("u", ">H"), ("I", ">i"), ("i", ">I"),
        ("l", ">q"), ("L", ">q"), ("f", ">f"), ("d", ">d"),
    )
}  # fmt: skip
_SECONDS = struct.Struct(">Q")
_DECIMAL = struct.Struct(">Bi")


def read_short_text(data: bytes, at: int) -> tuple[str, int]:
    start = at + 1
    end = start + data[at]
    if end > len(data):
        raise Malformed("a short text is cut short")
    return data[start:end].decode("utf-8", "surrogateescape"), end


def encode_short_text(text: str) -> bytes:
    """At most 255 bytes. Raises: Unencodable."""
    try:
        coded = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise Unencodable(f"{text[:40]!r} cannot be sent as a name") from error
    if len(coded) > _SHORT_BYTES_MAX:
        raise Unencodable(f"{text[:40]!r}... has {len(coded)} bytes, more than a name may have")
    return bytes((len(coded),)) + coded


def read_long_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    start = at + 4
    end = start + _LENGTH.unpack_from(data, at)[0]
    if end > len(data):
        raise Malformed("a long string is cut short")
    return data[start:end], end


def encode_long_bytes(value: bytes) -> bytes:
    """Raises: Unencodable."""
    if len(value) > _LONG_BYTES_MAX:
        raise Unencodable(f"a string of {len(value)} bytes is too long to be sent")
    return _LENGTH.pack(len(value)) + value


def read_table(data: bytes, at: int, depth: int = 0) -> tuple[dict[str, object], int]:
    """A later entry of the same name replaces an earlier one."""
    coded, end = read_long_bytes(data, at)
    found: dict[str, object] = {}
    inside = 0
    while inside < len(coded):
        name, inside = read_short_text(coded, inside)
        found[name], inside = _read_value(coded, inside, depth)
    return found, end


def encode_table(table: Table, depth: int = 0) -> bytes:
    """With its length. Raises: Unencodable."""
    return encode_long_bytes(encode_entries(table, depth))


def encode_entries(table: Table, depth: int = 0) -> bytes:
    """Without its length. Raises: Unencodable."""
    return b"".join(
        encode_short_text(name) + _encode_value(value, depth) for name, value in table.items()
    )


def _read_array(data: bytes, at: int, depth: int) -> tuple[list[object], int]:
    coded, end = read_long_bytes(data, at)
    found: list[object] = []
    inside = 0
    while inside < len(coded):
        value, inside = _read_value(coded, inside, depth)
        found.append(value)
    return found, end


def _read_text(data: bytes, at: int) -> tuple[object, int]:
    coded, end = read_long_bytes(data, at)
    try:
        return coded.decode(), end
    except UnicodeDecodeError:
        return coded, end


def _read_decimal(data: bytes, at: int) -> tuple[object, int]:
    places, digits = _DECIMAL.unpack_from(data, at)
    # Built of its digits: arithmetic would round as the caller's decimal context says.
    value = Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -places))
    return value, at + _DECIMAL.size


def _read_timestamp(data: bytes, at: int) -> tuple[object, int]:
    return Timestamp(_SECONDS.unpack_from(data, at)[0]), at + _SECONDS.size


_READS: dict[int, Callable[[bytes, int], tuple[object, int]]] = {
    ord("S"): _read_text,
    ord("x"): read_long_bytes,
    ord("t"): lambda data, at: (data[at] != 0, at + 1),
    ord("V"): lambda data, at: (None, at),
    ord("D"): _read_decimal,
    ord("T"): _read_timestamp,
}


def _read_value(data: bytes, at: int, depth: int) -> tuple[object, int]:
    tag = data[at]
    at += 1
    number = _NUMBERS.get(tag)
    if number is not None:
        return number.unpack_from(data, at)[0], at + number.size
    read = _READS.get(tag)
    if read is not None:
        return read(data, at)
    if tag not in b"AF":
        raise Malformed(f"a table holds a value of the unknown kind {chr(tag)!r}")
    if depth >= DEPTH_MAX:
        return read_long_bytes(data, at)
    return (read_table if tag == ord("F") else _read_array)(data, at, depth + 1)


def _encode_value(value: object, depth: int) -> bytes:
    if value is None:
        return b"V"
    if isinstance(value, bool):
        return b"t\x01" if value else b"t\x00"
    if isinstance(value, int):
        return _encode_integer(value)
    if isinstance(value, str):
        return b"S" + encode_long_bytes(_utf8(value))
    if isinstance(value, float):
        return b"d" + _NUMBERS[ord("d")].pack(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return b"x" + encode_long_bytes(bytes(value))
    if isinstance(value, Decimal):
        return _encode_decimal(value)
    if depth >= DEPTH_MAX:
        raise Unencodable(f"a table is nested deeper than {DEPTH_MAX}")
    if isinstance(value, Mapping):
        return b"F" + encode_table(value, depth + 1)
    if isinstance(value, Sequence):
        return b"A" + encode_long_bytes(b"".join(_encode_value(one, depth + 1) for one in value))
    raise Unencodable(f"a table cannot hold a {type(value).__name__}")


def _encode_integer(value: int) -> bytes:
    if isinstance(value, Timestamp):
        if 0 <= value < 2**64:
            return b"T" + _SECONDS.pack(value)
    elif -(2**31) <= value < 2**31:
        return b"I" + _NUMBERS[ord("I")].pack(value)
    elif -(2**63) <= value < 2**63:
        return b"l" + _NUMBERS[ord("l")].pack(value)
    raise Unencodable("a table cannot hold a number of that size")


def _encode_decimal(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if isinstance(exponent, str):
        raise Unencodable(f"a table cannot hold the decimal {value}")
    places = max(0, -exponent)
    number = int("".join(map(str, digits))) * 10 ** min(max(0, exponent), 10)
    number = -number if sign else number
    if places > 255 or not -(2**31) <= number < 2**31:
        raise Unencodable(f"a table cannot hold the decimal {value}")
    return b"D" + _DECIMAL.pack(places, number)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise Unencodable(f"{text[:40]!r} cannot be sent as UTF-8") from error
