# SPDX-License-Identifier: Apache-2.0
"""Why a row is not there: each rule's first literal that nothing passes, and what is near."""

import pytest

from transom.policy.datalog.core import TableId
from transom.policy.datalog.engine.engine import TooMuch
from transom.policy.datalog.faults import Refused
from transom.policy.datalog.reasons import why_not as module
from transom.policy.datalog.reasons.telling import why_not_text
from transom.policy.datalog.reasons.why_not import Obstacle, Reason, asking_why_not, why_not
from transom.policy.datalog.states import State
from transom.policy.datalog.workspace import Workspace

RULES = """
error(vm) :- nova:servers(vm, tenant), ports(port, vm, net), not allowed(tenant, net).
ports("p1", "a", "n1"). ports("p2", "b", "n1").
allowed("t2", "n1").
"""


def workspace(rules: str = RULES) -> Workspace:
    some = Workspace()
    some.create_policy("p")
    some.set_schema("nova", {"servers": ("id", "tenant"), "flavors": ("id",)})
    some.load({"nova:servers": [("a", "t1"), ("b", "t2"), ("c", "t1")]})
    some.insert(rules, "p", "p.dl")
    return some


def text(some: Workspace, atom: str) -> str:
    return why_not_text(why_not(some, atom, "p"))


def obstacle(rules: str, atom: str) -> Obstacle:
    (found,) = why_not(workspace(rules), atom, "p").obstacles
    return found


def test_what_is_there_is_said_to_be_there() -> None:
    assert text(workspace(), "error(x)") == 'error("a") is there\n'


def test_a_match_without_a_row_is_told_with_rows_that_are_near() -> None:
    assert text(workspace(), 'error("c")') == (
        'there is no error("c")\n'
        "  by error(vm) :- nova:servers(vm, tenant), ports(port, vm, net), "
        "not allowed(tenant, net) (p.dl:2:1)\n"
        '  with vm = "c", tenant = "t1"\n'
        '  - ports(port, "c", net): there is no such row\n'
        '    near to it is ports("p1", "a", "n1")\n'
        '    near to it is ports("p2", "b", "n1")\n'
    )


def test_the_row_that_meets_a_negated_literal_is_told() -> None:
    assert text(workspace(), 'error("b")').splitlines()[2:] == [
        '  with vm = "b", tenant = "t2", port = "p2", net = "n1"',
        '  - not allowed("t2", "n1"): allowed("t2", "n1") is there',
    ]


def test_a_negated_literal_that_any_value_meets_is_told() -> None:
    some = workspace("a(x) :- b(x), not c(_, x, _). b(1). c(5, 1, 6).")
    assert "  - not c(_, 1, _): c(5, 1, 6) is there\n" in text(some, "a(1)")


def test_what_is_not_live_below_a_table_without_a_row_is_told() -> None:
    some = workspace("a(x) :- b(x). b(x) :- nova:flavors(x), nova:servers(x, _).")
    assert text(some, "a(1)").splitlines()[3:] == [
        "  - b(1): there is no such row",
        "    it is made of nova:flavors, which is loading",
    ]


def test_the_state_of_a_source_is_told_where_it_has_no_row() -> None:
    some = workspace("a(x) :- nova:flavors(x). b(x) :- glance:images(x).")
    assert "    nova:flavors is of a source, loading\n" in text(some, "a(1)")
    assert "    glance:images is of a source, absent\n" in text(some, "b(1)")
    some.set_state("nova:flavors", State.STALE, "noon")
    assert "    nova:flavors is of a source, stale since noon\n" in text(some, "a(1)")


@pytest.mark.parametrize(
    ("body", "reason", "told"),
    [
        ("lt(x, 0)", Reason.FALSE, "lt(1, 0): it is false"),
        ("not gt(x, 0)", Reason.FALSE, "not gt(1, 0): it is false"),
        ("plus(x, 2, 4)", Reason.FALSE, "plus(1, 2, 4): it gives 3"),
        ("unpack_date('2026-01-31', x, 2, 3)", Reason.FALSE,
         'unpack_date("2026-01-31", 1, 2, 3): it gives 2026, 1, 31'),
        ("lt(x, 'a')", Reason.FAILED, 'lt(1, "a"): it failed, lt: cannot order 1 and "a"'),
        ("false", Reason.FALSE, "false: it is false"),
    ],
)  # fmt: skip
def test_a_builtin_that_is_false_or_fails_is_told(body: str, reason: Reason, told: str) -> None:
    rules = f"a(x) :- b(x), {body}. b(1)."
    found = obstacle(rules, "a(1)")
    assert found.reason is reason
    assert f"  - {told}\n" in text(workspace(rules), "a(1)")


def test_of_all_choices_the_one_that_comes_furthest_is_told() -> None:
    found = obstacle("a() :- b(x), c(x, y), d(y). b(1). b(2). c(2, 7).", "a")
    assert (found.reason, dict(found.bindings)) == (Reason.NO_ROW, {"x": 2, "y": 7})


