# SPDX-License-Identifier: Apache-2.0
"""Changes of a program: what comes of them, what is refused, and that the end is what counts."""

import time

import pytest

from transom.policy.datalog.core import TableId
from transom.policy.datalog.faults import Severity
from transom.policy.datalog.rules.changes import PolicyIn, PolicyOut, RowsIn, SchemaIn, changed
from transom.policy.datalog.rules.program import Kind, Program, Schema

from support.policy_program import changes, codes, program, refused, taken

BASE = program(PolicyIn("a"), PolicyIn("b"), PolicyIn("nova", "datasource"))
SERVERS = SchemaIn("nova", Schema({"servers": ("id", "name")}))
WAITING = "p(x) :- nova:servers(id=x)"
Q = TableId("a:q")
INPUT = TableId("nova:servers")


def notes(before: Program, *steps: object) -> list[str]:
    return [note.code for note in taken(before, *steps).notes]  # type: ignore[arg-type]


def state(of: Program) -> list[object]:
    return [getattr(of, name) for name in Program.__slots__]


# Policies


def test_kinds_are_those() -> None:
    steps = [PolicyIn(f"p{number}", kind) for number, kind in enumerate(Kind)]
    assert list(program(*steps).policies.values()) == list(Kind)


@pytest.mark.parametrize(("kind", "said"), [("z3", "not offered"), ("delta", "never"), ("x", "x")])
def test_other_kinds_are_refused_with_the_reason(kind: str, said: str) -> None:
    (fault,) = refused(Program(), PolicyIn("a", kind))
    assert fault.code == "policy-kind"
    assert said in fault.message
    assert "nonrecursive" in fault.hint


def test_a_policy_is_there_once_and_under_a_name_that_can_be_written() -> None:
    assert codes(BASE, PolicyIn("a")) == ["policy-there"]
    assert codes(BASE, PolicyIn("a-b"), PolicyIn("time")) == ["policy-name", "policy-name"]


def test_what_is_of_no_policy_is_refused_with_the_policy_that_was_meant() -> None:
    before = program(PolicyIn("compute"))
    steps = (("computr", "p(1)"), ("computr", "-p(1)"), PolicyOut("computr"),
             SchemaIn("computr", Schema({})))  # fmt: skip
    found = refused(before, *steps)
    assert [fault.code for fault in found] == ["unknown-policy"] * 4
    assert {fault.hint for fault in found} == {"did you mean `compute`?"}


def test_a_policy_goes_with_its_rules_facts_and_schema() -> None:
    before = program(
        PolicyIn("c"), ("c", "p(x) :- q(x)  q(1)"), SchemaIn("c", Schema({"r": ("x",)}))
    )
    found = taken(before, PolicyOut("c"))
    assert found.removed == ("c: p(x) :- q(x)",)
    assert found.rows == {"c:q": {(1,): -1}}
    assert state(found.program) == state(Program())


def test_rules_of_others_may_hang_on_what_goes_unless_it_is_asked_for() -> None:
    before = program(PolicyIn("a"), PolicyIn("b"), ("a", "p(x) :- b:q(x), r(x)"), ("b", "q(1)"))
    assert taken(before, PolicyOut("b")).removed == ()
    (fault,) = refused(before, PolicyOut("b", dangling=False))
    assert (fault.code, fault.span.text) == ("dangling-reference", "b:q(x)")
    assert taken(before, ("a", "-p(x) :- b:q(x), r(x)"), PolicyOut("b", dangling=False))
    assert taken(before, PolicyOut("b", dangling=False), PolicyIn("b"))
    assert taken(before, PolicyOut("a", dangling=False))


def test_what_was_put_into_a_policy_goes_with_it_in_the_same_change() -> None:
    found = taken(BASE, ("a", "p(x) :- q(x)  q(1)"), ("b", "r(1)"), PolicyOut("a"), PolicyIn("a"))
    assert (found.added, found.rows) == ((), {"b:r": {(1,): 1}})


# Rules and facts


def test_a_rule_that_is_there_is_no_change_and_said() -> None:
    before = program(PolicyIn("a"), ("a", "p(x) :- q(x)  q(1)"))
    found = taken(before, ("a", "p(x):-q(x)  q(1)"))
    assert (found.added, found.rows) == ((), {})
    assert [(note.code, note.severity) for note in found.notes] == [
        ("rule-there", Severity.WARNING)
    ] * 2
    assert state(found.program) == state(before)


