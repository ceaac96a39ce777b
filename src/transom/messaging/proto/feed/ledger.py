# SPDX-License-Identifier: Apache-2.0
"""What a replica remembers of rows that its consumer owns: a hash each, and where they stand.

Invariants:
1. `digest` is the sum of the hashes held.
2. For the last steps the digest after each is kept with the time of the step, so a head that
   comes late can be compared at its own n.
"""

from collections.abc import Iterable, Iterator
from math import inf

from transom.messaging.proto.feed.change import Change, Key
from transom.messaging.proto.feed.digest import MODULUS, row_hash

_RECENT = 256
Hashed = tuple[Change, int | None]


def hashed(change: Change) -> Hashed:
    """The change with its row's hash; None for a deletion."""
    if change.row is None:
        return change, None
    return change, row_hash(change.table, change.key, change.row)


class Ledger:
    """Hashes by table and key, at (epoch, n). Before the first snapshot n is -1."""

    def __init__(self) -> None:
        self.epoch = -1
        self.n = -1
        self.digest = 0
        self._recent: dict[int, tuple[int, float]] = {}
        self._hashes: dict[str, dict[Key, int]] = {}

    def hash_of(self, change: Change) -> int | None:
        """The hash held for the row that the change is about."""
        return self._hashes.get(change.table, {}).get(change.key)

    def keys(self) -> Iterator[tuple[str, Key]]:
        for table, hashes in self._hashes.items():
            for key in hashes:
                yield table, key

    def step(
        self, epoch: int, n: int, changes: Iterable[Hashed], now_s: float
    ) -> tuple[Change, ...]:
        """Moves to (epoch, n); answers those changes that make a difference."""
        if (epoch, n) != (self.epoch, self.n + 1):
            self._recent.clear()
        self.epoch, self.n = epoch, n
        different = tuple(change for change, new in changes if self._put(change, new))
        self._recent[n] = (self.digest, now_s)
        if len(self._recent) > _RECENT:
            del self._recent[n - _RECENT]
        return different

    def digest_at(self, n: int) -> int | None:
        """The digest after step n of this epoch, if that is not long ago."""
        held = self._recent.get(n)
        return held[0] if held else None

    def passed_s(self, n: int) -> float:
        """When the step after n was taken; infinity if we stand at n."""
        held = self._recent.get(n + 1)
        return held[1] if held else inf

    def _put(self, change: Change, new: int | None) -> bool:
        hashes = self._hashes.setdefault(change.table, {})
        old = hashes.get(change.key)
        if new == old:
            return False
        if new is None:
            del hashes[change.key]
        else:
            hashes[change.key] = new
        self.digest = (self.digest + (new or 0) - (old or 0)) % MODULUS
        return True
