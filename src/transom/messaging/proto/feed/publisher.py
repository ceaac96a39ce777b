# SPDX-License-Identifier: Apache-2.0
"""A volatile feed: the owner's rows in memory, their changes numbered, the last ones kept.

Invariants:
1. The rows are always the sum of change sets 1 to n of this epoch; a change set is one step.
2. A change that changes nothing is left out; a step without changes is no step.
3. What is kept for `since` is bounded by number and by bytes; what fell out is served by snapshot.
4. The epoch is the generation of the owner's lease: a later owner has a higher one.
5. A table that is idle (nobody keeps its rows up to date) keeps the rows that it had, and no
   snapshot of it is given; with the next `replace` it says what became different meanwhile.

A row that was handed in belongs to the feed: its giver changes it no more.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from transom.errors import Unavailable
from transom.messaging.proto.feed.change import Change, ChangeSet, Chunk, Cursor, Head, Key, Row
from transom.messaging.proto.feed.digest import MODULUS, hash_bytes
from transom.messaging.proto.feed.order import SortedKeys
from transom.messaging.proto.feed.oversize import carried

CHUNK_BYTES = 1024 * 1024


class TableIdle(Unavailable):
    """Nobody keeps the table's rows up to date at the moment; who wants it waits for its owner."""


@dataclass(frozen=True, slots=True)
class _Held:
    row: Row
    hash: int
    size_bytes: int


class _Table:
    """The rows of one table, their order and their digest."""

    __slots__ = ("digest", "order", "rows")

    def __init__(self) -> None:
        self.rows: dict[Key, _Held] = {}
        self.order = SortedKeys()
        self.digest = 0

    def put(self, key: Key, held: _Held | None) -> None:
        old = self.rows.get(key)
        if old is None and held is not None:
            self.order.add(key)
        elif old is not None and held is None:
            self.order.discard(key)
            del self.rows[key]
        if held is not None:
            self.rows[key] = held
        moved = (held.hash if held else 0) - (old.hash if old else 0)
        self.digest = (self.digest + moved) % MODULUS


class VolatileFeed:
    """Rows of the tables named; changes come out as numbered change sets.

    `idle`: those of them that are idle at first.
    """

    def __init__(
        self,
        epoch: int,
        tables: Collection[str],
        *,
        idle: Collection[str] = (),
        ring_sets: int = 1024,
        ring_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        self.epoch = epoch
        self.n = 0
        self._tables = {name: _Table() for name in sorted(tables)}
        self._idle: frozenset[str] = frozenset(idle)
        self._ring: deque[tuple[ChangeSet, int]] = deque()
        self._ring_sets = ring_sets
        self._ring_bytes = ring_bytes
        self._kept_bytes = 0

    def head(self) -> Head:
        digests = {name: table.digest for name, table in self._tables.items()}
        return Head(self.epoch, self.n, sum(digests.values()) % MODULUS, digests, self._idle)

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(self._tables)

    def counts(self) -> dict[str, int]:
        """How many rows each table has."""
        return {name: len(table.rows) for name, table in self._tables.items()}

    def rest(self, tables: Collection[str]) -> None:
        """Nobody keeps these tables up to date from now on, until they are replaced."""
        self._idle |= self._tables.keys() & frozenset(tables)

    def row(self, table: str, key: Key) -> Row | None:
        held = self._tables[table].rows.get(key)
        return held.row if held else None

    def replace(self, tables: Mapping[str, Mapping[Key, Row]]) -> ChangeSet | None:
        """Makes the rows given all rows of those tables; the difference is one step.

        They are idle no more. A row that is too large is carried cut (see `oversize`).
        Raises: KeyError for a table that is not the feed's; KeyTooLarge. Nothing changed then.
        """
        wanted: list[Change] = []
        for name, rows in tables.items():
            gone = self._tables[name].rows.keys() - rows.keys()
            wanted += [Change(name, key, None) for key in gone]
            wanted += [Change(name, key, row) for key, row in rows.items()]
        made = self.change(wanted)
        self._idle -= tables.keys()
        return made

    def change(self, changes: Iterable[Change]) -> ChangeSet | None:
        """Applies upserts and deletions as one step; None if nothing is different from before.

        Of several changes to one row the last counts. Raises: as `replace`.
        """
        news: dict[tuple[str, Key], tuple[Change, _Held | None]] = {}
        for change in changes:
            self._tables[change.table]
            news[(change.table, change.key)] = _held(change)
        different = [
            (change, held)
            for (table, key), (change, held) in news.items()
            if _hash(held) != _hash(self._tables[table].rows.get(key))
        ]
        if not different:
            return None
        for change, held in different:
            self._tables[change.table].put(change.key, held)
        self.n += 1
        made = ChangeSet(self.epoch, self.n, tuple(change for change, _ in different))
        self._keep(made, sum(held.size_bytes if held else 64 for _, held in different))
        return made

    def since(self, epoch: int, n: int, limit: int) -> list[ChangeSet] | None:
        """The next change sets after (epoch, n), at most `limit`; None if they are not at hand.

        As many as fit into `CHUNK_BYTES`, but at least one.
        """
        if epoch != self.epoch or n > self.n or n < self.n - len(self._ring):
            return None
        found: list[ChangeSet] = []
        total_bytes = 0
        skip = len(self._ring) - (self.n - n)
        for made, size_bytes in islice(self._ring, skip, skip + limit):
            total_bytes += size_bytes
            if found and total_bytes > CHUNK_BYTES:
                break
            found.append(made)
        return found

    def snapshot(self, tables: Sequence[str], after: Cursor | None, limit: int) -> Chunk:
        """A page of the rows of `tables` (none: all) behind `after`: at most `limit` rows.

        Raises: TableIdle.
        """
        idle = self._idle & frozenset(tables) if tables else self._idle
        if idle:
            raise TableIdle(detail=f"{', '.join(sorted(idle))}: not kept up to date now")
        rows: list[Change] = []
        size_bytes = 0
        for name in sorted(set(tables) & self._tables.keys()) if tables else self._tables:
            if after is not None and name < after[0]:
                continue
            table = self._tables[name]
            for key in table.order.after(after[1] if after and after[0] == name else None):
                if len(rows) >= limit or size_bytes >= CHUNK_BYTES:
                    return Chunk(self.epoch, self.n, tuple(rows), (rows[-1].table, rows[-1].key))
                held = table.rows[key]
                rows.append(Change(name, key, held.row))
                size_bytes += held.size_bytes
        return Chunk(self.epoch, self.n, tuple(rows), None)

    def _keep(self, made: ChangeSet, size_bytes: int) -> None:
        self._ring.append((made, size_bytes))
        self._kept_bytes += size_bytes
        while len(self._ring) > self._ring_sets or self._kept_bytes > self._ring_bytes:
            self._kept_bytes -= self._ring.popleft()[1]


def _held(change: Change) -> tuple[Change, _Held | None]:
    """The change as it is carried."""
    if change.row is None:
        return change, None
    row, encoded = carried(change.table, change.key, change.row)
    if row is not change.row:
        change = Change(change.table, change.key, row)
    return change, _Held(row, hash_bytes(encoded), len(encoded))


def _hash(held: _Held | None) -> int | None:
    return held.hash if held else None