def test_a_rule_that_stands_twice_in_a_change_is_one() -> None:
    found = taken(BASE, ("a", "p(x) :- q(x)  p(x) :- q(x)"))
    assert len(found.added) == 1
    assert notes(BASE, ("a", "p(x) :- q(x)  p(x) :- q(x)")) == ["rule-there"]


def test_a_rule_that_is_not_there_cannot_go_and_that_is_said() -> None:
    found = taken(BASE, ("a", "-p(x) :- q(x)"), ("a", "-q(1)"), ("a", "-q(x)"))
    assert [note.code for note in found.notes] == ["rule-not-there"] * 3
    assert state(found.program) == state(BASE)


def test_rules_and_facts_go_again() -> None:
    before = program(PolicyIn("a"), ("a", "p(x) :- q(x)  q(1) q(2)"))
    found = taken(before, ("a", "-p(x) :- q(x)"), ("a", "-q(1)"))
    assert found.removed == ("a: p(x) :- q(x)",)
    assert found.rows == {Q: {(1,): -1}}
    assert found.program.facts == {Q: {(2,): found.program.facts[Q][2,]}}
    gone = taken(found.program, ("a", "-q(2)")).program
    assert state(gone) == state(program(PolicyIn("a")))


def test_what_comes_and_goes_in_one_change_was_never_there() -> None:
    found = taken(BASE, ("a", "p(x) :- q(x)  q(1)"), ("a", "-p(x) :- q(x)"), ("a", "-q(1)"))
    assert (found.added, found.removed, found.rows, found.notes) == ((), (), {}, ())
    assert state(found.program) == state(BASE)


def test_what_goes_and_comes_in_one_change_stays() -> None:
    before = program(PolicyIn("a"), ("a", "p(x) :- q(x)  q(1)"))
    found = taken(before, ("a", "-p(x) :- q(x)  q(1)"), ("a", "p(x) :- q(x)  q(1)"))
    assert (found.added, found.removed, found.rows) == ((), (), {})


def test_an_old_program_stays_as_it_is() -> None:
    before = program(PolicyIn("a"), ("a", "p(x) :- q(x)  q(1)"))
    seen = [dict(part) if isinstance(part, dict) else part for part in state(before)]
    inner = {table: dict(names) for table, names in before.uses.items()}
    taken(before, ("a", "p(x) :- q(x), r(x)  q(2)"), ("a", "-q(1)"), PolicyIn("c"))
    assert state(before) == seen
    assert before.uses == inner


def test_what_was_not_changed_is_the_old_programs() -> None:
    before = program(PolicyIn("a"), ("a", "p(x) :- q(x)"))
    by_fact = taken(before, ("a", "q(1)")).program
    assert by_fact.entries is before.entries
    assert (by_fact.policies, by_fact.inputs) == (before.policies, before.inputs)
    assert by_fact.policies is before.policies
    by_rule = taken(before, ("a", "r(x) :- q(x)")).program
    assert by_rule.entries is not before.entries
    assert by_rule.inputs is before.inputs


def test_the_arity_of_the_end_counts() -> None:
    before = program(PolicyIn("a"), ("a", "p(x) :- q(x)  r(1)"))
    assert codes(before, ("a", "q(1, 2)")) == ["arity"]
    assert taken(before, ("a", "-p(x) :- q(x)"), ("a", "q(1, 2)"))
    assert taken(before, ("a", "-r(1)"), ("a", "t(x) :- r(x, x)"))
    assert codes(before, ("a", "t(x) :- s(x)  u(x) :- s(x, x)")) == ["arity"]


def test_nobody_uses_a_table_any_more_so_its_arity_is_open() -> None:
    before = program(PolicyIn("a"), ("a", "p(x) :- q(x)"), ("a", "-p(x) :- q(x)"))
    assert taken(before, ("a", "p(x, y) :- q(x, y)")).added


# Cycles


