# SPDX-License-Identifier: Apache-2.0
"""Calls of actions in simulations: effects, results, conditions, something new."""

from typing import Any

import pytest

from transom.policy.datalog.engine.engine import finished
from transom.policy.datalog.faults import Refused
from transom.policy.datalog.simulation.simulate import (
    Bounds,
    Question,
    Simulation,
    simulate,
    simulating,
)
from transom.policy.datalog.workspace import Workspace

from support.datalog_picture import picture


def workspace(actions: str, state: str = "", kind: str = "action") -> Workspace:
    some = Workspace()
    some.create_policy("state")
    some.create_policy("actions", kind)
    some.insert(state, "state")
    some.insert(actions, "actions")
    return some


def simulated(some: Workspace, query: str, sequence: str, **how: Any) -> Simulation:
    before, program = picture(some.engine), some.program
    found = simulate(some, query, "state", sequence, "actions", **how)
    assert before ^ picture(some.engine) == set()
    assert some.program is program
    return found


def told(some: Workspace, query: str, sequence: str, **how: Any) -> str:
    return " ".join(simulated(some, query, sequence, **how).texts)


Q = 'p+(x) :- q(x)  action("q") '
BOTH = 'p+(x) :- q(x)  p-(x) :- r(x)  action("q") action("r")'


@pytest.mark.parametrize(
    ("actions", "state", "sequence", "after"),
    [
        (Q, "p(2)", "q(1)", "p(1) p(2)"),
        ('p-(x) :- q(x) action("q")', "", "q(1)", ""),
        ('action("act") p+(x) :- act(x) p-(y) :- act(x), r(x, y)', "p(2) r(1, 2)", "act(1)",
         "p(1)"),
        (BOTH, "", "q(1), r(1) :- true", "p(1)"),
        (BOTH, "p(1)", "q(1), r(1) :- true", "p(1)"),
        (BOTH, "", "q(1) r(1)", ""),
        (BOTH, "p(1)", "q(1) r(1)", ""),
        (BOTH, "p(1)", "r(1) q(1)", "p(1)"),
        (BOTH, "", "r(1) q(1)", "p(1)"),
        (BOTH, "", "r(1) p+(3) q(1) p+(4) p-(1)", "p(3) p(4)"),
    ],
)  # fmt: skip
def test_effects_are_applied_and_what_comes_wins_over_what_goes(
    actions: str, state: str, sequence: str, after: str
) -> None:
    assert told(workspace(actions, state), "p(x)", sequence) == after


def test_calls_of_one_step_meet_each_other() -> None:
    some = workspace('p+(x, z) :- q(x, y), r(y, z) action("q") action("r")', "p(1, 2)")
    assert told(some, "p(x, y)", "q(1, 2), r(2, 3) :- true") == "p(1, 2) p(1, 3)"
    assert told(some, "p(x, y)", "q(1, 2) r(2, 3)") == "p(1, 2)"


def test_one_action_in_a_step_is_enough_and_effects_may_stand_beside_it() -> None:
    some = workspace('p+(x) :- q(x), other(x)  action("q")')
    assert told(some, "p(x)", "other(1), q(1) :- true") == "p(1)"
    assert told(some, "p(x)", "q(1), p+(7) :- true") == "p(7)"


def test_the_difference_of_a_call_is_told() -> None:
    actions = 'action("act") p+(x) :- act(x) p-(y) :- act(x), r(x, y)'
    some = workspace(actions, "p(2) r(1, 2) p(3)")
    assert told(some, "p(x)", "act(1)", delta=True) == "p+(1) p-(2)"


def test_effects_reach_other_policies_and_sources() -> None:
    some = workspace(
        'nova:servers-(x) :- stop(x), nova:servers(x)  log:stopped+(x) :- stop(x)  action("stop")',
        "error(x) :- nova:servers(x), not log:stopped(x).",
    )
    some.create_policy("log")
    some.load({"nova:servers": [("a",), ("b",)]})
    found = simulated(some, "error(x)", 'stop("a")')
    assert found.texts == ('error("b")',)
    assert found.net == {
        "nova:servers": {("a",): -1},
        "log:stopped": {("a",): 1},
        "state:error": {("a",): -1},
    }


