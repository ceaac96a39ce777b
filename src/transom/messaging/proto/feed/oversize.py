# SPDX-License-Identifier: Apache-2.0
"""A row that no feed can carry whole is carried cut, and says so.

Its largest members become null, one by one, until it fits, and the member `OVERSIZE` tells which:

    {"name": "big", "body": null, "$oversize": {"columns": ["body"], "bytes": 300026, ...}}

So one row holds up no feed. A reader has the key and the small columns, knows that the row is not
whole, and fetches the rest from the row's owner if it needs it.

Invariants:
1. A carried row is of `ROW_BYTES` at most. One that fits is carried as it is.
2. `digest` is that of the whole row: a change of what is cut is a change of what is carried.
3. The text of a key part is not cut.
"""

from typing import Any

import msgspec

from transom.errors import InternalError
from transom.messaging.proto.feed.change import Key, Row
from transom.messaging.proto.feed.digest import encoded_row, hash_bytes

ROW_BYTES = 256 * 1024
KEY_BYTES = 4 * 1024
OVERSIZE = "$oversize"
_MARKER_BYTES = 256


class KeyTooLarge(InternalError):
    """A row's key is over the bound that lets feeds page: its owner must cut it down."""


def carried(table: str, key: Key, row: Row) -> tuple[Row, bytes]:
    """The row as the feed says it, and its canonical bytes. Raises: KeyTooLarge."""
    check_key(table, key)
    encoded = encoded_row(table, key, row)
    if len(encoded) <= ROW_BYTES:
        return row, encoded
    left: dict[str, Any] = dict(row)
    cut: list[str] = []
    about_bytes = len(encoded) + _MARKER_BYTES
    for name, value_bytes in _largest_first(key, row):
        left[name] = None
        cut.append(name)
        about_bytes += len(msgspec.json.encode(name)) + 5 - value_bytes
        if about_bytes <= ROW_BYTES:
            break
    else:
        left, cut = {}, ["*"]  # its names alone are too many
    left[OVERSIZE] = {
        "columns": sorted(cut),
        "bytes": len(encoded),
        "digest": f"{hash_bytes(encoded):032x}",
    }
    return left, encoded_row(table, key, left)


def _largest_first(key: Key, row: Row) -> list[tuple[str, int]]:
    """The members that may be cut, and the bytes of their values."""
    sizes = [
        (name, len(msgspec.json.encode(value)))
        for name, value in row.items()
        if not (isinstance(value, str) and value in key)
    ]
    return sorted(sizes, key=lambda size: (-size[1], size[0]))


def check_key(table: str, key: Key) -> None:
    """Raises: KeyTooLarge."""
    size_bytes = sum(len(part.encode()) for part in key)
    if size_bytes > KEY_BYTES:
        raise KeyTooLarge(detail=f"{table}: a key of {size_bytes} bytes, at most {KEY_BYTES}")