def test_a_cycle_shows_its_path_and_each_rule() -> None:
    before = program(PolicyIn("a"), PolicyIn("b"), ("a", "p(x) :- b:q(x)  s(x) :- p(x)"))
    (fault,) = refused(before, ("b", "q(x) :- a:r(x)"), ("a", "r(x) :- t(x), not p(x)"))
    assert fault.code == "cycle"
    assert fault.message.endswith(": b:q <- a:r <- a:p <- b:q")
    assert [(text, span.text) for text, span in fault.related] == [
        ("b:q is made of a:r here", "q(x) :- a:r(x)"),
        ("a:r is made of a:p here", "r(x) :- t(x), not p(x)"),
        ("a:p is made of b:q here", "p(x) :- b:q(x)"),
    ]


def test_a_rule_of_itself_is_a_cycle() -> None:
    assert codes(BASE, ("a", "p(x) :- p(x)")) == ["cycle"]
    assert codes(BASE, ("a", "p(x) :- q(x), not p(x)")) == ["cycle"]


def test_a_cycle_that_is_gone_at_the_end_is_none() -> None:
    before = program(PolicyIn("a"), ("a", "p(x) :- q(x)"))
    assert codes(before, ("a", "q(x) :- p(x)")) == ["cycle"]
    assert taken(before, ("a", "q(x) :- p(x)"), ("a", "-p(x) :- q(x)")).added


def test_two_ways_to_one_table_are_no_cycle() -> None:
    text = "p(x) :- q(x), r(x)  q(x) :- s(x)  r(x) :- s(x), q(x)  t(x) :- p(x)  s(x) :- u(x)"
    assert len(taken(BASE, ("a", text)).added) == 5


def test_a_rule_that_waits_is_part_of_a_cycle() -> None:
    before = program(PolicyIn("a"), PolicyIn("nova", "datasource"), ("a", WAITING))
    assert codes(before, ("nova", "servers(x) :- a:p(x)")) == ["cycle"]


def test_action_policies_make_cycles_too() -> None:
    before = program(PolicyIn("act", "action"), PolicyIn("a"), ("act", "p(x) :- a:q(x)"))
    assert codes(before, ("a", "q(x) :- act:p(x)")) == ["cycle"]
    assert taken(before, ("act", "q+(x) :- q(x), p+(x)")).added


# Schemas


def test_a_rule_with_columns_waits_for_the_schema_of_its_source() -> None:
    found = taken(BASE, ("a", WAITING))
    assert found.added == ()
    assert [note.code for note in found.notes] == ["waits-for-schema"]
    told = taken(found.program, SERVERS)
    assert [rule.name for rule in told.added] == [f"a: {WAITING}"]
    assert told.notes == ()


def test_what_is_wrong_besides_is_refused_at_once() -> None:
    assert "unbound-variable" in codes(BASE, ("a", "p(x, y) :- nova:servers(id=x)"))


def test_a_schema_that_changes_makes_rules_anew() -> None:
    before = program(PolicyIn("a"), PolicyIn("nova", "datasource"), SERVERS, ("a", WAITING))
    found = taken(before, SchemaIn("nova", Schema({"servers": ("name", "id")})))
    assert found.removed == (f"a: {WAITING}",)
    assert [rule.name for rule in found.added] == [f"a: {WAITING}"]
    assert found.added[0].body != before.entries[f"a: {WAITING}"].core.body  # type: ignore[union-attr]
    again = taken(before, SERVERS)
    assert (again.added, again.removed) == ((), ())


def test_a_rule_that_no_longer_fits_its_source_waits_and_holds_again_later() -> None:
    before = program(PolicyIn("a"), PolicyIn("nova", "datasource"), SERVERS, ("a", WAITING))
    lost = taken(before, SchemaIn("nova", Schema({"servers": ("uuid", "name")})))
    assert lost.removed == (f"a: {WAITING}",)
    assert [note.code for note in lost.notes] == ["unknown-column"]
    assert lost.notes[0].message.startswith("the rule waits: ")
    back = taken(lost.program, SERVERS)
    assert [rule.name for rule in back.added] == [f"a: {WAITING}"]
    gone = taken(before, PolicyOut("nova"))
    assert gone.removed == (f"a: {WAITING}",)
    assert [note.code for note in gone.notes] == ["unknown-policy"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (("id", "zone", "name"), ["column 1 of nova:servers, which was `name`, is `zone` now"]),
        (("id",), ["column 1 of nova:servers, which was `name`, is none now"]),
        (("id", "name", "zone"), []),
        (("uuid", "name"), []),
    ],
)
def test_a_rule_that_gives_moved_columns_by_place_is_told(
    columns: tuple[str, ...], said: list[str]
) -> None:
    rules = "p(n) :- nova:servers(_, n)  q(n) :- nova:servers(name=n)  r(i) :- nova:servers(i)"
    before = program(PolicyIn("a"), PolicyIn("nova", "datasource"), SERVERS, ("a", rules))
    after = SchemaIn("nova", Schema({"servers": columns}))
    told = [one for one in taken(before, after).notes if one.code == "columns-moved"]
    assert [one.message for one in told if one.span.text.endswith("(_, n)")] == said