def test_only_effects_of_the_action_policy_count() -> None:
    some = workspace('log:x+(1) :- q(y)  action("q")')
    some.create_policy("log")
    some.create_policy("more", "action")
    some.insert("log:x+(2) :- ready(z). ready(1) action('q')", "more")
    assert told(some, "log:x(x)", "q(1)") == "log:x(1)"


# What rules of actions see


def test_names_without_a_policy_are_of_both_policies() -> None:
    some = workspace(
        'p+(x, y) :- q(x), r(x, y)  action("q")  r(1, "own")  r(x, "rule") :- base(x)',
        'r(1, "state")  base(1)',
    )
    assert told(some, "p(x, y)", "q(1)") == 'p(1, "own") p(1, "rule") p(1, "state")'


def test_the_action_policy_may_be_named_and_actions_may_be_said_by_the_state() -> None:
    some = workspace("p+(x) :- actions:q(x), lt(x, 5), not builtin:gteq(x, 9)", 'action("q")')
    assert told(some, "p(x)", "actions:q(1)") == "p(1)"


def test_facts_and_rules_of_the_state_named_like_an_action_count_as_calls() -> None:
    some = workspace(Q, "q(7)  q(x) :- base(x)  base(8)")
    assert told(some, "p(x)", "q(1)") == "p(1) p(7) p(8)"


def test_facts_with_a_sign_are_effects_of_every_call() -> None:
    assert told(workspace(Q + "p+(5)"), "p(x)", "q(1)") == "p(1) p(5)"


def test_a_call_sees_what_steps_before_it_changed() -> None:
    some = workspace('p+(y) :- q(x), r(x, y)  action("q")')
    assert told(some, "p(x)", "q(1) r+(1, 2) q(1) r-(1, 2) r+(1, 3)  q(1)") == "p(2) p(3)"
    assert told(some, "p(x)", "actions:r+(1, 9) q(1)") == "p(9)"
    assert told(some, "p(x)", "r+(1, 3) q(1) actions:r+(1, 9) p-(3) q(1)") == "p(3) p(9)"


def test_rules_of_actions_may_change_on_the_way() -> None:
    some = workspace(Q + "result(x) :- q(x).")
    sequence = 'q(1) insert[p+(y) :- q(x), plus(x, 10, y); "actions"] q(2) '
    assert told(some, "p(x)", sequence) == "p(1) p(12) p(2)"
    assert told(some, "p(x)", sequence + 'delete[p+(x) :- q(x); "actions"] q(3)') == (
        "p(1) p(12) p(13) p(2)"
    )
    assert told(some, "p(x)", 'insert[action("new"); "actions"] new(1), q(4) :- true') == "p(4)"


def test_a_policy_may_be_its_own_action_policy() -> None:
    some = Workspace()
    some.create_policy("state", "action")
    some.insert("p+(x) :- q(x), r(x)  action('q')  r(1) r(2)  p(x) :- s(x)  s(5)", "state")
    found = simulate(some, "p(x)", "state", "q(1) r-(2) q(2) r+(3) q(3)", "state")
    assert found.texts == ("p(1)", "p(3)", "p(5)")


def test_a_policy_of_rules_may_serve_as_one_of_actions() -> None:
    some = workspace("p(x) :- q(x).  p(9). action('q')", kind="nonrecursive")
    assert told(some, "p(x)", "q(1)") == ""


def test_named_columns_of_the_action_policy_are_understood() -> None:
    some = workspace("")
    some.set_schema("actions", {"q": ("id", "size"), "p+": ("x",), "action": ("name",)})
    some.insert('p+(s) :- q(size=s)  action("q")', "actions")
    assert told(some, "p(x)", "q(1, 2) q(size=4, id=3)") == "p(2) p(4)"


def test_actions_that_would_run_and_rules_that_execute_are_told_apart() -> None:
    some = workspace(Q + "execute[mail(x)] :- q(x).", "execute[stop(x)] :- p(x).")
    found = simulated(some, "p(x)", "q(1)")
    assert found.actions == (("state:execute[stop]", (1,)),)


# Results and conditions


