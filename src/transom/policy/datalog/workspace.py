# SPDX-License-Identifier: Apache-2.0
"""The door: policies, rules, rows and questions, on a program and an engine that stay in step.

Invariants:
1. A call is one transaction. One that is refused or fails changes nothing.
2. Rows of tables that are filled from outside (`Program.is_filled`) are in the engine alone; all
   others are facts, which the program knows too.
"""

import re
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from transom.policy.datalog.core import TableId
from transom.policy.datalog.engine.engine import Engine, Limits, finished
from transom.policy.datalog.engine.tables import Delta
from transom.policy.datalog.faults import Fault, Refused, Source
from transom.policy.datalog.language.grammar import parse
from transom.policy.datalog.language.printing import text_of
from transom.policy.datalog.language.syntax import Event, Mode, Rule
from transom.policy.datalog.questions import Answer, asking, fact_text
from transom.policy.datalog.rules.changes import (
    Change,
    Changed,
    PolicyIn,
    PolicyOut,
    RowsIn,
    RuleIn,
    RuleOut,
    SchemaIn,
    changed,
)
from transom.policy.datalog.rules.names import TIME_POLICY, atom_of, policy_of, table_fault
from transom.policy.datalog.rules.program import Kind, Program, Schema
from transom.policy.datalog.states import LIVE, LOADING, State, States, TableState
from transom.policy.datalog.values import Row, encoded_row

TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)
MIDNIGHT: Final = "0000-01-01 00:00:00"
TIME_CHARACTERS: Final = {"now": 19, "minute": 16, "hour": 13, "day": 10}

