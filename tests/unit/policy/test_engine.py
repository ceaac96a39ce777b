# SPDX-License-Identifier: Apache-2.0
"""The engine: transactions, what they undo, what they touch, and what they leave behind."""

from collections.abc import Callable
from typing import Any

import pytest

from transom.policy.datalog.core import Builtin, Call, CoreRule, Fold, Match, TableId
from transom.policy.datalog.engine.engine import Busy, Engine, Limits, TooMuch, finished
from transom.policy.datalog.engine.functions import LOOPS_MOST
from transom.policy.datalog.engine.readers import TRACED_MOST
from transom.policy.datalog.engine.tables import LIST_ROWS_MOST, SLICE, UNKNOWN_ROWS
from transom.policy.datalog.engine.tracing import Derivation, Failing
from transom.policy.datalog.language.syntax import Constant, Variable
from transom.policy.datalog.values import Row, real

P, Q, R, S, S2 = (TableId(f"a:{name}") for name in "pqrst")


def variables(names: str) -> tuple[Any, ...]:
    """`x`: a variable; `_`: any value; a digit: a constant."""
    return tuple(
        None if name == "_" else Constant(int(name)) if name.isdigit() else Variable(name)
        for name in names
    )


def match(table: TableId, names: str, *, negated: bool = False, place: int = 0) -> Match:
    return Match(table, variables(names), negated, place)


def rule(head: TableId, names: str, *body: Match | Call, name: str = "") -> CoreRule:
    return CoreRule(name or f"{head}({names})", head, variables(names), body)


def call(function: Callable[..., Any], names: str, outputs: str = "", **more: Any) -> Call:
    builtin = Builtin(function.__name__, len(names), len(outputs), function)
    return Call(builtin, variables(names), variables(outputs), **more)


def added(*rows: Row) -> dict[Row, int]:
    return dict.fromkeys(rows, 1)


def gone(*rows: Row) -> dict[Row, int]:
    return dict.fromkeys(rows, -1)


def engine(*rules: CoreRule, **rows: list[Row]) -> Engine:
    made = Engine()
    made.transact({TableId(f"a:{name}"): added(*some) for name, some in rows.items()})
    made.transact(added=rules)
    return made


def state_of(some: Engine) -> Any:
    """All that a transaction may change."""
    return {
        "tables": {
            name: (
                dict(table.counts),
                table.facts,
                {columns: (index.users, dict(index.buckets)) for columns, index in
                 table.indexes.items()},
                table.makers,
                {kept.name for kept in table.kept},
                {groups: set(groups.rows()) for groups in table.folds},
                {(reader.kept.name, reader.plan) for reader in
                 (*table.readers, *table.self_readers)},
            )
            for name, table in some.state.tables.items()
        },
        "rules": dict(some.rules),
        "kept": set(some.state.kept),
        "faults": dict(some.faults),
    }  # fmt: skip


def test_what_is_there_already_or_was_never_there_is_no_change() -> None:
    some = engine(p=[(1,)])
    assert some.transact({P: added((1,)) | gone((2,)) | {(3,): 0}}) == {}
    assert some.transact({P: added((2,)) | gone((1,))}) == {P: {(1,): -1, (2,): 1}}
    assert list(some.rows(P)) == [(2,)]


def test_a_change_goes_through_tables_in_the_order_of_their_ranks() -> None:
    # r is made of p and q, q of p: r must meet q's change once, with p as it is then.
    some = engine(rule(R, "x", match(P, "x"), match(Q, "x")), rule(Q, "x", match(P, "x")))
    assert some.transact({P: added((1,), (2,))}) == {
        P: {(1,): 1, (2,): 1},
        Q: {(1,): 1, (2,): 1},
        R: {(1,): 1, (2,): 1},
    }
    assert some.transact({P: gone((1,))}) == {P: {(1,): -1}, Q: {(1,): -1}, R: {(1,): -1}}


def test_a_rule_lifts_what_is_made_of_its_head() -> None:
    some = engine(rule(Q, "x", match(P, "x")), p=[(1,)])
    some.transact(added=[rule(P, "x", match(R, "x"))])
    some.transact(added=[rule(R, "x", match(S, "x"))])
    assert some.transact({S: added((2,))})[Q] == {(2,): 1}


