# SPDX-License-Identifier: Apache-2.0
"""The engine: every derived table is kept true as rows and rules change.

A *transaction* is a set of changed rows, added rules and removed rules. It goes through the tables
in the order of their ranks, each once: a table takes what was counted for it, and what became
visible there goes through the functions of the rules that read it, which count heads for tables
further on. So each table's change is *net*, and costs what it touches.

Invariants:
1. A table's rank is above that of every table that its rules read, so a table is done before
   anything reads its change.
2. While a table's change goes through the rules, tables of lower rank are as they will be, those of
   higher rank as they were. A rule that reads the changing table more than once is given its rows
   one by one (`plan`, old and new).
3. An added rule is evaluated whole when its head's turn comes, so it meets no change of its own
   transaction twice. A removed one is taken back before anything changed.
4. Every step is in the journal. A transaction that fails, is closed between two slices, or belongs
   to a trial is undone backwards: no rule is asked again, and everything is as it was.

Source: counting, after Gupta, Mumick and Subrahmanian, "Maintaining views incrementally" (1993).
"""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

from transom.errors import Conflict, TooLarge
from transom.policy.datalog.core import CoreRule, TableId
from transom.policy.datalog.engine.readers import Faults, Seen
from transom.policy.datalog.engine.tables import SLICE, UNKNOWN_ROWS, Delta, Table
from transom.policy.datalog.engine.tracing import (
    Derivation,
    Failing,
    derivations,
    failing,
    reaching,
)
from transom.policy.datalog.engine.transaction import (
    Journal,
    Net,
    State,
    Transaction,
    bottom_up,
)
from transom.policy.datalog.values import Row, Value

GROWN: Final = 8
"""A table that is so many times larger than when it was planned for is planned for again."""
QUERY: Final = "#query"
Result = TypeVar("Result")


class Busy(Conflict):
    """A transaction or a query is between two slices; end it or close it first."""


class TooMuch(TooLarge):
    """A transaction or a query touched or made more rows than it may; all of it was undone."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one transaction or query. `touched`: rows looked at. `made`: rows of one derived table."""

    touched: int = 100_000_000
    made: int = 5_000_000


