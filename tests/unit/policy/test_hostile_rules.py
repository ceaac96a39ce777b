# SPDX-License-Identifier: Apache-2.0
"""Rules and rows that mean harm, or that nobody thought of: limited with a clear error, and
nothing is changed by them."""

import pytest

from transom.policy.datalog.core import Builtin, Call, CoreRule, Fold, Match, TableId
from transom.policy.datalog.engine.engine import Engine, Limits, TooMuch, finished
from transom.policy.datalog.faults import Refused
from transom.policy.datalog.language.syntax import Constant, Variable
from transom.policy.datalog.values import BadValue, real
from transom.policy.datalog.workspace import Workspace

SMALL = Limits(touched=20_000, made=5_000)


def table(name: str) -> TableId:
    return TableId(f"p:{name}")


def numbers(count: int) -> dict[tuple[int], int]:
    return {(number,): 1 for number in range(count)}


def crossed(width: int, head: int) -> CoreRule:
    """All combinations of the rows of `t`, of which the head has some columns."""
    variables = [Variable(f"x{number}") for number in range(width)]
    body = tuple(Match(table("t"), (variable,), place=n) for n, variable in enumerate(variables))
    return CoreRule("crossed", table("h"), tuple(variables[:head]), body)


@pytest.mark.parametrize(
    ("width", "head", "what"),
    [(4, 4, "would get more than 5000 rows"), (4, 1, "looked at"), (20, 20, "more than")],
)
def test_a_cross_product_is_cut_off_and_leaves_nothing(width: int, head: int, what: str) -> None:
    engine = Engine(SMALL)
    engine.transact({table("t"): numbers(100)})
    before = engine.sizes()
    rule = crossed(width, head)
    with pytest.raises(TooMuch, match=what):
        engine.transact(added=[rule])
    with pytest.raises(TooMuch, match=what):
        engine.ask(rule)
    assert engine.sizes() == before
    assert engine.transact({table("t"): {(0,): -1}}) == {table("t"): {(0,): -1}}


def test_a_change_that_multiplies_is_cut_off_too() -> None:
    engine = Engine(SMALL)
    engine.transact({table("t"): numbers(3)}, [crossed(4, 4)])
    assert len(engine.rows(table("h"))) == 81
    with pytest.raises(TooMuch):
        engine.transact({table("t"): numbers(100)})
    assert set(engine.rows(table("t"))) == set(numbers(3))
    assert len(engine.rows(table("h"))) == 81


def test_a_cross_product_in_slices_may_be_closed_at_any_time() -> None:
    engine = Engine()
    engine.transact({table("t"): numbers(100)})
    before = engine.sizes()
    for slices in range(1, 30, 7):
        running = engine.transacting(added=[crossed(4, 2)])
        for _ in range(slices):
            next(running)
        running.close()
        assert engine.sizes() == before


def test_more_loops_than_python_nests_are_no_matter() -> None:
    engine = Engine()
    names = [Variable(f"x{number}") for number in range(61)]
    chain = tuple(
        Match(table("e"), (names[at], names[at + 1]), place=at) for at in range(len(names) - 1)
    )
    engine.transact(added=[CoreRule("chain", table("h"), (names[0], names[-1]), chain)])
    circle = {(at, (at + 1) % 7): 1 for at in range(7)}
    engine.transact({table("e"): circle})
    assert set(engine.rows(table("h"))) == {(at, (at + 60) % 7) for at in range(7)}
    engine.transact({table("e"): {(3, 4): -1}})
    assert not engine.rows(table("h"))


@pytest.mark.parametrize("levels", [2, 5])
def test_loops_too_deep_for_one_function_go_in_slices_and_have_an_end(levels: int) -> None:
    # Each function alone touches less than a slice.
    body: list[Match] = []
    for at in range(levels * 11):
        body.append(Match(table("one" if at % 11 else "t"), (Variable(f"x{at}"),), place=at))
    rule = CoreRule("deep", table("h"), (Variable("x0"),), tuple(body))
    engine = Engine(SMALL)
    engine.transact({table("t"): numbers(40), table("one"): numbers(1)})
    if levels == 2:
        touched = engine.touched
        assert sum(1 for _ in engine.asking(rule)) >= (engine.touched - touched) // 1024 > 1
        engine.transact(added=[rule])
        touched = engine.touched
        assert finished(engine.failing("deep", (1,))) is None
        assert engine.touched - touched < 100  # the first that is found ends the search
        failing = finished(engine.failing("deep", (50,)))
        assert failing is not None
        assert failing.place == 0
        return
    with pytest.raises(TooMuch, match="looked at"):
        engine.ask(rule)