def test_a_fact_and_a_derivation_of_one_row_are_two_reasons() -> None:
    some = engine(rule(Q, "x", match(P, "x")), p=[(1,)], q=[(1,), (2,)])
    assert some.transact({Q: gone((1,))}) == {}
    assert some.transact({P: gone((1,))}) == {P: {(1,): -1}, Q: {(1,): -1}}
    assert some.transact({Q: added((2,), (3,))}) == {Q: {(3,): 1}}
    assert some.transact(removed=["a:q(x)"]) == {}
    assert set(some.rows(Q)) == {(2,), (3,)}
    assert some.transact({Q: gone((2,))}) == {Q: {(2,): -1}}


def test_facts_come_with_the_first_rule_of_their_table_in_one_transaction() -> None:
    some = engine(p=[(1,)])
    some.transact({Q: added((1,), (2,))}, added=[rule(Q, "x", match(P, "x"))])
    assert some.transact({P: gone((1,))}) == {P: {(1,): -1}}
    assert set(some.rows(Q)) == {(1,), (2,)}


def test_rules_and_rows_of_one_transaction_meet_once() -> None:
    some = engine(rule(Q, "x", match(P, "x")), p=[(1,), (2,)])
    net = some.transact(
        {P: added((3,)) | gone((1,))},
        added=[rule(R, "x", match(Q, "x")), rule(Q, "x", match(S, "x"), name="second")],
        removed=["a:q(x)"],
    )
    assert net == {P: {(3,): 1, (1,): -1}, Q: {(1,): -1, (2,): -1}}
    assert some.transact({S: added((7,))}) == {S: {(7,): 1}, Q: {(7,): 1}, R: {(7,): 1}}


def test_a_rule_that_is_added_and_removed_at_once_is_no_change() -> None:
    one = rule(Q, "x", match(P, "x"))
    some = engine(one, p=[(1,)])
    assert some.transact(added=[one], removed=[one.name]) == {}
    assert set(some.rules) == {one.name}


def test_one_of_two_supporting_rules_may_go() -> None:
    rules = [rule(R, "x", match(P, "x")), rule(R, "x", match(Q, "x"), name="second")]
    some = engine(*rules, p=[(1,)], q=[(1,), (2,)])
    assert some.transact(removed=["second"]) == {R: {(2,): -1}}
    assert some.transact(removed=["a:r(x)"]) == {R: {(1,): -1}}
    assert engine(*rules, p=[(1,)], q=[(1,)]).transact(removed=["a:r(x)", "second"]) == {
        R: {(1,): -1}
    }


def test_self_joins_meet_each_row_as_it_comes_and_goes() -> None:
    some = engine(rule(Q, "xz", match(P, "xy"), match(P, "yz", place=1)))
    assert some.transact({P: added((1, 1), (1, 2))})[Q] == {(1, 1): 1, (1, 2): 1}
    assert some.state.tables[Q].counts == {(1, 1): 1, (1, 2): 1}
    assert some.transact({P: gone((1, 1)) | added((2, 1))})[Q] == {(1, 2): -1, (2, 2): 1}
    # a derivation that goes and one that comes: nothing is seen
    assert some.state.tables[Q].counts == {(1, 1): 1, (2, 2): 1}


def test_a_second_reason_of_a_row_is_no_change_to_a_self_join() -> None:
    some = engine(
        rule(P, "xy", match(S, "xy")),
        rule(Q, "xz", match(P, "xy"), match(P, "yz", place=1)),
        p=[(1, 1)],
    )
    assert some.transact({S: added((1, 1))}) == {S: {(1, 1): 1}}
    assert some.transact({P: gone((1, 1))}) == {}
    assert some.transact({S: gone((1, 1))})[Q] == {(1, 1): -1}


def test_a_table_that_is_reached_on_two_ways_is_no_cycle() -> None:
    some = engine(
        rule(Q, "x", match(P, "x")), rule(R, "x", match(P, "x")),
        rule(S, "x", match(Q, "x"), match(R, "x")), p=[(1,)],
    )  # fmt: skip
    some.transact(added=[rule(P, "x", match(TableId("a:t"), "x"))])
    assert some.transact({TableId("a:t"): added((2,))})[S] == {(2,): 1}


def test_a_table_may_be_used_positively_and_negatively() -> None:
    some = engine(rule(Q, "x", match(P, "xy"), match(P, "yx", negated=True, place=1)))
    assert some.transact({P: added((1, 2))})[Q] == {(1,): 1}
    assert some.transact({P: added((2, 1), (3, 3))})[Q] == {(1,): -1}
    assert some.transact({P: gone((1, 2))})[Q] == {(2,): 1}


