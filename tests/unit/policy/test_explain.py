# SPDX-License-Identifier: Apache-2.0
"""Explanations: the ways in which a row is given, down to facts, as a tree, a text and data."""

import json

import pytest

from transom.policy.datalog.core import TableId
from transom.policy.datalog.engine.engine import TooMuch, finished
from transom.policy.datalog.faults import Refused
from transom.policy.datalog.reasons.explain import (
    Bounds,
    Explanation,
    Omitted,
    explain,
    explaining,
    explaining_row,
)
from transom.policy.datalog.reasons.telling import as_json, explained_text
from transom.policy.datalog.states import State
from transom.policy.datalog.values import encoded_row
from transom.policy.datalog.workspace import Workspace

FIRST = Bounds()
ALL = Bounds(ways=None)
A, B, PAIR = TableId("p:a"), TableId("p:b"), TableId("p:pair")
RULES = """
error(vm) :- nova:servers(vm, tenant), ports(port, vm, net), not allowed(tenant, net).
ports("p1", "a", "n1"). ports("p2", "a", "n2"). ports("p3", "b", "n1").
allowed("t2", "n1").
"""


def workspace(rules: str = RULES) -> Workspace:
    some = Workspace()
    some.create_policy("p")
    some.set_schema("nova", {"servers": ("id", "tenant")})
    some.load({"nova:servers": [("a", "t1"), ("b", "t2")]})
    some.insert(rules, "p", "p.dl")
    return some


def explained(some: Workspace, atom: str, bounds: Bounds = FIRST) -> Explanation:
    found = explain(some, atom, "p", bounds)
    assert found is not None
    return found


def text(some: Workspace, atom: str, bounds: Bounds = FIRST) -> str:
    return explained_text(explained(some, atom, bounds))


def test_a_row_is_explained_by_its_rule_its_bindings_and_the_rows_that_it_met() -> None:
    assert text(workspace(), 'error("a")') == (
        'error("a"): 1 of 2 ways:\n'
        "  by error(vm) :- nova:servers(vm, tenant), ports(port, vm, net), "
        "not allowed(tenant, net) (p.dl:2:1)\n"
        '  with vm = "a", tenant = "t1", port = "p1", net = "n1"\n'
        '  - nova:servers("a", "t1"): a row of a source, live\n'
        '  - ports("p1", "a", "n1"): a fact at p.dl:3:1\n'
        '  - not allowed("t1", "n1"): there is no such row\n'
    )


def test_all_ways_are_told_if_all_are_wanted() -> None:
    found = explained(workspace(), 'error("a")', ALL)
    assert (found.count, len(found.ways), found.said) == (2, 2, False)
    assert [way.bindings["port"] for way in found.ways] == ["p1", "p2"]
    assert explained(workspace(), 'error("a")', Bounds(ways=1)).ways == found.ways[:1]


def test_what_is_not_there_has_no_explanation() -> None:
    assert explain(workspace(), 'error("b")', "p") is None
    assert explain(workspace(), "nothing(1)", "p") is None


def test_an_atom_with_variables_asks_for_any_row_that_fits_it() -> None:
    some = workspace("twice(x, y) :- pair(x, y). pair(1, 2). pair(2, 2).")
    assert explained(some, "twice(x, x)").row == (2, 2)
    assert explained(some, "twice(_, _)").row == (1, 2)
    assert explain(some, "twice(3, x)", "p") is None


def test_all_ways_have_an_end_and_so_has_the_search() -> None:
    facts = "".join(f"t({at}) " for at in range(60))
    some = workspace(f"h(0) :- t(x), t(y). n(count(x)) :- t(x), t(y). {facts}")
    found = explained(some, "h(0)", Bounds(ways=None, rows=5))
    assert (found.count, len(found.ways)) == (3600, 5)
    few = Bounds(ways=None, rows=10_000, touched=1000)
    for atom in ("h(0)", "n(60)"):
        with pytest.raises(TooMuch, match="looked at"):
            explain(some, atom, "p", few)


def test_rows_of_rows_are_explained_once() -> None:
    some = workspace(RULES + "both(x) :- error(x), bad(x). bad(x) :- error(x).")
    found = explained(some, 'both("a")')
    first, second = (step.found for step in found.ways[0].steps)
    assert first is not None
    assert second is not None
    assert first.ways
    assert first.omitted is None
    again = second.ways[0].steps[0].found
    assert again is not None
    assert (again.omitted, again.ways, again.count) == (Omitted.ABOVE, (), 2)
    assert '      - error("a"): explained above\n' in explained_text(found)


