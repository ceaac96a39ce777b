# SPDX-License-Identifier: Apache-2.0
"""What is known of input tables, and so whether an answer is complete.

A table that its source has not filled yet is not empty: nothing follows from what is not in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from transom.policy.datalog.core import TableId
from transom.policy.datalog.rules.dependencies import below
from transom.policy.datalog.rules.program import Program


class State(StrEnum):
    """`LOADING`: its source is known, its rows are not yet. `LIVE`: they are those of its source.

    `STALE`: they are those of an earlier time. `ABSENT`: nobody fills it.
    """

    LOADING = "loading"
    LIVE = "live"
    STALE = "stale"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class TableState:
    """`since`: when a stale table was true last, as whoever says so writes it."""

    state: State
    since: str = ""


@dataclass(frozen=True, slots=True)
class Completeness:
    """`complete`: each table of `of` is live, and no rule waits. `of`: what an answer is made of,
    by name; `waiting`: rules that do not hold yet."""

    complete: bool
    of: tuple[tuple[TableId, TableState], ...]
    waiting: tuple[str, ...] = ()


LIVE: Final = TableState(State.LIVE)
LOADING: Final = TableState(State.LOADING)
ABSENT: Final = TableState(State.ABSENT)


class States:
    """The states of input tables, and what follows for tables made of them."""

    def __init__(self) -> None:
        self.known: dict[TableId, TableState] = {}
        self._parts: tuple[object, ...] = (None,) * 4
        self._answers: dict[TableId, Completeness] = {}

    def set(self, table: TableId, state: TableState) -> None:
        if self.known.get(table) != state:
            self.known[table] = state
            self._answers.clear()

    def forget(self, table: TableId) -> None:
        if self.known.pop(table, None) is not None:
            self._answers.clear()

    def restore(self, known: dict[TableId, TableState]) -> None:
        self.known = known
        self._answers.clear()

    def of(self, program: Program, table: TableId) -> TableState:
        """Facts of texts are live, whatever they are."""
        if not program.is_filled(table):
            return LIVE
        found = self.known.get(table)
        if found is not None:
            return found
        return LOADING if program.columns(table) is not None else ABSENT

    def completeness(self, program: Program, table: TableId) -> Completeness:
        """Remembered until a state or a rule changes."""
        parts = (program.entries, program.policies, program.schemas, program.inputs)
        if any(map(_differ, self._parts, parts)):
            self._parts = parts
            self._answers.clear()
        found = self._answers.get(table)
        if found is None:
            found = self._answers[table] = self.completeness_of(program, (table,))
        return found

    def completeness_of(self, program: Program, tables: Iterable[TableId]) -> Completeness:
        """Of an answer that is made of all of these."""
        found = below(program, tables)
        of = tuple((leaf, self.of(program, leaf)) for leaf in sorted(found.leaves))
        complete = not found.waiting and all(state.state is State.LIVE for _, state in of)
        return Completeness(complete, of, tuple(sorted(found.waiting)))


def _differ(one: object, other: object) -> bool:
    return one is not other