def test_what_a_call_gives_is_there_for_the_next() -> None:
    some = workspace(
        "p+(id, val) :- create(val)  p+(id, val) :- update(id, val)"
        "p-(id, val) :- update(id, newval), p(id, val)  action('create') action('update')"
        "result(x) :- create(val), p+(x, val)",
        "hasval(val) :- p(x, val)",
    )
    assert told(some, "hasval(x)", "create(0)  update(x, 1) :- result(x)") == "hasval(1)"
    found = told(some, "p(x, y)", "create(0) create(5) update(x, 1) :- result(x) p+(7, 7)")
    assert found == 'p("new-id-1", 0) p("new-id-2", 1) p(7, 7)'


def test_a_condition_is_asked_of_the_state() -> None:
    some = workspace('p+(x, y) :- q(x, y)  action("q")', "r(1)")
    assert told(some, "p(x, y)", "q(x, 0) :- r(x)") == "p(1, 0)"
    assert told(some, "p(x, y)", "q(x, 0) :- r(x), not r(x)") == ""
    assert told(some, "p(x, y)", "r+(3) r-(1) q(x, y) :- r(x), plus(x, 1, y)") == "p(3, 4)"


def test_a_condition_that_is_not_met_skips_the_step_and_keeps_the_result() -> None:
    some = workspace(Q + "result(x) :- q(x)")
    found = simulated(some, "p(x)", "q(1)  q(2) :- missing(x)  q(y) :- result(x), plus(x, 9, y)")
    assert found.texts == ("p(1)", "p(10)")
    (note,) = found.notes
    assert "nothing meets the condition" in note.message
    assert str(note.span) == "sequence:1:7"


def test_of_several_bindings_the_least_is_called_and_that_is_noted() -> None:
    some = workspace(Q, "r(3) r(1) r(2)")
    found = simulated(some, "p(x)", "q(x) :- r(x)")
    assert found.texts == ("p(1)",)
    assert found.notes[0].message.startswith("3 bindings meet the condition")


def test_what_has_a_variable_without_a_value_is_not_called() -> None:
    some = workspace(Q, "r(3)")
    found = simulated(some, "p(x)", "q(x), q(y) :- r(x)")
    assert found.texts == ("p(3)",)
    assert "a variable without a value" in found.notes[0].message
    assert simulated(some, "p(x)", "q(y) :- r(x)").texts == ()


# Something new


def test_one_name_stands_for_one_new_value_in_all_rules_of_a_call() -> None:
    some = workspace(
        "p+(id, val) :- create(val)  owner+(id, who) :- create(val), user(who)action('create')",
        "user('ann') user('bob')",
    )
    query = "answer(x, y, z) :- p(x, y), owner(x, z)"
    assert told(some, query, "create(4), create(5) :- true") == (
        'answer("new-id-1", 4, "ann") answer("new-id-1", 4, "bob") '
        'answer("new-id-2", 5, "ann") answer("new-id-2", 5, "bob")'
    )


def test_every_call_makes_something_else_and_names_differ() -> None:
    some = workspace("p+(a, b) :- create(_)  action('create')")
    assert told(some, "p(x, y)", "create(0) create(0)") == (
        'p("new-a-1", "new-b-1") p("new-a-2", "new-b-2")'
    )


def test_effects_of_effects_meet_what_is_new() -> None:
    some = workspace(
        "p+(id) :- create(_)  q+(id, x) :- p+(x)  r+(x, y) :- q+(x, y)  action('create')"
        "s+(id, 1) :- ready(_)  ready(0)"
    )
    assert told(some, "r(x, y)", "create(0)") == 'r("new-id-2", "new-id-1")'
    assert told(some, "s(x, y)", "create(0)") == 's("new-id-2", 1)'


def test_a_rule_for_something_new_may_go_on_the_way() -> None:
    some = workspace("p+(id) :- create(_)  action('create')")
    sequence = 'create(0) delete[p+(id) :- create(_); "actions"] create(0)'
    assert told(some, "p(x)", sequence) == 'p("new-id-1")'
    sequence = 'create(0) insert[r(x) :- q(x); "actions"] create(0)'
    assert told(some, "p(x)", sequence) == 'p("new-id-1") p("new-id-2")'