def test_what_a_schema_of_ones_own_contradicts_is_refused() -> None:
    before = program(PolicyIn("a"), ("a", "p(x) :- q(x)  r(1) r(2)"))
    assert codes(before, SchemaIn("a", Schema({"q": ("x", "y")}))) == []
    assert codes(before, SchemaIn("a", Schema({"p": ("x", "y")}))) == ["arity"]
    assert codes(before, SchemaIn("a", Schema({"q": ()}))) == ["arity"]
    assert codes(before, SchemaIn("a", Schema({"r": ("x", "y")}))) == ["arity"]
    assert codes(before, SchemaIn("a", Schema({"r": ("x", "x")}))) == ["schema", "arity"]
    assert codes(before, SchemaIn("a", Schema({"p": ("x",), "q": ("x",), "r": ("x",)}))) == []


def test_rules_that_only_a_schema_let_agree_wait_when_it_goes() -> None:
    before = program(
        PolicyIn("nova", "datasource"), SERVERS, PolicyIn("a"),
        ("a", "p(x) :- nova:servers(x, y)  q(x) :- nova:servers(x)"),
    )  # fmt: skip
    found = taken(before, SchemaIn("nova", Schema({})))
    assert found.removed == ("a: q(x) :- nova:servers(x)",)
    assert [note.code for note in found.notes] == ["arity"]


def test_a_rule_that_waits_for_another_to_go_holds_when_it_went() -> None:
    text = "p(x) :- nova:servers(x, y)  q(x) :- nova:servers(x)"
    before = taken(taken(BASE, SERVERS).program, ("a", text)).program
    before = taken(before, SchemaIn("nova", Schema({}))).program
    assert before.entries["a: q(x) :- nova:servers(x)"].faults
    found = taken(before, ("a", "-p(x) :- nova:servers(x, y)"))
    assert [rule.name for rule in found.added] == ["a: q(x) :- nova:servers(x)"]


def test_a_rule_that_begins_to_hold_agrees_with_those_that_hold() -> None:
    before = taken(BASE, ("a", "r(x) :- nova:servers(id=x), s(x)")).program
    before = taken(before, ("a", "t(x) :- s(x, y)")).program
    found = taken(before, SERVERS)
    assert (found.added, [note.code for note in found.notes]) == ((), ["arity"])


def test_faults_come_in_the_order_of_the_text() -> None:
    found = refused(BASE, ("a", "p(x) :- q(y)  r(_)  s(x) :- q(y)"))
    assert [fault.span.start for fault in found] == sorted(fault.span.start for fault in found)
    assert [fault.code for fault in found] == [
        "unbound-variable", "fact-variable", "unbound-variable",
    ]  # fmt: skip


# Rows


def test_rows_of_a_policys_own_table_are_facts() -> None:
    found = taken(BASE, RowsIn(Q, {(1,): 1, (2,): 1, (3,): -1}))
    assert found.rows == {Q: {(1,): 1, (2,): 1}}
    assert set(found.program.facts[Q]) == {(1,), (2,)}
    assert found.program.inputs == {}
    back = taken(found.program, RowsIn(Q, {(1,): -1, (2,): -1}))
    assert state(back.program) == state(BASE)
    assert taken(BASE, RowsIn(Q, {})).program.facts == {}


def test_rows_of_a_source_are_not_in_the_program_but_their_columns_are() -> None:
    found = taken(BASE, RowsIn(INPUT, {(1, 2): 1}), ("nova", "servers(3, 4)"))
    assert found.rows == {INPUT: {(1, 2): 1, (3, 4): 1}}
    assert (found.program.facts, found.program.inputs) == ({}, {INPUT: 2})
    gone = taken(found.program, ("nova", "-servers(3, 4)"))
    assert gone.rows == {INPUT: {(3, 4): -1}}
    assert codes(found.program, ("a", "p(x) :- nova:servers(x)")) == ["arity"]
    assert taken(BASE, RowsIn(INPUT, {})).program.inputs == {}


