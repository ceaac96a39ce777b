# SPDX-License-Identifier: Apache-2.0
"""Warnings: what is almost surely a slip is said, and what is not is left alone."""

from pathlib import Path

import pytest

from transom.policy.datalog.core import TableId
from transom.policy.datalog.faults import Severity
from transom.policy.datalog.rules.changes import PolicyIn, RowsIn, SchemaIn
from transom.policy.datalog.rules.lint import CODES, SAME_HEAD_MOST, lint
from transom.policy.datalog.rules.program import Program, Schema

from support.policy_program import program, taken

WORLD = program(
    PolicyIn("a"),
    PolicyIn("b"),
    PolicyIn("act", "action"),
    PolicyIn("nova", "datasource"),
    SchemaIn("nova", Schema({"servers": ("id", "name", "status")})),
    PolicyIn("glance", "datasource"),
    ("a", 'q(1) q(2)  r("1", 1) r("x", 2)  base(x) :- q(x)'),
    ("b", "s(1, 2)"),
)


def said(text: str, policy: str = "a", before: Program = WORLD) -> list[tuple[str, str]]:
    """Code and place of each warning about the text."""
    found = lint(taken(before, (policy, text)).program)
    assert all(fault.severity is Severity.WARNING for fault in found)
    return [(fault.code, fault.span.text) for fault in found]


def hints(text: str, policy: str = "a", before: Program = WORLD) -> list[str]:
    return [fault.hint for fault in lint(taken(before, (policy, text)).program)]


