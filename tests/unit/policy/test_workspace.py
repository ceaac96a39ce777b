# SPDX-License-Identifier: Apache-2.0
"""The door: what is put in follows, what is asked is answered, what is refused leaves nothing."""

import pytest

from transom.policy.datalog.engine.engine import Busy, Limits, TooMuch
from transom.policy.datalog.faults import Refused
from transom.policy.datalog.language.syntax import Mode
from transom.policy.datalog.questions import QUERY
from transom.policy.datalog.rules.changes import PolicyIn, RuleIn, RuleOut
from transom.policy.datalog.states import State
from transom.policy.datalog.values import BadValue, real
from transom.policy.datalog.workspace import Workspace

from support.policy_program import rules

Q1 = "error(vm) :- nova:servers(vm, t), neutron:ports(p, vm, n), not allowed(t, n)"


@pytest.fixture
def work() -> Workspace:
    work = Workspace()
    work.create_policy("a")
    work.create_policy("b")
    return work


def seen(work: Workspace) -> object:
    return (
        work.program,
        {table: set(work.rows(table)) for table in work.engine.state.tables},
        dict(work.engine.rules),
        dict(work.states.known),
    )


def codes(work: Workspace, query: str, policy: str = "a") -> list[str]:
    with pytest.raises(Refused) as refused:
        work.select(query, policy)
    return [fault.code for fault in refused.value.faults]


# Rules and facts


def test_what_follows_from_rules_and_facts_is_answered(work: Workspace) -> None:
    outcome = work.insert("p(x, y) :- q(x), r(y)  q(1) q(2) r(1)", "a")
    assert outcome.net["a:p"] == {(1, 1): 1, (2, 1): 1}
    assert work.select("p(x, y)", "a").texts() == ["p(1, 1)", "p(2, 1)"]
    assert work.delete("q(1)", "a").net == {"a:q": {(1,): -1}, "a:p": {(1, 1): -1}}
    assert work.delete("p(x, y) :- q(x), r(y)", "a").net == {"a:p": {(2, 1): -1}}


def test_a_rule_of_another_policy_reads_this_one(work: Workspace) -> None:
    work.insert("p(x) :- b:q(x), not r(x)  r(2)", "a")
    work.insert("q(1) q(2)", "b")
    assert work.select("p(x)", "a").texts() == ["p(1)"]
    assert work.select("a:p(x)", "b").texts() == ["a:p(1)"]


def test_what_is_there_or_not_there_is_no_change(work: Workspace) -> None:
    work.insert("p(x) :- q(x)  q(1)", "a")
    again = work.insert("p(x) :- q(x)  q(1)", "a")
    assert (again.net, len(again.notes)) == ({}, 2)
    gone = work.delete("r(1)  r(x) :- q(x)", "a")
    assert (gone.net, len(gone.notes)) == ({}, 2)
    assert work.insert("", "a").net == {}


@pytest.mark.parametrize(
    "text", ["p(x) :- q(y)  s(1)", "q(1, 2)  s(1)", "s(1) p(x) :- ", "s(1) insert[p(x) :- q(x)]"]
)
def test_a_text_that_is_refused_leaves_nothing(work: Workspace, text: str) -> None:
    work.insert("p(x) :- q(x)  q(1)", "a")
    before = seen(work)
    with pytest.raises(Refused):
        work.insert(text, "a")
    assert seen(work) == before


def test_a_table_without_rows_can_be_declared(work: Workspace) -> None:
    work.insert("exempt(id) :- false  p(x) :- q(x), not exempt(x)  q(1) q(2)", "a")
    assert work.select("p(x)", "a").texts() == ["p(1)", "p(2)"]
    assert work.select("exempt(x)", "a").complete
    assert "exempt(id) :- false" in work.content("a")
    with pytest.raises(Refused, match="has 1 column"):
        work.insert("exempt(1, 2)", "a")
    work.insert("exempt(1)", "a")
    assert work.select("p(x)", "a").texts() == ["p(2)"]
    with pytest.raises(Refused, match="no positive literal binds"):
        work.insert("other(x) :- not false", "a")
    with pytest.raises(Refused, match="one head"):
        work.insert("other(x), more(x) :- false", "a")


