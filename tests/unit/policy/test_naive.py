# SPDX-License-Identifier: Apache-2.0
"""The oracle itself, against answers that were written by hand."""

import math
import random
from typing import Any

import pytest

from transom.policy.datalog.core import Call, CoreRule, Fold, Match, TableId
from transom.policy.datalog.language.syntax import Constant, Variable
from transom.policy.datalog.values import FALSE, NAN, TRUE, Value, encoded_row, real

from support import naive
from support.datalog_world import BUILTINS, cycle, rule_text, script, script_text

BY_NAME = {builtin.name: builtin for builtin in BUILTINS}


def term(text: Any) -> Any:
    """`"x"` is a variable, `"_"` nothing; what is no string is a constant."""
    if not isinstance(text, str):
        return Constant(encoded_row([text])[0])
    return None if text == "_" else Variable(text)


def has(table: str, *terms: Any) -> Match:
    return Match(TableId(table), tuple(map(term, terms)))


def lacks(table: str, *terms: Any) -> Match:
    return Match(TableId(table), tuple(map(term, terms)), negated=True)


def call(name: str, *terms: Any, negated: bool = False) -> Call:
    builtin = BY_NAME[name]
    both = tuple(map(term, terms))
    return Call(builtin, both[: builtin.inputs], both[builtin.inputs :], negated)


def fold(function: str, variable: str) -> Fold:
    return Fold(function, Variable(variable))


def rows_of(rule: CoreRule, **tables: list[tuple[Any, ...]]) -> set[Any]:
    return naive.heads(rule, {TableId(name): set(map(encoded_row, rows)) for name, rows in
                              tables.items()})  # fmt: skip


def rule(arguments: tuple[Any, ...], *body: Any, name: str = "r", head: str = "h") -> CoreRule:
    terms = tuple(each if isinstance(each, Fold) else term(each) for each in arguments)
    return CoreRule(name, TableId(head), terms, body)


def test_a_join_binds_and_compares() -> None:
    joined = rule(("x", "z"), has("e", "x", "y"), has("e", "y", "z"))
    assert rows_of(joined, e=[(1, 2), (2, 3), (3, 3)]) == {(1, 3), (2, 3), (3, 3)}
    assert rows_of(rule(("x",), has("e", "x", "x")), e=[(1, 2), (3, 3)]) == {(3,)}


def test_nothing_is_bound_by_an_underscore() -> None:
    assert rows_of(rule((1,), has("e", "_", "_")), e=[(1, 2)]) == {(1,)}


def test_a_negated_match_asks_for_no_row_at_all() -> None:
    alone = rule(("x",), has("a", "x"), lacks("e", "x", "_"))
    assert rows_of(alone, a=[(1,), (2,)], e=[(1, 7)]) == {(2,)}
    assert rows_of(rule((), lacks("e", "_", "_")), e=[]) == {()}


def test_one_and_true_and_its_text_stay_apart() -> None:
    values = [(1,), (1.0,), (True,), ("1",)]
    for (value,) in values:
        found = rows_of(rule(("x",), has("a", "x"), has("b", "x")), a=values, b=[(value,)])
        assert found == {encoded_row([value])}
    assert rows_of(rule(("x",), has("a", "x"), has("a", "x")), a=[(math.nan,)]) == {(NAN,)}


def test_a_call_that_fails_leaves_the_row_out_in_both_polarities() -> None:
    values = [(1,), (5,), ("a",)]
    below = rule(("x",), has("a", "x"), call("lt", "x", 3))
    above = rule(("x",), has("a", "x"), call("lt", "x", 3, negated=True))
    assert rows_of(below, a=values) == {(1,)}
    assert rows_of(above, a=values) == {(5,)}


def test_an_output_is_bound_or_compared() -> None:
    assert rows_of(rule(("z",), has("a", "x"), call("plus", "x", 1, "z")), a=[(1,)]) == {(2,)}
    assert rows_of(rule(("x",), has("a", "x"), call("plus", "x", 1, 3)), a=[(1,), (2,)]) == {(2,)}
    halves = rule(("x",), has("a", "x"), call("halves", "x", "y", "y"))
    assert rows_of(halves, a=[(0,), (2,), (3,), (4,)]) == {(0,), (3,)}
    none = rule(("x",), has("a", "x"), call("plus", "x", 1, "_", negated=True))
    assert rows_of(none, a=[(1,), ("a",)]) == set()


def test_a_rule_of_constants_alone_is_a_fact() -> None:
    assert rows_of(rule((1, 2.5))) == {(1, real(2.5))}


def test_folds_range_over_distinct_bindings_of_named_variables() -> None:
    volumes = [(1, "t", 5), (2, "t", 5), (3, "t", 7), (4, "u", 1)]
    used = rule(("t", fold("sum", "s")), has("v", "i", "t", "s"))
    assert rows_of(used, v=volumes) == {("t", 17), ("u", 1)}
    sizes = rule(("t", fold("sum", "s"), fold("count", "s")), has("v", "_", "t", "s"))
    assert rows_of(sizes, v=volumes) == {("t", 12, 2), ("u", 1, 1)}
    most = rule((fold("max", "i"), fold("min", "s")), has("v", "i", "_", "s"))
    assert rows_of(most, v=volumes) == {(4, 1)}
    assert rows_of(most, v=[]) == set()


