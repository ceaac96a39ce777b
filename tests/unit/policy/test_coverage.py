# SPDX-License-Identifier: Apache-2.0
"""Coverage: rules that never gave a row, and literals that no case needs."""

import pytest

from transom.policy.datalog.cases.coverage import Coverage, RuleCoverage
from transom.policy.datalog.workspace import Workspace


def covered(rules: str, *cases: dict[str, list[tuple[object, ...]]]) -> Coverage:
    coverage = Coverage()
    for tables in cases:
        workspace = Workspace()
        workspace.create_policy("own")
        workspace.insert(rules, "own", "own.dl")
        workspace.load(tables)
        for entry in workspace.program.entries.values():
            coverage.take(entry, workspace.engine)
    return coverage


def idle(coverage: Coverage) -> list[str]:
    return [span.text for rule in coverage.rules.values() for span in rule.idle]


def test_a_rule_without_a_row_in_any_case_is_silent() -> None:
    rules = "p(x) :- s:a(x)\nq(x) :- s:b(x)\nr(x) :- s:c(x)"
    coverage = covered(rules, {"s:a": [(1,)]}, {"s:b": [(1,)]})
    assert [str(rule.entry.rule.span) for rule in coverage.silent] == ["own.dl:3:1"]
    assert len(coverage.rules) == 3


@pytest.mark.parametrize(
    ("rule", "cases", "needless"),
    [
        # A negated literal, and a case in which it keeps a row out.
        ("p(x) :- s:a(x), not s:b(x)", [{"s:a": [(1,)]}], ["not s:b(x)"]),
        ("p(x) :- s:a(x), not s:b(x)", [{"s:a": [(1,)]}, {"s:a": [(1,)], "s:b": [(1,)]}], []),
        # A comparison.
        ("p(x) :- s:a(x), gt(x, 5)", [{"s:a": [(6,)]}], ["gt(x, 5)"]),
        ("p(x) :- s:a(x), gt(x, 5)", [{"s:a": [(6,), (5,)]}], []),
        # One that others bind as well, so it can be left out.
        ("p(x) :- s:a(x), s:b(x)", [{"s:a": [(1,)], "s:b": [(1,)]}], ["s:a(x)", "s:b(x)"]),
        ("p(x) :- s:a(x), s:b(x)", [{"s:a": [(1,), (2,)], "s:b": [(1,), (3,)]}], []),
        # One that binds: its constants.
        ('p(x) :- s:a(x, "E")', [{"s:a": [(1, "E")]}], ['s:a(x, "E")']),
        ('p(x) :- s:a(x, "E")', [{"s:a": [(1, "E"), (2, "F")]}], []),
        # One that binds and has none is not judged, nor is a call that gives a value.
        ("p(y) :- s:a(x), plus(x, 1, y)", [{"s:a": [(1,)]}], []),
        # The only literal is not left out.
        ("p(1) :- s:a(1)", [{"s:a": [(1,)]}], ["s:a(1)"]),
        # What is left of an order that was safe may need another.
        ("p(x) :- s:a(x), not s:c(x), s:b(x)", [{"s:a": [(1,)], "s:b": [(1,), (2,)]}],
         ["not s:c(x)", "s:b(x)"]),
        # One without which a builtin fails, though no row more comes of it.
        ("p(x) :- s:a(x), not_equal(x, null), gt(x, 5)", [{"s:a": [(6,), (5,), (None,)]}], []),
        # An aggregate.
        ("p(count(x)) :- s:a(x), not s:b(x)", [{"s:a": [(1,)]}], ["not s:b(x)"]),
    ],
)  # fmt: skip
def test_a_literal_that_no_case_needs_is_named(
    rule: str, cases: list[dict[str, list[tuple[object, ...]]]], needless: list[str]
) -> None:
    assert idle(covered(rule, *cases)) == needless


def test_of_a_silent_rule_literals_are_not_named() -> None:
    assert not idle(covered("p(x) :- s:a(x), not s:b(x)", {"s:a": []}))


def test_a_rule_that_waits_for_its_columns_is_not_judged() -> None:
    workspace = Workspace()
    workspace.create_policy("s", "datasource")
    workspace.create_policy("own")
    workspace.insert("p(x) :- s:a(id=x)", "own")
    coverage = Coverage()
    (entry,) = workspace.program.entries.values()
    coverage.take(entry, workspace.engine)
    assert coverage.rules == {}


def test_the_same_rule_in_two_cases_is_one() -> None:
    coverage = covered("p(x) :- s:a(x)", {"s:a": [(1,)]}, {"s:a": []})
    (rule,) = coverage.rules.values()
    assert isinstance(rule, RuleCoverage)
    assert rule.fired
