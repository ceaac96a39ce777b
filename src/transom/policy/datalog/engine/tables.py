# SPDX-License-Identifier: Apache-2.0
"""Rows of one table with their derivation counts, and its indexes.

A row is there while its count is above zero; a fact counts one, each derivation one more.

Invariants:
1. `counts` and the buckets of an index are the same objects all their lives: compiled functions
   hold them.
2. A row lies in memory once: `counts` and every index hold the same tuple.
3. An index is there exactly while a plan uses it.

Measured: an index of a million rows with a key each takes 30 MB so, and 250 MB with a set a key
(bench/policy/memory.py).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from transom.policy.datalog.core import TableId
from transom.policy.datalog.values import Row

if TYPE_CHECKING:
    from transom.policy.datalog.engine.folds import Groups
    from transom.policy.datalog.engine.readers import Kept, Reader

Delta: TypeAlias = Mapping[Row, int]
"""Row -> by how much its count changes."""
Bucket: TypeAlias = Row | list[Row] | dict[Row, None]
"""One row, a few, or many: what most keys have takes no container."""
LIST_ROWS_MOST: Final = 8
SAMPLE_ROWS: Final = 512
UNKNOWN_ROWS: Final = 64
"""Below it, a table tells nothing of what it will hold."""


def bucket_rows(bucket: Bucket | None) -> tuple[Row, ...] | list[Row] | dict[Row, None]:
    """What a bucket holds, to be walked."""
    if bucket is None:
        return ()
    return (bucket,) if isinstance(bucket, tuple) else bucket


class Index:
    """Rows by the value of one column, or by the tuple of several."""

    __slots__ = ("buckets", "columns", "key", "users", "width")

    def __init__(self, columns: tuple[int, ...]) -> None:
        self.columns = columns
        self.width = max(columns) + 1
        self.key: Callable[[Row], Any] = itemgetter(*columns)
        self.buckets: dict[Any, Any] = {}
        self.users = 0

    def add(self, rows: Sequence[Row]) -> None:
        """None of them is in it. Those that lack columns are left out: only rules that go ask."""
        place = self.buckets.setdefault
        rows = [row for row in rows if len(row) >= self.width]
        for key, row in zip(map(self.key, rows), rows, strict=True):
            found = place(key, row)
            if found is not row:
                self._beside(key, found, row)

    def _beside(self, key: Any, found: Any, row: Row) -> None:
        """`row` too has this key."""
        kind = type(found)
        if kind is tuple:
            self.buckets[key] = [found, row]
        elif kind is dict:
            found[row] = None
        elif len(found) < LIST_ROWS_MOST:
            found.append(row)
        else:
            self.buckets[key] = {**dict.fromkeys(found), row: None}

    def discard(self, rows: Sequence[Row]) -> None:
        """All of them are in it, but those that were left out."""
        buckets = self.buckets
        rows = [row for row in rows if len(row) >= self.width]
        for key, row in zip(map(self.key, rows), rows, strict=True):
            found = buckets[key]
            kind = type(found)
            if kind is tuple:
                del buckets[key]
                continue
            if kind is dict:
                del found[row]
            else:
                found.remove(row)
            if len(found) == 1:
                buckets[key] = next(iter(found))

    def find(self, key: Any) -> tuple[Row, ...] | list[Row] | dict[Row, None]:
        return bucket_rows(self.buckets.get(key))


class Table:
    """Rows, counts and indexes, and who reads them.

    `facts` None: every row is a fact, since no rule makes any. `makers`: rules with this head.
    `kept`: rules that read it. Their `readers` are given a transaction's changes all at once, but
    `self_readers`, which read it more than once, one by one. `folds`: aggregates of its rows, each
    with the table that they go to.
    """

    __slots__ = (
        "_estimates", "counts", "facts", "folds", "hidden", "id", "indexes", "kept", "makers",
        "planned_rows", "rank", "readers", "self_readers",
    )  # fmt: skip

    def __init__(self, table: TableId, *, hidden: bool = False) -> None:
        self.id = table
        self.hidden = hidden
        self.counts: dict[Row, int] = {}
        self.facts: set[Row] | None = None
        self.indexes: dict[tuple[int, ...], Index] = {}
        self.rank = 0
        self.planned_rows = 0
        self.makers = 0
        self.kept: dict[Kept, None] = {}
        self.readers: dict[Reader, None] = {}
        self.self_readers: dict[Reader, None] = {}
        self.folds: dict[Groups, Table] = {}
        self._estimates: dict[tuple[int, ...], tuple[int, float]] = {}

    def absorb(self, delta: Delta) -> Delta:
        """Adds counts; gives rows that came (1) and went (-1).

        The same delta negated takes all of it back.
        """
        visible = self._facts_absorbed(delta) if self.facts is None else self._absorbed(delta)
        if self.indexes and visible:
            came = [row for row, weight in visible.items() if weight > 0]
            went = [row for row, weight in visible.items() if weight < 0]
            for index in self.indexes.values():
                if went:
                    index.discard(went)
                if came:
                    index.add(came)
        return visible

    def _facts_absorbed(self, delta: Delta) -> Delta:
        """Of facts alone each change is one that is seen."""
        counts = self.counts
        if len(delta) > 1 and min(delta.values()) > 0:
            counts.update(delta)  # which hashes no row again
            return delta
        for row, weight in delta.items():
            if weight > 0:
                counts[row] = 1
            else:
                del counts[row]
        return delta

    def _absorbed(self, delta: Delta) -> Delta:
        counts, visible = self.counts, {}
        for row, weight in delta.items():
            old = counts.get(row, 0)
            new = old + weight
            if old and new:
                counts[row] = new
            elif new:
                counts[row] = new
                visible[row] = 1
            elif old:
                del counts[row]
                visible[row] = -1
        return visible

    def would_change(self, row: Row, weight: int) -> int:
        """What `absorb` of that one would give for the row: 1, -1 or 0."""
        old = self.counts.get(row, 0)
        return bool(old + weight) - bool(old)

    def candidates(self, bound: Mapping[int, Any]) -> Collection[Row]:
        """Rows among which are all with these values in these columns, by an index if one is."""
        for columns, index in self.indexes.items():
            if bound.keys() >= set(columns):
                key = tuple(bound[column] for column in columns)
                return index.find(key if len(key) > 1 else key[0])
        return self.counts

    def acquire(self, columns: tuple[int, ...]) -> Iterator[None]:
        """Counts the index as used; makes it, in slices, if it is not there.

        It may not be used before the end, nor may rows change until then.
        """
        index = self.indexes.get(columns)
        if index is None:
            index = Index(columns)
            rows = iter(self.counts)
            while part := list(islice(rows, SLICE)):
                index.add(part)
                yield
            self.indexes[columns] = index
        index.users += 1

    @property
    def idle(self) -> bool:
        """Nothing is in it, and nothing makes or reads its rows."""
        return not (self.counts or self.makers or self.kept or self.folds)

    def release(self, columns: tuple[int, ...]) -> None:
        index = self.indexes[columns]
        index.users -= 1
        if not index.users:
            del self.indexes[columns]

    def rows_a_key(self, columns: tuple[int, ...]) -> float:
        """How many rows one value of `columns` has, guessed from a sample."""
        total = len(self.counts)
        known = self._estimates.get(columns)
        if known is not None and known[0] // 2 <= total <= known[0] * 2:
            return known[1]
        step = max(1, total // SAMPLE_ROWS)
        sample = list(islice(self.counts, 0, None, step))
        distinct = len(set(map(itemgetter(*columns), sample)))
        guess = total / max(_values(len(sample), distinct, total), 1)
        self._estimates[columns] = (total, guess)
        return guess


def _values(size: int, distinct: int, total: int) -> float:
    """How many values there are, by how many of a sample's differ.

    Of few, each was met. Of many, pairs of rows that are alike tell, as common birthdays do.
    """
    if distinct * 2 < size:
        return distinct
    alike = size - distinct
    return min(total, size * (size - 1) / 2 / alike) if alike else total


SLICE: Final = 1024
"""Rows that are touched before others may run: 1 to 4 ms."""