WARNED = [
    # Variables
    ("p(x) :- q(x), b:s(x, y)", [("single-use", "y")]),
    ("p(x) :- q(x), plus(x, 1, y)", [("single-use", "y")]),
    ("p(x) :- q(x), not b:s(x, _)", []),
    ("p(x) :- q(x), b:s(x, _y)", []),
    ("p(count(x)) :- q(x)", []),
    ("p(x) :- b:s(x, False)", [("bare-constant", "False")]),
    ("p(x, None) :- b:s(x, None)", [("bare-constant", "None")]),
    # Tables
    ("exempt(id) :- false  p(x) :- q(x), not exempt(x)", []),
    ("p(x) :- qq(x)", [("dangling-table", "qq(x)")]),
    ("p(x) :- b:missing(x)", [("dangling-table", "b:missing(x)")]),
    ("p(x) :- nova:flavors(x)", [("dangling-table", "nova:flavors(x)")]),
    ("p(x) :- nobody:t(x)", []),
    ("p(x) :- novaa:t(x)", [("dangling-table", "novaa:t(x)")]),
    ("p(x) :- glance:images(x), now(x), base(x)", []),
    ("p(x) :- nova:servers(x)", [("unmentioned-columns", "nova:servers(x)")]),
    ("p(x) :- nova:servers(id=x)", []),
    ("p(x) :- nova:servers(x, _, _)", []),
    ("p(x) :- glance:images(id=x)", [("rule-waits", "id=x")]),
    # Actions
    ("execute[go(x)] :- q(x)", [("execute-without-source", "execute[go(x)]")]),
    ("execute[b:go(x)] :- q(x)", [("execute-without-source", "execute[b:go(x)]")]),
    ("execute[nova:go(x)] :- q(x)", []),
    ("execute[elsewhere:go(x)] :- q(x)", []),
    # Bodies
    ("p(x, y) :- q(x), b:s(y, _)", [("cross-product", "b:s(y, _)")]),
    ("p(x, y) :- q(x), b:s(y, _), lt(x, y)", []),
    ("p(x, y) :- q(x), q(y), b:s(x, z), b:s(y, z)", []),
    ("p(x) :- q(x), b:s(1, _), lt(1, 2)", []),
    ("p(x, y) :- q(x), plus(1, 2, y)", []),
    ("p(x, y) :- q(x), q(y), not b:s(x, 5)", [("cross-product", "q(y)")]),
    ("p(x, y) :- q(x), q(y), not b:s(x, y)", []),
    ("p(t, sum(n)) :- b:s(t, n)", []),
    ("p(sum(n)) :- b:s(_, n)", [("sum-hidden-rows", "b:s(_, n)")]),
    ("p(max(n)) :- b:s(_, n)", []),
    ("p(t, sum(n)) :- nova:servers(id=t, name=n)", [
        ("sum-hidden-rows", "nova:servers(id=t, name=n)")]),
    ("p(sum(n)) :- nova:servers(id=one, name=n)", []),
    ("p(x, sum(n)) :- b:s(x, n), b:s(x, _)", []),
    ("p(count(n)) :- nova:servers(id=one, name=n)", [("single-use", "one")]),
    ("p(sum(n)) :- b:s(x, n), q(x), not b:s(x, _)", [
        ("never-matches", "not b:s(x, _)")]),
    ("p(sum(n)) :- b:s(n, x), b:s(_, x)", []),
    # Rules beside each other
    ("base(y) :- q(y)", [("duplicate-rule", "base(y) :- q(y)")]),
    ("p(x) :- q(x), not b:s(x, 5)  p(z) :- not b:s(z, 5), q(z)",
     [("duplicate-rule", "p(z) :- not b:s(z, 5), q(z)")]),
    ("p(x, 1) :- q(x)  p(x, 2) :- q(x)", []),
    ("p(count(x)) :- q(x)  p(count(y)) :- q(y)", [("duplicate-rule", "p(count(y)) :- q(y)")]),
    ("base(x) :- q(x), b:s(x, 2)", [("subsumed-rule", "base(x) :- q(x), b:s(x, 2)")]),
    ("base(y) :- q(y), lt(y, 9)", [("subsumed-rule", "base(y) :- q(y), lt(y, 9)")]),
    ("base(x) :- b:s(x, _)", []),
    ("p(x) :- q(x), q(y), b:s(x, y)  p(x) :- b:s(x, z), q(z)", []),
    ("p(x, x) :- q(x)  p(x, x) :- q(x), b:s(x, _)", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WARNED, ids=[text for text, _ in WARNED])
def test_it_is_said_or_left_alone(text: str, expected: list[tuple[str, str]]) -> None:
    assert said(text) == expected


NEVER = [
    ("p(x) :- q(x), false", "false", "never true"),
    ("p(x) :- q(x), not true", "not true", "never true"),
    ("p(x) :- q(x), lt(2, 1)", "lt(2, 1)", "never true"),
    ("p(x) :- q(x), not lt(1, 2)", "not lt(1, 2)", "never true"),
    ('p(x) :- q(x), lt(1, "a")', 'lt(1, "a")', "always fails"),
    ("p(x) :- q(x), not q(x)", "not q(x)", "denies"),
    ("p(x) :- b:s(x, 2), not b:s(x, _)", "not b:s(x, _)", "denies"),
    ("p(x) :- q(x), lt(x, 5), not lt(x, 5)", "not lt(x, 5)", "denies"),
    ("p(x) :- q(x), equal(x, 1), equal(x, 2)", "equal(x, 2)", "no value is 1 and 2"),
    ("p(x) :- q(x), equal(x, 1), equal(2, x)", "equal(2, x)", "no value is 1 and 2"),
    ("p(x) :- q(x), equal(x, 1), lt(x, 1)", "lt(x, 1)", "1 and less than 1"),
    ("p(x) :- q(x), lt(x, 1), equal(x, 1)", "equal(x, 1)", "less than 1 and 1"),
    ("p(x) :- q(x), lt(x, 1), gt(x, 1)", "gt(x, 1)", "less than 1 and more than 1"),
    ("p(x) :- q(x), gteq(x, 1), not gteq(x, 1.0)", "not gteq(x, 1.0)", "at least 1 and less"),
    ("p(x) :- q(x), lt(3, x), lteq(x, 2)", "lteq(x, 2)", "more than 3 and at most 2"),
    ('p(x) :- q(x), lt(x, 1), gt(x, "a")', 'gt(x, "a")', "no value"),
    ("p(x) :- q(x), equal(x, 1), not_equal(x, 1)", "not_equal(x, 1)", "other than 1"),
    ("p(x) :- r(x, 3)", "r(x, 3)", "no fact of a:r has 3"),
]


@pytest.mark.parametrize(("text", "place", "why"), NEVER, ids=[text for text, _, _ in NEVER])
def test_a_rule_that_can_never_hold_is_said_with_the_reason(
    text: str, place: str, why: str
) -> None:
    found = lint(taken(WORLD, ("a", text)).program)
    assert [(fault.code, fault.span.text) for fault in found] == [("never-matches", place)]
    assert why in found[0].message


MAY_HOLD = [
    "p(x) :- q(x), lt(1, 2), not lt(2, 1), not false",
    "p(x) :- q(x), equal(x, 1), equal(x, 1.0), lteq(x, 1), not lt(x, 1)",
    "p(x) :- q(x), gteq(x, 1), lteq(x, 1)",
    "p(x) :- q(x), lt(x, 1), lt(x, 2), gt(x, 0), not_equal(x, 5)",
    "p(x) :- q(x), b:s(x, y), equal(x, 1), equal(y, 2), lt(x, y)",
    "p(x) :- q(x), b:s(x, y), not b:s(y, x), not lt(y, x), lt(x, y)",
    "p(x) :- q(x), not r(5, x)",
    "p(x) :- q(x), base(7), b:s(1, _)",
    "p(x) :- q(x), plus(x, 1, 2), not plus(x, 2, 2)",
    "p(x) :- q(x), plus(1, 1, 3)",
    "p(x) :- q(x), not plus(x, 1, 2), lt(x, 3)",
]


@pytest.mark.parametrize("text", MAY_HOLD)
def test_a_rule_that_may_hold_is_left_alone(text: str) -> None:
    assert said(text) == []


def test_what_disagrees_is_shown_too() -> None:
    (fault,) = lint(taken(WORLD, ("a", "p(x) :- q(x), equal(x, 1), equal(x, 2)")).program)
    assert [span.text for _, span in fault.related] == ["equal(x, 1)"]


def test_a_constant_of_another_type_is_recognised() -> None:
    assert hints("p(x) :- r(1, x)") == ['there is "1", which is another value']
    assert hints('p(x) :- r(x, "1")') == ["there is 1, which is another value"]
    assert hints("p(x) :- r(x, 9)") == [""]


def test_what_was_meant_is_said() -> None:
    assert hints("p(x) :- bas(x)") == ["did you mean `base`?"]
    assert hints("p(x) :- nova:servrs(x)") == ["did you mean `servers`?"]
    assert hints("p(x) :- novaa:servers(x)") == ["did you mean `nova`?"]
    assert hints("p(x) :- q(x), b:s(x, y)") == ["write `_` if any value will do"]
    assert hints("p(x) :- b:s(x, ERROR)") == [
        'write `_` if any value will do, and "ERROR" if it is a text'
    ]
    assert hints("p(x) :- b:s(x, True)") == ["write `true`"]
    assert hints("p(x) :- b:s(x, NULL)") == ["write `null`"]
    assert hints('p(x) :- q(x), startswith(x, "a")') == ["did you mean `starts_with`?"]
    assert hints("execute[go(x)] :- q(x)") == ["name its source: execute[nova:go(...)]"]


def test_rules_of_action_policies_read_actions_that_nothing_makes() -> None:
    assert said("p+(i, x) :- create(x), p(_, x)", "act") == [("single-use", "i")]


def test_a_policy_that_is_filled_and_not_made_does_not_dangle() -> None:
    filled = taken(WORLD, RowsIn(TableId("novaa:t"), {(1,): 1})).program
    assert said("p(x) :- novaa:t(x)", before=filled) == []


def test_many_rules_of_one_head_are_not_compared() -> None:
    text = " ".join(f"many(x) :- q(x), not b:s(x, {n})." for n in range(SAME_HEAD_MOST))
    assert said(text + " many(x) :- q(x)") == []


def test_warnings_come_in_the_order_of_the_text() -> None:
    text = "p(x) :- qq(x)  p(y) :- q(y), b:s(y, z)  base(w) :- q(w)"
    assert [code for code, _ in said(text)] == ["dangling-table", "single-use", "duplicate-rule"]


def test_each_code_is_tried_here_and_explained_in_the_reference() -> None:
    tried = {code for _, found in WARNED for code, _ in found}
    assert tried == set(CODES)
    page = Path(__file__).parents[3] / "docs" / "reference" / "policy-lint.md"
    rows = [line for line in page.read_text().splitlines() if line.startswith("| `")]
    assert [row.split("|")[1].strip(" `") for row in rows] == list(CODES)
