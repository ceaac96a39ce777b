# SPDX-License-Identifier: Apache-2.0
"""All policies of the library at once, on clouds made by chance, against the naive evaluator.

What a column may hold is what the cases have in it, and null. So the rows meet each other, and the
builtins fail now and then.
"""

import random
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from support.naive import evaluated
from support.policy_library import CASES, POLICIES, loaded, rows_of, schema, told

CLOUDS = 24
STEPS = 6
CHANGES_MOST = 60
TIMES = ("2026-01-31 12:00:00", "2026-01-31 12:34:56", "2026-02-01 00:00:00")
UNREADABLE = "not of this kind"


@cache
def known() -> Mapping[tuple[Any, str], list[Any]]:
    """What the cases have in each column of clouds' tables."""
    found: dict[tuple[Any, str], dict[Any, None]] = {}
    for case in CASES:
        for table, row in rows_of(case):
            for column, value in zip(schema().get(table, ()), row, strict=False):
                found.setdefault((table, column), {None: None})[value] = None
    return {key: list(values) for key, values in found.items()}


class Cloud:
    """Rows that come and go. `rows`: those that are there."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.tables = sorted({table for table, _ in known()})
        self.rows: dict[Any, set[Any]] = {table: set() for table in self.tables}

    def change(self) -> dict[Any, dict[Any, int]]:
        delta: dict[Any, dict[Any, int]] = {}
        for _ in range(self.draw.randint(1, CHANGES_MOST)):
            table = self.draw.choice(self.tables)
            there = self.rows[table]
            if there and self.draw.random() < 0.3:
                row = self.draw.choice(sorted(there, key=repr))
                there.remove(row)
                delta.setdefault(table, {})[row] = -1
            else:
                row = tuple(self.cell(table, column) for column in schema()[table])
                there.add(row)
                delta.setdefault(table, {})[row] = 1
        return delta

    def cell(self, table: Any, column: str) -> Any:
        if self.draw.random() < 0.01:
            return UNREADABLE
        return self.draw.choice(known()[table, column])


@pytest.mark.parametrize("seed", range(CLOUDS))
def test_on_any_cloud_they_say_what_plain_evaluation_says(seed: int) -> None:
    draw = random.Random(seed)
    workspace = loaded(*POLICIES).workspace
    cloud = Cloud(draw)
    rules = [entry.core for entry in workspace.program.entries.values() if entry.core]
    assert len(rules) > 100
    wrong = 0
    for _ in range(STEPS):
        workspace.tick(draw.choice(TIMES))
        workspace.update(cloud.change())
        settings = {table: set(rows) for table, rows in workspace.program.facts.items()}
        times: dict[Any, set[Any]] = {
            f"time:{name}": set(workspace.rows(f"time:{name}")) for name in ("hour", "day")
        }
        expected = evaluated(rules, {**settings, **times, **cloud.rows})
        found = told(workspace)
        assert found == {table: expected[table] for table in found}
        wrong += sum(len(rows) for table, rows in found.items() if table.endswith(":error"))
    assert wrong, "a cloud in which nothing is wrong tries nothing"