@pytest.mark.parametrize("bounds", [Bounds(depth=2), Bounds(rows=2)])
def test_what_is_too_deep_or_too_much_is_left_out(bounds: Bounds) -> None:
    some = workspace("a(x) :- b(x). b(x) :- c(x). c(x) :- d(x). d(1).")
    assert text(some, "a(1)", bounds) == (
        "a(1)\n"
        "  by a(x) :- b(x) (p.dl:1:1)\n"
        "  with x = 1\n"
        "  - b(1)\n"
        "      by b(x) :- c(x) (p.dl:1:15)\n"
        "      with x = 1\n"
        "      - c(1): follows from others, which are not told here\n"
    )


def test_a_fact_that_follows_too_is_both() -> None:
    some = workspace("a(x) :- b(x). a(1). b(1).")
    some.update({B: {(2,): 1}})
    assert text(some, "a(1)") == (
        "a(1): a fact at p.dl:1:15\n  by a(x) :- b(x) (p.dl:1:1)\n  with x = 1\n"
        "  - b(1): a fact at p.dl:1:21\n"
    )
    assert "  - b(2): a fact\n" in text(some, "a(2)")


def test_the_state_of_a_source_is_told_where_a_row_is_and_where_none_is() -> None:
    some = workspace("lost(x) :- nova:servers(x, t), not glance:images(x).")
    some.set_state("nova:servers", State.STALE, "2026-01-31 12:00:00")
    told = text(some, 'lost("a")')
    assert 'servers("a", "t1"): a row of a source, stale since 2026-01-31 12:00:00\n' in told
    assert 'not glance:images("a"): there is no such row of a source, absent\n' in told


def test_a_row_with_nulls_is_told_by_the_names_of_its_columns_where_there_are() -> None:
    some = workspace("wide(vm) :- nova:wide(vm, _, _). bare(vm) :- t(vm, _). t(1, null).")
    some.set_schema("nova", {"wide": ("id", "name", "status")})
    some.load({"nova:wide": [("a", None, "ERROR")]})
    assert '- nova:wide(id="a", status="ERROR"): a row of a source' in text(some, 'wide("a")')
    assert "- t(1, null): a fact" in text(some, "bare(1)")


def test_literals_of_the_language_are_told_as_they_were_evaluated() -> None:
    some = workspace("a(z) :- b(x, _), plus(x, 2, z), not lt(x, 0), not c(x, _), true. b(1, 5).")
    assert text(some, "a(3)").splitlines()[3:] == [
        "  - b(1, 5): a fact at p.dl:1:66",
        "  - plus(1, 2, 3): true",
        "  - not lt(1, 0): true",
        "  - not c(1, _): there is no such row",
    ]


def test_a_rule_of_constants_has_no_bindings() -> None:
    some = workspace("a() :- b(1). b(1).")
    assert text(some, "a") == "a\n  by a :- b(1) (p.dl:1:1)\n  - b(1): a fact at p.dl:1:14\n"


def test_a_rule_of_another_policy_is_told_with_its_policy() -> None:
    some = workspace("a(x) :- q:b(x, y).")
    some.create_policy("q")
    some.insert("b(1, 2). b(x, y) :- c(x, y). c(3, 4).", "q")
    assert "      by q: b(x, y) :- c(x, y) (:1:10)\n" in text(some, "a(3)")


def test_an_action_is_explained_by_its_name() -> None:
    some = workspace("execute[nova:pause(x)] :- a(x). a(1).")
    assert text(some, "execute[nova:pause(1)]").startswith("execute[nova:pause(1)]\n  by ")


# Aggregates

GROUPS = """
used(t, count(port)) :- ports(port, vm, net), nova:servers(vm, t).
last(max(port)) :- ports(port, vm, _).
ports("p1", "a", "n1"). ports("p2", "a", "n2"). ports("p3", "b", "n1").
"""


def test_an_aggregate_is_explained_by_its_group() -> None:
    found = explained(workspace(GROUPS), 'used("t1", 2)', Bounds(members=1))
    (way,) = found.ways
    assert (way.count, dict(way.bindings), way.steps) == (2, {"t": "t1"}, ())
    assert [member.bindings["port"] for member in way.members] == ["p1"]
    assert explained_text(found).splitlines()[2:] == [
        '  with t = "t1"',
        "  a group of 2, of these:",
        '  - with t = "t1", vm = "a", port = "p1", net = "n1"',
        '    - ports("p1", "a", "n1"): a fact at p.dl:4:1',
        '    - nova:servers("a", "t1"): a row of a source, live',
    ]


def test_a_maximum_is_explained_by_the_bindings_that_have_it() -> None:
    (way,) = explained(workspace(GROUPS), "last(x)").ways
    assert way.count == 1
    assert [member.bindings["port"] for member in way.members] == ["p3"]