def test_rules_that_cannot_be_used_are_noted_and_the_others_are_used() -> None:
    some = workspace(Q + "p+(x) :- q(y), not r(x)  n+(id, count(x)) :- q(x).")
    found = simulated(some, "p(x)", "q(1)")
    assert found.texts == ("p(1)",)
    assert sorted(note.message.partition(":")[2] for note in found.notes) == [
        " `not` needs `x`, which no positive literal binds",
        " an aggregate beside something new",
    ]


def test_rules_that_wait_have_no_effects() -> None:
    some = workspace(Q)
    some.create_policy("later", "datasource")
    some.insert("p+(x) :- q(x), later:things(id=x, of=y).", "actions")
    assert told(some, "p(x)", "q(1)") == "p(1)"


# What is refused


@pytest.mark.parametrize(
    ("sequence", "code", "place"),
    [
        ("other(1)", "not-an-action", "1:1"),
        ("p+(2) other(1) :- true", "not-an-action", "1:7"),
        ("not q(1) :- true", "not-an-action", "1:1"),
        ("execute[q(1)] :- true", "not-an-action", "1:1"),
        ("q(x)", "fact-variable", "1:3"),
        ("q(1, 2)", "arity", "1:1"),
        ("q(1) q(x) :- r(x, 1), lt(x)", "builtin-arguments", "1:23"),
        ("q(x) :- not r(x)", "unbound-variable", "1:9"),
        ("nova:q(1)", "not-an-action", "1:1"),
        ("q(1)\np+(2, 3)", "arity", "2:1"),
        ("p+(2, 3)\nq(1)", "arity", "2:1"),
    ],
)
def test_a_call_that_cannot_be_is_refused_with_its_place(
    sequence: str, code: str, place: str
) -> None:
    some = workspace(Q, "s(1)")
    before, program = picture(some.engine), some.program
    with pytest.raises(Refused) as refused:
        simulate(some, "p(x)", "state", f"s-(1) {sequence}", "actions")
    assert before ^ picture(some.engine) == set()
    assert some.program is program
    fault = refused.value.faults[0]
    assert "simulated" not in fault.message
    line, column = fault.span.source.line_column(fault.span.start)
    assert (fault.code, f"{line}:{column - 6 * (line == 1)}") == (code, place)


def test_tables_of_one_name_that_differ_in_columns_are_refused() -> None:
    some = workspace('p+(x) :- q(x), r(x, _)  action("q")  r(1, 2)', "r(1)")
    with pytest.raises(Refused) as refused:
        simulate(some, "p(x)", "state", "p+(1)\nq(1)", "actions")
    assert {str(fault.span) for fault in refused.value.faults} == {"sequence:2:1"}
    assert "actions:r has 2 columns" in refused.value.faults[0].message


def test_effects_that_do_not_fit_their_table_are_refused_at_the_call() -> None:
    some = workspace('p+(x, x) :- q(x)  action("q")', "p(1)")
    with pytest.raises(Refused, match="sequence:2:1: state:p has 1 column"):
        simulate(some, "p(x)", "state", "p+(2)\nq(1)", "actions")


def test_a_call_without_a_policy_of_actions_is_refused() -> None:
    with pytest.raises(Refused, match="no policy of actions is given"):
        simulate(workspace(Q), "p(x)", "state", "q(1)")


def test_a_policy_that_has_the_name_of_the_trials_own_is_left_alone() -> None:
    some = workspace(Q)
    some.create_policy("actions.simulated")
    some.insert("p(1)", "actions.simulated")
    assert told(some, "p(x)", "q(2)") == "p(2)"


def test_calls_go_in_slices_and_may_be_closed() -> None:
    some = workspace("p+(x) :- q(y), big(x)  action('q')")
    some.load({"state:big": [(n,) for n in range(9000)]})
    question = Question("p(x)", "state", "q(x) :- big(x), big(y), lt(y, 1), lt(x, 1)", "actions")
    slices = len(list(simulating(some, question)))
    assert slices > 3
    before, program = picture(some.engine), some.program
    for stop in range(1, slices):
        steps = simulating(some, question)
        for _ in range(stop):
            next(steps)
        steps.close()
        assert some.program is program
    assert before ^ picture(some.engine) == set()
    assert len(finished(simulating(some, question, Bounds())).texts) == 9000