def test_no_table_of_a_source_is_called_as_the_engines_own(work: Workspace) -> None:
    for name in ("nova:t#2:1", "#query:t", "nova:", ":t", "nova"):
        with pytest.raises(Refused, match="is no table"):
            work.load({name: [[1]]})
    with pytest.raises(Refused, match="no name of a table"):
        work.set_schema("nova", {"t#2:1": ["x"], "": ["y"]})


def test_an_event_is_no_rule(work: Workspace) -> None:
    with pytest.raises(Refused) as refused:
        work.insert("insert[p(x) :- q(x)]", "a", "file.rules")
    (fault,) = refused.value.faults
    assert (fault.code, fault.span.source.name) == ("event", "file.rules")


def test_what_the_engine_refuses_leaves_nothing() -> None:
    work = Workspace(limits=Limits(made=3))
    work.create_policy("a")
    work.insert("q(1) q(2)", "a")
    before = seen(work)
    with pytest.raises(TooMuch):
        work.insert("p(x, y) :- q(x), q(y)", "a")
    assert seen(work) == before


def test_many_changes_are_one_transaction(work: Workspace) -> None:
    changes = [PolicyIn("c"), *(RuleIn("c", rule) for rule in rules("p(x) :- q(x)  q(1)"))]
    assert work.change(changes).net == {"c:q": {(1,): 1}, "c:p": {(1,): 1}}
    before = seen(work)
    steps = work.changing([RuleIn("c", rule) for rule in rules("p(x) :- r(x)  r(2)")])
    steps.close()
    assert seen(work) == before


def test_columns_of_a_table_may_change_with_its_rows_in_one_transaction(work: Workspace) -> None:
    narrow = rules("p(x) :- q(x), r(x)  " + " ".join(f"q({n})" for n in range(100)))
    wide = rules("p(x) :- q(y, x), r(x)  " + " ".join(f"q(0, {n})" for n in range(100)))
    work.insert("r(1) r(2)", "a")
    work.change([RuleIn("a", rule) for rule in narrow])
    for old, new in ((narrow, wide), (wide, narrow)):
        swap = [RuleOut("a", rule) for rule in old] + [RuleIn("a", rule) for rule in new]
        net = work.change(swap).net
        assert set(net) == {"a:q"}
        assert work.select("p(x)", "a").texts() == ["p(1)", "p(2)"]
        assert work.delete("r(2)", "a").net["a:p"] == {(2,): -1}
        work.insert("r(2)", "a")


def test_columns_that_were_to_change_and_did_not_are_as_they_were() -> None:
    work = Workspace(limits=Limits(made=50))
    work.create_policy("a")
    wide, narrow = rules("p(x) :- q(y, x), r(x)  q(0, 1) q(0, 2)"), rules("q(1) q(2)")
    work.insert("r(1) r(2)", "a")
    work.change([RuleIn("a", rule) for rule in wide])
    work.delete("r(1)", "a")
    before = seen(work)
    many = rules("all(x, y) :- n(x), n(y)  " + " ".join(f"n({n})" for n in range(10)))
    with pytest.raises(TooMuch):
        work.change([RuleOut("a", rule) for rule in wide]
                    + [RuleIn("a", rule) for rule in (*narrow, *many)])  # fmt: skip
    assert seen(work) == before
    assert work.insert("r(1)", "a").net["a:p"] == {(1,): 1}


def test_a_policy_goes_with_what_followed_from_it(work: Workspace) -> None:
    work.insert("p(x) :- b:q(x)", "a")
    work.insert("q(1)", "b")
    with pytest.raises(Refused):
        work.delete_policy("b", dangling=False)
    assert work.delete_policy("b").net == {"b:q": {(1,): -1}, "a:p": {(1,): -1}}


def test_content_reads_back_as_the_same_policy(work: Workspace) -> None:
    text = (
        'p(x) :- q(x), not b:r(x, _)\nexecute[nova:pause(x)] :- p(x)\nq(1)\nq("a")\nexecute[go]\n'
    )
    work.insert(text, "a")
    work.insert("other(1)  other(x) :- more(x)", "b")
    content = work.content("a")
    assert content == (
        'q(1)\nq("a")\nexecute[go]\np(x) :- q(x), not b:r(x, _)\nexecute[nova:pause(x)] :- p(x)\n'
    )
    again = Workspace()
    again.create_policy("a")
    again.insert(content, "a")
    assert again.content("a") == content