Rows: TypeAlias = Iterable[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`net`: what came and went, by table. `notes`: what was no change, and which rules wait."""

    net: Mapping[TableId, Delta]
    notes: tuple[Fault, ...] = ()


class Workspace:
    """Not for several threads. `program` and `engine` may be looked at; change them by calls."""

    def __init__(self, mode: Mode = Mode.COMPATIBLE, limits: Limits | None = None) -> None:
        self.program = Program(mode=mode)
        self.engine = Engine(limits or Limits())
        self.states = States()

    # Rules

    def create_policy(self, name: str, kind: str = Kind.NONRECURSIVE) -> Outcome:
        return self.change([PolicyIn(name, kind)])

    def delete_policy(self, name: str, *, dangling: bool = True) -> Outcome:
        """`dangling` False: not while rules of others name its tables."""
        return self.change([PolicyOut(name, dangling)])

    def set_schema(
        self, policy: str, tables: Mapping[str, Sequence[str]], *, complete: bool = False
    ) -> Outcome:
        """A policy that is not there is made: its source was first to speak."""
        schema = Schema({name: tuple(columns) for name, columns in tables.items()}, complete)
        made = [] if policy in self.program.policies else [PolicyIn(policy, Kind.DATASOURCE)]
        return self.change([*made, SchemaIn(policy, schema)])

    def insert(self, text: str, policy: str, name: str = "") -> Outcome:
        """Rules and facts. `name`: where the text is from, for faults."""
        return self.change([RuleIn(policy, rule) for rule in self.rules_of(text, name)])

    def delete(self, text: str, policy: str, name: str = "") -> Outcome:
        return self.change([RuleOut(policy, rule) for rule in self.rules_of(text, name)])

    def rules_of(self, text: str, name: str = "") -> list[Rule]:
        """What a text says, in its order. Raises: Refused; an event is no rule."""
        statements = parse(Source(name, text), self.program.mode).statements
        rules = [one for one in statements if isinstance(one, Rule)]
        if len(rules) < len(statements):
            events = [one for one in statements if isinstance(one, Event)]
            raise Refused([_event_fault(event) for event in events])
        return rules

    def change(self, changes: Sequence[Change]) -> Outcome:
        """All of them, or none. Raises: Refused, and what `Engine.transact` raises."""
        return finished(self.changing(changes))

    def changing(self, changes: Sequence[Change]) -> Generator[None, None, Outcome]:
        """The same in slices. Closed before its end, nothing was changed."""
        found = changed(self.program, changes)
        net = yield from self.engine.transacting(self._rows(found), found.added, found.removed)
        self._settle(found)
        return Outcome(net, found.notes)

    def _rows(self, found: Changed) -> Mapping[TableId, Delta]:
        rows = dict(found.rows)
        for table in found.dropped:
            gone = dict.fromkeys(self.engine.rows(table), -1)
            rows[table] = {**gone, **rows.get(table, {})}
        return rows

    def _settle(self, found: Changed) -> None:
        self.program = found.program
        for table in found.dropped:
            self.states.forget(table)
        for table in found.rows:
            if self.program.is_filled(table) and table not in self.states.known:
                self.states.set(table, LIVE)

    # Rows

    def load(self, tables: Mapping[str, Rows]) -> Outcome:
        """These are all rows of these tables, which are live. Raises: Refused; BadValue."""
        changes = []
        for name, rows in tables.items():
            table = named_table(name)
            wanted = dict.fromkeys(map(encoded_row, rows), 1)
            changes.append(RowsIn(table, self._difference(table, wanted)))
        outcome = self.change(changes)
        finished(self.engine.replanning())
        for change in changes:
            if self.program.is_filled(change.table):
                self.states.set(change.table, LIVE)
        return outcome

    def _difference(self, table: TableId, wanted: dict[Row, int]) -> dict[Row, int]:
        """What makes the table's own rows those."""
        filled = self.program.is_filled(table)
        there: Collection[Row] = (
            self.engine.rows(table) if filled else self.program.facts.get(table, ())
        )
        gone = {row: -1 for row in there if row not in wanted}
        if there and (not filled or table not in self.program.heads):
            wanted = {row: 1 for row in wanted if row not in there}
        return wanted | gone if gone else wanted

    def update(self, tables: Mapping[TableId, Delta]) -> Outcome:
        """Rows that come (1) and go (-1), of cells. A row that is there, or is not, is no change.

        A table that is loading goes on to: differences are not all rows, as those of `load` are.
        """
        if all(map(self._fits, tables, tables.values())):
            return Outcome(self.engine.transact(tables))
        changes = [RowsIn(named_table(table), delta) for table, delta in tables.items()]
        loading = [table for table in tables if self.states.of(self.program, table) == LOADING]
        outcome = self.change(changes)
        for table in loading:
            self.states.set(table, LOADING)
        return outcome

    def _fits(self, table: TableId, delta: Delta) -> bool:
        """Whether nothing of the program hangs on it: the short way."""
        width = self.program.inputs.get(table)
        return width is not None and all(len(row) == width for row in delta)

    def tick(self, time: str) -> Outcome:
        """It is `time`, in UTC, as `YYYY-MM-DD HH:MM:SS`."""
        if not _is_time(time):
            text = f"{time!r} is no time; it is written YYYY-MM-DD HH:MM:SS"
            raise Refused([Fault("time", text)])
        rows = {
            f"{TIME_POLICY}:{name}": [(time[:size] + MIDNIGHT[size:],)]
            for name, size in TIME_CHARACTERS.items()
        }
        return self.load(rows)

    def set_state(self, table: str, state: State, since: str = "") -> None:
        """What its source knows of the table's rows."""
        self.states.set(TableId(table), TableState(state, since))

    # Questions

    def select(self, query: str, policy: str, name: str = "") -> Answer:
        """An atom, which asks for rows like it, or a rule, which asks for its head.

        Raises: Refused; TooMuch; Busy.
        """
        return finished(self.selecting(query, policy, name))

    def selecting(self, query: str, policy: str, name: str = "") -> Generator[None, None, Answer]:
        """The same in slices."""
        return asking(self.program, self.engine, self.states, Source(name, query), policy)

    def rows(self, table: str) -> Collection[Row]:
        """Live: they change with the next transaction."""
        return self.engine.rows(TableId(table))

    def tables(self, policy: str) -> set[TableId]:
        """All that anything makes, names or fills."""
        return self.program.tables(policy)

    def content(self, policy: str) -> str:
        """The policy as a text, facts first, that reads back as the same policy."""
        return "".join(f"{line}\n" for line in self._lines(policy))

    def _lines(self, policy: str) -> Iterator[str]:
        mode = self.program.mode
        for table, rows in self.program.facts.items():
            if policy_of(table) == policy:
                for row in rows:
                    yield fact_text(atom_of(table, policy), row, mode)
        for entry in self.program.rules(policy):
            yield text_of(entry.rule, mode)

    @contextmanager
    def trial(self) -> Iterator[None]:
        """What is changed inside is undone on leaving. Raises: Busy inside another trial."""
        program, states = self.program, dict(self.states.known)
        with self.engine.trial():
            try:
                yield
            finally:
                self.program = program
                self.states.restore(states)


def _is_time(text: str) -> bool:
    """Of the one form, and a day of the calendar."""
    if not TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _event_fault(event: Event) -> Fault:
    text = f"`{event.modal}[...]` changes rules, and is a step of a simulation"
    return Fault("event", text, event.span, hint="give the rule alone")


def named_table(name: str) -> TableId:
    """Raises: Refused if it says no policy, or no table."""
    policy, _, table = name.partition(":")
    if not policy or table_fault(table) is not None or "#" in policy:
        text = f"{name!r} is no table; write its policy and name: nova:servers"
        raise Refused([Fault("table-name", text)])
    return TableId(name)
