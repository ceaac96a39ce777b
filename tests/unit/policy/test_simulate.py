# SPDX-License-Identifier: Apache-2.0
"""Simulations: steps that change rows and rules, what is told of them, and that nothing stays."""

from collections.abc import Callable
from typing import Any

import pytest

from transom.policy.datalog.core import TableId
from transom.policy.datalog.engine.engine import Busy, Limits, TooMuch
from transom.policy.datalog.faults import Refused
from transom.policy.datalog.language.syntax import Mode
from transom.policy.datalog.reasons.explain import explain
from transom.policy.datalog.reasons.why_not import why_not
from transom.policy.datalog.rules.changes import Change, PolicyIn, RowsIn, RuleIn
from transom.policy.datalog.simulation.simulate import (
    Bounds,
    Question,
    Simulation,
    simulate,
    simulating,
)
from transom.policy.datalog.states import State
from transom.policy.datalog.workspace import Workspace

from support.datalog_picture import picture

P_A = TableId("p:a")


def workspace(rules: str = "") -> Workspace:
    some = Workspace()
    some.create_policy("p")
    some.insert(rules, "p")
    return some


def told(some: Workspace, query: str, sequence: str, **how: Any) -> tuple[str, ...]:
    return simulate(some, query, "p", sequence, **how).texts


def refusal(some: Workspace, sequence: str, **how: Any) -> str:
    with pytest.raises(Refused) as refused:
        simulate(some, "a(x)", "p", sequence, **how)
    return "; ".join(f"{fault.span} {fault.code}" for fault in refused.value.faults)


@pytest.mark.parametrize(
    ("rules", "sequence", "after"),
    [
        ("p(1)", "p+(2)", ("p(1)", "p(2)")),
        ("p(1) p(2)", "p-(2)", ("p(1)",)),
        ("p(1)", "p+(1) p-(7)", ("p(1)",)),
        ("p(1)", "p-(1) p+(1)", ("p(1)",)),
        ("p(1)", "p+(2) p-(2)", ("p(1)",)),
        ("", "", ()),
        ("q(1)", "p+(x) :- q(x)", ("p(1)",)),
        ("q(1)", "p+(x) :- q(x)  q+(2)", ("p(1)", "p(2)")),
        ("q(1) p(x) :- q(x)", "p-(x) :- q(x)", ()),
        ("q(1) p(x) :- q(x)", "p-(x) :- r(x)", ("p(1)",)),
        ("q(1) p(x) :- q(x)", "q-(1)", ()),
        ("q(1) p(x) :- q(x)", "p-(1)", ("p(1)",)),
        ("q(1)", "p+(x), r+(x) :- q(x)", ("p(1)",)),
        ("q(1)", "insert[p(x) :- q(x)]", ("p(1)",)),
        ("q(1) p(x) :- q(x)", "delete[p(x) :- q(x)]", ()),
        ("", 'insert[p(3)] insert[q(5); "p"] delete[p(3)] insert[p(x) :- q(x); "p"]', ("p(5)",)),
    ],
)
def test_steps_take_effect_in_their_order(
    rules: str, sequence: str, after: tuple[str, ...]
) -> None:
    some = workspace(rules)
    assert told(some, "p(x)", sequence) == after
    assert told(some, "p(x)", sequence, trace=True) == after


def test_other_policies_and_sources_are_changed_by_their_names() -> None:
    some = workspace("error(x) :- nova:servers(x), other:bad(x).")
    some.create_policy("other")
    some.load({"nova:servers": [("a",), ("b",)]})
    sequence = 'nova:servers+("c") nova:servers-("a") other:bad+(x) :- nova:servers(x)'
    assert told(some, "error(x)", sequence) == ('error("b")', 'error("c")')
    assert told(some, "error(x)", 'insert[bad("a"); "other"]') == ('error("a")',)


def test_a_query_may_be_a_rule_and_may_be_of_a_signed_table() -> None:
    some = workspace("q(1) q(2)")
    assert told(some, "answer(x) :- q(x), gt(x, 1)", "q+(3)") == ("answer(2)", "answer(3)")


def test_the_difference_is_told_as_rows_that_come_and_go() -> None:
    some = workspace("error(x) :- a(x), not b(x). a(1) a(2) b(2)")
    assert told(some, "error(x)", "b+(1) b-(2) a+(3)", delta=True) == (
        "error+(2)", "error+(3)", "error-(1)",
    )  # fmt: skip
    assert told(some, "answer(x) :- a(x), lt(x, 2)", "a-(1)", delta=True) == ("answer-(1)",)
    assert told(some, "error(x)", "a+(2) b-(9)", delta=True) == ()


