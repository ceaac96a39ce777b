# SPDX-License-Identifier: Apache-2.0
"""Passwords as scrypt hashes: `scrypt$LOG2_N$R$P$SALT$HASH`, the last two in base64.

Invariant: checking takes the time of the parameters in the record, whether the password is right
or not; `nobody` is a record of the same cost that no password fits.

`hashed` and `fits` compute for long (100 ms) and hold no lock of the interpreter meanwhile.
Source: RFC 7914.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass

SALT_BYTES = 16
DRAWN_COST_LOG2 = 9
"""For passwords that nobody could find by trying, however fast: those that we drew. No other
record has it, so it says that the password is such a one."""
_HASH_BYTES = 32
_MEMORY_SPARE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Cost:
    """scrypt's parameters. Memory is 128 * r * N bytes.

    Measured: with log2_n = 15 and r = 8 the 32 MiB are above what malloc keeps, so they go back to
    the system after each hash (tests/unit/identity/test_password.py).
    """

    log2_n: int = 15
    r: int = 8
    p: int = 1


def hashed(password: str, salt: bytes, cost: Cost) -> str:
    """The record to store. `salt`: 16 random bytes."""
    return _record(cost, salt, _derived(password, salt, cost))


def fits(password: str, record: str) -> bool:
    """Whether the password is the record's. Raises: ValueError for what is no record."""
    name, log2_n, r, p, salt, expected = record.split("$")
    if name != "scrypt":
        raise ValueError(f"unknown scheme {name!r}")
    derived = _derived(password, base64.b64decode(salt), Cost(int(log2_n), int(r), int(p)))
    return hmac.compare_digest(derived, base64.b64decode(expected))


def is_drawn(record: str) -> bool:
    """Whether the password was drawn by us. Raises: ValueError for what is no record."""
    return int(record.split("$")[1]) == DRAWN_COST_LOG2


def nobody(cost: Cost) -> str:
    """A record that no password fits: nobody can find one whose hash is all zeros."""
    return _record(cost, bytes(SALT_BYTES), bytes(_HASH_BYTES))


def _record(cost: Cost, salt: bytes, derived: bytes) -> str:
    parts = (base64.b64encode(salt).decode(), base64.b64encode(derived).decode())
    return "$".join(("scrypt", str(cost.log2_n), str(cost.r), str(cost.p), *parts))


def _derived(password: str, salt: bytes, cost: Cost) -> bytes:
    return hashlib.scrypt(
        password.encode(),
        salt=salt,
        n=1 << cost.log2_n,
        r=cost.r,
        p=cost.p,
        maxmem=128 * cost.r * ((1 << cost.log2_n) + cost.p) + _MEMORY_SPARE_BYTES,
        dklen=_HASH_BYTES,
    )
