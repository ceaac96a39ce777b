# SPDX-License-Identifier: Apache-2.0
"""The order of a body: as it is written, but for what has to wait."""

from itertools import pairwise

from transom.policy.datalog.core import Builtin, Call, Match, TableId
from transom.policy.datalog.language.syntax import Constant, Variable
from transom.policy.datalog.rules.binding import CoreLiteral, given, needed, ordered

PLUS = Builtin("plus", 2, 1, lambda x, y: x + y)
LT = Builtin("lt", 2, 0, lambda x, y: x < y)
X, Y, Z = map(Variable, "xyz")


def has(*terms: Variable | Constant | None, place: int = 0) -> Match:
    return Match(TableId("a:p"), terms, place=place)


def lacks(*terms: Variable | Constant | None) -> Match:
    return Match(TableId("a:q"), terms, negated=True)


def order(*body: CoreLiteral) -> list[CoreLiteral]:
    found, stuck = ordered(body)
    assert not stuck
    return found


def test_a_safe_body_stays_as_it_is() -> None:
    body = [has(X, Y), lacks(X, None), Call(PLUS, (X, Y), (Z,)), has(Z)]
    assert order(*body) == body


def test_what_is_not_bound_yet_moves_behind_what_binds_it() -> None:
    assert order(lacks(X), has(Y), has(X)) == [has(Y), has(X), lacks(X)]


def test_it_moves_no_further_than_it_has_to() -> None:
    call = Call(LT, (X, Constant(1)))
    assert order(call, has(X), has(Y)) == [has(X), call, has(Y)]


def test_an_output_binds() -> None:
    plus = Call(PLUS, (X, Constant(1)), (Y,))
    assert order(lacks(Y), plus, has(X)) == [has(X), plus, lacks(Y)]


def test_a_negated_call_binds_nothing_and_needs_its_output() -> None:
    call = Call(PLUS, (X, Constant(1)), (Y,), negated=True)
    assert needed(call) == ["x", "y"]
    assert given(call) == []
    assert order(call, has(X), has(Y)) == [has(X), has(Y), call]


def test_a_variable_that_stands_twice_counts_once() -> None:
    assert order(lacks(X, X), has(X, X)) == [has(X, X), lacks(X, X)]


def test_what_finds_no_place_says_what_it_lacks() -> None:
    one, other = Call(PLUS, (X, Constant(1)), (Y,)), Call(PLUS, (Y, Z), (X,))
    found, stuck = ordered([one, other, has(Z)])
    assert found == [has(Z)]
    assert stuck == [(one, ["x"]), (other, ["y"])]


def test_a_long_body_is_ordered_at_once() -> None:
    names = [Variable(f"v{number}") for number in range(3000)]
    chain = [Call(PLUS, (one, one), (other,)) for one, other in pairwise(names)]
    assert order(*reversed(chain), has(names[0])) == [has(names[0]), *chain]