def test_the_tables_of_a_policy_are_those_that_anything_names(work: Workspace) -> None:
    work.insert("p(x) :- q(x), b:r(x), lt(x, 1), now(x)  execute[nova:go(x)] :- p(x)  f(1)", "a")
    work.set_schema("nova", {"servers": ["id"]})
    work.load({"nova:ports": [(1,)]})
    assert work.tables("a") == {"a:p", "a:q", "a:f", "a:execute[nova:go]"}
    assert work.tables("nova") == {"nova:servers", "nova:ports"}
    assert "time:now" in work.tables("time")


# Rows


def test_loaded_rows_take_the_place_of_those_before(work: Workspace) -> None:
    work.insert(Q1 + '  allowed("t", "n")', "a")
    work.load({"nova:servers": [("v", "t"), ("w", "u")], "neutron:ports": [("p", "w", "n")]})
    assert work.select("error(x)", "a").texts() == ['error("w")']
    net = work.load({"nova:servers": [("w", "t"), ("v", "t")]}).net
    assert net == {
        "nova:servers": {("w", "t"): 1, ("w", "u"): -1},
        "a:error": {("w",): -1},
    }
    assert set(work.rows("nova:servers")) == {("v", "t"), ("w", "t")}


def test_rows_loaded_into_a_policys_own_table_are_its_facts(work: Workspace) -> None:
    work.insert("p(1) p(2)", "a")
    work.load({"a:p": [(2,), (3,)]})
    assert work.content("a") == "p(2)\np(3)\n"
    work.update({"a:p": {(2,): -1, (4,): 1}})
    assert work.select("p(x)", "a").texts() == ["p(3)", "p(4)"]


def test_rows_of_a_table_that_rules_make_too_stay_their_own(work: Workspace) -> None:
    work.create_policy("nova", "datasource")
    work.insert("servers(x) :- a:q(x)", "nova")
    work.insert("q(1)", "a")
    work.load({"nova:servers": [(1,), (2,)]})
    work.delete("q(1)", "a")
    assert set(work.rows("nova:servers")) == {(1,), (2,)}


def test_updates_are_differences(work: Workspace) -> None:
    work.insert("p(x) :- nova:servers(x, 1)", "a")
    assert work.update({"nova:servers": {("v", 1): 1, ("w", 2): 1}}).net["a:p"] == {("v",): 1}
    assert work.update({"nova:servers": {("v", 1): -1, ("z", 1): -1}}).net == {
        "nova:servers": {("v", 1): -1},
        "a:p": {("v",): -1},
    }


def test_a_difference_makes_no_table_live_that_is_loading(work: Workspace) -> None:
    work.set_schema("nova", {"servers": ["id"], "kept": ["id"]})
    work.insert("bad(x) :- nova:servers(x), not nova:kept(x)", "a")
    work.load({"nova:servers": [("v",)]})
    kept = "nova:kept"
    for delta in ({("w",): -1}, {("x",): 1}, {("x",): -1}):
        work.update({kept: delta})
        assert not work.select("bad(x)", "a").complete
    work.load({kept: [("v",)]})
    answer = work.select("bad(x)", "a")
    assert (answer.rows, answer.complete) == ((), True)


def test_rows_that_do_not_fit_are_refused_and_nothing_is_taken(work: Workspace) -> None:
    work.load({"nova:servers": [("v", 1)]})
    before = seen(work)
    with pytest.raises(Refused):
        work.update({"nova:servers": {("v", 1): -1, ("w",): 1}})
    with pytest.raises(Refused):
        work.load({"nova:servers": [("w",)], "nova:others": [(1,)]})
    with pytest.raises(BadValue):
        work.load({"nova:servers": [([], 1)]})
    for name in ("servers", ":servers", "nova:"):
        with pytest.raises(Refused):
            work.load({name: [(1,)]})
    assert seen(work) == before