def test_rows_of_another_width_are_refused_with_what_is_known() -> None:
    by_rule = program(
        PolicyIn("a"), PolicyIn("nova", "datasource"), ("a", "p(x) :- nova:servers(x)")
    )
    (fault,) = refused(by_rule, RowsIn(INPUT, {(1, 2): 1}))
    assert fault.message == "nova:servers has 1 column, and a row of it 2"
    assert [span.text for _, span in fault.related] == ["nova:servers(x)"]
    (fault,) = refused(taken(BASE, SERVERS).program, RowsIn(INPUT, {(1,): 1}))
    assert fault.hint == "its schema has id, name"
    (fault,) = refused(BASE, RowsIn(INPUT, {(1,): 1, (1, 2): 1}))
    assert fault.code == "arity"
    (fault,) = refused(BASE, RowsIn(Q, {(1,): 1, (1, 2): 1}))
    assert fault.code == "arity"


def test_rows_of_a_policy_that_nobody_made_are_taken() -> None:
    table = TableId("elsewhere:t")
    found = taken(Program(), RowsIn(table, {(1,): 1}))
    assert found.program.inputs == {table: 1}
    assert taken(found.program, PolicyIn("elsewhere", "datasource")).dropped == ()
    made = taken(found.program, PolicyIn("elsewhere"))
    assert made.dropped == (table,)
    assert made.program.inputs == {}


def test_rows_that_a_new_schema_does_not_fit_are_dropped() -> None:
    loaded = taken(BASE, RowsIn(INPUT, {(1, 2): 1})).program
    assert taken(loaded, SERVERS).dropped == ()
    other = SchemaIn("nova", Schema({"servers": ("id",)}))
    assert taken(loaded, other).dropped == (INPUT,)
    told = taken(loaded, SERVERS).program
    turned = SchemaIn("nova", Schema({"servers": ("name", "id")}))
    assert taken(told, turned).dropped == (INPUT,)
    assert taken(told, PolicyOut("nova")).dropped == (INPUT,)


@pytest.mark.alone
def test_rows_of_a_table_that_its_source_no_longer_has_are_dropped() -> None:
    before = program(PolicyIn("nova", "datasource"), SERVERS, RowsIn(INPUT, {(1, 2): 1}))
    for complete in (False, True):
        gone = taken(before, SchemaIn("nova", Schema({"others": ("id",)}, complete)))
        assert (gone.dropped, INPUT in gone.program.inputs) == ((INPUT,), False)


@pytest.mark.parametrize("text", ["f(x{}) ", "h(x) :- not q{}(x). "])
def test_of_thousands_of_faults_the_first_are_told(text: str) -> None:
    many = "".join(text.format(number) for number in range(1000))
    found = refused(BASE, ("a", many))
    assert [fault.code for fault in found[-2:]] == [found[0].code, "too-many-faults"]
    assert 200 < len(found) < 210


def test_a_rule_into_thousands_is_taken_in_milliseconds() -> None:
    text = " ".join(f"t{n}(x) :- t{n - 1}(x), s(x, y), not u{n}(y)." for n in range(1, 5001))
    before = program(PolicyIn("a"), ("a", text))
    steps = changes([("a", "t5001(x) :- t5000(x)"), ("a", "t2500(x) :- t1000(x), s(x, x)")])
    taken_s = []
    for _ in range(5):
        start = time.perf_counter()
        changed(before, steps)
        taken_s.append(time.perf_counter() - start)
    assert min(taken_s) < 0.05


@pytest.mark.parametrize("name", ["]", "x]", "(x", "a b", "execute[]", "insert[q]", "+", "not"])
def test_facts_of_a_name_that_no_text_can_say_are_refused(name: str) -> None:
    rows = {(1,): 1}
    (fault,) = refused(BASE, RowsIn(TableId(f"a:{name}"), rows))
    assert fault.code == "table-name"
    assert taken(BASE, RowsIn(TableId(f"nova:{name}"), rows)).rows
    for good in ("q", "q+", "q:r", "execute[nova:go]"):
        assert taken(BASE, RowsIn(TableId(f"a:{good}"), rows)).program.facts
