# SPDX-License-Identifier: Apache-2.0
"""Carries a script out on the engine and on the oracle, and says the first difference.

After every step:
1. every table has the oracle's rows, and its indexes are held by rules, no others are there;
2. what a transaction reports is exactly the difference of before and after;
3. a random query has the oracle's rows and counts; `find` and `holds` agree with the rows;
4. `derivations` of a row are the oracle's, and `failing` of a row that is not there gets as deep.

A transaction that is closed in the middle or refused, and a trial, leave everything as it was:
rows, counts, facts, folds, indexes. At the end all is removed, and nothing is left.
"""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from transom.errors import TransomError
from transom.policy.datalog.core import CoreRule, Fold, TableId
from transom.policy.datalog.engine.engine import Engine, finished
from transom.policy.datalog.values import Row

from support import naive
from support.datalog_picture import picture
from support.datalog_world import Author, Change, Script, Step, cycle, rule_text

Facts = dict[TableId, set[Row]]


class Difference(AssertionError):
    """The engine and the oracle do not say the same."""


@dataclass
class Model:
    """What the engine should hold."""

    facts: Facts
    rules: dict[str, CoreRule]
    tables: dict[TableId, set[Row]]

    def after(self, change: Change) -> "Model":
        rules = {name: rule for name, rule in self.rules.items() if name not in change.removed}
        rules |= {rule.name: rule for rule in change.added}
        facts = {table: set(rows) for table, rows in self.facts.items()}
        for table, delta in change.rows.items():
            rows = facts.setdefault(table, set())
            for row, sign in delta.items():
                (rows.add if sign > 0 else rows.discard)(row)
        return Model(facts, rules, naive.evaluated(rules.values(), facts))

    def possible(self, change: Change) -> Change:
        """Without what a script that was cut down for a person no longer allows."""
        removed = [name for name in change.removed if name in self.rules]
        rules = {name: rule for name, rule in self.rules.items() if name not in removed}
        added = []
        for rule in change.added:
            if rule.name not in rules and not cycle([*rules.values(), rule]):
                rules[rule.name] = rule
                added.append(rule)
        return Change(change.rows, added, removed)


