# SPDX-License-Identifier: Apache-2.0
"""The digest of rows: a sum of keyed hashes, so it has no order and moves with each change.

Invariant: two rows hash alike if and only if they are the same JSON (whatever the order of its
members), in the same table under the same key.
"""

from hashlib import blake2b

import msgspec

from transom.messaging.proto.feed.change import Key, Row

MODULUS = 1 << 128
_PURPOSE = b"transom.feed.row.1"
_encode = msgspec.json.Encoder(order="deterministic").encode


def encoded_row(table: str, key: Key, row: Row) -> bytes:
    """The canonical bytes of the row; their number is the size of the row."""
    return _encode((table, key, row))


def hash_bytes(encoded: bytes) -> int:
    """128 bits of what `encoded_row` answered."""
    return int.from_bytes(blake2b(encoded, digest_size=16, key=_PURPOSE).digest(), "little")


def row_hash(table: str, key: Key, row: Row) -> int:
    """128 bits; a digest is the sum of these over rows, modulo 2**128."""
    return hash_bytes(encoded_row(table, key, row))
