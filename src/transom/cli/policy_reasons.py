# SPDX-License-Identifier: Apache-2.0
"""Why rows are there and why not, as the lines that a case of a test shows."""

from transom.policy.datalog.core import TableId
from transom.policy.datalog.engine.engine import finished
from transom.policy.datalog.questions import fact_text
from transom.policy.datalog.reasons.explain import Bounds, explaining_row
from transom.policy.datalog.reasons.telling import INDENT, explained_text, why_not_text
from transom.policy.datalog.reasons.why_not import why_not as asked_why_not
from transom.policy.datalog.rules.names import atom_of, policy_of
from transom.policy.datalog.values import Row
from transom.policy.datalog.workspace import Workspace

BOUNDS = Bounds(depth=4, rows=20)
LINES_MOST = 30
"""Of one row's reason."""


def why(made: Workspace, table: TableId, row: Row) -> list[str]:
    """Of a row that is there."""
    tree = finished(explaining_row(made.program, made.engine, made.states, table, row, BOUNDS))
    first, *others = explained_text(tree).splitlines()
    _, _, said = first.rpartition("): ")
    return _short([*([said] if tree.said else []), *others])


def why_not(made: Workspace, table: TableId, row: Row) -> list[str]:
    """Of a row that is not there."""
    policy = policy_of(table)
    atom = fact_text(atom_of(table, policy), row, made.program.mode)
    _, *others = why_not_text(asked_why_not(made, atom, policy)).splitlines()
    return _short(others)


def _short(lines: list[str]) -> list[str]:
    shown = [line.removeprefix(INDENT) for line in lines[:LINES_MOST]]
    return (
        [*shown, f"... and {len(lines) - LINES_MOST} lines more"] if lines[LINES_MOST:] else shown
    )