def total(*values: Any) -> Any:
    rows = list(enumerate(values))
    found = rows_of(rule((fold("sum", "x"),), has("v", "i", "x")), v=rows)
    return next(iter(found))[0] if found else None


def test_a_sum_is_exact_whatever_the_order() -> None:
    assert total(0.1, 0.2, 0.3) == real(0.6)
    assert total(1e16, 1.0, -1e16) == real(1.0)
    assert total(2**70, 0.5, -(2**70)) == real(0.5)
    assert total(1, 2) == 3
    assert total(1.0, 2) == real(3.0)
    assert total(1e308, 1e308) is None
    assert total(1e308, 1e308, -1e308) == real(1e308)


def test_a_sum_leaves_out_what_is_no_finite_number() -> None:
    assert total(1, "a", True, None) == 1
    assert total(1, math.inf, math.nan) == 1
    assert total("a", math.inf) is None
    both = rule((fold("sum", "x"), fold("count", "x")), has("v", "i", "x"))
    assert rows_of(both, v=[(1, "a"), (2, "b")]) == set()
    assert rows_of(both, v=[(1, "a"), (2, 5)]) == {(5, 2)}


def test_the_order_of_values_puts_every_type_in_its_place() -> None:
    ordered: list[Value] = [None, FALSE, TRUE, -1, 0, real(0.0), 1, real(1.5), 2, real(math.inf)]
    ordered += [NAN, "", "a"]
    assert sorted(random.Random(1).sample(ordered, len(ordered)), key=naive.place) == ordered


def test_tables_settle_after_what_they_hang_on() -> None:
    rules = [
        rule(("x",), has("a", "x"), lacks("c", "x"), name="d", head="d"),
        rule(("x",), has("a", "x"), lacks("b", "x"), name="c", head="c"),
    ]
    tables = naive.evaluated(rules, {TableId("a"): {(1,), (2,)}, TableId("b"): {(1,)}})
    assert tables[TableId("c")] == {(2,)}
    assert tables[TableId("d")] == {(1,)}


def test_facts_and_several_rules_of_one_table_come_together() -> None:
    rules = [rule(("x",), has("a", "x"), name="1"), rule((3,), name="2")]
    tables = naive.evaluated(rules, {TableId("a"): {(1,)}, TableId("h"): {(2,)}})
    assert tables[TableId("h")] == {(1,), (2,), (3,)}


def test_derivations_are_all_ways_with_their_rows() -> None:
    pairs = rule(("x",), has("e", "x", "_"), has("e", "_", "x"))
    tables = {TableId("e"): {(1, 1), (1, 2), (2, 1)}}
    assert len(naive.derivations(pairs, (1,), tables)) == 4
    assert naive.derivations(pairs, (3,), tables) == []
    grouped = rule((fold("count", "y"),), has("e", "_", "y"))
    assert len(naive.derivations(grouped, (2,), tables)) == 3


def test_progress_is_the_most_literals_that_any_way_passes() -> None:
    three = rule(("x",), has("a", "x"), has("e", "x", "y"), lacks("b", "y"))
    tables = {TableId("a"): {(1,), (2,)}, TableId("e"): {(1, 5), (1, 6)}, TableId("b"): {(5,)}}
    assert naive.progress(three, (3,), tables) == (0, [{"x": 3}])
    assert naive.progress(three, (2,), tables) == (1, [{"x": 2}])
    assert naive.progress(three, (1,), tables) == (3, [{"x": 1, "y": 6}])
    assert naive.progress(rule((1,)), (2,), tables) == (-1, [])
    tables[TableId("b")].add((6,))
    passed, reached = naive.progress(three, (1,), tables)
    assert (passed, sorted(each["y"] for each in reached)) == (2, [5, 6])


def test_a_cycle_is_seen_through_other_tables() -> None:
    one = rule(("x",), has("b", "x"), head="a")
    two = rule(("x",), lacks("a", "x"), head="b")
    assert cycle([one, two])
    assert cycle([rule((), has("a"), head="a")])
    assert not cycle([one])


@pytest.mark.parametrize("seed", range(20))
def test_a_seed_gives_the_same_script_each_time(seed: int) -> None:
    assert script_text(script(seed)) == script_text(script(seed))


def test_scripts_hold_every_kind_of_rule_and_step() -> None:
    texts = [script_text(script(seed)) for seed in range(300)]
    words = "whole slices closed refused trial sum( count( min( max( -1 remove never( halves( _"
    for word in [*words.split(), "not p:", "not lt(", "Real(nan)", "TRUE"]:
        assert any(word in text for text in texts), word
    selves = [
        each
        for seed in range(300)
        for step in script(seed).steps
        for change in step.changes
        for each in change.added
    ]
    matched = [[one.table for one in each.body if isinstance(one, Match)] for each in selves]
    assert max(max(map(each.count, each), default=0) for each in matched) >= 4
    assert any(not each.body for each in selves)
    assert any(
        {one.table for one in each.body if isinstance(one, Match) and one.negated}
        & {one.table for one in each.body if isinstance(one, Match) and not one.negated}
        for each in selves
    )
    assert "_" in rule_text(rule((), has("e", "_")))
