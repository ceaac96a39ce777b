# SPDX-License-Identifier: Apache-2.0
"""One row's insert made into inserts of several rows, for SQLite.

A statement gives the interpreter up and takes it back for each row that it steps over; a thread
that writes beside a busy loop waits for its turn every time. Several rows in one statement wait
once.

Measured: 20 rows of messages take 0.7 of the time beside a busy loop, and 0.85 of the writer's CPU
(`bench/db/rows_at_once.py`).
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain

from transom.runtime.db.transaction import Parameters

AT_ONCE = (64, 16, 4)
"""Numbers of rows, so few that each statement is compiled once and kept."""
_VALUES = re.compile(r"\bvalues\s*(\([^()]*\))\s*\Z", re.IGNORECASE)


def batches(
    sql: str, rows: Sequence[Parameters]
) -> Iterator[tuple[str, Sequence[Parameters] | Parameters, bool]]:
    """(statement, its parameters, whether they are of several rows in one), the rows in order.

    What is not a plain `insert ... values (...)` comes as it is.
    """
    at = 0
    for number in AT_ONCE if _several(sql, 1) else ():
        while len(rows) - at >= number:
            flat = tuple(chain.from_iterable(rows[at : at + number]))
            yield _several(sql, number), flat, True
            at += number
    if at < len(rows):
        yield sql, rows[at:], False


@lru_cache(maxsize=128)
def _several(sql: str, number: int) -> str:
    """The statement for so many rows; empty if it has no form for several."""
    found = _VALUES.search(sql)
    if found is None or "insert" not in sql[: found.start()].lower():
        return ""
    return sql[: found.start(1)] + ", ".join([found[1]] * number)