def test_facts_of_a_source_are_rows(work: Workspace) -> None:
    work.create_policy("nova", "datasource")
    work.insert("servers(1) servers(2)", "nova")
    assert set(work.rows("nova:servers")) == {(1,), (2,)}
    assert work.select("nova:servers(x)", "a").complete
    work.delete("servers(1)", "nova")
    assert set(work.rows("nova:servers")) == {(2,)}


def test_a_schema_that_came_later_makes_waiting_rules_hold(work: Workspace) -> None:
    work.create_policy("nova", "datasource")
    waits = work.insert('bad(x) :- nova:servers(id=x, status="ERROR")', "a")
    assert [note.code for note in waits.notes] == ["waits-for-schema"]
    work.set_schema("nova", {"servers": ["id", "status"]}, complete=True)
    work.load({"nova:servers": [("v", "ERROR"), ("w", "ACTIVE")]})
    assert work.select("bad(x)", "a").texts() == ['bad("v")']


def test_rows_of_columns_that_changed_are_dropped_and_their_table_loads(work: Workspace) -> None:
    work.set_schema("nova", {"servers": ["id", "status"]})
    work.insert('bad(x) :- nova:servers(id=x, status="ERROR")', "a")
    work.load({"nova:servers": [("v", "ERROR")]})
    net = work.set_schema("nova", {"servers": ["status", "id"]}).net
    assert net == {"nova:servers": {("v", "ERROR"): -1}, "a:bad": {("v",): -1}}
    answer = work.select("bad(x)", "a")
    assert [state.state for _, state in answer.completeness.of] == [State.LOADING]
    work.load({"nova:servers": [("ERROR", "w")]})
    assert work.select("bad(x)", "a").texts() == ['bad("w")']


def test_a_source_that_becomes_a_policy_leaves_its_rows(work: Workspace) -> None:
    work.load({"c:p": [(1,)]})
    steps = [PolicyIn("c"), *(RuleIn("c", rule) for rule in rules("p(1) p(2)"))]
    assert work.change(steps).net == {"c:p": {(2,): 1}}
    assert set(work.rows("c:p")) == {(1,), (2,)}


def test_time_is_a_row_of_four_tables_that_change_as_it_goes(work: Workspace) -> None:
    work.insert("today(d) :- time:day(d)  is(t) :- now(t)", "a")
    work.tick("2026-02-03 04:05:06")
    assert work.select("today(d)", "a").texts() == ['today("2026-02-03 00:00:00")']
    assert [next(iter(work.rows(f"time:{name}")))[0] for name in ("minute", "hour")] == [
        "2026-02-03 04:05:00",
        "2026-02-03 04:00:00",
    ]
    assert set(work.tick("2026-02-03 04:05:07").net) == {"time:now", "a:is"}
    for wrong in ("2026-02-03", "2026-02-03T04:05:06", "2026-13-01 00:00:00", ""):
        with pytest.raises(Refused):
            work.tick(wrong)


# Questions


def test_an_atom_asks_for_rows_like_it(work: Workspace) -> None:
    work.insert('p(1, 1) p(1, 2) p(2, 2) p("1", 2)  none', "a")
    asked = {
        "p(x, y)": ['p("1", 2)', "p(1, 1)", "p(1, 2)", "p(2, 2)"],
        "p(1, y)": ["p(1, 1)", "p(1, 2)"],
        "p(x, x)": ["p(1, 1)", "p(2, 2)"],
        "p(_, _)": ['p("1", 2)', "p(1, 1)", "p(1, 2)", "p(2, 2)"],
        "p(1.0, y)": [],
        "p(2)": ["p(2, 2)"],
        "p(3)": [],
        "none": ["none"],
        "unheard(x)": [],
    }
    assert {query: work.select(query, "a").texts() for query in asked} == asked
    assert codes(work, "p(1, 2, 3)") == ["arity"]


def test_an_atom_may_name_columns(work: Workspace) -> None:
    work.set_schema("nova", {"servers": ["id", "status"]})
    work.load({"nova:servers": [("v", "ERROR"), ("w", "OK")]})
    answer = work.select('nova:servers(status="OK")', "a")
    assert answer.texts() == ['nova:servers("w", "OK")']
    assert codes(work, "nova:servers(state=1)") == ["unknown-column"]