class Play:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.engine = Engine()
        self.model = Model({}, {}, {})
        self.author = Author(script.seed)
        self.author.arities = dict(script.arities)
        self.author.values = script.values
        self.random = self.author.random = random.Random(script.seed + 1)
        self.transactions = 0
        self.answers = 0

    def run(self) -> None:
        with small(self.script.seed):
            for step in self.script.steps:
                getattr(self, step.kind)(step)
                self.agree()
            self.removed()

    # Kinds of steps

    def whole(self, step: Step) -> None:
        for change in step.changes:
            self.transact(change)

    def transact(self, change: Change) -> None:
        change = self.model.possible(change)
        after = self.model.after(change)
        self.net(after, self.engine.transact(change.rows, change.added, change.removed))

    def slices(self, step: Step) -> None:
        change = self.model.possible(step.changes[0])
        after = self.model.after(change)
        running = self.engine.transacting(change.rows, change.added, change.removed)
        while True:
            try:
                next(running)
            except StopIteration as end:
                self.net(after, end.value)
                return

    def closed(self, step: Step) -> None:
        change = self.model.possible(step.changes[0])
        before = picture(self.engine)
        running = self.engine.transacting(change.rows, change.added, change.removed)
        for _ in range(step.stop):
            try:
                next(running)
            except StopIteration as end:
                self.net(self.model.after(change), end.value)
                return
        running.close()
        same_picture(before, picture(self.engine), "a closed transaction")

    def refused(self, step: Step) -> None:
        change = self.model.possible(step.changes[0])
        for wrong in self.wrong(change):
            before = picture(self.engine)
            try:
                self.engine.transact(wrong.rows, wrong.added, wrong.removed)
            except (TransomError, ValueError, KeyError):
                same_picture(before, picture(self.engine), "a refused transaction")
            else:
                raise Difference(f"taken: {wrong}")

    def wrong(self, change: Change) -> Iterator[Change]:
        """The change with a fault in it."""
        yield replace(change, removed=[*change.removed, "nobody"])
        if self.model.rules:
            there = next(iter(self.model.rules.values()))
            kept = [name for name in change.removed if name != there.name]
            yield replace(change, removed=kept, added=[*change.added, there])

    def trial(self, step: Step) -> None:
        before, model = picture(self.engine), self.model
        with self.engine.trial():
            for change in step.changes:
                kind = self.random.choice((self.whole, self.slices, self.closed, self.refused))
                kind(Step(step.kind, (change,), step.stop))
                self.agree(outside=False)
        self.model = model
        same_picture(before, picture(self.engine), "a trial")

    def replanned(self, step: Step) -> None:
        running = self.engine.replanning()
        for _ in range(step.stop or 1_000_000):
            if next(running, "end") == "end":
                break
        running.close()

    def removed(self) -> None:
        """Everything goes, in pieces, in an order of chance."""
        rows = [(table, row) for table, held in self.model.facts.items() for row in held]
        rows.sort(key=repr)
        names = list(self.model.rules)
        self.random.shuffle(rows)
        self.random.shuffle(names)
        while rows or names:
            deltas: dict[TableId, dict[Row, int]] = {}
            for _ in range(min(len(rows), self.random.randint(0, 8))):
                table, row = rows.pop()
                deltas.setdefault(table, {})[row] = -1
            gone = [names.pop() for _ in range(min(len(names), self.random.randint(0, 2)))]
            self.transact(Change(deltas, (), gone))
            self.agree()
        same_picture(picture(Engine()), picture(self.engine), "the removal of everything")
        self.engine.forget()
        if any(self.engine.sizes().values()) or self.engine.faults:
            raise Difference(f"there is left {self.engine.sizes()}, {self.engine.faults}")

    # Claims

    def net(self, after: Model, net: Any) -> None:
        before, self.model = self.model, after
        self.transactions += 1
        wanted = {}
        for table in before.tables.keys() | after.tables.keys():
            old, new = before.tables.get(table, set()), after.tables.get(table, set())
            rows = dict.fromkeys(new - old, 1) | dict.fromkeys(old - new, -1)
            if rows:
                wanted[table] = rows
        if net != wanted:
            raise Difference(f"net change {net}, wanted {wanted}")

    def agree(self, *, outside: bool = True) -> None:
        """`outside`: of a trial. Inside, indexes of removed rules stay, and an explanation would
        hold those that it uses."""
        for table in self.script.arities:
            wanted = self.model.tables.get(table, set())
            rows = list(self.engine.rows(table))
            if len(rows) != len(wanted) or set(rows) != wanted:
                raise Difference(f"{table} has {rows}, wanted {wanted}")
            self.looked_up(table, wanted)
        self.asked()
        for rule in self.model.rules.values() if outside else ():
            self.explained(rule)
        if outside:
            self.indexed()
        if self.engine.rules != self.model.rules:
            raise Difference(f"rules {set(self.engine.rules)}, wanted {set(self.model.rules)}")

    def indexed(self) -> None:
        """Every index is held, as often as it says, and no other is there."""
        state = self.engine.state
        held = Counter((table.id, columns) for kept in state.kept.values()
                       for table, columns in kept.held)  # fmt: skip
        there = {
            (table.id, columns): index.users
            for table in state.tables.values()
            for columns, index in table.indexes.items()
        }
        if held != there:
            raise Difference(f"indexes held {held}, there {there}")

    def looked_up(self, table: TableId, wanted: set[Row]) -> None:
        row = self.author.row(table)
        if self.engine.holds(table, row) != (row in wanted):
            raise Difference(f"holds {table}{row}: {row not in wanted}")
        columns = self.random.sample(range(len(row)), self.random.randint(0, len(row)))
        bound = {column: row[column] for column in columns}
        found = list(self.engine.find(table, bound))
        fits = [each for each in wanted if all(naive.same(each[c], v) for c, v in bound.items())]
        if Counter(found) != Counter(fits):
            raise Difference(f"find {table} {bound}: {found}, wanted {fits}")

    def asked(self) -> None:
        self.answers += 1
        rule = self.author.query()
        found = self.engine.ask(rule)
        if any(isinstance(term, Fold) for term in rule.arguments):
            wanted = dict.fromkeys(naive.heads(rule, self.model.tables), 1)
        else:
            wanted = naive.counted(rule, self.model.tables)
        if found != wanted:
            raise Difference(f"ask {rule_text(rule)}: {found}, wanted {wanted}")

    def explained(self, rule: CoreRule) -> None:
        held = sorted(naive.heads(rule, self.model.tables), key=repr)
        row = self.author.row(rule.head)
        for each in [row, *self.random.sample(held, min(1, len(held)))]:
            wanted = naive.derivations(rule, each, self.model.tables)
            found = [one for one in self.engine.derivations(rule.name, each) if one is not None]
            ours = Counter(way(one.bindings, one.rows) for one in wanted)
            theirs = Counter(way(one.bindings, one.rows) for one in found)
            if ours != theirs:
                raise Difference(
                    f"derivations of {each} by {rule_text(rule)}: {found}, wanted {wanted}"
                )
            self.failing(rule, each)

    def failing(self, rule: CoreRule, row: Row) -> None:
        passed, reached = naive.progress(rule, row, self.model.tables)
        found = finished(self.engine.failing(rule.name, row))
        if 0 <= passed < len(rule.body):
            right = found and found.place == rule.body[passed].place and found.bindings in reached
        else:
            right = found is None
        if not right:
            raise Difference(
                f"failing {row} by {rule_text(rule)}: {found}, wanted {passed} literals passed"
            )