def test_cross_products_with_oneself_and_repeated_tests() -> None:
    some = engine(
        rule(Q, "xy", match(P, "x_"), match(P, "y_", place=1)),
        rule(R, "x", match(P, "xx"), match(P, "xx", place=1), match(P, "1x", place=2)),
    )
    some.transact({P: added((1, 1), (2, 2))})
    assert set(some.rows(Q)) == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert set(some.rows(R)) == {(1,)}
    some.transact({P: gone((1, 1))})
    assert (set(some.rows(Q)), set(some.rows(R))) == ({(2, 2)}, set())


def test_no_row_with_a_value_is_asked_of_a_shared_projection() -> None:
    rules = [
        rule(R, "x", match(P, "x"), match(Q, "x_", negated=True)),
        rule(S, "x", match(P, "x"), match(Q, "x_", negated=True)),
    ]
    some = engine(*rules, p=[(1,), (2,)], q=[(1, 5), (1, 6)])
    assert set(some.rows(R)) == set(some.rows(S)) == {(2,)}
    assert some.transact({Q: gone((1, 5))}) == {Q: {(1, 5): -1}}
    assert some.transact({Q: gone((1, 6))})[R] == {(1,): 1}
    some.transact(removed=["a:r(x)"])
    assert some.sizes()["rules"] == 2
    some.transact(removed=["a:s(x)"])
    assert some.sizes() | {"interned": 0} == {
        "tables": 1, "rows": 2, "facts": 0, "indexes": 0, "groups": 0, "rules": 0, "interned": 0,
    }  # fmt: skip


def test_more_joins_than_python_lets_loops_be_nested() -> None:
    length = 2 * LOOPS_MOST + 3
    names = "abcdefghijklmnopqrstuvwxyzABCDEF"
    body = [match(P, names[at] + names[at + 1], place=at) for at in range(length)]
    some = engine(rule(Q, names[0] + names[length], *body))
    some.transact({P: added(*((at, at + 1) for at in range(length + 1)))})
    assert set(some.rows(Q)) == {(0, length), (1, length + 1)}
    (found,) = some.derivations(f"a:q({names[0]}{names[length]})", (0, length))
    assert found is not None
    assert [row for _, _, row in found.rows] == [(at, at + 1) for at in range(length)]


def plus(x: int, y: int) -> int:
    return x + y


def split(x: int) -> tuple[int, int]:
    return x // 10, x % 10


def fourteen() -> int:
    return 14


def small(x: int) -> bool:
    return x < 3


def test_calls_bind_compare_and_filter() -> None:
    some = engine(
        rule(Q, "xz", match(P, "xy"), call(plus, "xy", "z")),
        rule(R, "x", match(P, "xy"), call(plus, "xx", "y"), call(small, "x", negated=True)),
        rule(S, "ab", match(P, "x_"), call(split, "x", "ab")),
        p=[(4, 8), (5, 7), (1, 2)],
    )
    assert set(some.rows(Q)) == {(4, 12), (5, 12), (1, 3)}
    assert set(some.rows(R)) == {(4,)}
    assert set(some.rows(S)) == {(0, 4), (0, 5), (0, 1)}


def test_a_negated_call_with_outputs_compares_all_of_them() -> None:
    some = engine(
        rule(Q, "x", match(P, "xy"), call(split, "x", "y4", negated=True)),
        rule(R, "x", match(P, "xy"), call(split, "x", "__", negated=True)),
        rule(S, "x", match(P, "xy"), call(fourteen, "", "x", negated=True)),
        p=[(14, 1), (24, 1), (15, 1)],
    )
    assert (set(some.rows(Q)), set(some.rows(R))) == ({(24,), (15,)}, set())
    assert set(some.rows(S)) == {(24,), (15,)}


def test_what_a_builtin_cannot_answer_is_left_out_either_way_and_told() -> None:
    some = engine(
        rule(Q, "x", match(P, "x"), call(small, "x", place=1)),
        rule(R, "x", match(P, "x"), call(small, "x", negated=True, place=1)),
        p=[(1,), (5,), ("a",), ("b",), ("c",), ("d",)],
    )
    assert (set(some.rows(Q)), set(some.rows(R))) == ({(1,)}, {(5,)})
    seen = some.faults["a:q(x)", 1]
    assert (seen.count, len(seen.examples), seen.examples[0][0]) == (4, 3, ("a",))
    some.transact(removed=["a:q(x)"])
    assert set(some.faults) == {("a:r(x)", 1)}