def test_texts_are_those_of_the_workspaces_mode() -> None:
    some = Workspace(Mode.STRICT)
    some.create_policy("p")
    found = simulate(some, "a(x)", "p", r'a+("1\\2")', trace=True, delta=True)
    assert found.texts == (r'a+("1\\2")',)
    assert found.trace == '1. a+("1\\\\2")\n   + a("1\\\\2")\n'


def test_changes_may_come_before_the_sequence() -> None:
    some = workspace("a(1)")
    rules = some.rules_of("error(x) :- p:a(x).")
    changes: list[Change] = [PolicyIn("q"), RuleIn("q", rules[0]), RowsIn(P_A, {(2,): 1})]
    found = simulate(some, "q:error(x)", "p", "a-(1)", changes=changes)
    assert found.texts == ("q:error(2)",)
    assert "q" not in some.program.policies


# What is told


def test_the_net_change_the_violations_and_the_actions_are_told() -> None:
    some = workspace(
        "error(x) :- a(x). warning(x) :- a(x), b(x). b(1) b(2)"
        "execute[nova:pause(x)] :- error(x), not kept(x). a(1) kept(3)"
    )
    some.create_policy("q")
    some.insert("execute[mail(x)] :- p:warning(x). high(x) :- p:b(x), p:a(x).", "q")
    found = simulate(
        some, "error(x)", "p", "a-(1) a+(3) a+(9) a-(9) a+(2)", watched=["warning", "q:high"]
    )
    assert found.net == {
        "p:a": {(1,): -1, (2,): 1, (3,): 1},
        "p:error": {(1,): -1, (2,): 1, (3,): 1},
        "p:warning": {(1,): -1, (2,): 1},
        "q:high": {(1,): -1, (2,): 1},
        "p:execute[nova:pause]": {(1,): -1, (2,): 1},
        "q:execute[mail]": {(1,): -1, (2,): 1},
    }
    assert set(found.violations) == {"p:error", "p:warning", "q:high"}
    assert found.violations[TableId("p:error")] == {(1,): -1, (2,): 1, (3,): 1}
    assert found.actions == (("p:execute[nova:pause]", (2,)), ("q:execute[mail]", (2,)))


def test_a_trace_tells_each_step_with_what_it_changed() -> None:
    some = workspace("error(x) :- a(x).")
    some.create_policy("q")
    found = simulate(some, "error(x)", "p", "a+(1) a+(1) q:b+(2) a-(1)", trace=True)
    assert found.trace == (
        "1. a+(1)\n   + a(1)\n   + error(1)\n2. a+(1)\n3. q:b+(2)\n   + q:b(2)\n"
        "4. a-(1)\n   - a(1)\n   - error(1)\n"
    )
    assert found.net == {"q:b": {(2,): 1}}
    assert simulate(some, "error(x)", "p", "a+(1)").trace == ""


def test_what_does_nothing_is_noted() -> None:
    some = workspace("a(1) a(x) :- b(x).")
    found = simulate(some, "a(x)", "p", "a+(1) a-(5) a-(x) :- c(x) a+(x) :- b(x)")
    assert sorted(note.code for note in found.notes) == [
        "rule-not-there", "rule-not-there", "rule-there", "rule-there",
    ]  # fmt: skip
    assert str(found.notes[0].span).startswith("sequence:1:")


def test_builtins_that_fail_on_the_way_are_told_once() -> None:
    some = workspace('error(x) :- a(x), lt(x, 5). a("old") b(x) :- c(x), lt(x, 5).')
    found = simulate(some, "error(x)", "p", 'a+("new") c+("c")')
    places = sorted((one.rule, one.place) for one in found.diagnostics)
    assert places == [
        ("p: b(x) :- c(x), lt(x, 5)", 1), ("p: error(x) :- a(x), lt(x, 5)", 1),
    ]  # fmt: skip
    assert len(some.engine.faults) == 1
    assert [one.rule for one in simulate(some, "error(x)", "p").diagnostics] == [places[1][0]]
    assert simulate(some, "b(x)", "p").diagnostics == ()


