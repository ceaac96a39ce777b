# SPDX-License-Identifier: Apache-2.0
"""Why a rule gives a row, and why it does not: its body with the head given."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter

from transom.policy.datalog.core import CoreRule, TableId
from transom.policy.datalog.engine.functions import Emit
from transom.policy.datalog.engine.plan import Access
from transom.policy.datalog.engine.readers import Kept
from transom.policy.datalog.language.syntax import Constant, Variable
from transom.policy.datalog.values import Row, Value


@dataclass(frozen=True, slots=True)
class Derivation:
    """One way in which a rule gives a row.

    `rows`: those that it matched, as (place of the literal, table, row), by place.
    """

    rule: str
    bindings: dict[str, Value]
    rows: tuple[tuple[int, TableId, Row], ...]


@dataclass(frozen=True, slots=True)
class Failing:
    """The literal that stands in the way: the first that nothing passes, however others are chosen.

    `bindings`: of one choice that comes so far.
    """

    rule: str
    place: int
    bindings: dict[str, Value]


def _given(rule: CoreRule, row: Row) -> dict[str, Value] | None:
    """Variables of the head, by the row; None if the head cannot be the row.

    What an aggregate gave is not asked for.
    """
    given: dict[str, Value] = {}
    if len(row) != len(rule.arguments):
        return None
    for term, value in zip(rule.arguments, row, strict=True):
        if isinstance(term, Constant):
            if term.value != value:
                return None
        elif isinstance(term, Variable) and given.setdefault(term.name, value) != value:
            return None
    return given


def derivations(
    kept: Kept, rule: CoreRule, row: Row, *, passing: bool
) -> Iterator[Derivation | None]:
    """Each way; None between slices. Not while a transaction goes on."""
    given = _given(rule, row)
    if given is None:
        return
    plan, function = kept.trace(Emit.DERIVED, tuple(given), passing=passing)
    matched = [
        step.match
        for step in plan.steps
        if isinstance(step, Access) and not step.match.negated
    ]  # fmt: skip
    for found in function.run(((tuple(given.values()), 1),), None):
        if found is None:
            yield None
            continue
        values, rows = found
        places = zip(matched, rows, strict=True)
        yield Derivation(
            rule.name,
            dict(zip(function.variables, values, strict=True)),
            tuple(
                sorted(
                    ((match.place, match.table, row) for match, row in places), key=itemgetter(0)
                )
            ),
        )


def reaching(
    kept: Kept, given: Mapping[str, Value], *, passing: bool
) -> Generator[None, None, tuple[int, dict[str, Value]]]:
    """How many literals of the body, in its order, can be passed, and all values then."""
    _, function = kept.trace(Emit.REACHED, tuple(given), passing=passing)
    reached: list[object] = [-1, ()]
    yield from function.run(((tuple(given.values()), 1),), reached)
    passed, values = reached
    assert isinstance(passed, int)
    assert isinstance(values, tuple)
    return passed, dict(zip(function.variables, values, strict=False))


def failing(
    kept: Kept, rule: CoreRule, row: Row, *, passing: bool
) -> Generator[None, None, Failing | None]:
    """Literals are tried in the body's order."""
    given = _given(rule, row)
    if given is None:
        return None
    passed, bindings = yield from reaching(kept, given, passing=passing)
    if passed == len(kept.rule.body):
        return None
    return Failing(rule.name, kept.rule.body[passed].place, bindings)