def test_an_action_can_be_asked_for(work: Workspace) -> None:
    work.insert("execute[nova:pause(x)] :- q(x)  q(1)", "a")
    assert work.select("execute[nova:pause(x)]", "a").texts() == ["execute[nova:pause(1)]"]


def test_a_rule_asks_for_its_head(work: Workspace) -> None:
    work.insert("q(1) q(2) q(3) r(2)", "a")
    before = seen(work)
    assert work.select("ask(x, 0) :- q(x), not r(x)", "a").texts() == ["ask(1, 0)", "ask(3, 0)"]
    assert work.select("many(count(x)) :- q(x)", "a").texts() == ["many(3)"]
    assert seen(work) == before
    assert codes(work, "ask(x) :- q(y)") == ["unbound-variable"]


def test_a_builtin_can_be_asked(work: Workspace) -> None:
    assert work.select("plus(1, 2, x)", "a").texts() == ["plus(1, 2, 3)"]
    assert work.select("lt(2, 1)", "a").texts() == []
    assert work.select("true", "a").texts() == ["true"]
    assert codes(work, "plus(1, 2, z=x)") == ["builtin-arguments"]


def test_what_cannot_be_asked_is_refused(work: Workspace) -> None:
    assert codes(work, "not p(x)") == ["query"]
    assert codes(work, "insert[p(x)]") == ["query"]
    with pytest.raises(Refused) as refused:
        work.select("p(x)", "aa")
    assert refused.value.faults[0].hint == "did you mean `a`?"


def test_an_answer_says_of_what_and_whether_it_is_complete(work: Workspace) -> None:
    work.insert("p(x) :- nova:servers(x), q(x)", "a")
    assert not work.select("p(x)", "a").complete
    work.load({"nova:servers": []})
    assert work.select("p(x)", "a").complete
    work.set_state("nova:servers", State.STALE, "noon")
    for query in ("p(x)", "ask(x) :- p(x)"):
        answer = work.select(query, "a")
        assert not answer.complete
        of = [(table, state.state, state.since) for table, state in answer.completeness.of]
        assert of == [("a:q", "live", ""), ("nova:servers", "stale", "noon")]


def test_an_answer_says_what_builtins_could_not_answer(work: Workspace) -> None:
    work.insert("p(y) :- q(x), div(1, x, y)  q(0) q(1)  r(x) :- s(x), div(1, 0, x)", "a")
    (found,) = work.select("p(x)", "a").diagnostics
    assert (found.rule, found.place) == ("a: p(y) :- q(x), div(1, x, y)", 1)
    assert found.seen.examples[0][0] == (1, 0)
    (asked,) = work.select("ask(y) :- q(x), div(2, x, y)", "a").diagnostics
    assert (asked.rule, asked.place, asked.seen.count) == (QUERY, 1, 1)
    assert work.select("q(x)", "a").diagnostics == ()


def test_the_mode_is_that_of_all_texts() -> None:
    work = Workspace(Mode.STRICT)
    work.create_policy("a")
    work.insert(r'p("a\nb")', "a")
    assert set(work.rows("a:p")) == {("a\nb",)}
    assert work.content("a") == 'p("a\\nb")\n'
    with pytest.raises(Refused):
        work.insert("q(x) :- r(x, None)", "a")


def test_constants_keep_their_types(work: Workspace) -> None:
    work.insert("p(1) p(1.0) p(true)", "a")
    assert (real(1.0),) in work.rows("a:p")
    assert len(work.rows("a:p")) == 3


# Trials


def test_a_trial_leaves_nothing(work: Workspace) -> None:
    work.insert("p(x) :- q(x)  q(1)", "a")
    before = seen(work)
    with work.trial():
        work.insert("p(x) :- r(x)  r(2)", "a")
        work.create_policy("c")
        work.load({"nova:servers": [(1,)]})
        assert work.select("p(x)", "a").texts() == ["p(1)", "p(2)"]
        with pytest.raises(Busy), work.trial():
            pass
    assert seen(work) == before
    with pytest.raises(KeyError), work.trial():
        work.delete("q(1)", "a")
        raise KeyError
    assert seen(work) == before