def test_rows_of_a_simulation_make_no_table_live() -> None:
    some = workspace("error(x) :- nova:servers(x).  warning(x) :- glance:images(x).")
    some.set_schema("nova", {"servers": ("id",)})
    found = simulate(some, "error(x)", "p", "nova:servers+(1)")
    assert found.texts == ("error(1)",)
    assert not found.completeness.complete
    assert [(table, state.state) for table, state in found.completeness.of] == [
        ("nova:servers", State.LOADING)
    ]
    some.load({"nova:servers": []})
    assert simulate(some, "error(x)", "p", "nova:servers+(1)").completeness.complete
    both = simulate(some, "error(x)", "p", watched=["warning"]).completeness
    assert (both.complete, [table for table, _ in both.of]) == (
        False, ["glance:images", "nova:servers"],
    )  # fmt: skip
    assert some.states.of(some.program, TableId("nova:servers")).state is State.LIVE


def test_it_is_no_more_complete_than_the_actions_that_it_tells_or_misses() -> None:
    some = workspace("execute[stop(x)] :- error(x), not nova:kept(x).  error(x) :- a(x).")
    some.insert("execute[start(x)] :- nova:idle(x), error(x).  execute[other(x)] :- b(x).", "p")
    found = simulate(some, "a(x)", "p", "a+(1)")
    assert found.actions == ((TableId("p:execute[stop]"), (1,)),)
    absent = ["nova:idle", "nova:kept"]
    lacking = [table for table, one in found.completeness.of if one.state is not State.LIVE]
    assert (found.completeness.complete, lacking) == (False, absent)
    assert simulate(some, "a(x)", "p", "b+(1)").completeness.complete
    assert simulate(some, "a(x)", "p").completeness.complete
    rule = "insert[execute[go(x)] :- b(x), glance:images(x)]"
    assert not simulate(some, "a(x)", "p", rule).completeness.complete
    some.load({name: [] for name in absent})
    assert simulate(some, "a(x)", "p", "a+(1)").completeness.complete


def test_rules_that_wait_make_it_incomplete() -> None:
    some = workspace()
    some.create_policy("later", "datasource")
    found = simulate(some, "error(x)", "p", "error+(x) :- later:things(id=x, other=2)")
    assert not found.completeness.complete
    assert len(found.completeness.waiting) == 1


# Nothing stays


SEQUENCES = [
    "a+(1) b+(2)",
    "error+(x) :- a(x), b(x)  a+(7)  b+(7)",
    "error-(x) :- a(x), not b(x)  new+(x, y) :- a(x), b(y)  new-(x, y) :- a(x), b(y)",
    'insert[error(x) :- a(x); "q"] delete[n(count(x)) :- a(x)] a+(1) c+(x, count(y)) :- d(x, y)',
    "nova:servers+(9) nova:images+(1, 2) a-(3)",
]


def world() -> Workspace:
    some = workspace(
        "error(x) :- a(x), not b(x). n(count(x)) :- a(x). a(3) a(4) b(4) a(x) :- nova:servers(x)."
    )
    some.create_policy("q")
    some.insert("m(x) :- p:n(x).  z(x) :- y(x, _), not y(_, x).", "q")
    some.load({"nova:servers": [(1,), (2,)]})
    return some


def unchanged(some: Workspace, act: Callable[[], object]) -> None:
    before, program = picture(some.engine), some.program
    states, faults = dict(some.states.known), dict(some.engine.faults)
    act()
    assert before ^ picture(some.engine) == set()
    assert some.program is program
    assert some.states.known == states
    assert some.engine.faults == faults


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_simulation_leaves_nothing_behind(sequence: str) -> None:
    some = world()
    unchanged(some, lambda: simulate(some, "error(x)", "p", sequence, trace=True))
    unchanged(some, lambda: simulate(some, "error(x)", "p", sequence, delta=True))
    assert told(some, "error(x)", "") == ("error(1)", "error(2)", "error(3)")


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize(
    "error", ["a+(1, 2)", "a+(x)", "x+(y) :- w(y)  w+(z) :- x(z)", "missing:b+(1)", "call(1)",
              "error+(y) :- not a(y)"]
)  # fmt: skip
def test_one_that_is_refused_in_the_middle_leaves_nothing_behind(sequence: str, error: str) -> None:
    some = world()

    def act(*, trace: bool) -> None:
        with pytest.raises(Refused):
            simulate(some, "error(x)", "p", f"{sequence} {error} a+(5)", trace=trace)

    unchanged(some, lambda: act(trace=True))
    unchanged(some, lambda: act(trace=False))


