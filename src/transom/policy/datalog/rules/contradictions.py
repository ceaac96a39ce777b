# SPDX-License-Identifier: Apache-2.0
"""Bodies that nothing can pass, as far as that is certain from the rule and the facts alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final

from transom.policy.datalog.builtins import BUILTINS
from transom.policy.datalog.core import Call, CoreRule, CoreTerm, Match
from transom.policy.datalog.language.printing import value_text
from transom.policy.datalog.language.syntax import Constant, Variable
from transom.policy.datalog.rules.checks import NEVER
from transom.policy.datalog.rules.program import Program
from transom.policy.datalog.values import Value, decoded

TURNED: Final = {
    "equal": "equal", "not_equal": "not_equal", "lt": "gt", "gt": "lt", "lteq": "gteq",
    "gteq": "lteq",
}  # fmt: skip
"""Comparisons, and what each is with its arguments the other way around."""
INVERSE: Final = {
    "equal": "not_equal", "not_equal": "equal", "lt": "gteq", "gteq": "lt", "gt": "lteq",
    "lteq": "gt",
}  # fmt: skip
BELOW: Final = {"lt", "lteq"}
ABOVE: Final = {"gt", "gteq"}


@dataclass(frozen=True, slots=True)
class Contradiction:
    """`place`: of the literal that cannot hold; `other`: of the one that it disagrees with."""

    place: int
    text: str
    other: int | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True)
class _Bound:
    """`variable OPERATION value`."""

    operation: str
    value: Value
    place: int


def contradictions(program: Program, rule: CoreRule) -> Iterator[Contradiction]:
    """Why the rule never holds, once for each literal; nothing if it may."""
    told = set()
    parts = (_never(rule), _opposed(rule), _bounds(rule), _no_such_fact(program, rule))
    for found in chain.from_iterable(parts):
        if found.place not in told:
            told.add(found.place)
            yield found


def _never(rule: CoreRule) -> Iterator[Contradiction]:
    """`false`, and calls of constants alone."""
    for literal in rule.body:
        if isinstance(literal, Match):
            continue
        if literal.builtin is NEVER:
            yield Contradiction(literal.place, "this is never true")
            continue
        inputs = [term.value for term in literal.inputs if isinstance(term, Constant)]
        if len(inputs) == len(literal.inputs) and not literal.builtin.outputs:
            reason = _failing(literal.builtin.name, inputs, negated=literal.negated)
            if reason is not None:
                yield Contradiction(literal.place, reason)


def _failing(name: str, inputs: list[Value], *, negated: bool = False) -> str | None:
    """Why a builtin without outputs never holds of these; None if it does."""
    try:
        holds = BUILTINS[name].function(*inputs)
    except Exception as error:  # noqa: BLE001 Safety: of a builtin, whatever it is
        return f"this always fails: {error}"
    return "this is never true" if bool(holds) is negated else None


def _opposed(rule: CoreRule) -> Iterator[Contradiction]:
    """A literal and its opposite. `p(x, y), not p(x, _)` is one too."""
    for denied in rule.body:
        if not denied.negated:
            continue
        for said in rule.body:
            if not said.negated and _covers(denied, said):
                text = "this denies what another literal says"
                yield Contradiction(denied.place, text, said.place)


def _covers(denied: Match | Call, said: Match | Call) -> bool:
    if isinstance(denied, Match) and isinstance(said, Match):
        pairs = zip(denied.arguments, said.arguments, strict=False)
        return denied.table == said.table and all(d is None or d == s for d, s in pairs)
    if isinstance(denied, Call) and isinstance(said, Call):
        return (denied.builtin, denied.inputs, denied.outputs) == (
            said.builtin, said.inputs, said.outputs,
        )  # fmt: skip
    return False


def _bounds(rule: CoreRule) -> Iterator[Contradiction]:
    """Comparisons of one variable with constants that no value meets."""
    found: dict[str, list[_Bound]] = {}
    for literal in rule.body:
        if isinstance(literal, Call) and literal.builtin.name in TURNED:
            _note_bound(found, literal)
    for bounds in found.values():
        for index, bound in enumerate(bounds):
            other = next((one for one in bounds[:index] if _disagree(one, bound)), None)
            if other is not None:
                text = f"no value is {_said(other)} and {_said(bound)}"
                yield Contradiction(bound.place, text, other.place)
                break


def _note_bound(found: dict[str, list[_Bound]], call: Call) -> None:
    one, other = call.inputs
    operation = call.builtin.name
    if isinstance(one, Constant):
        one, other, operation = other, one, TURNED[operation]
    if isinstance(one, Variable) and isinstance(other, Constant):
        operation = INVERSE[operation] if call.negated else operation
        found.setdefault(one.name, []).append(_Bound(operation, other.value, call.place))


def _disagree(one: _Bound, other: _Bound) -> bool:
    if "equal" in (one.operation, other.operation):
        same, test = (one, other) if one.operation == "equal" else (other, one)
        return _failing(test.operation, [same.value, test.value]) is not None
    lower, upper = (one, other) if one.operation in ABOVE else (other, one)
    if lower.operation not in ABOVE or upper.operation not in BELOW:
        return False
    strict = "lt" if {lower.operation, upper.operation} & {"lt", "gt"} else "lteq"
    return _failing(strict, [lower.value, upper.value]) is not None


_WORDS: Final[Mapping[str, str]] = {
    "equal": "", "not_equal": "other than ", "lt": "less than ", "lteq": "at most ",
    "gt": "more than ", "gteq": "at least ",
}  # fmt: skip


def _said(bound: _Bound) -> str:
    return _WORDS[bound.operation] + value_text(bound.value)


def _no_such_fact(program: Program, rule: CoreRule) -> Iterator[Contradiction]:
    """Constants that no fact has, of a table that is made of facts alone."""
    for literal in rule.body:
        if isinstance(literal, Call) or literal.negated:
            continue
        table = literal.table
        rows = program.facts.get(table)
        if rows is None or table in program.heads:
            continue
        for column, term in enumerate(literal.arguments):
            if isinstance(term, Constant) and all(row[column] != term.value for row in rows):
                text = f"no fact of {table} has {value_text(term.value)} there"
                yield Contradiction(literal.place, text, hint=_alike(term, rows, column))
                break


def _alike(term: CoreTerm, rows: Mapping[tuple[Value, ...], object], column: int) -> str:
    """A value that looks the same and is of another type."""
    assert isinstance(term, Constant)
    looks = str(decoded(term.value)).lower()
    for row in rows:
        if str(decoded(row[column])).lower() == looks:
            return f"there is {value_text(row[column])}, which is another value"
    return ""
