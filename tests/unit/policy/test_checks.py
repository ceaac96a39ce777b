# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a rule or a fact: that it is found, where, and what is said to do."""

import pytest

from transom.policy.datalog.core import Call, CoreRule, Fold, Match, TableId
from transom.policy.datalog.faults import Fault
from transom.policy.datalog.language.syntax import (
    Aggregate,
    Atom,
    Constant,
    Literal,
    Mode,
    Rule,
    TableName,
    Variable,
)
from transom.policy.datalog.rules.changes import PolicyIn, SchemaIn
from transom.policy.datalog.rules.checks import LITERALS_MOST, NEVER, checked_query, checked_rule
from transom.policy.datalog.rules.columns import COLUMNS_MOST
from transom.policy.datalog.rules.program import Program, Schema

from support.policy_program import codes, program, refused, rules, taken

X, Y, Z = map(Variable, "xyz")
NOVA = SchemaIn("nova", Schema({"servers": ("id", "name", "status")}, complete=True))
WORLD = program(
    PolicyIn("a"),
    PolicyIn("b"),
    PolicyIn("act", "action"),
    PolicyIn("nova", "datasource"),
    NOVA,
    PolicyIn("glance", "datasource"),
    PolicyIn("own"),
    SchemaIn("own", Schema({"t": ("x", "y"), "none": ()})),
    PolicyIn("rows", "database"),
    ("a", "r(1) r(2)  s(x, y) :- b:s(x, y)"),
)


def core(text: str, policy: str = "a", before: Program = WORLD) -> CoreRule:
    found = taken(before, (policy, text))
    assert len(found.added) == 1
    return found.added[0]


def only(text: str, policy: str = "a", before: Program = WORLD) -> Fault:
    found = refused(before, (policy, text))
    assert len(found) == 1, found
    return found[0]


REFUSED = [
    ("p(x) :- q(y)", "unbound-variable", "x"),
    ("p(x, x) :- q(y)", "unbound-variable", "x"),
    ("p(_) :- q(y)", "unbound-variable", "_"),
    ("p(x) :- r(x), not q(y)", "unbound-variable", "not q(y)"),
    ("p(x) :- not q(x)", "unbound-variable", "not q(x)"),
    ("p(x) :- r(x), lt(x, y)", "unbound-variable", "lt(x, y)"),
    ("p(x) :- r(x), lt(x, _)", "unbound-variable", "lt(x, _)"),
    ("p(y) :- plus(x, 1, y)", "unbound-variable", "plus(x, 1, y)"),
    ("p(x) :- r(x), not plus(x, 1, y)", "unbound-variable", "not plus(x, 1, y)"),
    ("p(x, y, z) :- r(x), lt(y, z)", "unbound-variable", "lt(y, z)"),
    ("p(count(y)) :- r(x)", "unbound-variable", "y"),
    ("p(count(_)) :- r(_)", "aggregate", "count(_)"),
    ("r(x)", "fact-variable", "x"),
    ("r(_)", "fact-variable", "_"),
    ("p(count(x))", "aggregate", "count(x)"),
    ("p(x), q(x) :- r(x)", "several-heads", "q(x)"),
    ("p(1), q(1) :- true", "several-heads", "q(1)"),
    ("not p(x) :- r(x)", "negated-head", "not p(x)"),
    ("insert[p(x)] :- r(x)", "modal-head", "insert[p(x)]"),
    ("delete[p(x)] :- r(x)", "modal-head", "delete[p(x)]"),
    ("p(x) :- execute[r(x)]", "modal-body", "execute[r(x)]"),
    ("lt(x, y) :- s(x, y)", "builtin-head", "lt(x, y)"),
    ("lt(1, 2)", "builtin-head", "lt(1, 2)"),
    ("now(x) :- r(x)", "builtin-head", "now(x)"),
    ("true :- r(1)", "builtin-head", "true"),
    ("b:p(x) :- r(x)", "head-prefix", "b:p(x)"),
    ("a:p(x) :- r(x)", "head-prefix", "a:p(x)"),
    ("b:p+(x) :- r(x)", "head-prefix", "b:p+(x)"),
    ("b:p(1)", "head-prefix", "b:p(1)"),
    ("p(x) :- r(x), builtin:plsu(x, 1, 2)", "unknown-builtin", "builtin:plsu(x, 1, 2)"),
    ("p(x) :- r(x), plus(x, 1)", "builtin-arguments", "plus(x, 1)"),
    ("p(x) :- r(x), plus(x, 1, z=2)", "builtin-arguments", "z=2"),
    ("p(x) :- r(x), time:nwo(x)", "unknown-table", "time:nwo(x)"),
    ("p(x) :- nova:sevrers(x)", "unknown-table", "nova:sevrers(x)"),
    ("p(x) :- nova:servers(idd=x)", "unknown-column", "idd=x"),
    ("p(x) :- nova:servers(3=x)", "unknown-column", "3=x"),
    ("p(x) :- nova:servers(x, id=x)", "duplicate-column", "id=x"),
    ("p(x) :- nova:servers(x, x, x, x)", "arity", "nova:servers(x, x, x, x)"),
    ("p(x) :- own:none(x)", "arity", "own:none(x)"),
    ("p(x) :- r(x, x)", "arity", "r(x, x)"),
    ("p(x) :- r(x), p(x, x)", "arity", "p(x, x)"),
    ("r(1, 2)", "arity", "r(1, 2)"),
    ("s(1)", "arity", "s(1)"),
    ("p(x) :- b:q(id=x)", "no-schema", "id=x"),
    ("p(x) :- r(id=x)", "no-schema", "id=x"),
    ("p(x) :- c:q(id=x)", "unknown-policy", "id=x"),
    ("p(x) :- noba:q(id=x)", "unknown-policy", "id=x"),
]