def test_a_rule_with_other_constants_is_not_tried() -> None:
    assert obstacle("a(1) :- b(x). b(1).", "a(2)").reason is Reason.HEAD
    assert obstacle("a(x, x) :- b(x). b(1).", "a(1, 2)").reason is Reason.HEAD
    assert obstacle("a(1, x) :- b(x). b(1).", "a(1, 2)").reason is Reason.NO_ROW
    some = workspace("a(1) :- b(x). b(1).")
    assert "  - it gives rows with other constants\n" in text(some, "a(2)")


def test_a_rule_that_waits_or_is_for_simulations_says_so() -> None:
    some = workspace("")
    some.create_policy("later", "datasource")
    some.insert('a(x) :- later:things(id=x, name="y").', "p")
    assert "  - it waits: the source of later:things" in text(some, "a(1)")
    some.create_policy("actions", "action")
    some.insert("p+(new, x) :- create(x).", "actions")
    told = why_not_text(why_not(some, "p+(1, 2)", "actions"))
    assert told.endswith("  - it is for simulations alone\n")


def test_a_rule_that_gives_other_rows_says_which() -> None:
    some = workspace("a(x, y) :- b(x, y). b(1, 2).")
    assert text(some, "a(x, x)").endswith("  - it gives a(1, 2) instead\n")
    some = workspace("n(3, x, count(y)) :- b(x, y). b(1, 2).")
    assert text(some, "n(3, 1, 5)").endswith("  - it gives n(3, 1, 1) instead\n")


def test_an_aggregate_without_a_value_says_so() -> None:
    assert text(workspace('n(sum(y)) :- b(y). b("x").'), "n(5)").endswith(
        "  - its aggregate has no value\n"
    )


def test_a_group_that_is_not_there_is_told_by_its_literal() -> None:
    found = obstacle("n(x, count(y)) :- b(x, y). b(1, 2).", "n(7, 1)")
    assert (found.reason, found.near.rows) == (Reason.NO_ROW, ((1, 2),))


# Tables without rules


def test_a_table_that_nothing_makes_is_told_with_what_was_meant() -> None:
    some = workspace()
    assert text(some, "eror(1)") == (
        "there is no eror(1)\n  nothing makes p:eror; did you mean `error`?\n"
    )
    assert text(some, "xyz") == "there is no xyz\n  nothing makes p:xyz\n"
    assert text(some, "nowa:servers(1)").endswith(
        "nothing makes nowa:servers; did you mean `nova`?\n"
    )
    assert text(some, "nova:flavours(1)").endswith(
        "nothing makes nova:flavours; did you mean `flavors`?\n"
    )


def test_of_a_table_of_facts_or_of_a_source_what_is_near_is_told() -> None:
    some = workspace()
    assert text(some, 'ports("p1", "b", "n1")') == (
        'there is no ports("p1", "b", "n1")\n'
        '  near to it is ports("p2", "b", "n1")\n'
        '  near to it is ports("p1", "a", "n1")\n'
    )
    assert text(some, 'ports("x", "y", "z")') == 'there is no ports("x", "y", "z")\n'
    assert text(some, "nova:flavors(1)") == (
        "there is no nova:flavors(1)\n  nova:flavors is of a source, loading\n"
    )
    some.load({"glance:images": [(1, 2)]})
    assert text(some, "glance:images(1, 3)") == (
        "there is no glance:images(1, 3)\n  glance:images is of a source, live\n"
        "  near to it is glance:images(1, 2)\n"
    )


# Bounds


def test_no_more_than_three_near_rows_are_told() -> None:
    some = workspace("".join(f"a(1, {n}). a({n}, 2). " for n in range(3, 9)))
    assert text(some, "a(1, 2)").count("near") == 3


def test_a_large_table_is_looked_through_for_near_rows_only_by_an_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SEARCHED_MOST", 2)
    some = workspace("a(1, 5, 0). a(2, 4, 0). a(3, 3, 0).")
    assert text(some, "a(1, 4, 0)") == "there is no a(1, 4, 0)\n"
    some.insert("b(x) :- c(x), a(x, y, z), d(x).", "p")
    assert text(some, "a(1, 4, 0)").endswith("  near to it is a(1, 5, 0)\n")


def test_rules_share_what_may_be_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEARCHED_IN_ALL_MOST", 25)
    facts = "".join(f"t({at}, {at}) " for at in range(10))
    some = workspace(f"h(x) :- t(x, 1). h(x) :- t(x, 2). {facts}")
    running = asking_why_not(some, "h(0)", "p")
    assert sum(1 for _ in running) == 2  # one each
    first, second = why_not(some, "h(0)", "p").obstacles
    assert first.near.rows == ((1, 1), (0, 0))
    assert not second.near.rows


def test_a_long_search_goes_in_slices_and_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    some = workspace("a(z) :- b(x), b(y), plus(x, y, z).")
    some.update({TableId("p:b"): {(n,): 1 for n in range(100)}})
    assert len(list(asking_why_not(some, "a(500)", "p"))) > 1
    monkeypatch.setattr(module, "TOUCHED_MOST", 5000)
    with pytest.raises(TooMuch, match="ask with more values"):
        why_not(some, "a(500)", "p")


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(Refused, match="only rows of tables"):
        why_not(workspace(), "lt(1, 2)", "p")
