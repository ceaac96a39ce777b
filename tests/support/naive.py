# SPDX-License-Identifier: Apache-2.0
"""The proof's oracle: what rules mean, said as plainly as it can be, over sets of rows.

Nested loops in the order of the body, tables after those they hang on, everything anew each time.
Nothing of the engine is used but the shapes of `core` and the values.

What it says:
1. a positive match goes through every row; `None` is any value and binds nothing;
2. a negated match holds if no row fits; a call that raises leaves the row out, negated or not;
3. a fold ranges over the distinct bindings of the rule's named variables, one group for each
   binding of the head's other arguments: `count` counts distinct values, `sum` adds the finite
   numbers of the group, to an integer if all are integers, else to the real nearest to the exact
   sum; `min` and `max` go by the order of all values. Without a result for one of its folds, a
   group gives no row.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from transom.policy.datalog.core import Call, CoreRule, Fold, Match, TableId
from transom.policy.datalog.language.syntax import Constant, Variable
from transom.policy.datalog.values import Real, Row, Truth, Value, real

Bindings = dict[str, Value]
Tables = Mapping[TableId, Set[Row]]
Touched = tuple[tuple[int, TableId, Row], ...]
"""Of the positive matches, in the order of the body: place, table, row."""


@dataclass(frozen=True)
class Solution:
    """One way to make the body true."""

    bindings: Bindings
    rows: Touched


def evaluated(rules: Iterable[CoreRule], facts: Tables) -> dict[TableId, set[Row]]:
    """Every table that is a head or has facts, in full."""
    by_head: dict[TableId, list[CoreRule]] = {}
    for rule in rules:
        by_head.setdefault(rule.head, []).append(rule)
    done: dict[TableId, set[Row]] = {}

    def settle(table: TableId) -> None:
        if table in done:
            return
        for rule in by_head.get(table, ()):
            for literal in rule.body:
                if isinstance(literal, Match):
                    settle(literal.table)
        done[table] = set(facts.get(table, ()))
        for rule in by_head.get(table, ()):
            done[table] |= heads(rule, done)

    for table in [*facts, *by_head]:
        settle(table)
    return done


def heads(rule: CoreRule, tables: Tables) -> set[Row]:
    """The rows that one rule gives."""
    found = list(solutions(rule, tables))
    if not any(isinstance(term, Fold) for term in rule.arguments):
        return {plain_head(rule, solution.bindings) for solution in found}
    groups: dict[Row, list[Bindings]] = {}
    for solution in found:
        members = groups.setdefault(plain_head(rule, solution.bindings), [])
        if solution.bindings not in members:
            members.append(solution.bindings)
    rows = set()
    for key, members in groups.items():
        row = folded(rule, key, members)
        if row is not None:
            rows.add(row)
    return rows


def counted(rule: CoreRule, tables: Tables) -> dict[Row, int]:
    """How many solutions each row of a rule without folds has."""
    counts: dict[Row, int] = {}
    for solution in solutions(rule, tables):
        row = plain_head(rule, solution.bindings)
        counts[row] = counts.get(row, 0) + 1
    return counts


def solutions(
    rule: CoreRule, tables: Tables, known: Bindings | None = None, at: int = 0, rows: Touched = ()
) -> Iterator[Solution]:
    """Every way to make the body from literal `at` on true, in no particular order."""
    bindings = known or {}
    if at == len(rule.body):
        yield Solution(bindings, rows)
        return
    for more, touched in passing(rule.body[at], tables, bindings):
        yield from solutions(rule, tables, more, at + 1, rows + touched)


def passing(
    literal: Match | Call, tables: Tables, bindings: Bindings
) -> Iterator[tuple[Bindings, Touched]]:
    """Each way through one literal: the bindings after it, and the row if it is a match."""
    if isinstance(literal, Call):
        yield from ((more, ()) for more in answers(literal, bindings))
        return
    fits = []
    for row in tables.get(literal.table, ()):
        more = fitting(literal.arguments, row, bindings)
        if more is not None:
            fits.append((more, ((literal.place, literal.table, row),)))
    if not literal.negated:
        yield from fits
    elif not fits:
        yield bindings, ()


def answers(call: Call, bindings: Bindings) -> Iterator[Bindings]:
    try:
        answer = call.builtin.function(*(value_of(term, bindings) for term in call.inputs))
    except Exception:
        return
    if call.builtin.outputs == 0:
        more = bindings if answer else None
    elif call.builtin.outputs == 1:
        more = fitting(call.outputs, (answer,), bindings)
    else:
        more = fitting(call.outputs, tuple(answer), bindings)
    if call.negated:
        if more is None:
            yield bindings
    elif more is not None:
        yield more


def fitting(terms: tuple[Any, ...], row: Row, bindings: Bindings) -> Bindings | None:
    """The bindings and those that the row adds; None if it does not fit."""
    if len(terms) != len(row):
        return None
    more = dict(bindings)
    for term, value in zip(terms, row, strict=True):
        if isinstance(term, Constant):
            if not same(term.value, value):
                return None
        elif isinstance(term, Variable):
            if term.name in more and not same(more[term.name], value):
                return None
            more[term.name] = value
    return more


def same(one: Value, other: Value) -> bool:
    return type(one) is type(other) and one == other


def value_of(term: Any, bindings: Bindings) -> Value:
    return term.value if isinstance(term, Constant) else bindings[term.name]


def plain_head(rule: CoreRule, bindings: Bindings) -> Row:
    """The head's arguments, without its folds."""
    return tuple(value_of(term, bindings) for term in rule.arguments if not isinstance(term, Fold))