def test_a_diagnosis_is_of_rows_as_they_are() -> None:
    some = engine(
        rule(Q, "x", match(P, "x"), call(small, "x", place=1)),
        rule(R, "x", match(P, "x"), call(small, "x", place=1)),
        p=[("a",), ("b",)],
    )
    some.transact({P: gone(("b",))})
    assert some.faults["a:q(x)", 1].count == 3
    found = finished(some.diagnosing())
    assert {key: seen.count for key, seen in found.items()} == {
        ("a:q(x)", 1): 1, ("a:r(x)", 1): 1,
    }  # fmt: skip
    some.transact({P: gone(("a",))})
    assert finished(some.diagnosing()) == {}


def test_what_is_undone_leaves_no_diagnostic() -> None:
    some = engine(rule(Q, "x", match(P, "x"), call(small, "x", place=1)))
    with pytest.raises(KeyError):
        some.transact({P: added(("a",))}, removed=["nothing"])
    steps = some.transacting({P: added(*((f"a{at}",) for at in range(2 * SLICE)))})
    while not some.faults:
        next(steps)
    steps.close()
    assert not some.faults


def fold(head: TableId, names: str, functions: str, *body: Match) -> CoreRule:
    """`fold(Q, "tx", "-s")`: q(t, sum(x)) of body; c, s, l, h: count, sum, min, max."""
    kinds = {"c": "count", "s": "sum", "l": "min", "h": "max"}
    arguments = tuple(
        term if kind == "-" else Fold(kinds[kind], term)
        for term, kind in zip(variables(names), functions, strict=True)
    )
    return CoreRule(f"fold {names} {functions}", head, arguments, body)


def test_aggregates_follow_their_groups() -> None:
    some = engine(
        fold(Q, "txxxx", "-cslh", match(P, "itx")),
        p=[(1, 7, 10), (2, 7, 10), (3, 7, 30), (4, 8, 5)],
    )
    assert set(some.rows(Q)) == {(7, 2, 50, 10, 30), (8, 1, 5, 5, 5)}
    assert some.transact({P: gone((3, 7, 30), (4, 8, 5))})[Q] == {
        (7, 2, 50, 10, 30): -1, (7, 1, 20, 10, 10): 1, (8, 1, 5, 5, 5): -1,
    }  # fmt: skip
    assert some.transact({P: gone((1, 7, 10)) | added((5, 7, 10))}).keys() == {P}
    assert some.transact({P: gone((2, 7, 10), (5, 7, 10))})[Q] == {(7, 1, 20, 10, 10): -1}
    assert some.sizes()["groups"] == 0


def test_a_sum_is_exact_and_a_float_only_if_one_is_in_it() -> None:
    only_here = match(R, "i", negated=True)
    some = engine(fold(Q, "x", "s", match(P, "ix"), only_here), p=[(1, 1)])
    assert list(some.rows(Q)) == [(1,)]
    some.transact({P: added(*((at, real(0.1)) for at in range(2, 12)))})
    assert list(some.rows(Q)) == [(real(2.0),)]
    some.transact({P: added((20, real(1e300)), (21, 10**70)) | gone((1, 1))})
    some.transact({P: gone((20, real(1e300)), (21, 10**70))})
    assert list(some.rows(Q)) == [(real(1.0),)]


def test_a_sum_leaves_out_what_is_no_number_and_tells() -> None:
    big = 10**400
    some = engine(fold(Q, "tx", "-s", match(P, "itx")), p=[(1, 1, "a"), (2, 1, real(float("inf")))])
    assert list(some.rows(Q)) == []
    assert some.faults["fold tx -s", -1].count == 2
    some.transact({P: added((3, 1, 4))})
    assert list(some.rows(Q)) == [(1, 4)]
    some.transact({P: added((3, 2, big), (4, 2, real(0.5)))})
    assert list(some.rows(Q)) == [(1, 4)], "a sum that no float can hold gives no row"
    some.transact(removed=["fold tx -s"])
    assert some.sizes()["rules"] == 0
    assert not some.faults


def test_extremes_come_back_when_others_go_and_forget_what_went() -> None:
    some = engine(fold(Q, "x", "l", match(P, "x")), fold(R, "x", "h", match(P, "x")))
    some.transact({P: added(*((at,) for at in range(500)))})
    for at in range(250):
        some.transact({P: gone((at,), (499 - at,)) | added((at + 1000,))})
        some.transact({P: gone((at + 1000,))})
    assert (list(some.rows(Q)), list(some.rows(R))) == ([], [])
    groups = engine(fold(Q, "x", "l", match(P, "x")), p=[(0,)])
    for at in range(1, 300):
        groups.transact({P: added((at,))})
        groups.transact({P: gone((at,))})
    (table,) = (one for one in groups.state.tables.values() if one.folds)
    (found,) = (group for one in table.folds for group in one.groups.values())
    heap = found.aggregates[0].heap  # type: ignore[attr-defined]
    assert len(heap) < 100