def finished(steps: Generator[None, None, Result]) -> Result:
    """Goes through all slices at once; gives what the generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result


class Engine:
    """Rows, rules and what follows of them. Not for several threads."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self.limits = limits
        self.state = State()
        self._trial: Journal | None = None
        self._running: Journal | None = None
        self._touched_most = 0
        self.asked: Mapping[int, Seen] = {}
        """What builtins could not answer in the last query, by place."""

    @property
    def rules(self) -> Mapping[str, CoreRule]:
        return self.state.rules

    @property
    def faults(self) -> Faults:
        return self.state.faults

    @property
    def touched(self) -> int:
        """Rows that were looked at, ever."""
        return self.state.meter.touched

    # Changes

    def transact(
        self,
        rows: Mapping[TableId, Delta] | None = None,
        added: Sequence[CoreRule] = (),
        removed: Sequence[str] = (),
    ) -> Net:
        """Applies all of it, or nothing.

        A row that is added and there, or removed and not there, is no change.

        Raises: Busy; TooMuch; KeyError for a rule that is not there; ValueError for one that is, or
        that would make a cycle.
        """
        return finished(self.transacting(rows, added, removed))

    def transacting(
        self,
        rows: Mapping[TableId, Delta] | None = None,
        added: Sequence[CoreRule] = (),
        removed: Sequence[str] = (),
    ) -> Generator[None, None, Net]:
        """The same in slices. Closed before its end it is undone; until then others are `Busy`."""
        journal, seen = self._begin(), dict(self.faults)
        try:
            run = Transaction(self.state, journal, self._check)
            if added or removed:
                yield from self._rules(run, added, removed)
            for table, delta in (rows or {}).items():
                yield from run.change(table, delta)
            yield from run.propagate()
        except BaseException:  # Safety: undone, and raised again
            journal.roll_back()
            self._restore_faults(seen)
            raise
        else:
            if self._trial is None:
                journal.settle()
            else:
                self._trial.undo += journal.undo
        finally:
            self._end(journal)
        return run.net

    def _rules(
        self, run: Transaction, added: Sequence[CoreRule], removed: Sequence[str]
    ) -> Generator[None, None, None]:
        same = {rule.name for rule in added if self.rules.get(rule.name) == rule}
        both = same.intersection(removed)
        for name in removed:
            if name not in both:
                yield from run.remove(name)
        for rule in bottom_up([rule for rule in added if rule.name not in both]):
            run.add(rule)
            yield

    @contextmanager
    def trial(self) -> Iterator[None]:
        """What is transacted inside is undone on leaving, also what is between two slices then.

        Raises: Busy inside another trial.
        """
        if self._trial is not None or self._running is not None:
            raise Busy("another trial or transaction goes on; end it first")
        self._trial = Journal()
        seen = dict(self.faults)
        try:
            yield
        finally:
            if self._running is not None:
                self._running.roll_back()
                self._end(self._running)
            trial, self._trial = self._trial, None
            trial.roll_back()
            self.state.tidy(trial.tables)
            self._restore_faults(seen)

    def replanning(self) -> Generator[None, None, None]:
        """Plans again what reads tables that grew much since; to be called after loading."""
        journal = self._begin()
        try:
            grown = [table for table in self.state.tables.values() if _grown(table)]
            for kept in dict.fromkeys(kept for table in grown for kept in table.kept):
                yield from kept.plan_again()
            for table in grown:
                table.planned_rows = len(table.counts)
        finally:
            self._end(journal)

    # Questions

    def rows(self, table: TableId) -> Collection[Row]:
        """The table's rows, live: they change with the next transaction."""
        found = self.state.tables.get(table)
        return found.counts.keys() if found is not None else ()

    def holds(self, table: TableId, row: Row) -> bool:
        return row in self.rows(table)

    def find(self, table: TableId, bound: Mapping[int, Value]) -> list[Row]:
        """Rows with these values in these columns. Raises: Busy."""
        return finished(self.finding(table, bound))

    def finding(
        self, table: TableId, bound: Mapping[int, Value]
    ) -> Generator[None, None, list[Row]]:
        """The same in slices."""
        journal = self._begin()
        try:
            found = self.state.tables.get(table)
            rows = iter(found.candidates(bound) if found is not None else ())
            checks = tuple(bound.items())
            like: list[Row] = []
            while part := list(islice(rows, SLICE)):
                like += [row for row in part if all(row[at] == value for at, value in checks)]
                if len(part) == SLICE:
                    yield
            return like
        finally:
            self._end(journal)

    def ask(self, rule: CoreRule) -> dict[Row, int]:
        """Heads of the rule with the number of their derivations; nothing is kept."""
        return finished(self.asking(rule))

    def asking(self, rule: CoreRule) -> Generator[None, None, dict[Row, int]]:
        """The same in slices. Raises: Busy; TooMuch."""
        journal = self._begin()
        try:
            run = Transaction(self.state, journal, self._check)
            run.add(CoreRule(QUERY, TableId(QUERY), rule.arguments, rule.body), once=True)
            yield from run.propagate()
            self.asked = self.faults.of(QUERY)
            return dict(self.state.table(TableId(QUERY)).counts)
        finally:
            journal.roll_back()
            self._end(journal)

    def diagnosing(self) -> Generator[None, None, Faults]:
        """What builtins cannot answer as rows are now: those that were met may be long mended.

        Rules that failed are evaluated again. Raises: Busy; TooMuch.
        """
        for name in dict.fromkeys(rule for rule, _ in self.faults):
            yield from self.asking(self.rules[name])
            self.faults.drop(name)
            self.faults.update({(name, place): seen for place, seen in self.asked.items()})
        return self.faults

    def derivations(self, rule: str, row: Row) -> Iterator[Derivation | None]:
        """Why the rule gives the row: each way, and `None` between slices. Raises: KeyError."""
        in_trial = self._trial is not None
        return derivations(self.state.kept[rule], self.rules[rule], row, passing=in_trial)

    def reaching(
        self, rule: str, given: Mapping[str, Value]
    ) -> Generator[None, None, tuple[int, dict[str, Value]]]:
        """How many literals of the rule's body can be passed with these values of variables, in
        its order, and the values of all then. Raises: KeyError.
        """
        return reaching(self.state.kept[rule], given, passing=self._trial is not None)

    def failing(self, rule: str, row: Row) -> Generator[None, None, Failing | None]:
        """Why the rule does not give the row; None if it does, or if its head is another.

        Raises: KeyError.
        """
        in_trial = self._trial is not None
        return failing(self.state.kept[rule], self.rules[rule], row, passing=in_trial)

    def sizes(self) -> dict[str, int]:
        """What is in memory, by kind."""
        tables = self.state.tables.values()
        return {
            "tables": len(tables),
            "rows": sum(len(table.counts) for table in tables),
            "facts": sum(len(table.facts or ()) for table in tables),
            "indexes": sum(len(table.indexes) for table in tables),
            "groups": sum(len(groups.groups) for table in tables for groups in table.folds),
            "rules": len(self.state.kept),
            "interned": len(self.state.interned.values),
        }

    def forget(self) -> None:
        """Lets go of what is kept only to make loading compact."""
        self.state.interned.values.clear()

    def refuse_busy(self) -> None:
        """Raises: Busy between two slices of a transaction or a query, when rows are half true."""
        if self._running is not None:
            raise Busy("a transaction or a query goes on; end it or close it first")

    def _begin(self) -> Journal:
        self.refuse_busy()
        self._running = Journal()
        self._touched_most = self.touched + self.limits.touched
        return self._running

    def _end(self, journal: Journal) -> None:
        if self._running is journal:
            self._running = None
        if self._trial is None:
            self.state.tidy(journal.tables)
        else:
            # What the trial undoes may need them again.
            self._trial.tables |= journal.tables

    def _restore_faults(self, seen: Mapping[tuple[str, int], Seen]) -> None:
        self.faults.clear()
        self.faults.update(seen)

    def _check(self, out: Mapping[Row, int]) -> None:
        if self.touched > self._touched_most:
            raise TooMuch(
                f"more than {self.limits.touched} rows would have to be looked at; make the rules "
                "narrower, or the change smaller"
            )
        if len(out) > self.limits.made:
            raise TooMuch(
                f"a table would get more than {self.limits.made} rows; make its rules narrower"
            )


def _grown(table: Table) -> bool:
    return len(table.counts) > GROWN * max(table.planned_rows, UNKNOWN_ROWS)
