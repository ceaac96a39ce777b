# SPDX-License-Identifier: Apache-2.0
"""What is simulated is what happens when it is done; random sequences, by seed."""

import random
from collections.abc import Mapping

import pytest

from transom.policy.datalog.faults import Refused
from transom.policy.datalog.language.printing import text_of
from transom.policy.datalog.rules.changes import Change, RuleIn, RuleOut
from transom.policy.datalog.simulation.simulate import Simulation, simulate
from transom.policy.datalog.workspace import Workspace

SEQUENCES = 400
AT_ONCE = 50
WIDTHS = (1, 2, 2, 1, 0)
VALUES = ("1", "1.0", '"1"', "true", "2")
QUERIES = ("t0(x)", "t1(x, y)", "t2(y, x)", "t3(x)", "t4()")

Tables = Mapping[str, set[object]]


def atom(draw: random.Random, terms: tuple[str, ...] | str) -> str:
    table = draw.randrange(len(WIDTHS))
    return f"t{table}({', '.join(draw.choice(terms) for _ in range(WIDTHS[table]))})"


def formula(draw: random.Random) -> str:
    if draw.random() < 0.6:
        return atom(draw, VALUES)
    body = [draw.choice(("", "", "not ")) + atom(draw, "xyz_") for _ in range(draw.randint(1, 3))]
    return f"{atom(draw, 'xyz')} :- {', '.join(body)}"


def prepared(texts: list[str]) -> Workspace:
    workspace = Workspace()
    workspace.create_policy("a")
    for text in texts:
        try:
            workspace.insert(text, "a")
        except Refused:
            continue  # chance gave a cycle, or what is not safe
    return workspace


def rows(workspace: Workspace) -> Tables:
    tables = sorted(workspace.tables("a"))
    return {table: set(workspace.rows(table)) for table in tables if workspace.rows(table)}


def steps(draw: random.Random, workspace: Workspace) -> list[tuple[str, str]]:
    """A sign and a formula each; what goes is often there."""
    there = [text_of(entry.rule) for entry in workspace.program.entries.values()]
    found = []
    for _ in range(draw.randint(1, 5)):
        sign = draw.choice("+-")
        known = sign == "-" and there and draw.random() < 0.5
        found.append((sign, draw.choice(there) if known else formula(draw)))
    return found


def simulated(workspace: Workspace, query: str, text: str, delta: bool) -> Simulation | None:
    try:
        return simulate(workspace, query, "a", text, delta=delta)
    except Refused:
        return None


def done(workspace: Workspace, sequence: list[tuple[str, str]]) -> bool:
    changes: list[Change] = []
    for sign, text in sequence:
        kind = RuleIn if sign == "+" else RuleOut
        changes += [kind("a", rule) for rule in workspace.rules_of(text)]
    try:
        workspace.change(changes)
    except Refused:
        return False
    return True


def signed(texts: list[str], sign: str) -> list[str]:
    return [text[:2] + sign + text[2:] for text in texts]


def try_one(seed: int) -> bool:
    """Whether it could be done."""
    draw = random.Random(seed)
    texts = [formula(draw) for _ in range(18)]
    workspace, other = prepared(texts), prepared(texts)
    sequence, query = steps(draw, workspace), draw.choice(QUERIES)
    text = " ".join(part[:2] + sign + part[2:] for sign, part in sequence)
    before, content = rows(workspace), workspace.content("a")
    old = workspace.select(query, "a").texts()
    whole, delta = (simulated(workspace, query, text, differs) for differs in (False, True))
    assert (rows(workspace), workspace.content("a")) == (before, content), (seed, text)
    could = done(other, sequence)
    assert (whole is not None) == (delta is not None) == could, (seed, text)
    if whole is None or delta is None:
        return False
    new = other.select(query, "a").texts()
    assert list(whole.texts) == new, (seed, text, query)
    changed = signed(sorted({*new} - {*old}), "+") + signed(sorted({*old} - {*new}), "-")
    assert sorted(delta.texts) == sorted(changed), (seed, text, query)
    after = rows(other)
    net = {
        table: dict.fromkeys(after.get(table, set()) - before.get(table, set()), 1)
        | dict.fromkeys(before.get(table, set()) - after.get(table, set()), -1)
        for table in before.keys() | after.keys()
    }
    assert whole.net == {table: change for table, change in net.items() if change}, (seed, text)
    return True


@pytest.mark.parametrize("first", range(0, SEQUENCES, AT_ONCE))
def test_what_is_simulated_is_what_happens_and_leaves_nothing(first: int) -> None:
    assert sum(map(try_one, range(first, first + AT_ONCE))) > AT_ONCE // 3