def test_a_fold_keeps_constants_and_repeated_groups() -> None:
    some = engine(fold(Q, "t3tx", "---c", match(P, "tx")), p=[(1, 5), (1, 6)])
    assert list(some.rows(Q)) == [(1, 3, 1, 2)]
    (first, _) = some.derivations("fold t3tx ---c", (1, 3, 1, 2))
    assert first is not None
    assert first.bindings == {"t": 1, "x": 5}


def test_a_trial_leaves_nothing_behind() -> None:
    first = rule(Q, "xy", match(P, "xy"), match(P, "yx", place=1))
    some = engine(
        first,
        fold(R, "xy", "-s", match(P, "xy")),
        rule(S, "x", match(P, "x_"), match(R, "x_", negated=True)),
        p=[(1, 2), (2, 1), (3, "a")],
        q=[(9, 9)],
    )
    before = state_of(some)
    with some.trial():
        some.transact({P: added((5, 5)) | gone((1, 2)), Q: gone((9, 9))}, removed=[first.name])
        some.transact({P: added(("new", "b"))}, added=[rule(Q, "x", match(P, "x_"), name="n")])
        some.transact(removed=["n", "fold xy -s", "a:s(x)"])
        with pytest.raises(Busy), some.trial():
            raise AssertionError
        assert list(some.rows(S)) == []
    assert state_of(some) == before
    assert some.transact({P: gone((1, 2))})[Q] == {(1, 2): -1, (2, 1): -1}


def test_ranks_hold_after_a_trial_that_turned_an_order_around() -> None:
    some = engine(rule(Q, "x", match(R, "x")), rule(S, "x", match(Q, "x"), match(R, "x")))
    with some.trial():
        some.transact(added=[rule(R, "x", match(P, "x"))], removed=["a:q(x)"])
    assert some.transact({R: added((1,))}) == {R: {(1,): 1}, Q: {(1,): 1}, S: {(1,): 1}}
    with some.trial():
        some.transact(added=[rule(R, "x", match(Q, "x"), name="n")], removed=["a:q(x)"])
    assert some.transact({R: gone((1,))}) == {R: {(1,): -1}, Q: {(1,): -1}, S: {(1,): -1}}


def test_a_rule_that_came_and_went_within_a_trial_leaves_nothing() -> None:
    some = engine(p=[(1,)])
    before = state_of(some)
    with some.trial():
        some.transact(added=[rule(Q, "x", match(R, "x"))])
        some.transact(removed=["a:q(x)"])
    assert state_of(some) == before


def test_what_is_explained_in_a_trial_holds_no_index_after_it() -> None:
    one = rule(Q, "x", match(P, "xy"))
    some = engine(one, p=[(1, 2)])
    with some.trial():
        some.transact(added=[rule(R, "x", match(S, "x"), match(P, "x_"))])
        assert len(list(some.derivations(one.name, (1,)))) == 1
        assert some.sizes()["indexes"] == 1
    assert some.sizes()["indexes"] == 0


def test_a_table_that_is_empty_within_a_trial_is_full_after_it() -> None:
    some = engine(p=[(1,)])
    with some.trial():
        some.transact({P: gone((1,))})
        assert some.ask(rule(Q, "x", match(P, "x"))) == {}
        with pytest.raises(KeyError):
            some.transact(removed=["nothing"])
    assert list(some.rows(P)) == [(1,)]
    assert some.sizes()["tables"] == 1


def test_a_trial_that_is_left_between_two_slices_leaves_nothing_behind() -> None:
    some = engine(p=[(at,) for at in range(2 * SLICE)])
    before = state_of(some)
    with some.trial():
        some.transact({Q: added((1,))})
        steps = some.transacting(added=[rule(R, "x", match(P, "x"))])
        next(steps)
    assert state_of(some) == before
    later = some.transacting(added=[rule(R, "x", match(P, "x"))])
    next(later)
    steps.close()
    with pytest.raises(Busy):
        some.transact({P: added(("a",))})
    assert len(finished(later)[R]) == 2 * SLICE


