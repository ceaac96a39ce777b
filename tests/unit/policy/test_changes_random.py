# SPDX-License-Identifier: Apache-2.0
"""Random changes: whatever came before, what stands is what its texts say, and nothing else."""

import random
from dataclasses import replace

import pytest

from transom.policy.datalog.core import TableId
from transom.policy.datalog.engine.engine import Engine
from transom.policy.datalog.faults import Refused
from transom.policy.datalog.rules.changes import Change, PolicyIn, PolicyOut, RowsIn, SchemaIn
from transom.policy.datalog.rules.checks import checked_rule
from transom.policy.datalog.rules.program import IN_DOUBT, Program, Schema
from transom.policy.datalog.values import Row
from transom.policy.datalog.workspace import Workspace

from support.policy_program import changes

SEEDS = range(50)
POLICIES = {"a": "nonrecursive", "b": "nonrecursive", "s": "datasource", "c": "action"}
BODIES = [
    "q(x)", "b:q(x)", "a:p(x)", "s:t(x)", "s:t(id=x)", "s:t(x, y)", "s:t(name=x)", "not r(x)",
    "not s:t(x, _)", "lt(x, 2)", "equal(x, 1)", "s:t(name=y, id=x)", "r(x)", "false",
]  # fmt: skip
HEADS = ["p(x)", "q(x)", "r(x)", "p(x, x)", "execute[s:go(x)]", "p(x, count(x))", "p+(x)"]
FACTS = ["q(1)", "q(2)", "r(1)", "p(3)", "p(1, 1)", "q(1, 2)", "t(1)", "t(1, 2)"]
SCHEMAS = [{}, {"t": ("id",)}, {"t": ("id", "name")}, {"t": ("name", "id")}, {"u": ("id",)}]


def rule(draw: random.Random) -> str:
    body = draw.sample(BODIES, draw.randint(1, 3))
    return f"{draw.choice(HEADS)} :- {', '.join(body)}"


def change(draw: random.Random) -> Change | tuple[str, str]:
    policy = draw.choice(list(POLICIES))
    sign = draw.choice(["", "", "-"])
    match draw.randrange(12):
        case 0:
            return PolicyIn(policy, POLICIES[policy])
        case 1:
            return PolicyOut(policy, dangling=draw.random() < 0.7)
        case 2 | 3:
            owner = draw.choice(["s", "s", "s", "a"])
            return SchemaIn(owner, Schema(draw.choice(SCHEMAS), draw.random() < 0.3))
        case 4:
            rows = {tuple(draw.choices([1, 2], k=draw.randint(1, 2))): draw.choice([1, -1])}
            return RowsIn(TableId(draw.choice(["s:t", "a:q", "nobody:t"])), rows)
        case 5 | 6:
            return (policy, sign + draw.choice(FACTS))
        case _:
            return (policy, sign + rule(draw))


def invariants(program: Program) -> None:
    uses: dict[str, set[str]] = {}
    heads: dict[str, set[str]] = {}
    for entry in program.entries.values():
        heads.setdefault(entry.head, set()).add(entry.name)
        for table in (entry.head, *entry.reads):
            uses.setdefault(table, set()).add(entry.name)
    assert {table: set(names) for table, names in program.uses.items()} == uses
    assert {table: set(names) for table, names in program.heads.items()} == heads
    assert all(rows for rows in program.facts.values())


def own_rows(work: Workspace, table: TableId) -> set[Row]:
    """Those that no rule made."""
    found = work.engine.state.tables.get(table)
    if found is None:
        return set()
    return set(found.counts) if found.facts is None else set(found.facts)


def as_checked(program: Program) -> None:
    """Each rule is in force, or waits, as its check says today."""
    for entry in program.entries.values():
        doubted = replace(entry, faults=IN_DOUBT)
        alone = replace(program, entries={**program.entries, entry.name: doubted})
        found = checked_rule(alone, entry.policy, entry.rule, entry.name)
        assert (found.core, bool(found.faults)) == (entry.core, bool(entry.faults)), entry.name


def rebuilt(program: Program, work: Workspace) -> Engine:
    """Of the rules and rows as they are now, in one transaction."""
    again = Engine()
    cores = [entry.core for entry in program.entries.values() if entry.core is not None]
    tables = list(work.engine.state.tables)
    rows = {table: dict.fromkeys(own_rows(work, table), 1) for table in tables if "#" not in table}
    again.transact(rows, cores)
    return again


def visible(engine: Engine) -> dict[str, set[Row]]:
    found = {str(table): set(engine.rows(table)) for table in engine.state.tables}
    return {table: rows for table, rows in found.items() if rows and "#" not in table}


def widths(work: Workspace) -> None:
    for table, rows in visible(work.engine).items():
        width = work.program.width(TableId(table))
        assert width is not None, table
        assert {len(row) for row in rows} == {width.columns}, table


@pytest.mark.parametrize("seed", SEEDS)
def test_what_stands_is_what_its_texts_say(seed: int) -> None:
    draw = random.Random(seed)
    work = Workspace()
    work.change([PolicyIn(name, kind) for name, kind in POLICIES.items()])
    taken = 0
    for _ in range(60):
        steps = changes([change(draw) for _ in range(draw.randint(1, 3))])
        before, rows = work.program, visible(work.engine)
        try:
            work.change(steps)
            taken += 1
        except Refused:
            assert work.program is before
            assert visible(work.engine) == rows
        invariants(work.program)
        widths(work)
    assert taken > 3, f"seed {seed} takes {taken} changes only"
    as_checked(work.program)
    again = rebuilt(work.program, work)
    assert visible(again) == visible(work.engine), f"seed {seed}"
    assert dict(again.rules) == dict(work.engine.rules), f"seed {seed}"