def way(bindings: Any, rows: Any) -> Any:
    return tuple(sorted(bindings.items())), tuple(sorted(rows, key=repr))


SIZES = {
    "functions.SLICE": (1, 2, 5, 4096),
    "functions.LOOPS_MOST": (1, 2, 12),
    "tables.SLICE": (1, 3, 4096),
    "transaction.SLICE": (1, 3, 4096),
    "tables.LIST_ROWS_MOST": (2, 3, 8),
    "tables.UNKNOWN_ROWS": (0, 3, 64),
    "plan.UNKNOWN_ROWS": (0, 3, 64),
    "plan.SELECTIVE_ROWS": (0.5, 2.0, 4.0),
    "engine.GROWN": (0, 1, 8),
    "engine.UNKNOWN_ROWS": (0, 3, 64),
    "folds.LEFT_OVER_MOST": (0, 2, 64),
    "interning.VALUES_MOST": (1, 3, 1_000_000),
}
"""Sizes at which the engine does something else, and what they are in a play, by chance: with tiny
tables it would never get there."""


@contextmanager
def small(seed: int) -> Iterator[None]:
    draw = random.Random(seed)
    with ExitStack() as stack:
        for name, sizes in SIZES.items():
            module, _, constant = name.partition(".")
            module = import_module(f"transom.policy.datalog.engine.{module}")
            stack.callback(setattr, module, constant, getattr(module, constant))
            setattr(module, constant, draw.choice(sizes))
        yield


def same_picture(before: set[str], after: set[str], what: str) -> None:
    gone, come = sorted(before - after), sorted(after - before)
    if not gone and not come:
        return
    one, other = (*gone, "")[0], (*come, "")[0]
    at = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    start = max(0, at - 60)
    raise Difference(
        f"{what} left something: {one[:40]} ... {one[start:][:150]} became {other[start:][:150]}"
    )