def test_a_transaction_that_fails_is_undone() -> None:
    some = engine(rule(Q, "x", match(P, "x")), p=[(1,)])
    before = state_of(some)
    with pytest.raises(ValueError, match="depend on itself"):
        some.transact({P: added((2,))}, added=[rule(P, "x", match(Q, "x"))])
    with pytest.raises(ValueError, match="there already"):
        some.transact({S: added((2,))}, added=[rule(Q, "x", match(P, "x"))])
    with pytest.raises(KeyError):
        some.transact({P: added((2,))}, removed=["a:q(x)", "nothing"])
    with pytest.raises(KeyError):
        some.transact(added=[rule(S, "x", match(P, "x"), name="n")], removed=["n"])
    with pytest.raises(ValueError, match="depend on itself"):
        some.transact(added=[fold(P, "x", "c", match(Q, "x"))])
    with pytest.raises(ValueError, match="not safe"):
        some.transact(added=[rule(R, "x", match(P, "x"), match(S, "y", negated=True))])
    assert state_of(some) == before


def test_a_transaction_goes_in_slices_and_may_be_closed() -> None:
    rows = [(at, at % 3) for at in range(2 * SLICE)]
    some = engine(p=rows)
    before = state_of(some)
    one = rule(Q, "xz", match(P, "xy"), match(P, "zy", place=1), match(R, "x", place=2))
    steps = some.transacting(added=[one])
    next(steps)
    with pytest.raises(Busy):
        some.transact({P: added((0, 1))})
    with pytest.raises(Busy), some.trial():
        raise AssertionError
    steps.close()
    assert state_of(some) == before
    some.transact(added=[one])
    before = state_of(some)
    for changes in (1, 4):
        steps = some.transacting({R: added(*((at,) for at in range(10)))})
        for _ in range(changes):
            next(steps)
        steps.close()
        assert state_of(some) == before
    some.transact(added=[rule(S, "x", match(Q, "xy"))])
    some.transact({R: added((1,))})
    before = state_of(some)
    steps = some.transacting(removed=["a:q(xz)"])
    assert finished(steps)[Q]
    with pytest.raises(TooMuch, match="looked at"):
        some.limits = Limits(touched=100)
        some.ask(rule(S, "xz", match(P, "xy"), match(P, "zy")))
    some.limits = Limits(made=1)
    with pytest.raises(TooMuch, match="get more than 1 rows"):
        some.ask(one)


def test_many_rows_come_and_go_in_slices() -> None:
    some = engine(
        rule(Q, "x", match(P, "xy")), fold(R, "y", "c", match(P, "xy")),
        rule(S, "x", match(S2, "x"), match(S2, "x", place=1)),
    )  # fmt: skip
    rows = [(at, at % 2) for at in range(2 * SLICE + 5)]
    before = state_of(some)
    total = sum(1 for _ in some.transacting({P: added(*rows)}))
    assert total > 10
    assert list(some.rows(R)) == [(2,)]
    assert len(some.rows(Q)) == len(rows)
    some.transact({P: gone(*rows)})
    assert state_of(some) == before
    for slices in range(1, total, 2):
        steps = some.transacting({P: added(*rows)})
        for _ in range(slices):
            next(steps)
        steps.close()
        assert state_of(some) == before


def test_taking_back_one_of_two_rules_goes_in_slices_too() -> None:
    some = engine(
        rule(Q, "x", match(P, "x")),
        rule(Q, "x", match(P, "x"), match(P, "x", place=1), name="second"),
        p=[(at,) for at in range(SLICE + 10)],
    )
    steps = some.transacting(removed=["second"])
    next(steps)
    assert finished(steps) == {}


def test_many_small_steps_are_slices_too() -> None:
    # Each row of p touches few rows, and each of many rules does.
    names = [f"rule {at}" for at in range(50)]
    some = engine(
        rule(Q, "xz", match(P, "xy"), match(P, "yz", place=1)),
        *(rule(R, "x", match(S, "xy"), match(P, "y_", place=1), name=name) for name in names),
    )
    assert sum(1 for _ in some.transacting({P: added(*((at, at) for at in range(SLICE)))})) > 1
    assert sum(1 for _ in some.transacting({S: added(*((at, at) for at in range(100)))})) > 1


def test_each_row_of_a_self_join_may_take_many_slices() -> None:
    some = engine(
        rule(Q, "x", match(P, "xy"), match(P, "yx", place=1), match(R, "z", place=2)),
        r=[(at,) for at in range(SLICE + 10)],
    )
    assert sum(1 for _ in some.transacting({P: added((1, 1), (2, 2))})) >= 2
    assert set(some.rows(Q)) == {(1,), (2,)}


