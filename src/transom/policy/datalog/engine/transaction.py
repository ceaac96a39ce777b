# SPDX-License-Identifier: Apache-2.0
"""One transaction on its way through the tables; see `engine` for what holds."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Any, TypeAlias

from transom.policy.datalog.core import CoreRule, TableId
from transom.policy.datalog.engine.folds import Groups
from transom.policy.datalog.engine.functions import Meter
from transom.policy.datalog.engine.interning import Interned
from transom.policy.datalog.engine.lowering import lowered
from transom.policy.datalog.engine.readers import Events, Faults, Kept, Reader
from transom.policy.datalog.engine.tables import SLICE, Delta, Table
from transom.policy.datalog.language.syntax import Variable
from transom.policy.datalog.values import Row

Net: TypeAlias = dict[TableId, Delta]
"""What came (1) and went (-1), by table; tables without a change are left out."""
FOLD_PLACE = -1


@dataclass(slots=True)
class State:
    """All that an engine holds. `rules`: as asked for; `kept`: as evaluated, by name."""

    tables: dict[TableId, Table] = field(default_factory=dict)
    rules: dict[str, CoreRule] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    interned: Interned = field(default_factory=Interned)
    meter: Meter = field(default_factory=Meter)

    def table(self, name: TableId) -> Table:
        table = self.tables.get(name)
        if table is None:
            table = self.tables[name] = Table(name, hidden="#" in name)
        return table

    def tidy(self, names: Iterable[TableId]) -> None:
        """Lets go of tables that are of no more use."""
        for name in names:
            table = self.tables.get(name)
            if table is not None and table.idle:
                del self.tables[name]


@dataclass(slots=True)
class Journal:
    """How to undo what was done, and what to do once it stays: functions with their arguments.

    `tables`: those that may be of no more use afterwards, either way.
    """

    undo: list[tuple[Any, ...]] = field(default_factory=list)
    keep: list[tuple[Any, ...]] = field(default_factory=list)
    tables: set[TableId] = field(default_factory=set)

    def roll_back(self) -> None:
        while self.undo:
            function, *arguments = self.undo.pop()
            function(*arguments)

    def settle(self) -> None:
        for function, *arguments in self.keep:
            function(*arguments)


class Transaction:
    """`check` is told of what is made, and raises when it is too much."""

    def __init__(
        self, state: State, journal: Journal, check: Callable[[Mapping[Row, int]], None]
    ) -> None:
        self.state, self.journal, self.check = state, journal, check
        self.touched = state.meter.touched
        self.net: Net = {}
        self.pending: dict[Table, dict[Row, int]] = {}
        self.fresh: dict[Table, list[Kept]] = {}
        self.heap: list[tuple[int, TableId, Table]] = []

    # What is asked for

    def change(self, name: TableId, delta: Delta) -> Iterator[None]:
        """Facts that come or go."""
        table = self.state.table(name)
        if not table.counts:
            self.journal.tables.add(name)
        if len(delta) <= SLICE:
            change = self._change(table, delta)
        else:
            change = {}
            for part in parts(delta):
                change |= self._change(table, part)
                yield
        if change:
            self._count(table, change)

    def _change(self, table: Table, delta: Delta) -> dict[Row, int]:
        """What of it is a change of the facts."""
        facts = table.facts
        there = table.counts if facts is None else facts
        if there or min(delta.values(), default=0) < 1:
            new = [row for row, weight in delta.items() if weight > 0 and row not in there]
        else:  # the first rows of all: every one of them is new
            new = list(delta)
        change = self.state.interned.rows(new)
        if len(new) < len(delta):
            for row, weight in delta.items():
                if weight < 0 and row in there:
                    change[row] = -1
        if facts is not None and change:
            rows = list(change)
            facts.symmetric_difference_update(rows)
            self.journal.undo.append((facts.symmetric_difference_update, rows))
        return change

    def add(self, rule: CoreRule, *, once: bool = False) -> None:
        """`once`: it is evaluated now and not kept true. Raises: ValueError."""
        state, undo, low = self.state, self.journal.undo, lowered(rule)
        if rule.name in state.rules:
            raise ValueError(f"the rule {rule.name} is there already")
        state.rules[rule.name] = rule
        undo.append((state.rules.pop, rule.name))
        for projection in low.projections:
            shared = state.kept.get(projection.name)
            if shared is None:
                shared = self._keep(projection.name, projection, once=once)
            shared.users += 1
            undo.append((_used, shared, -1))
        kept = self._keep(rule.name, low.rule, once=once)
        kept.projections = tuple(projection.name for projection in low.projections)
        if low.folds:
            self._fold(rule, kept.head)

    def remove(self, name: str) -> Iterator[None]:
        """Before all else: what is taken back is what there was. Raises: KeyError."""
        state, undo = self.state, self.journal.undo
        rule = state.rules.pop(name)
        undo.append((state.rules.__setitem__, name, rule))
        kept = state.kept[name]
        yield from self._drop(kept)
        for projection in kept.projections:
            shared = state.kept[projection]
            shared.users -= 1
            undo.append((_used, shared, 1))
            if not shared.users:
                yield from self._drop(shared)
        self.journal.keep.append((state.faults.drop, name))

    def _keep(self, name: str, rule: CoreRule, *, once: bool) -> Kept:
        state, undo = self.state, self.journal.undo
        names = (rule.head, *(match.table for match in rule.matches))
        self.journal.tables.update(names)
        tables = [state.table(one) for one in names]
        head = tables[0]
        _refuse_cycle(head, tables[1:])
        kept = Kept(name, rule, state.tables, state.meter, state.faults, once=once)
        self._made(head)
        kept.place()
        _rise(head, kept.least_rank)
        state.kept[name] = kept
        undo.append((self._forget, kept))
        self.fresh.setdefault(head, []).append(kept)
        self._count(head, {})
        return kept

    def _forget(self, kept: Kept) -> None:
        """Undoes `_keep`."""
        kept.unlink()
        kept.release()
        kept.displace()
        del self.state.kept[kept.name]
        self.state.faults.drop(kept.name)

    def _made(self, head: Table) -> None:
        """From now on a rule makes rows of the table, so its facts are remembered apart."""
        if head.facts is None:
            head.facts = set(head.counts)
            self.journal.undo.append((_all_facts, head))

    def _fold(self, rule: CoreRule, bindings: Table) -> None:
        head = self.state.table(rule.head)
        self.journal.tables.add(rule.head)
        _refuse_cycle(head, [bindings])
        kept = self.state.kept[rule.name].rule
        columns = {
            term.name: column
            for column, term in enumerate(kept.arguments)
            if isinstance(term, Variable)
        }

        def fault(error: Exception, inputs: Row) -> None:
            self.state.faults.note(rule.name, FOLD_PLACE, error, inputs)

        groups = Groups(rule.arguments, columns, fault)
        self._made(head)
        head.makers += 1
        bindings.folds[groups] = head
        self.journal.undo.append((_unfold, bindings))
        _rise(head, bindings.rank + 1)

    def _drop(self, kept: Kept) -> Iterator[None]:
        journal, head = self.journal, kept.head
        journal.tables.update((head.id, *(match.table for match in kept.matches)))
        out: dict[Row, int] = {}
        if head.makers == 1 and not head.facts and head not in self.pending:
            out = {row: -count for row, count in head.counts.items()}
        else:
            for _ in kept.evaluate(out, -1):
                self.check(out)
                yield
        self._count(head, out)
        kept.unlink()
        kept.displace()
        del self.state.kept[kept.name]
        journal.undo.append((self._restore, kept))
        journal.keep.append((kept.release,))
        journal.keep.append((_unmade, head))
        journal.tables.update(table.id for table in head.folds.values())

    def _restore(self, kept: Kept) -> None:
        """Undoes `_drop`."""
        self.state.kept[kept.name] = kept
        kept.place()
        # Meanwhile others may have been lifted, which did not know of it.
        _rise(kept.head, kept.least_rank)
        kept.link()

    # How it goes

    def _count(self, table: Table, delta: dict[Row, int]) -> None:
        """Counts for the table's turn. `delta` may be kept."""
        pending = self.pending.get(table)
        if pending:
            for row, weight in delta.items():
                pending[row] = pending.get(row, 0) + weight
        else:
            self.pending[table] = delta

    def propagate(self) -> Iterator[None]:
        """Table by table, in the order of their ranks."""
        pending, heap = self.pending, self.heap
        heap += [(table.rank, table.id, table) for table in pending]
        heapify(heap)
        while heap:
            table = heappop(heap)[2]
            delta = pending.pop(table)
            if table in self.fresh:
                yield from self._evaluate(self.fresh[table], delta)
            self.check(delta)
            if table.self_readers:
                visible = yield from self._one_by_one(table, delta)
            elif len(delta) <= SLICE:
                visible = table.absorb(delta)
                self.journal.undo.append((_take_back, table, delta))
            else:
                visible = yield from self._absorb(table, delta)
            if not visible:
                continue
            if not table.hidden:
                self.net[table.id] = visible
            if not table.counts:
                self.journal.tables.add(table.id)
            for reader in table.readers:
                yield from self._read(reader, visible.items())
            for groups, head in table.folds.items():
                yield from self._fold_in(groups, visible, self._turn(head))

    def _absorb(self, table: Table, delta: Delta) -> Generator[None, None, Delta]:
        visible: dict[Row, int] = {}
        for part in parts(delta):
            visible.update(table.absorb(part))
            self.journal.undo.append((_take_back, table, part))
            yield
        return visible

    def _fold_in(self, groups: Groups, visible: Delta, out: dict[Row, int]) -> Iterator[None]:
        for part in parts(visible):
            for row, weight in groups.change(part).items():
                out[row] = out.get(row, 0) + weight
            self.journal.undo.append((_take_back_fold, groups, part))
            if part is not visible:
                yield

    def _turn(self, table: Table) -> dict[Row, int]:
        """What is counted for a table whose turn comes later."""
        out = self.pending.get(table)
        if out is None:
            out = self.pending[table] = {}
            heappush(self.heap, (table.rank, table.id, table))
        return out

    def _evaluate(self, rules: list[Kept], out: dict[Row, int]) -> Iterator[None]:
        for kept in rules:
            for _ in kept.begin(out):
                self.check(out)
                yield
            yield

    def _one_by_one(self, table: Table, delta: Delta) -> Generator[None, None, Delta]:
        """Rules that read the table more than once meet it as it is before each row's change."""
        visible: dict[Row, int] = {}
        done: dict[Row, int] = {}
        self.journal.undo.append((_take_back, table, done))
        for row, weight in delta.items():
            change = table.would_change(row, weight)
            if change:
                visible[row] = change
                for reader in table.self_readers:
                    yield from self._read(reader, ((row, change),))
            table.absorb({row: weight})
            done[row] = weight
        return visible

    def _read(self, reader: Reader, events: Events) -> Iterator[None]:
        out = self._turn(reader.head)
        for _ in reader.run(events, out):
            self.check(out)
            yield
        # Many that touch little each are a slice, too.
        touched = self.state.meter.touched
        if touched - self.touched > SLICE:
            self.touched = touched
            self.check(out)
            yield


