# SPDX-License-Identifier: Apache-2.0
"""Why a row is not there: of each rule that could give it, the first literal that nothing passes.

Literals are tried in the order in which they are evaluated, which is the body's unless one of them
waits for values. Of all choices of rows the one is told that comes furthest.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Final

from transom.policy.datalog.core import Call, CoreRule, CoreTerm, Fold, Match, TableId
from transom.policy.datalog.engine.engine import Engine, TooMuch, finished
from transom.policy.datalog.engine.tables import Table
from transom.policy.datalog.language.printing import value_text
from transom.policy.datalog.language.syntax import Constant, Variable
from transom.policy.datalog.reasons.explain import first_like
from transom.policy.datalog.reasons.patterns import Pattern, pattern
from transom.policy.datalog.rules.names import meant
from transom.policy.datalog.rules.program import Entry, Program
from transom.policy.datalog.states import State, States, TableState
from transom.policy.datalog.values import Row, Value
from transom.policy.datalog.workspace import Workspace

NEAR_MOST: Final = 3
SEARCHED_MOST: Final = 20_000
"""Rows of a table without a fitting index that are looked through for near ones."""
SEARCHED_IN_ALL_MOST: Final = 500_000
"""The same of all rules together."""
TOUCHED_MOST: Final = 5_000_000
"""Rows that are looked at for one rule."""


class Reason(StrEnum):
    """`WAITS`: the rule does not hold yet. `SIMULATED`: it is for simulations alone.

    `HEAD`: it gives other constants. `OTHER`: it gives rows, but none like this.
    `NO_ROW`: a match has no row. `ROW`: a negated one has. `FALSE`, `FAILED`: a builtin's answer.
    """

    WAITS = "waits"
    SIMULATED = "simulated"
    HEAD = "head"
    OTHER = "other"
    NO_ROW = "no row"
    ROW = "row"
    FALSE = "false"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Near:
    """What is known of a table without a row. `rows`: those that differ in one column.

    `state`: of a source's table; `lacking`: of others, tables that they are made of and that are
    not live.
    """

    rows: tuple[Row, ...] = ()
    state: TableState | None = None
    lacking: tuple[tuple[TableId, TableState], ...] = ()


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What is in the way of one rule: `literal`, with `bindings` for the variables before it.

    `met`: the row that is in the way, or given instead. `said`: what a builtin said.
    """

    entry: Entry
    reason: Reason
    literal: Match | Call | None = None
    bindings: Mapping[str, Value] = field(default_factory=dict)
    near: Near = Near()
    met: Row | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class WhyNot:
    """`there`: a row like it is there after all. `hint`: nothing makes the table."""

    pattern: Pattern
    there: Row | None = None
    obstacles: tuple[Obstacle, ...] = ()
    near: Near = Near()
    hint: str | None = None


def why_not(workspace: Workspace, atom: str, policy: str) -> WhyNot:
    """Why no row like the atom is there. Raises: Refused; TooMuch; Busy."""
    return finished(asking_why_not(workspace, atom, policy))


def asking_why_not(workspace: Workspace, atom: str, policy: str) -> Generator[None, None, WhyNot]:
    """The same in slices; not while rows change."""
    program, engine, states = workspace.program, workspace.engine, workspace.states
    engine.refuse_busy()
    asked = pattern(program, atom, policy)
    there = yield from first_like(engine, asked)
    if there is not None:
        return WhyNot(asked, there)
    search = _Search(program, engine, states, asked)
    obstacles = []
    for name in program.heads.get(asked.table, ()):
        obstacles.append((yield from search.obstacle(program.entries[name])))
        yield
    near = search.near(asked.table, asked.bound)
    hint = None if obstacles else search.hint()
    return WhyNot(asked, None, tuple(obstacles), near, hint)