def test_a_query_leaves_nothing_behind() -> None:
    some = engine(rule(Q, "x", match(P, "x")), p=[(1,), (2,)])
    before = state_of(some)
    asked = rule(S, "xy", match(P, "x"), match(Q, "y"), match(R, "x_", negated=True))
    assert some.ask(asked) == dict.fromkeys([(1, 1), (1, 2), (2, 1), (2, 2)], 1)
    assert some.ask(fold(S, "x", "c", match(P, "x"))) == {(2,): 1}
    assert state_of(some) == before
    steps = some.asking(asked)
    steps.close()
    assert state_of(some) == before


def test_rows_are_found_by_an_index_or_by_looking() -> None:
    some = engine(
        rule(R, "xy", match(P, "xy"), match(Q, "y_")), p=[(1, 2), (1, 3)], q=[(2, 5), (2, 6)]
    )
    assert some.find(P, {0: 1, 1: 3}) == [(1, 3)]
    assert some.find(Q, {0: 2, 1: 6}) == [(2, 6)]
    assert some.find(Q, {1: 5}) == [(2, 5)]
    assert some.find(Q, {}) == [(2, 5), (2, 6)]
    assert some.find(S, {0: 1}) == []
    assert some.holds(P, (1, 2))
    assert not some.holds(S, (1,))


def test_looking_through_a_table_goes_in_slices() -> None:
    some = engine(p=[(at, at % 2) for at in range(3 * SLICE + 1)])
    steps = some.finding(P, {1: 0})
    next(steps)
    with pytest.raises(Busy):
        some.transact({P: gone((0, 0))})
    assert len(finished(steps)) == 3 * SLICE // 2 + 1


def test_a_bucket_holds_one_row_a_few_or_many() -> None:
    some = engine(rule(R, "xy", match(P, "x"), match(Q, "xy")))
    rows = [(1, at) for at in range(LIST_ROWS_MOST + 3)]
    for row in rows:
        some.transact({Q: added(row)})
    (index,) = some.state.tables[Q].indexes.values()
    assert isinstance(index.buckets[1], dict)
    assert some.transact({P: added((1,))})[R] == added(*rows)
    for row in rows[:-1]:
        some.transact({Q: gone(row)})
    assert index.buckets[1] == rows[-1]
    some.transact({Q: added((1, "a"), (1, "b"))})
    some.transact({Q: gone((1, "a"))})
    assert set(index.find(1)) == {rows[-1], (1, "b")}
    some.transact({Q: gone((1, "b"), rows[-1])})
    assert index.buckets == {}


def test_one_changed_row_touches_what_it_joins_and_no_more() -> None:
    some = engine(
        rule(R, "v", match(P, "vt"), match(Q, "pvn"), match(S, "tn", negated=True)),
        p=[(f"v{at}", f"t{at % 50}") for at in range(5000)],
        q=[(f"p{at}", f"v{at}", f"n{at % 70}") for at in range(5000)],
    )
    before = some.touched
    assert some.transact({Q: added(("new", "v7", "n1"))})[Q]
    assert some.touched - before == 2
    before = some.touched
    some.transact({S: added(("t1", "n1"))})
    assert some.touched - before <= 1 + 2 * 100


def test_plans_follow_tables_that_grew() -> None:
    # Empty, they tell nothing: an index of both known columns. Full, the first alone says enough.
    some = engine(rule(R, "v", match(P, "vtu"), match(Q, "vtx")))
    assert set(some.state.tables[Q].indexes) == {(0, 1)}
    some.transact(
        {
            P: added(*((at, at % 3, 1) for at in range(20 * UNKNOWN_ROWS))),
            Q: added(*((at, at % 3, 1) for at in range(20 * UNKNOWN_ROWS))),
        }
    )
    finished(some.replanning())
    assert set(some.state.tables[Q].indexes) == {(0,)}
    assert some.transact({P: gone((5, 2, 1))})[R] == {(5,): -1}
    before = state_of(some)
    finished(some.replanning())
    assert state_of(some) == before


def test_planning_again_may_be_closed() -> None:
    some = engine(rule(R, "v", match(P, "vtu"), match(Q, "vtx")))
    rows = added(*((at, at % 3, 1) for at in range(2 * SLICE)))
    some.transact({P: rows, Q: rows})
    before = state_of(some)
    for slices in (1, 3):
        steps = some.replanning()
        for _ in range(slices):
            next(steps)
        steps.close()
        assert state_of(some) == before
    assert some.transact({P: gone((5, 2, 1))})[R] == {(5,): -1}