@pytest.mark.parametrize(("text", "code", "place"), REFUSED, ids=[text for text, _, _ in REFUSED])
def test_it_is_refused_with_its_place(text: str, code: str, place: str) -> None:
    fault = only(text)
    assert (fault.code, fault.span.text) == (code, place)
    assert fault.message


def test_what_was_meant_is_said() -> None:
    assert only("p(x) :- nova:sevrers(x)").hint == "did you mean `servers`?"
    assert only("p(x) :- nova:servers(idd=x)").hint == "did you mean `id`?"
    assert only("p(x) :- nova:servers(zzz=x)").hint == "it has id, name, status"
    assert only("p(x) :- r(x), builtin:plsu(x, 1, 2)").hint == "did you mean `plus`?"
    assert only("p(x) :- noba:q(id=x)").hint == "did you mean `nova`?"
    assert only("p(x) :- c:q(id=x)").hint == "make it first"
    assert only("p(x) :- r(x), time:nwo(x)").hint == "did you mean `now`?"
    assert only("b:p(x) :- r(x)").hint == "put it into `b`"
    assert only("a:p(x) :- r(x)").hint == "write `p`"
    assert only("r(x)").hint == 'for a text write "x"'
    assert only("p(x) :- r(x), not q(x, z)").hint.startswith("write `_` if any value will do")
    assert only("nova:servers(x, y, z) :- q(x, y), r(z)").hint.startswith("`nova` is a source,")
    assert only("p(x) :- servers(id=x)").hint == "did you mean `nova:servers`?"
    assert only("p(x) :- nova.servers(id=x)").hint == "did you mean `nova:servers`?"


def test_a_fact_behind_a_rule_may_lack_its_comma() -> None:
    comma = "if it belongs to the rule before it, a comma is missing"
    (fault,) = refused(WORLD, ("a", "p(x) :- r(x) r(x)"))
    assert fault.hint == f'for a text write "x"; {comma}'
    (fault,) = refused(WORLD, ("a", 'p(x) :- r(x)\n  equal("a", "b")'))
    assert fault.hint == comma
    assert only('equal("a", "b")').hint == ""


def test_the_variable_is_named_and_what_binds() -> None:
    fault = only("p(x) :- r(x), not q(y, z)")
    assert fault.message == "`not` needs `y` and `z`, which no positive literal binds"
    assert "y, z" in fault.hint
    assert only("p(x) :- r(x), lt(x, y)").message.startswith("`lt` needs `y`")


def test_a_clash_of_arity_says_both_places() -> None:
    by_rule = only("p(x) :- s(x)")
    assert by_rule.message == "a:s has 2 columns, here 1 argument"
    assert [(text, span.text) for text, span in by_rule.related] == [
        ("as it is used here", "s(x, y)")
    ]
    by_fact = only("p(x) :- r(x, x)")
    assert [(text, span.text) for text, span in by_fact.related] == [("as this fact has", "r(1)")]
    by_schema = only("p(x) :- nova:servers(x, x, x, x)")
    assert by_schema.hint == "it has id, name, status"
    assert only("p(x) :- own:none(x)").hint == "it has none"