class _Search:
    """`left`: rows that may still be looked through for near ones."""

    def __init__(self, program: Program, engine: Engine, states: States, asked: Pattern) -> None:
        self.program, self.engine, self.states, self.asked = program, engine, states, asked
        self.left = SEARCHED_IN_ALL_MOST

    def hint(self) -> str | None:
        """None: something fills the table."""
        program, table = self.program, self.asked.table
        policy, _, name = table.partition(":")
        if table in program.facts or table in program.inputs:
            return None
        if policy not in program.policies:
            return meant(policy, program.policies)
        tables = {other.partition(":")[2] for other in program.tables(policy)}
        if program.is_filled(table) and name in tables:
            return None
        return meant(name, sorted(tables - {name}))

    def near(self, table: TableId, known: Mapping[int, Value]) -> Near:
        state = None
        lacking: tuple[tuple[TableId, TableState], ...] = ()
        if self.program.is_filled(table):
            state = self.states.of(self.program, table)
        else:
            made_of = self.states.completeness(self.program, table).of
            lacking = tuple(one for one in made_of if one[1].state is not State.LIVE)
        kept = self.engine.state.tables.get(table)
        if kept is None:
            return Near((), state, lacking)
        found: dict[Row, None] = {}
        for column in known:
            others = {other: value for other, value in known.items() if other != column}
            indexed = any(others.keys() >= set(columns) for columns in kept.indexes)
            if others and not indexed:
                if len(kept.counts) > min(SEARCHED_MOST, self.left):
                    continue
                self.left -= len(kept.counts)
            found |= dict.fromkeys(islice(_like(kept, others), NEAR_MOST))
        return Near(tuple(islice(found, NEAR_MOST)), state, lacking)

    # One rule

    def obstacle(self, entry: Entry) -> Generator[None, None, Obstacle]:
        rule = entry.core
        if rule is None:
            return Obstacle(entry, Reason.WAITS if entry.faults else Reason.SIMULATED)
        given = _given(rule, self.asked)
        if given is None:
            return Obstacle(entry, Reason.HEAD)
        passed, bindings = yield from self.reached(rule, given)
        if passed < len(rule.body):
            return self.failed(entry, rule.body[passed], bindings)
        return Obstacle(entry, Reason.OTHER, bindings=bindings, met=self.given(rule, bindings))

    def given(self, rule: CoreRule, bindings: Mapping[str, Value]) -> Row | None:
        """The row that it gives; None: its aggregates have no value."""
        for groups in self.engine.state.kept[rule.name].head.folds:
            key = tuple(bindings[term.name] for term in groups.head if isinstance(term, Variable))
            return groups.row(key)
        terms = (term for term in rule.arguments if not isinstance(term, Fold))
        return tuple(
            bindings[term.name] if isinstance(term, Variable) else term.value for term in terms
        )

    def reached(
        self, rule: CoreRule, given: Mapping[str, Value]
    ) -> Generator[None, None, tuple[int, dict[str, Value]]]:
        """How many literals can be passed, and the variables' values then. Raises: TooMuch."""
        steps = self.engine.reaching(rule.name, given)
        most = self.engine.touched + TOUCHED_MOST
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found: tuple[int, dict[str, Value]] = end.value
                return found
            if self.engine.touched > most:
                text = f"more than {TOUCHED_MOST} rows would have to be looked at"
                raise TooMuch(f"{text}; ask with more values")
            yield

    def failed(
        self, entry: Entry, literal: Match | Call, bindings: Mapping[str, Value]
    ) -> Obstacle:
        if isinstance(literal, Call):
            reason, said = _answer(literal, bindings)
            return Obstacle(entry, reason, literal, bindings, said=said)
        known = dict(_known(literal.arguments, bindings))
        if literal.negated:
            row = self.engine.find(literal.table, known)[0]
            return Obstacle(entry, Reason.ROW, literal, bindings, met=row)
        near = self.near(literal.table, known)
        return Obstacle(entry, Reason.NO_ROW, literal, bindings, near)


def _like(table: Table, known: Mapping[int, Value]) -> Iterator[Row]:
    rows = table.candidates(known)
    return (row for row in rows if all(row[place] == value for place, value in known.items()))


def _given(rule: CoreRule, asked: Pattern) -> dict[str, Value] | None:
    """Variables of the head; None if it cannot be like what is asked."""
    given: dict[str, Value] = {}
    for column, value in asked.bound.items():
        term = rule.arguments[column]
        if isinstance(term, Constant):
            if term.value != value:
                return None
        elif isinstance(term, Variable) and given.setdefault(term.name, value) != value:
            return None
    return given


def _known(
    terms: tuple[CoreTerm | None, ...], bindings: Mapping[str, Value]
) -> Iterator[tuple[int, Value]]:
    for place, term in enumerate(terms):
        if isinstance(term, Constant):
            yield place, term.value
        elif term is not None and term.name in bindings:
            yield place, bindings[term.name]


def _answer(call: Call, bindings: Mapping[str, Value]) -> tuple[Reason, str]:
    inputs = dict(_known(call.inputs, bindings)).values()
    try:
        answer = call.builtin.function(*inputs)
    except Exception as error:  # noqa: BLE001 (Safety: whatever a builtin raises is its answer)
        return Reason.FAILED, str(error) or type(error).__name__
    if not call.outputs:
        return Reason.FALSE, ""
    values = (answer,) if len(call.outputs) == 1 else answer
    return Reason.FALSE, ", ".join(map(value_text, values))