def folded(rule: CoreRule, key: Row, members: list[Bindings]) -> Row | None:
    row: list[Value] = []
    plain = iter(key)
    for term in rule.arguments:
        if not isinstance(term, Fold):
            row.append(next(plain))
            continue
        try:
            row.append(FOLDS[term.function]([each[term.variable.name] for each in members]))
        except ValueError:
            return None
    return tuple(row)


def counting(values: list[Value]) -> Value:
    return len(set(values))


def adding(values: list[Value]) -> Value:
    """Raises: ValueError if there is nothing to add, or no real so large."""
    usable = [value for value in values if isinstance(value, int) or finite(value)]
    if not usable:
        raise ValueError("no numbers")
    if all(isinstance(value, int) for value in usable):
        return sum(value for value in usable if isinstance(value, int))
    total = sum(Fraction(value.value if isinstance(value, Real) else value) for value in usable)
    try:
        return real(float(total))
    except OverflowError:
        raise ValueError("no real is so large") from None


def finite(value: Value) -> bool:
    return isinstance(value, Real) and math.isfinite(value.value)


def place(value: Value) -> tuple[int, Any, int]:
    """Null, false, true, numbers (an integer before the real of its size), NaN, strings."""
    if value is None:
        return (0, 0, 0)
    if isinstance(value, Truth):
        return (1, value.value, 0)
    if isinstance(value, Real):
        return (3, 0, 0) if math.isnan(value.value) else (2, value.value, 1)
    return (4, value, 0) if isinstance(value, str) else (2, value, 0)


FOLDS: Mapping[str, Callable[[list[Value]], Value]] = {
    "count": counting,
    "sum": adding,
    "min": lambda values: min(values, key=place),
    "max": lambda values: max(values, key=place),
}


def derivations(rule: CoreRule, row: Row, tables: Tables) -> list[Solution]:
    """All that make this row; of a rule with folds all of its group, whatever the folds give."""
    bound = given(rule, row)
    if bound is None:
        return []
    return [one for one in solutions(rule, tables) if bound.items() <= one.bindings.items()]


def progress(rule: CoreRule, row: Row, tables: Tables) -> tuple[int, list[Bindings]]:
    """How far the body gets with the head's variables bound to the row: the number of literals
    passed, at most, and the bindings that came so far. -1 if the row does not fit the head.
    """
    bound = given(rule, row)
    if bound is None:
        return -1, []
    reached = [bound]
    for passed, literal in enumerate(rule.body):
        further = [more for each in reached for more, _ in passing(literal, tables, each)]
        if not further:
            return passed, reached
        reached = further
    return len(rule.body), reached


def given(rule: CoreRule, row: Row) -> Bindings | None:
    """The head's variables by the row; what stands for a fold is not looked at."""
    return fitting(
        tuple(None if isinstance(term, Fold) else term for term in rule.arguments), row, {}
    )
