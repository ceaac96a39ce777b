# SPDX-License-Identifier: Apache-2.0
"""Equal values of many rows as one object.

Nothing depends on it but memory: what is forgotten is interned anew. So it holds a bounded number
of values and lets go of all of them when that is reached.
"""

from typing import Final

from transom.policy.datalog.values import Row, Value

VALUES_MOST: Final = 1_000_000


class Interned(dict[Value, Value]):
    """`interned[value]` is the value, the same object each time."""

    most = VALUES_MOST

    def __missing__(self, value: Value) -> Value:
        if len(self) >= self.most:
            self.clear()
        self[value] = value
        return value

    def row(self, row: Row) -> Row:
        return tuple(map(self.__getitem__, row))
