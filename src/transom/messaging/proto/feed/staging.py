# SPDX-License-Identifier: Apache-2.0
"""A snapshot while it comes in, page by page, as the difference from what a replica holds.

Its pages were read at different steps, from `base` to `top`. Replaying steps base + 1 to top over
them makes the rows exactly those of `top`: the last whole-row write to each row wins, and every
row that was written while the pages were read is among those writes.

Invariant: until `finish`, nothing outside has changed.
"""

from transom.messaging.proto.feed.change import Change, Chunk, Cursor, Key
from transom.messaging.proto.feed.ledger import Hashed, Ledger, hashed


class Staging:
    """Rows that differ, keys not met yet, and how far the replay is (`n`)."""

    def __init__(self, ledger: Ledger, first: Chunk) -> None:
        self.epoch = first.epoch
        self.n = first.n
        self.top = first.n
        self.cursor: Cursor | None = None
        self.complete = False
        self._ledger = ledger
        self._unmet = set(ledger.keys())
        self._rows: dict[tuple[str, Key], Hashed] = {}

    def add(self, chunk: Chunk, rows: tuple[Change, ...]) -> bool:
        """Takes the next page; `rows` are those of its rows that are wanted.

        False if the page does not lead on: the snapshot is then of no use.
        """
        if chunk.epoch != self.epoch or self.complete:
            return False
        if chunk.after is not None and self.cursor is not None and chunk.after <= self.cursor:
            return False
        self.cursor = chunk.after
        self.complete = chunk.after is None
        self.n = min(self.n, chunk.n)
        self.top = max(self.top, chunk.n)
        for row in rows:
            self._unmet.discard((row.table, row.key))
            _, new = pair = hashed(row)
            if new != self._ledger.hash_of(row):
                self._rows[(row.table, row.key)] = pair
        return True

    def replay(self, n: int, changes: tuple[Change, ...]) -> None:
        """Step n, which is the one after `self.n`."""
        self.n = n
        for change in changes:
            self._rows[(change.table, change.key)] = hashed(change)
            self._unmet.discard((change.table, change.key))

    def finish(self) -> list[Hashed]:
        """What is to be changed; rows that were not met are gone."""
        gone: list[Hashed] = [
            (Change(table, key, None), None) for table, key in sorted(self._unmet)
        ]
        return gone + list(self._rows.values())
