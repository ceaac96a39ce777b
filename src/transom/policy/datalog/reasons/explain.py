# SPDX-License-Identifier: Apache-2.0
"""Why a row is there: the rules that give it, the rows that they met, and so on down to facts.

A tree of values, which stays as it is when rows change; `telling` makes texts and plain data of it.
What was told once is not told again further on.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from transom.policy.datalog.core import Call, CoreRule, Fold, Match, TableId
from transom.policy.datalog.engine.engine import Engine, TooMuch, finished
from transom.policy.datalog.engine.folds import Groups
from transom.policy.datalog.engine.tracing import Derivation
from transom.policy.datalog.faults import NOWHERE, Span
from transom.policy.datalog.language.syntax import Variable
from transom.policy.datalog.reasons.patterns import Pattern, pattern
from transom.policy.datalog.rules.program import Entry, Program
from transom.policy.datalog.states import States, TableState
from transom.policy.datalog.values import Row, Value
from transom.policy.datalog.workspace import Workspace

MEMBERS_COUNTED_MOST: Final = 10_000
EXTREMES: Final = frozenset({"min", "max"})


class Omitted(StrEnum):
    """Why nothing more is said of a row that follows from others.

    `ABOVE`: it was explained before. `DEEPER`: too far down, or there are too many.
    """

    ABOVE = "above"
    DEEPER = "deeper"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is told. `ways`: for a row, None for all; `members`: of a group; `rows`: in all,
    and as many ways. `touched`: rows looked at."""

    ways: int | None = 1
    members: int = 3
    depth: int = 8
    rows: int = 1000
    touched: int = 5_000_000