def test_all_that_is_wrong_is_said_together() -> None:
    text = "b:p(x, z) :- execute[q(x)], r(x, y), plus(1), lt(x, w)"
    assert codes(WORLD, ("a", text)) == [
        "head-prefix",
        "unbound-variable",
        "modal-body",
        "arity",
        "builtin-arguments",
    ]


def test_each_rule_of_a_text_says_its_own() -> None:
    assert codes(WORLD, ("a", "p(x) :- q(y)  p(x) :- r(x)  p(_)")) == [
        "unbound-variable",
        "fact-variable",
    ]


def test_a_rule_becomes_a_core_rule() -> None:
    found = core("p(x, 1) :- not b:q(x, _), lt(x, 2), r(x)")
    assert found.name == "a: p(x, 1) :- not b:q(x, _), lt(x, 2), r(x)"
    assert found.head == "a:p"
    assert found.arguments == (X, Constant(1))
    denied = Match(TableId("b:q"), (X, None), True, 0)
    match = Match(TableId("a:r"), (X,), False, 2)
    assert (found.body[0], found.body[1]) == (match, denied)
    call = found.body[2]
    assert isinstance(call, Call)
    assert (call.builtin.name, call.inputs, call.place) == ("lt", (X, Constant(2)), 1)


def test_a_builtin_has_inputs_and_outputs_with_or_without_its_prefix() -> None:
    for prefix in ("", "builtin:"):
        call = core(f"p(z) :- r(x), {prefix}plus(x, 1, z)").body[1]
        assert isinstance(call, Call)
        assert (call.inputs, call.outputs) == ((X, Constant(1)), (Z,))
    nameless = core("p(x) :- r(x), plus(x, 1, _)").body[1]
    assert isinstance(nameless, Call)
    assert nameless.outputs == (None,)


def test_now_is_a_table() -> None:
    assert core("p(t) :- now(t)").body == core("p(t) :- builtin:now(t)").body
    assert core("p(t) :- time:now(t)").body == (Match(TableId("time:now"), (Variable("t"),)),)


def test_true_is_left_out_and_false_never_holds() -> None:
    assert core("p(1) :- true").body == ()
    assert core("p(x) :- r(x), not false").body == (Match(TableId("a:r"), (X,)),)
    for text in ("p(x) :- r(x), false", "p(x) :- r(x), not true"):
        assert core(text).body[0 if "z" in text else 1] == Call(NEVER, (), place=1)
    assert not NEVER.function()


def test_columns_have_names_and_numbers_and_the_rest_may_be_anything() -> None:
    table = TableId("nova:servers")
    assert core("p(x) :- nova:servers(id=x)").body == (Match(table, (X, None, None)),)
    assert core("p(x) :- nova:servers(2=1, 0=x)").body == (Match(table, (X, None, Constant(1))),)
    assert core("p(x) :- nova:servers(x, status=_)").body == (Match(table, (X, None, None)),)
    assert core("p(x) :- nova:servers(x)").body == (Match(table, (X, None, None)),)


def test_a_policy_with_a_schema_has_names_for_its_own_tables_too() -> None:
    assert core("p(x) :- t(y=x)", "own").body == (Match(TableId("own:t"), (None, X)),)
    assert core("t(y=x, x=1) :- p(x)", "own").arguments == (Constant(1), X)
    fault = only("t(y=x) :- p(x)", "own")
    assert (fault.code, fault.message) == ("arity", "a row of own:t has a value for x too")
    assert codes(WORLD, ("own", "t(1)")) == ["arity"]
    assert taken(WORLD, ("own", "t(y=1, x=2)")).rows == {"own:t": {(2, 1): 1}}


def test_tables_that_rules_make_are_of_a_complete_schema_too() -> None:
    found = taken(WORLD, ("nova", "mine(x) :- servers(x)"), ("a", "p(x) :- nova:mine(x)"))
    assert len(found.added) == 2


def test_of_a_complete_schema_a_rule_waits_while_nothing_makes_its_table() -> None:
    made = taken(WORLD, ("nova", "mine(x) :- servers(x)"), ("a", "p(x) :- nova:mine(x)")).program
    lost = taken(made, ("nova", "-mine(x) :- servers(x)"))
    assert [note.code for note in lost.notes] == ["unknown-table"]
    assert lost.removed == ("nova: mine(x) :- servers(x)", "a: p(x) :- nova:mine(x)")
    again = taken(lost.program, ("a", "r(7)"), ("a", "-r(7)"))
    assert (again.added, again.notes) == ((), ())
    back = taken(lost.program, ("nova", "mine(7)"))
    assert [rule.name for rule in back.added] == ["a: p(x) :- nova:mine(x)"]


