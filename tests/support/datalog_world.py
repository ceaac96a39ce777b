# SPDX-License-Identifier: Apache-2.0
"""Random programs and updates for the proof of the engine, all by seed.

A `Script` is data: transactions of rows and rules, some of them cut short, rolled back or refused.
Domains are tiny, so that rows meet, and hold what is easily confused: `1`, `1.0`, `true`, `"1"`.
Rules are of every kind that `core` allows: self-joins, a table both positive and negated, `_` and
constants anywhere, builtins that fail, several heads of one table, folds, facts as rules. What one
seed gives stays the same; `datalog_play` carries it out.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transom.policy.datalog.core import Builtin, Call, CoreRule, CoreTerm, Fold, Match, TableId
from transom.policy.datalog.language.syntax import Constant, Variable
from transom.policy.datalog.values import FALSE, NAN, TRUE, Real, Row, Value, real

NUMBERS: tuple[Value, ...] = (
    0, 1, 2, 3, -1, 2**70, -(2**200), 2**53 + 1,
    real(0.0), real(1.0), real(2.5), real(0.1), real(0.2), real(0.3),
    real(1e16), real(-1e16), real(1e308), real(1.5e308), real(5e-324),
)  # fmt: skip
OTHERS: tuple[Value, ...] = (
    TRUE, FALSE, None, "1", "1.0", "true", "null", "", "a", "b", "\0", "é", "e\u0301",
    NAN, real(math.inf), real(-math.inf),
)  # fmt: skip
CONFUSED: tuple[Value, ...] = (1, real(1.0), TRUE, "1", None, 0, real(0.0), FALSE, "")
VARIABLES = tuple(map(Variable, "xyzwv"))


def number(value: Value) -> int | float:
    """Raises: ValueError."""
    if isinstance(value, Real):
        return value.value
    if isinstance(value, int):
        return value
    raise ValueError(f"{value!r} is no number")


def lower(one: Value, other: Value) -> bool:
    return number(one) < number(other)


def alike(one: Value, other: Value) -> bool:
    try:
        return number(one) == number(other)
    except ValueError:
        return one is other or one == other


def added(one: Value, other: Value) -> Value:
    total = number(one) + number(other)
    return real(total) if isinstance(total, float) else total


def halved(value: Value) -> tuple[Value, Value]:
    return divmod(int(number(value)), 2)


def odd(value: Value) -> bool:
    """Raises: TypeError for what is no integer."""
    if not isinstance(value, int):
        raise TypeError("no integer")
    return value % 2 == 1


BUILTINS = (
    Builtin("lt", 2, 0, lower),
    Builtin("equal", 2, 0, alike),
    Builtin("odd", 1, 0, odd),
    Builtin("plus", 2, 1, added),
    Builtin("seven", 0, 1, lambda: 1),
    Builtin("size", 1, 1, len),
    Builtin("halves", 1, 2, halved),
    Builtin("never", 0, 0, lambda: 1 // 0),
)


@dataclass(frozen=True)
class Change:
    """What one transaction is given."""

    rows: Mapping[TableId, Mapping[Row, int]] = field(default_factory=dict)
    added: Sequence[CoreRule] = ()
    removed: Sequence[str] = ()


@dataclass(frozen=True)
class Step:
    """`kind`: whole, slices (to the end), closed (after `stop` slices), refused, trial, or
    replanned (without a change; closed after `stop` slices, if not 0)."""

    kind: str
    changes: tuple[Change, ...]
    stop: int = 0


@dataclass(frozen=True)
class Script:
    seed: int
    arities: Mapping[TableId, int]
    values: tuple[Value, ...]
    steps: tuple[Step, ...]


class Author:
    """Writes one script. `rules` and `facts`: what the engine would hold by now."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.values = self._domain()
        count = self.random.randint(3, 7)
        self.arities = {
            TableId(f"p:t{n}"): self.random.choices(range(5), (1, 4, 5, 2, 1))[0]
            for n in range(count)
        }
        self.rules: dict[str, CoreRule] = {}
        self.facts: dict[TableId, set[Row]] = {table: set() for table in self.arities}
        self.named = 0
        self.folding = self.random.choice((0.0, 0.1, 0.4))
        self.negating = self.random.choice((0.0, 0.15, 0.3, 0.5))
        self.calling = self.random.choice((0.0, 0.2, 0.4))

    def _domain(self) -> tuple[Value, ...]:
        draw = self.random
        kind = draw.random()
        if kind < 0.3:
            return tuple(draw.sample(range(5), draw.randint(2, 4)))
        if kind < 0.55:
            return tuple(draw.sample(CONFUSED, draw.randint(3, 5)))
        if kind < 0.8:
            return tuple(draw.sample(NUMBERS, draw.randint(3, 5)))
        return tuple(draw.sample(NUMBERS + OTHERS, draw.randint(3, 6)))

    def script(self) -> Script:
        first = Step(
            "whole",
            (self.change(rules=self.random.randint(2, 8), rows=self.random.randint(4, 24)),),
        )
        steps = [first]
        self.keep(first.changes[0])
        for _ in range(self.random.randint(4, 14)):
            step = self.step()
            steps.append(step)
            if step.kind in ("whole", "slices"):
                for change in step.changes:
                    self.keep(change)
        return Script(self.seed, self.arities, self.values, tuple(steps))

    def step(self) -> Step:
        kind = self.random.choices(
            ("whole", "slices", "closed", "refused", "trial", "replanned"), (20, 6, 4, 2, 4, 1)
        )[0]
        stop = self.random.choice((0, 0, 1, 1, 2, 3, 5, 8))
        changes = self.random.randint(1, 3) if kind == "trial" else 1
        return Step(kind, tuple(self.any_change() for _ in range(changes)), stop)

    def any_change(self) -> Change:
        kind = self.random.random()
        if kind < 0.5:
            return self.change(rules=0, rows=self.random.randint(1, 6))
        if kind < 0.6:
            return self.snapshot()
        if kind < 0.75:
            return self.change(rules=self.random.randint(1, 2), rows=0, fewer=1)
        return self.change(rules=self.random.randint(0, 2), rows=4, fewer=self.random.randint(0, 2))

    def keep(self, change: Change) -> None:
        for name in change.removed:
            self.rules.pop(name, None)
        self.rules |= {rule.name: rule for rule in change.added}
        for table, delta in change.rows.items():
            for row, sign in delta.items():
                (self.facts[table].add if sign > 0 else self.facts[table].discard)(row)

    # Rows

    def row(self, table: TableId) -> Row:
        return tuple(self.random.choice(self.values) for _ in range(self.arities[table]))

    def delta(self, table: TableId, count: int) -> dict[Row, int]:
        found: dict[Row, int] = {}
        for _ in range(count):
            held = sorted(self.facts[table], key=repr)
            if held and self.random.random() < 0.45:
                found[self.random.choice(held)] = self.random.choice((-1, -1, -1, 1))
            else:
                sign = 1 if len(held) < 14 else -1
                found[self.row(table)] = self.random.choice((sign, sign, sign, -1))
        return found

    def snapshot(self) -> Change:
        """A table in full: what is there already comes again."""
        table = self.random.choice(list(self.arities))
        held = sorted(self.facts[table], key=repr)
        delta = dict.fromkeys(held, -1)
        delta |= {self.row(table): 1 for _ in range(self.random.randint(0, 5))}
        delta |= {row: 1 for row in held if self.random.random() < 0.5}
        return Change({table: delta})

    def change(self, rules: int, rows: int, fewer: int = 0) -> Change:
        names = list(self.rules)
        gone = self.random.sample(names, min(len(names), fewer))
        left = {name: rule for name, rule in self.rules.items() if name not in gone}
        new = []
        for _ in range(rules):
            rule = self.rule(left)
            if rule is not None:
                new.append(rule)
                left[rule.name] = rule
        deltas: dict[TableId, dict[Row, int]] = {}
        for _ in range(rows):
            table = self.random.choice(list(self.arities))
            deltas.setdefault(table, {}).update(self.delta(table, self.random.randint(1, 2)))
        return Change(deltas, tuple(new), tuple(gone))

    # Rules

    def rule(self, others: Mapping[str, CoreRule]) -> CoreRule | None:
        """One that makes no cycle with the others; None if chance gave one that does."""
        self.named += 1
        name = f"r{self.named}"
        if others and self.random.random() < 0.08:
            twin = others[self.random.choice(list(others))]
            return CoreRule(name, twin.head, twin.arguments, twin.body)
        tables = list(self.arities)
        at = self.random.randrange(len(tables))
        below = tables[:at] if self.random.random() < 0.85 else tables
        rule = self.draft(name, tables[at], below)
        return None if cycle([*others.values(), rule]) else rule

    def query(self) -> CoreRule:
        """A rule that no other reads, of any arity."""
        head = TableId("q:asked")
        self.arities[head] = self.random.randint(0, 3)
        tables = [table for table in self.arities if table != head]
        rule = self.draft("asked", head, tables)
        del self.arities[head]
        return rule

    def draft(self, name: str, head: TableId, tables: list[TableId]) -> CoreRule:
        bound: list[Variable] = []
        body: list[Match | Call] = []
        count = self.random.choices(range(6), (1, 5, 7, 5, 3, 1))[0] if tables else 0
        again = self.random.random() < 0.4
        for _ in range(count):
            table = self.random.choice(tables)
            matched = [each.table for each in body if isinstance(each, Match)]
            if again and matched:
                table = self.random.choice(matched)
            body.append(self.literal(table, bound))
        places = self.random.sample(range(len(body)), len(body))
        placed = [placed_at(each, n) for each, n in zip(body, places, strict=True)]
        return CoreRule(name, head, self.head(self.arities[head], bound), tuple(placed))

    def literal(self, table: TableId, bound: list[Variable]) -> Match | Call:
        if self.random.random() < self.calling:
            return self.call(bound)
        negated = self.random.random() < self.negating
        arguments = [self.argument(bound, negated) for _ in range(self.arities[table])]
        if not negated:
            bound += {each for each in arguments if isinstance(each, Variable)} - set(bound)
            bound.sort(key=lambda each: each.name)
        return Match(table, tuple(arguments), negated)

    def argument(self, bound: list[Variable], only_bound: bool) -> CoreTerm | None:
        kind = self.random.random()
        if kind < 0.09:
            return Constant(self.random.choice(self.values))
        if kind < 0.25 or (only_bound and not bound):
            return None
        return self.random.choice(bound if only_bound else VARIABLES)

    def call(self, bound: list[Variable]) -> Call:
        often = self.random.random() < 0.7
        builtin = self.random.choice(BUILTINS[:4] if often else BUILTINS)
        negated = self.random.random() < 0.4
        inputs = tuple(self.known(bound) for _ in range(builtin.inputs))
        outputs = tuple(self.argument(bound, negated) for _ in range(builtin.outputs))
        if not negated:
            bound += {each for each in outputs if isinstance(each, Variable)} - set(bound)
            bound.sort(key=lambda each: each.name)
        return Call(builtin, inputs, outputs, negated)

    def known(self, bound: list[Variable]) -> CoreTerm:
        if bound and self.random.random() < 0.8:
            return self.random.choice(bound)
        return Constant(self.random.choice(self.values))

    def head(self, arity: int, bound: list[Variable]) -> tuple[CoreTerm | Fold, ...]:
        folds = bound and self.random.random() < self.folding
        terms: list[CoreTerm | Fold] = []
        for _ in range(arity):
            if folds and self.random.random() < 0.6:
                function = self.random.choice(("count", "sum", "min", "max"))
                terms.append(Fold(function, self.random.choice(bound)))
            else:
                terms.append(self.known(bound))
        return tuple(terms)