@dataclass(frozen=True, slots=True)
class Explanation:
    """A row that is there. `said`: it is a fact, or one of a source, which has a `state`.

    `span`: where a text says it. `count`: ways in which rules give it; `ways`: the first of them.
    `columns`: their names, if it is said alone and a schema names them.
    """

    table: TableId
    row: Row
    said: bool
    span: Span = NOWHERE
    state: TableState | None = None
    count: int = 0
    ways: tuple["Way", ...] = ()
    omitted: Omitted | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A literal of the body. `found`: the row of a match.

    `state`: of a source's table that has no such row.
    """

    literal: Match | Call
    found: Explanation | None = None
    state: TableState | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """A rule with values for its variables. Of aggregates there are `members` instead of `steps`.

    `members`: the first bindings of the group; `count`: how many there are, `MEMBERS_COUNTED_MOST`
    of more. Of `min` and `max` only those with that value.
    """

    entry: Entry
    bindings: Mapping[str, Value]
    steps: tuple[Step, ...] = ()
    members: tuple["Way", ...] = ()
    count: int = 0


def explain(
    workspace: Workspace, atom: str, policy: str, bounds: Bounds = Bounds()
) -> Explanation | None:
    """Why a row like the atom is there, the first that is found; None: there is none.

    Raises: Refused; TooMuch; Busy.
    """
    return finished(explaining(workspace, atom, policy, bounds))


def explaining(
    workspace: Workspace, atom: str, policy: str, bounds: Bounds = Bounds()
) -> Generator[None, None, Explanation | None]:
    """The same in slices; not while rows change."""
    workspace.engine.refuse_busy()
    asked = pattern(workspace.program, atom, policy)
    row = yield from first_like(workspace.engine, asked)
    if row is None:
        return None
    return (
        yield from explaining_row(
            workspace.program, workspace.engine, workspace.states, asked.table, row, bounds
        )
    )


def first_like(engine: Engine, asked: Pattern) -> Generator[None, None, Row | None]:
    found = yield from engine.finding(asked.table, asked.bound)
    return next((row for row in found if asked.fits(row)), None)


def explaining_row(
    program: Program,
    engine: Engine,
    states: States,
    table: TableId,
    row: Row,
    bounds: Bounds = Bounds(),
) -> Generator[None, None, Explanation]:
    """Why this row, which is there, is there."""
    return _Explainer(program, engine, states, bounds).explanation(table, row, bounds.depth)


class _Explainer:
    """`left`: how many rows may still be explained, `ways_left`: and ways told; `told`: rows that
    were explained."""

    def __init__(self, program: Program, engine: Engine, states: States, bounds: Bounds) -> None:
        self.program, self.engine, self.states, self.bounds = program, engine, states, bounds
        self.left = self.ways_left = bounds.rows
        self.touched_most = engine.touched + bounds.touched
        self.told: set[tuple[TableId, Row]] = set()

    def explanation(
        self, table: TableId, row: Row, depth: int
    ) -> Generator[None, None, Explanation]:
        kept = self.engine.state.tables[table]
        said = kept.facts is None or row in kept.facts
        facts = self.program.facts.get(table)
        span = NOWHERE if facts is None else facts.get(row, NOWHERE)
        state = self.state(table)
        count = kept.counts[row] - said
        if not count:
            columns = self.program.columns(table) or ()
            return Explanation(table, row, said, span, state, columns=columns)
        omitted = None
        ways: tuple[Way, ...] = ()
        if (table, row) in self.told:
            omitted = Omitted.ABOVE
        elif not depth or not self.left:
            omitted = Omitted.DEEPER
        else:
            self.told.add((table, row))
            self.left -= 1
            ways = yield from self.ways(table, row, depth - 1)
        return Explanation(table, row, said, span, state, count, ways, omitted)

    def check(self) -> None:
        """Raises: TooMuch."""
        if self.engine.touched > self.touched_most:
            text = f"more than {self.bounds.touched} rows would have to be looked at"
            raise TooMuch(f"{text}; ask for another row")

    def state(self, table: TableId) -> TableState | None:
        filled = self.program.is_filled(table)
        return self.states.of(self.program, table) if filled else None

    def ways(self, table: TableId, row: Row, depth: int) -> Generator[None, None, tuple[Way, ...]]:
        found: list[Way] = []
        most = self.bounds.ways
        for name in self.program.heads[table]:
            yield
            entry = self.program.entries[name]
            if entry.core is None:
                continue
            if any(isinstance(term, Fold) for term in entry.core.arguments):
                group = yield from self.group(entry, entry.core, row, depth)
                found += group
                continue
            for derivation in self.engine.derivations(name, row):
                if derivation is None:
                    self.check()
                    yield
                    continue
                if len(found) == most or not self.ways_left:
                    return tuple(found)
                self.ways_left -= 1
                found.append((yield from self.way(entry, entry.core, derivation, depth)))
        return tuple(found)

    def way(
        self, entry: Entry, rule: CoreRule, derivation: Derivation, depth: int
    ) -> Generator[None, None, Way]:
        rows = {place: row for place, _, row in derivation.rows}
        steps = []
        for literal in rule.body:
            if isinstance(literal, Call):
                steps.append(Step(literal))
            elif literal.negated:
                steps.append(Step(literal, state=self.state(literal.table)))
            else:
                row = rows[literal.place]
                steps.append(
                    Step(literal, (yield from self.explanation(literal.table, row, depth)))
                )
        return Way(entry, derivation.bindings, tuple(steps))

    def group(
        self, entry: Entry, rule: CoreRule, row: Row, depth: int
    ) -> Generator[None, None, list[Way]]:
        """The rule's group that gives the row, or nothing."""
        kept = self.engine.state.kept[rule.name]
        if not any(_gives(groups, row) for groups in kept.head.folds):
            return []
        names = [term.name for term in kept.rule.arguments if isinstance(term, Variable)]
        wanted = _extremes(rule, row)
        members: list[Way] = []
        seen: set[Row] = set()
        for derivation in self.engine.derivations(rule.name, row):
            if derivation is None:
                self.check()
                yield
                continue
            bindings = derivation.bindings
            key = tuple(bindings[name] for name in names)
            if key in seen or any(bindings[name] != value for name, value in wanted.items()):
                continue
            seen.add(key)
            if len(members) < self.bounds.members:
                members.append((yield from self.way(entry, rule, derivation, depth)))
            if len(seen) == MEMBERS_COUNTED_MOST:
                break
        bindings = {
            term.name: value
            for term, value in zip(rule.arguments, row, strict=True)
            if isinstance(term, Variable)
        }
        return [Way(entry, bindings, members=tuple(members), count=len(seen))]


def _gives(groups: Groups, row: Row) -> bool:
    terms = zip(groups.head, row, strict=True)
    key = tuple(cell for term, cell in terms if isinstance(term, Variable))
    return groups.row(key) == row


def _extremes(rule: CoreRule, row: Row) -> dict[str, Value]:
    """Values that the members have which made the row, where only minima and maxima are asked."""
    folds = [
        (term, value)
        for term, value in zip(rule.arguments, row, strict=True)
        if isinstance(term, Fold)
    ]
    if len(folds) > 1 or folds[0][0].function not in EXTREMES:
        return {}
    return {folds[0][0].variable.name: folds[0][1]}