def parts(delta: Delta) -> Iterator[Delta]:
    """The delta in slices; itself if it is no more than one."""
    if len(delta) <= SLICE:
        yield delta
        return
    items = iter(delta.items())
    while part := dict(islice(items, SLICE)):
        yield part


def bottom_up(rules: Sequence[CoreRule]) -> Sequence[CoreRule]:
    """What others read first, so that none of many lifts all the others; as given in a cycle."""
    made_of: dict[TableId, set[TableId]] = {}
    for rule in rules:
        made_of.setdefault(rule.head, set()).update(match.table for match in rule.matches)
    try:
        places = {table: at for at, table in enumerate(TopologicalSorter(made_of).static_order())}
    except CycleError:
        return rules
    return sorted(rules, key=lambda rule: places[rule.head])


def _refuse_cycle(head: Table, body: list[Table]) -> None:
    """Raises: ValueError if the head already leads to what it would be made of."""
    highest = max((table.rank for table in body), default=-1)
    waiting, seen = [head], {head}
    while waiting:
        table = waiting.pop()
        if table in body:
            raise ValueError(f"{head.id} would depend on itself, through {table.id}")
        for later in (*(kept.head for kept in table.kept), *table.folds.values()):
            if later.rank <= highest and later not in seen:
                seen.add(later)
                waiting.append(later)


def _rise(table: Table, rank: int) -> None:
    """Lifts a table to at least this rank, and what is made of it above it."""
    waiting = [(table, rank)]
    while waiting:
        table, rank = waiting.pop()
        if table.rank < rank:
            table.rank = rank
            later = (*(kept.head for kept in table.kept), *table.folds.values())
            waiting.extend((one, rank + 1) for one in later)


def _take_back(table: Table, delta: Mapping[Row, int]) -> None:
    table.absorb({row: -weight for row, weight in delta.items()})


def _take_back_fold(groups: Groups, visible: Mapping[Row, int]) -> None:
    groups.change({row: -weight for row, weight in visible.items()})


def _used(kept: Kept, by: int) -> None:
    kept.users += by


def _all_facts(table: Table) -> None:
    table.facts = None


def _unmade(table: Table) -> None:
    """A table that no rule makes any more has only facts, and feeds no aggregates."""
    if table.makers:
        return
    table.facts = None
    for head in table.folds.values():
        head.makers -= 1
        _unmade(head)
    table.folds.clear()


def _unfold(bindings: Table) -> None:
    for head in bindings.folds.values():
        head.makers -= 1
    bindings.folds.clear()
