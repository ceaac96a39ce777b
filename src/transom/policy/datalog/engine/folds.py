# SPDX-License-Identifier: Apache-2.0
"""Aggregates: count, sum, min and max of groups, kept as rows come and go.

A rule with an aggregate in its head is two: one whose head holds what its body binds, and a `Fold`
from that table's rows to the rule's own head. A group without a usable value gives no row.

Invariants:
1. What a group gives depends on its rows alone, not on the order in which they came: sums are
   exact, and become a float only when they are told.
2. A change, then the same change negated, leaves nothing behind.

A sum takes numbers; a row with another value in its place, or with an infinite one, is left out
and told as a fault.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, Protocol, TypeAlias

from transom.policy.datalog.core import CoreTerm, Fold
from transom.policy.datalog.engine.tables import Delta
from transom.policy.datalog.language.syntax import Variable
from transom.policy.datalog.values import Real, Row, Value, order, real

NOTHING: Final = object()
"""What a group gives that has no usable value."""


class Aggregate(Protocol):
    """The values of one group in one place of the head."""

    def change(self, value: Value, weight: int) -> None:
        """One row more or less has the value. Raises: ValueError if it cannot be used."""

    def result(self) -> Any:
        """A value, or NOTHING."""


class Count:
    """How many different values."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: dict[Value, int] = {}

    def change(self, value: Value, weight: int) -> None:
        count = self.values.get(value, 0) + weight
        if count:
            self.values[value] = count
        else:
            del self.values[value]

    def result(self) -> Any:
        return len(self.values) or NOTHING


class Sum:
    """The exact sum; an integer if all are integers."""

    __slots__ = ("reals", "rows", "total")

    def __init__(self) -> None:
        self.rows = self.reals = 0
        self.total: int | Fraction = 0

    def change(self, value: Value, weight: int) -> None:
        if type(value) is int:
            self.total += weight * value
        elif type(value) is Real:
            try:
                self.total += weight * Fraction(value[0])
            except (ValueError, OverflowError):
                raise ValueError(f"sum: {value[0]} is not finite") from None
            self.reals += weight
        else:
            raise ValueError("sum: not a number")
        self.rows += weight

    def result(self) -> Any:
        if not self.rows:
            return NOTHING
        if not self.reals:
            return int(self.total)
        try:
            return real(float(self.total))
        except OverflowError:
            return NOTHING


class _Last:
    """Turns an order around."""

    __slots__ = ("place",)

    def __init__(self, place: Any) -> None:
        self.place = place

    def __lt__(self, other: "_Last") -> bool:
        return bool(other.place < self.place)


class Extreme(Count):
    """The first value in an order. What was removed leaves the heap when it comes to its top."""

    __slots__ = ("heap", "place")

    def __init__(self, place: Callable[[Value], Any]) -> None:
        super().__init__()
        self.place = place
        self.heap: list[tuple[Any, int, Value]] = []

    def change(self, value: Value, weight: int) -> None:
        new = value not in self.values
        super().change(value, weight)
        if new:
            heapq.heappush(self.heap, self._entry(value))
        elif len(self.heap) > 2 * len(self.values) + LEFT_OVER_MOST:
            self.heap = [self._entry(value) for value in self.values]
            heapq.heapify(self.heap)

    def _entry(self, value: Value) -> tuple[Any, int, Value]:
        # Two entries of one place are of one value, which need not compare: the number decides.
        return (self.place(value), id(value), value)

    def result(self) -> Any:
        while self.heap:
            value = self.heap[0][2]
            if value in self.values:
                return value
            heapq.heappop(self.heap)
        return NOTHING


LEFT_OVER_MOST: Final = 64

AGGREGATES: Final[Mapping[str, Callable[[], Aggregate]]] = {
    "count": Count,
    "sum": Sum,
    "min": lambda: Extreme(order),
    "max": lambda: Extreme(lambda value: _Last(order(value))),
}

FaultSink: TypeAlias = Callable[[Exception, Row], None]


class _Group:
    """`rows`: of the bindings that are in it."""

    __slots__ = ("aggregates", "rows")

    def __init__(self, aggregates: list[Aggregate]) -> None:
        self.aggregates = aggregates
        self.rows = 0


class Groups:
    """All groups of one rule. `columns`: of the bindings' table, by variable."""

    def __init__(
        self, head: Sequence[CoreTerm | Fold], columns: Mapping[str, int], fault: FaultSink
    ) -> None:
        self.head = head
        self.columns = columns
        self.fault = fault
        self.keys = [columns[term.name] for term in head if isinstance(term, Variable)]
        self.folded = [
            (columns[term.variable.name], AGGREGATES[term.function])
            for term in head
            if isinstance(term, Fold)
        ]
        self.groups: dict[Row, _Group] = {}

    def rows(self) -> list[Row]:
        """Of the head, as they are."""
        found = (self._row(key, group) for key, group in self.groups.items())
        return [row for row in found if row is not None]

    def row(self, key: Row) -> Row | None:
        """Of the head, for the group with these values; None: it gives nothing, or is not there."""
        group = self.groups.get(key)
        return None if group is None else self._row(key, group)

    def change(self, delta: Delta) -> dict[Row, int]:
        """Rows of the head that came (1) and went (-1), for rows of the bindings that did."""
        before: dict[Row, Row | None] = {}
        for row, weight in delta.items():
            key = tuple([row[column] for column in self.keys])
            group = self.groups.get(key)
            if group is None:
                group = self.groups[key] = _Group([make() for _, make in self.folded])
            if key not in before:
                before[key] = self._row(key, group)
            self._change(group, row, weight)
        out: dict[Row, int] = {}
        for key, old in before.items():
            group = self.groups[key]
            new = self._row(key, group)
            if not group.rows:
                del self.groups[key]
            if new == old:
                continue
            if old is not None:
                out[old] = out.get(old, 0) - 1
            if new is not None:
                out[new] = out.get(new, 0) + 1
        return out

    def _change(self, group: _Group, row: Row, weight: int) -> None:
        group.rows += weight
        for aggregate, (column, _) in zip(group.aggregates, self.folded, strict=True):
            try:
                aggregate.change(row[column], weight)
            except ValueError as error:
                self.fault(error, (row[column],))

    def _row(self, key: Row, group: _Group) -> Row | None:
        results = [aggregate.result() for aggregate in group.aggregates]
        if NOTHING in results:
            return None
        keys, folds = iter(key), iter(results)
        return tuple(
            next(folds) if isinstance(term, Fold) else
            next(keys) if isinstance(term, Variable) else term.value
            for term in self.head
        )  # fmt: skip