def test_several_aggregates_are_explained_by_the_whole_group() -> None:
    some = workspace("ends(min(x), max(x)) :- a(x). a(1). a(2). a(3).")
    (way,) = explained(some, "ends(1, 3)").ways
    assert way.count == 3


def test_only_the_rule_whose_group_gives_the_value_explains_it() -> None:
    some = workspace(
        "n(t, count(x)) :- a(t, x). n(t, count(x)) :- b(t, x). n(1, count(x)) :- c(x)."
        "a(1, 1). a(1, 2). b(1, 7). b(2, 1). c(5)."
    )
    (way,) = explained(some, "n(1, 2)", ALL).ways
    assert way.entry.rule.body[0].atom.name.table == "a"
    assert len(explained(some, "n(1, 1)", ALL).ways) == 2
    assert len(explained(some, "n(2, 1)", ALL).ways) == 1


def test_equal_members_of_a_group_are_counted_once() -> None:
    some = workspace("n(count(x)) :- a(x, y). a(1, 1). a(1, 2).")
    (way,) = explained(some, "n(1)").ways
    assert way.count == 1


def test_no_more_members_are_counted_than_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transom.policy.datalog.reasons.explain.MEMBERS_COUNTED_MOST", 2)
    some = workspace("n(count(x)) :- a(x). a(1). a(2). a(3).")
    (way,) = explained(some, "n(3)").ways
    assert way.count == 2


# Slices, faults, data


def test_a_long_explanation_goes_in_slices() -> None:
    some = workspace("pair(y) :- b(x, y), a(x). n(count(x)) :- b(x, y), a(x).")
    rows = 10_000
    some.update({A: {(n,): 1 for n in range(rows)}})
    some.update({B: {(n, n % 3): 1 for n in range(rows)}})
    some.update({B: {(rows - 1, 9): 1}})
    assert len(list(explaining(some, "pair(9)", "p"))) > 1
    assert len(list(explaining(some, f"n({rows})", "p"))) > 1
    whole = finished(explaining_row(some.program, some.engine, some.states, PAIR, (9,)))
    assert whole == explained(some, "pair(9)")


@pytest.mark.parametrize(
    ("atom", "code"),
    [("lt(1, 2)", "query"), ("true", "query"), ("insert[p(1)]", "query"), ("p(", "syntax"),
     ("error(1, 2)", "arity"), ('nova:servers(colour="x")', "unknown-column")],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(atom: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        explain(workspace(), atom, "p")
    assert [fault.code for fault in refused.value.faults] == [code]


def test_an_unknown_policy_is_refused_with_one_that_was_meant() -> None:
    some = workspace()
    some.create_policy("network")
    with pytest.raises(Refused) as refused:
        explain(some, "error(1)", "netwrk")
    assert refused.value.faults[0].hint == "did you mean `network`?"


def test_rules_that_wait_explain_nothing() -> None:
    some = workspace("a(x) :- b(x). b(1).")
    some.create_policy("later", "datasource")
    some.insert('a(x) :- later:things(id=x, name="y").', "p")
    assert len(explained(some, "a(1)", ALL).ways) == 1


def test_as_data_it_can_be_kept() -> None:
    some = workspace(RULES + "n(count(x)) :- error(x).")
    some.set_state("nova:servers", State.STALE, "now")
    found = as_json(explained(some, "n(1)"))
    assert json.loads(json.dumps(found)) == found
    (way,) = found["ways"]
    assert (found["table"], found["row"], found["count"]) == ("p:n", [1], 1)
    assert (way["count"], way["bindings"], way["place"]) == (1, {}, "p.dl:5:1")
    (error,) = way["members"][0]["steps"]
    (first,) = error["ways"]
    assert first["rule"].startswith("p: error(vm) :- ")
    assert first["steps"] == [
        {"table": "nova:servers", "row": ["a", "t1"], "said": True, "state": "stale",
         "since": "now"},
        {"table": "p:ports", "row": ["p1", "a", "n1"], "said": True, "place": "p.dl:3:1"},
        {"literal": 'not allowed("t1", "n1")'},
    ]  # fmt: skip
    again = as_json(explained(some, "n(1)", Bounds(depth=1)))
    assert again["ways"][0]["members"][0]["steps"][0]["omitted"] == "deeper"


def test_a_rule_of_a_program_has_no_place() -> None:
    some = Workspace()
    some.create_policy("p")
    some.insert("a(x) :- b(x). b(1.5).", "p")
    some.update({B: {encoded_row([2.5]): 1}})
    assert explained_text(explained(some, "a(2.5)")).splitlines()[-1] == "  - b(2.5): a fact"
