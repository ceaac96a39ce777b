# SPDX-License-Identifier: Apache-2.0
"""Equal values of many rows as one object.

Nothing depends on it but memory: what is forgotten is interned anew. So it holds a bounded number
of values and lets go of all of them when that is reached.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from transom.policy.datalog.values import Row, Value

VALUES_MOST: Final = 1_000_000
MANY_ROWS: Final = 1000
"""From so many rows on they tell which columns repeat."""
REPEATED: Final = 0.9
"""A column of which more values than this part differ holds ids: there is nothing to share."""


class Interned:
    """`most`: values that are remembered, give or take those of one call."""

    def __init__(self) -> None:
        self.most = VALUES_MOST
        self.values: dict[Value, Value] = {}

    def rows(self, rows: Sequence[Row]) -> dict[Row, int]:
        """Equal rows of interned values, each with 1."""
        if len(self.values) > self.most:
            self.values.clear()
        if len(rows) >= MANY_ROWS and rows[0]:
            columns = map(self._column, zip(*rows, strict=True))
            return dict.fromkeys(zip(*columns, strict=True), 1)
        known = self.values.setdefault
        return {tuple(map(known, row, row)): 1 for row in rows}

    def _column(self, column: Sequence[Value]) -> Iterable[Value]:
        if len(set(column)) > REPEATED * len(column):
            return column
        return map(self.values.setdefault, column, column)
