# SPDX-License-Identifier: Apache-2.0
"""In which order a rule's literals are looked at, and through which indexes.

A rule has a plan for each literal that may change (its *trigger*, whose rows are given), one
without a trigger, which evaluates it whole, and one with the head given, which explains.

A literal that can only drop rows (a call, a negated match, a match whose columns are all known)
comes as soon as its variables are bound; of the others the one that brings the fewest rows.

Old and new: while the rows of a table change, they are given one by one to rules that read the
table more than once. Literals on it before the trigger see the table with the row changed, those
behind it without: `Access.patched` marks the former.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from transom.policy.datalog.core import Call, CoreTerm, Match, TableId
from transom.policy.datalog.engine.tables import UNKNOWN_ROWS, Table
from transom.policy.datalog.language.syntax import Variable

SELECTIVE_ROWS = 4.0
"""An index of one column that gives no more rows a key is as good as one of all columns."""


class How(StrEnum):
    MEMBER = "member"
    INDEX = "index"
    SCAN = "scan"


@dataclass(frozen=True, slots=True)
class Access:
    """How a literal's rows are found. `columns`: of the index, if there is one."""

    match: Match
    how: How
    columns: tuple[int, ...] = ()
    patched: bool = False


Step: TypeAlias = Access | Call


@dataclass(frozen=True, slots=True)
class Plan:
    """`trigger`: the literal whose rows are given. `given`: variables whose values are."""

    trigger: Match | None
    given: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def indexes(self) -> list[tuple[TableId, tuple[int, ...]]]:
        return [
            (step.match.table, step.columns)
            for step in self.steps
            if isinstance(step, Access) and step.how is How.INDEX
        ]


Tables: TypeAlias = Mapping[TableId, Table]


def variables(terms: Iterable[CoreTerm | None]) -> set[str]:
    return {term.name for term in terms if isinstance(term, Variable)}


def planned(
    body: Sequence[Match | Call],
    tables: Tables,
    trigger: Match | None = None,
    given: tuple[str, ...] = (),
    *,
    may_build: bool = True,
    in_order: bool = False,
) -> Plan:
    """The plan. `may_build`: indexes that are not there may be asked for.

    `in_order`: literals stay in the body's order, which is safe.
    """
    waiting = [literal for literal in body if literal is not trigger]
    bound = set(given)
    if trigger is not None:
        bound |= variables(trigger.arguments)
    steps: list[Step] = []
    while waiting:
        chosen = waiting[0] if in_order else _next(waiting, bound, tables)
        waiting.remove(chosen)
        if isinstance(chosen, Call):
            bound |= variables(chosen.outputs)
            steps.append(chosen)
            continue
        patched = (
            trigger is not None and chosen.table == trigger.table and _before(body, chosen, trigger)
        )
        steps.append(_access(chosen, bound, tables, may_build=may_build, patched=patched))
        if not chosen.negated:
            bound |= variables(chosen.arguments)
    return Plan(trigger, given, tuple(steps))


def _before(body: Sequence[Match | Call], one: Match, other: Match) -> bool:
    return next(literal for literal in body if literal is one or literal is other) is one


def _next(waiting: Sequence[Match | Call], bound: set[str], tables: Tables) -> Match | Call:
    """Raises: ValueError if none can be next: the body is not safe."""
    best: Match | None = None
    least = 0.0
    for literal in waiting:
        if isinstance(literal, Call):
            needed = (*literal.inputs, *literal.outputs) if literal.negated else literal.inputs
            if variables(needed) <= bound:
                return literal
            continue
        known = known_columns(literal, bound)
        if literal.negated:
            if variables(literal.arguments) <= bound:
                return literal
            continue
        if len(known) == len(literal.arguments):
            return literal
        rows = _rows(tables.get(literal.table), known, len(literal.arguments))
        if best is None or rows < least:
            best, least = literal, rows
    if best is None:
        raise ValueError("no literal of the body can be next: it is not safe")
    return best


def known_columns(match: Match, bound: set[str]) -> tuple[int, ...]:
    """Columns whose value is known when these variables are."""
    return tuple(
        column
        for column, term in enumerate(match.arguments)
        if term is not None and (not isinstance(term, Variable) or term.name in bound)
    )


def _rows(table: Table | None, known: tuple[int, ...], columns: int) -> float:
    """How many rows a look brings. Of a table that holds little yet, by the form alone."""
    if table is None or len(table.counts) < UNKNOWN_ROWS:
        return 1.0 + columns - len(known) if known else 1000.0
    if not known:
        return 1000.0 + len(table.counts)
    return min(table.rows_a_key((column,)) for column in known)


def _access(
    match: Match, bound: set[str], tables: Tables, *, may_build: bool, patched: bool
) -> Access:
    known = known_columns(match, bound)
    if len(known) == len(match.arguments):
        return Access(match, How.MEMBER, patched=patched)
    if not known:
        return Access(match, How.SCAN, patched=patched)
    table = tables[match.table]
    columns = _columns(table, known, may_build=may_build)
    return Access(match, How.INDEX if columns else How.SCAN, columns, patched)


def _columns(table: Table, known: tuple[int, ...], *, may_build: bool) -> tuple[int, ...]:
    """Of the index to use; () if none is to be used."""
    if not may_build:
        usable = [columns for columns in table.indexes if set(columns) <= set(known)]
        return max(usable, key=len, default=())
    if len(known) == 1 or len(table.counts) < UNKNOWN_ROWS:
        return known
    singles = sorted(((column,) for column in known), key=table.rows_a_key)
    there = [columns for columns in singles if columns in table.indexes]
    for columns in (*there, singles[0]):
        if table.rows_a_key(columns) <= SELECTIVE_ROWS:
            return columns
    return known