def test_an_index_of_all_known_columns_where_each_alone_says_little() -> None:
    rows = [(at % 10, at // 10 % 10, at) for at in range(1000)]
    some = engine(rule(R, "xy", match(P, "xy"), match(Q, "xyz")), p=[(1, 2)], q=rows)
    assert set(some.state.tables[Q].indexes) == {(0, 1)}
    # one that is there and selective is used again
    some.transact(added=[rule(S, "z", match(P, "z_"), match(Q, "__z"), name="by z")])
    some.transact(added=[rule(S, "z", match(P, "xz"), match(Q, "x_z"), name="by x and z")])
    assert set(some.state.tables[Q].indexes) == {(0, 1), (2,)}


def test_a_row_is_explained_by_each_of_its_derivations() -> None:
    one = rule(R, "xx1", match(P, "xy"), match(Q, "y", place=1), match(S, "x", negated=True))
    some = engine(one, p=[(1, 2), (1, 3), (1, 4)], q=[(2,), (3,)])
    found = list(some.derivations(one.name, (1, 1, 1)))
    assert Derivation(one.name, {"x": 1, "y": 2}, ((0, P, (1, 2)), (1, Q, (2,)))) in found
    assert len(found) == 2
    for row in ((1, 1, 2), (1, 2, 1), (1, 1)):
        assert list(some.derivations(one.name, row)) == []
    some.transact({P: gone((1, 2))})
    assert len(list(some.derivations(one.name, (1, 1, 1)))) == 1


def test_ways_to_ask_why_are_kept_up_to_a_number() -> None:
    names = "abcdefghijkl"
    one = rule(Q, names, match(P, names))
    some = engine(one, p=[tuple(range(len(names)))])
    for name in names:
        given = {name: names.index(name)}
        passed, values = finished(some.reaching(one.name, given))
        assert (passed, len(values)) == (1, len(names))
    assert len(some.state.kept[one.name].traced) == TRACED_MOST


def test_explaining_goes_in_slices() -> None:
    one = rule(R, "x", match(P, "x"), match(Q, "yz", place=1), call(small, "z", negated=True))
    some = engine(one, p=[(1,)], q=[(at, 1) for at in range(2 * SLICE)])
    assert list(some.derivations(one.name, (1,))) == [None, None]
    steps = some.failing(one.name, (1,))
    next(steps)
    assert finished(steps) == Failing(one.name, 0, {"x": 1, "y": 0, "z": 1})


def test_what_is_missing_is_the_deepest_literal_that_nothing_passes() -> None:
    one = rule(
        R, "x", match(P, "xy"), match(Q, "y", place=1), call(small, "y", place=2),
        match(S, "y", negated=True, place=3),
    )  # fmt: skip
    some = engine(one, p=[(1, 2), (1, 1), (2, 9)], q=[(1,), (9,)], s=[(1,)])
    reasons = {row: finished(some.failing(one.name, row)) for row in ((1,), (2,), (3,))}
    assert reasons == {
        (1,): Failing(one.name, 3, {"x": 1, "y": 1}),
        (2,): Failing(one.name, 2, {"x": 2, "y": 9}),
        (3,): Failing(one.name, 0, {"x": 3}),
    }
    assert finished(some.failing(one.name, (1, 2))) is None
    some.transact({S: gone((1,))})
    assert finished(some.failing(one.name, (1,))) is None


def test_equal_values_of_rows_become_one_object() -> None:
    some = engine()
    some.transact({P: added(("a-long-text-" + str(1), 1))})
    some.transact({Q: added(("a-long-text-" + str(1), 2))})
    ((one, _),), ((two, _),) = some.rows(P), some.rows(Q)
    assert one is two
    some.forget()
    assert some.sizes()["interned"] == 0
    some.state.interned.most = 2
    some.transact({P: added(("a", "b"), ("c", "a"))})
    some.transact({P: added(("d", "d"))})
    assert some.sizes()["interned"] == 1


def test_values_of_four_types_are_four() -> None:
    from transom.policy.datalog.values import FALSE, NAN, TRUE

    cells = [1, real(1.0), TRUE, "1", None, FALSE, 0, real(-0.0), NAN]
    some = engine(rule(Q, "x", match(P, "x")), p=[(cell,) for cell in cells])
    assert len(some.rows(Q)) == len(cells)
    assert some.transact({P: gone((real(0.0),), (real(float("nan")),))})[Q] == {
        (real(0.0),): -1,
        (NAN,): -1,
    }