@pytest.mark.parametrize("step", [1, -1])
def test_a_long_chain_of_views_does_not_exhaust_the_stack(step: int) -> None:
    engine = Engine()
    x = Variable("x")
    views = [
        CoreRule(f"r{at}", table(f"v{at + 1}"), (x,), (Match(table(f"v{at}"), (x,)),))
        for at in range(3000)
    ]
    views = views[::step]
    assert sum(1 for _ in engine.transacting(added=views)) >= 3000
    assert len(engine.transact({table("v0"): {("a",): 1}})) == 3001
    with pytest.raises(ValueError, match="depend on itself"):
        back = CoreRule("back", table("v0"), (x,), (Match(table("v3000"), (x,)),))
        engine.transact(added=[back])
    assert len(engine.transact({table("v0"): {("a",): -1}})) == 3001
    engine.transact(removed=[rule.name for rule in views])
    engine.forget()
    assert not any(engine.sizes().values())


def test_rules_that_come_together_and_make_a_cycle_are_refused() -> None:
    engine = Engine()
    x = Variable("x")
    rules = [
        CoreRule(f"r{at}", table(f"v{at}"), (x,), (Match(table(f"v{(at + 1) % 3}"), (x,)),))
        for at in range(3)
    ]
    with pytest.raises(ValueError, match="depend on itself"):
        engine.transact(added=rules)
    assert not any(engine.sizes().values())


def test_names_and_constants_never_become_source() -> None:
    harm = "x\n    raise SystemExit"
    engine = Engine()
    fails = Builtin(harm, 1, 1, lambda value: value)
    rule = CoreRule(
        harm,
        TableId(f"{harm}:{harm}"),
        (Variable(harm), Constant(harm)),
        (
            Match(table(harm), (Variable(harm), Constant("'''"))),
            Call(fails, (Variable(harm),), (Variable(f"{harm}2"),)),
            Match(table(f"not {harm}"), (None, Variable(f"{harm}2")), negated=True),
        ),
    )
    engine.transact({table(harm): {("a", "'''"): 1, ("b", "'"): 1}}, [rule])
    assert list(engine.rows(TableId(f"{harm}:{harm}"))) == [("a", harm)]


def test_alike_texts_and_sizes_stay_apart() -> None:
    texts = ["é", "e\u0301", "\0", "", "\ud800", "K", "\u212a", "1", "\u0661"]
    engine = Engine()
    x = Variable("x")
    both = CoreRule("r", table("h"), (x,), (Match(table("a"), (x,)), Match(table("b"), (x,))))
    engine.transact(added=[both])
    engine.transact({table("a"): {(text,): 1 for text in texts}})
    for text in texts:
        assert engine.transact({table("b"): {(text,): 1}})[table("h")] == {(text,): 1}
        engine.transact({table("b"): {(text,): -1}})


def test_sums_of_huge_numbers_stay_exact_and_come_back() -> None:
    engine = Engine()
    key, value = Variable("k"), Variable("v")
    total = CoreRule("r", table("h"), (Fold("sum", value),), (Match(table("t"), (key, value)),))
    engine.transact({table("t"): {(0, 2**255): 1, (1, real(1e308)): 1, (2, real(1.5)): 1}}, [total])
    engine.transact({table("t"): {(0, 2**255): -1, (1, real(1e308)): -1}})
    assert list(engine.rows(table("h"))) == [(real(1.5),)]


@pytest.mark.parametrize("row", [[2**256], ["x" * 1_000_001], [[1]], [b"x"], [1j]])
def test_rows_that_no_cell_holds_are_refused(row: list[object]) -> None:
    workspace = Workspace()
    with pytest.raises(BadValue):
        workspace.load({"nova:servers": [[1], row]})
    assert not workspace.rows("nova:servers")


@pytest.mark.parametrize(
    "text",
    [
        "h(x) :- " + ", ".join(["t(x)"] * 1000),
        "h(x) :- " + ", ".join(["t(x)"] * 100_000),
        f"t({', '.join(map(str, range(1000)))})",
        f"t({'9' * 5000})",
        "t(" * 10_000,
        "t('\0')",
    ],
    ids=["literals", "very-many-literals", "columns", "digits", "brackets", "nul"],
)
def test_texts_out_of_all_measure_are_refused(text: str) -> None:
    workspace = Workspace()
    workspace.create_policy("p")
    with pytest.raises(Refused) as refused:
        workspace.insert(text, "p")
    assert len(str(refused.value)) < 20_000
    assert workspace.content("p") == ""
    assert workspace.engine.sizes()["rules"] == 0