def test_unknown_tables_of_other_policies_are_allowed() -> None:
    assert core("p(x) :- elsewhere:q(x), b:unheard(x)").body


def test_an_atom_has_so_many_arguments_and_a_body_so_many_literals() -> None:
    long = ", ".join(f"x{number}" for number in range(COLUMNS_MOST + 1))
    assert only(f"p(x0) :- q({long})").code == "columns-most"
    body = ", ".join(["r(x)"] * (LITERALS_MOST + 1))
    assert only(f"p(x) :- {body}").code == "body-length"
    assert core(f"p(x) :- {body.removeprefix('r(x), ')}")


def test_aggregates_are_folds_of_the_head() -> None:
    found = core("used(x, sum(y), count(y)) :- b:s(x, y)")
    assert found.arguments == (X, Fold("sum", Y), Fold("count", Y))


def test_aggregates_that_no_text_can_have_are_refused_too() -> None:
    body = (Literal(Atom(TableName(None, "r"), (X,))),)
    head = Literal(Atom(TableName(None, "p"), (Aggregate("cuont", X),)))
    found = checked_rule(WORLD, "a", Rule((head,), body), "name")
    assert [(fault.code, fault.hint) for fault in found.faults] == [
        ("aggregate", "did you mean `count`?")
    ]
    folded = Literal(Atom(TableName(None, "r"), (Aggregate("count", X),)))
    plain = Literal(Atom(TableName(None, "p")))
    found = checked_rule(WORLD, "a", Rule((plain,), (folded,)), "name")
    assert [fault.code for fault in found.faults] == ["aggregate"]


def test_a_database_holds_facts_only() -> None:
    assert only("p(x) :- q(x)", "rows").code == "database-rule"
    assert taken(WORLD, ("rows", "p(1)")).rows == {"rows:p": {(1,): 1}}


def test_an_action_policy_says_effects_elsewhere() -> None:
    assert core("b:p+(x) :- q(x)", "act").head == "b:p+"
    assert core("p-(x) :- q(x)", "act").head == "act:p-"
    assert only("b:p(x) :- q(x)", "act").code == "head-prefix"
    assert only("b:p(1)", "act").code == "head-prefix"
    assert only("b:p+(1)", "act").code == "head-prefix"


@pytest.mark.parametrize("text", ["p+(i, x) :- q(x)", "p+(x) :- not q(x)", "p+(_) :- q(1)"])
def test_what_is_not_safe_in_an_action_policy_is_for_simulations_alone(text: str) -> None:
    found = taken(WORLD, ("act", text))
    assert not found.added
    (entry,) = found.program.rules("act")
    assert (entry.core, entry.faults) == (None, ())


def test_other_faults_count_in_an_action_policy_too() -> None:
    assert only("p+(i, x) :- execute[q(x)]", "act").code == "modal-body"


def test_bare_constants_are_variables_and_refused_in_strict_mode() -> None:
    assert core("p(x) :- b:q(x, False)").body
    strict = taken(Program(mode=Mode.STRICT), PolicyIn("a")).program
    assert codes(strict, ("a", "p(x) :- q(x, False)")) == ["bare-constant"]
    fault = refused(strict, ("a", "p(True) :- q(True)"))
    assert [one.hint for one in fault] == ["write `true`", "write `true`"]
    assert codes(strict, ("a", "p(None)")) == ["bare-constant"]
    text = "p(x) :- b:q(x, y=None)"
    assert codes(strict, ("a", text)) == ["unknown-policy", "bare-constant"]


def test_a_query_is_checked_like_a_body() -> None:
    (rule,) = rules("ask(x) :- not r(x)")
    assert [fault.code for fault in checked_query(WORLD, "act", rule, "?").faults] == [
        "unbound-variable"
    ]
    (rule,) = rules("r(x), s(x) :- r(x)")
    assert [fault.code for fault in checked_query(WORLD, "a", rule, "?").faults] == [
        "several-heads"
    ]
    (rule,) = rules("lt(y=x) :- r(x)")
    assert [fault.code for fault in checked_query(WORLD, "a", rule, "?").faults] == ["query"]