def test_one_that_is_closed_between_two_slices_leaves_nothing_behind() -> None:
    some = world()
    some.load({"nova:servers": [(n,) for n in range(5000)]})
    sequence = "w+(x) :- nova:servers(x), a(x)  w-(x) :- nova:servers(x), a(x)  e+(1)"
    question = Question("answer(x) :- nova:servers(x), a(x)", "p", sequence, trace=True, delta=True)
    slices = len(list(simulating(some, question)))
    assert slices > 5
    for stop in (1, slices // 2, slices - 1):

        def act(stop: int = stop) -> None:
            steps = simulating(some, question)
            for _ in range(stop):
                next(steps)
            with pytest.raises(Busy):
                some.insert("a(9)", "p")
            for ask in (Workspace.select, simulate, explain, why_not):
                with pytest.raises(Busy):
                    ask(some, "a(x)", "p")
            steps.close()

        unchanged(some, act)


def test_until_it_is_begun_a_simulation_holds_nothing_up() -> None:
    some = world()
    waiting = simulating(some, Question("error(x)", "p"))
    some.insert("a(9)", "p")
    with pytest.raises(StopIteration) as end:
        next(waiting)
    found = end.value.value
    assert isinstance(found, Simulation)
    assert "error(9)" in found.texts


# Bounds


def test_a_simulation_is_bounded_in_steps() -> None:
    with pytest.raises(TooMuch, match="3 steps; it may have 2"):
        told(workspace(), "a(x)", "a+(1) a+(2) a+(3)", bounds=Bounds(steps=2))


def test_a_simulation_is_bounded_in_rows_that_are_looked_at() -> None:
    some = workspace()
    some.update({P_A: {(n,): 1 for n in range(300)}})

    def act() -> None:
        with pytest.raises(TooMuch, match="more than 50000 rows"):
            told(some, "b(x, y)", "b+(x, y) :- a(x), a(y)", bounds=Bounds(touched=50_000))

    unchanged(some, act)


def test_a_simulation_is_bounded_in_what_it_tells() -> None:
    some = workspace("b(x) :- a(x).")
    few = Bounds(rows=10)
    sequence = " ".join(f"a+({n})" for n in range(6))
    with pytest.raises(TooMuch, match="12 rows are answered or change; 10 may"):
        told(some, "none(x)", sequence, bounds=few)
    with pytest.raises(TooMuch, match="a trace of more than 10 lines"):
        told(some, "none(x)", sequence, bounds=few, trace=True)
    assert told(some, "a(x)", "a+(1)", bounds=Bounds(rows=3)) == ("a(1)",)


def test_the_limits_of_the_engine_hold_too() -> None:
    some = Workspace(limits=Limits(made=10))
    some.create_policy("p")
    with pytest.raises(TooMuch, match="more than 10 rows"):
        told(some, "b(x)", "b+(x) :- a(x) " + " ".join(f"a+({n})" for n in range(20)))


# What is refused


@pytest.mark.parametrize(
    ("sequence", "where"),
    [
        ("a+(1", "sequence:1:5 syntax"),
        ("a+(1)\na+(1, 2)", "sequence:2:1 arity"),
        ("a+(1)\n  a+(x)", "sequence:2:6 fact-variable"),
        ("b+(x) :- not c(x)", "sequence:1:10 unbound-variable"),
        ("b+(x) :- a(x)\na+(x) :- b(x)", "sequence:1:1 cycle"),
        ("not a+(x) :- b(x)", "sequence:1:1 negated-head"),
        ("nowhere:a+(1)", "sequence:1:1 unknown-policy"),
        ('insert[a(1); "nowhere"]', "sequence:1:8 unknown-policy"),
        ("lt+(1, 2)", "sequence:1:1 builtin-head"),
        ("a(1)", "sequence:1:1 not-an-action"),
        ("execute[a+(1)]", "sequence:1:1 not-an-action"),
    ],
)
def test_what_is_refused_is_told_with_its_place(sequence: str, where: str) -> None:
    some = workspace("a(0)")
    found: list[str] = []
    unchanged(some, lambda: found.append(refusal(some, sequence)))
    assert found == [where]


def test_a_query_that_cannot_be_asked_is_refused() -> None:
    some = workspace()
    for delta in (True, False):
        with pytest.raises(Refused, match="query:1:"):
            told(some, "p(", "a+(1)", delta=delta)
    with pytest.raises(Refused, match="no policy `elsewhere`"):
        simulate(some, "a(x)", "elsewhere", "")


def test_an_unknown_policy_of_actions_is_refused() -> None:
    some = workspace()
    some.create_policy("actions", "action")
    with pytest.raises(Refused) as refused:
        told(some, "a(x)", "", action_policy="action")
    assert refused.value.faults[0].hint == "did you mean `actions`?"