def placed_at(literal: Match | Call, place: int) -> Match | Call:
    if isinstance(literal, Match):
        return Match(literal.table, literal.arguments, literal.negated, place)
    return Call(literal.builtin, literal.inputs, literal.outputs, literal.negated, place)


def cycle(rules: Iterable[CoreRule]) -> bool:
    """Whether a table hangs on itself."""
    below: dict[TableId, set[TableId]] = {}
    for rule in rules:
        tables = {each.table for each in rule.body if isinstance(each, Match)}
        below.setdefault(rule.head, set()).update(tables)
    while True:
        settled = [table for table, tables in below.items() if not tables & below.keys()]
        if not settled:
            return bool(below)
        for table in settled:
            del below[table]


def script(seed: int) -> Script:
    return Author(seed).script()


# What a person reads


def rule_text(rule: CoreRule) -> str:
    head = f"{rule.name}: {rule.head}({', '.join(map(term_text, rule.arguments))})"
    return f"{head} :- {', '.join(map(literal_text, rule.body))}" if rule.body else head


def literal_text(literal: Match | Call) -> str:
    if isinstance(literal, Match):
        name, terms = str(literal.table), literal.arguments
    else:
        name, terms = literal.builtin.name, (*literal.inputs, *literal.outputs)
    text = f"{name}({', '.join(map(term_text, terms))})@{literal.place}"
    return f"not {text}" if literal.negated else text


def term_text(term: Any) -> str:
    if term is None:
        return "_"
    if isinstance(term, Fold):
        return f"{term.function}({term.variable.name})"
    return term.name if isinstance(term, Variable) else repr(term.value)


def script_text(whole: Script) -> str:
    lines = [f"seed {whole.seed}"]
    for number_, step in enumerate(whole.steps):
        lines.append(f"step {number_}: {step.kind}" + (f" {step.stop}" if step.stop else ""))
        for change in step.changes:
            lines.append("  transaction")
            lines += [f"    remove {name}" for name in change.removed]
            lines += [f"    insert {rule_text(rule)}" for rule in change.added]
            lines += [
                f"    {sign:+d} {table}{row!r}"
                for table, delta in change.rows.items()
                for row, sign in delta.items()
            ]
    return "\n".join(lines)
