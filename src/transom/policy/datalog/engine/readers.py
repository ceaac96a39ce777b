# SPDX-License-Identifier: Apache-2.0
"""A rule inside the engine: its plans, its functions, and the indexes that they hold.

Functions are made when they are first called, indexes before the rule is used at all.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from transom.policy.datalog.core import CoreRule, TableId
from transom.policy.datalog.engine.functions import Emit, FaultSink, Function, Meter, function
from transom.policy.datalog.engine.plan import Plan, planned
from transom.policy.datalog.engine.tables import Table
from transom.policy.datalog.values import Row

Events: TypeAlias = Iterable[tuple[Row, int]]
EXAMPLES_MOST: Final = 3
TRACED_MOST: Final = 8
"""Ways to ask why, of one rule, that are kept."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Failures of one literal: how many were met, and the first few, as (inputs, text)."""

    count: int = 0
    examples: tuple[tuple[Row, str], ...] = ()

    def and_one(self, inputs: Row, text: str) -> "Seen":
        new = (inputs, text)
        if len(self.examples) == EXAMPLES_MOST or new in self.examples:
            return Seen(self.count + 1, self.examples)
        return Seen(self.count + 1, (*self.examples, new))


class Faults(dict[tuple[str, int], Seen]):
    """What builtins could not answer, by rule and place of the literal; rows were left out.

    The place of an aggregate is -1. A rule's faults go with the rule.
    """

    def note(self, rule: str, place: int, error: Exception, inputs: Row) -> None:
        key = (rule, place)
        self[key] = self.get(key, Seen()).and_one(inputs, str(error) or type(error).__name__)

    def of(self, rule: str) -> dict[int, Seen]:
        """By place."""
        return {place: seen for (name, place), seen in self.items() if name == rule}

    def drop(self, rule: str) -> None:
        for key in [key for key in self if key[0] == rule]:
            del self[key]


def _unheard(_place: int, _error: Exception, _inputs: Row) -> None:
    """What fails in an explanation was told when it was evaluated."""


class Reader:
    """One literal of a rule as its trigger: `run(events, out)` counts heads for changed rows."""

    __slots__ = ("head", "kept", "plan", "run")

    def __init__(self, kept: "Kept", plan: Plan) -> None:
        self.kept, self.plan = kept, plan
        self.head = kept.head
        self.run: Callable[[Events, dict[Row, int]], Iterator[None]] = self._first

    def _first(self, events: Events, out: dict[Row, int]) -> Iterator[None]:
        self.run = self.kept.function(self.plan, Emit.HEADS).run
        yield  # many that are made one after the other are no slice
        yield from self.run(events, out)


class Kept:
    """`name`: of the rule that was asked for. `rule`: as it is evaluated, see `lowering`.

    `once`: nobody needs it to stay true. `users`: rules that need it, for a projection.
    """

    def __init__(
        self,
        name: str,
        rule: CoreRule,
        tables: Mapping[TableId, Table],
        meter: Meter,
        faults: Faults,
        *,
        once: bool = False,
    ) -> None:
        self.name, self.rule, self.once = name, rule, once
        self.tables, self.meter, self.faults = tables, meter, faults
        self.head = tables[rule.head]
        self.matches = rule.matches
        self.projections: tuple[str, ...] = ()
        self.users = 0
        self.readers: list[tuple[Table, Reader]] = []
        self.held: list[tuple[Table, tuple[int, ...]]] = []
        self.traced: dict[tuple[Emit, tuple[str, ...]], tuple[Plan, Function]] = {}

    # Its place among the tables

    def place(self) -> None:
        """From now on its head comes after what it reads."""
        self.head.makers += 1
        for match in self.matches:
            self.tables[match.table].kept[self] = None

    @property
    def least_rank(self) -> int:
        """Of its head: above all that it reads."""
        return max((self.tables[match.table].rank + 1 for match in self.matches), default=0)

    def displace(self) -> None:
        self.head.makers -= 1
        for match in self.matches:
            self.tables[match.table].kept.pop(self, None)

    def link(self) -> None:
        """From now on it is given what changes."""
        uses = Counter(match.table for match in self.matches)
        for table, reader in self.readers:
            places = table.readers if uses[table.id] == 1 else table.self_readers
            places[reader] = None

    def unlink(self) -> None:
        for table, reader in self.readers:
            table.readers.pop(reader, None)
            table.self_readers.pop(reader, None)

    # Plans

    def prepare(self) -> Iterator[None]:
        """Plans for a change of each table, with their indexes."""
        for match in self.matches:
            plan = planned(self.rule.body, self.tables, match)
            yield from self._hold(plan)
            self.readers.append((self.tables[match.table], Reader(self, plan)))

    def plan_again(self) -> Iterator[None]:
        """Other plans, where tables are no longer what they were planned for."""
        held, readers = self.held, self.readers
        self.traced.clear()
        self.held, self.readers = [], []
        try:
            yield from self.prepare()
        except BaseException:  # Safety: the former plans stay, and it is raised again
            self.release()
            self.held, self.readers = held, readers
            raise
        new = self.readers
        self.readers = readers
        self.unlink()
        self.readers = new
        self.link()
        for table, columns in held:
            table.release(columns)

    def trace(self, emit: Emit, given: tuple[str, ...], *, passing: bool) -> tuple[Plan, Function]:
        """A function for explanations, by indexes that are there.

        `passing`: they may soon go, so it is for once. Else it holds them and is kept.
        """
        found = self.traced.get((emit, given))
        if found is None:
            plan = planned(
                self.rule.body, self.tables, given=given, may_build=False,
                in_order=emit is Emit.REACHED,
            )  # fmt: skip
            found = (plan, self.function(plan, emit, _unheard))
            if not passing and len(self.traced) < TRACED_MOST:
                list(self._hold(plan))  # all of them are there
                self.traced[emit, given] = found
        return found

    def _hold(self, plan: Plan) -> Iterator[None]:
        for name, columns in plan.indexes:
            table = self.tables[name]
            yield from table.acquire(columns)
            self.held.append((table, columns))

    def release(self) -> None:
        self.traced.clear()
        while self.held:
            table, columns = self.held.pop()
            table.release(columns)

    def begin(self, out: dict[Row, int]) -> Iterator[None]:
        """Counts every head, and from now on what changes."""
        if not self.once:
            yield from self.prepare()
        yield from self.evaluate(out, 1)
        self.link()

    def evaluate(self, out: dict[Row, int], weight: int) -> Iterator[None]:
        """Counts every head by all rows as they are."""
        before = len(self.held)
        plan = planned(self.rule.body, self.tables)
        try:
            yield from self._hold(plan)
            yield from self.function(plan, Emit.HEADS).run((((), weight),), out)
        finally:
            while len(self.held) > before:
                table, columns = self.held.pop()
                table.release(columns)

    def function(self, plan: Plan, emit: Emit, fault: FaultSink | None = None) -> Function:
        """`fault`: who is told of builtins that fail, if not the engine."""
        sink = fault or partial(self.faults.note, self.name)
        return function(plan, self.rule, emit, self.tables, self.meter, sink)
