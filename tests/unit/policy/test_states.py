# SPDX-License-Identifier: Apache-2.0
"""Whether an answer is complete, and of what."""

from transom.policy.datalog.core import TableId
from transom.policy.datalog.rules.changes import PolicyIn, SchemaIn
from transom.policy.datalog.rules.program import Program, Schema
from transom.policy.datalog.states import (
    ABSENT,
    LIVE,
    LOADING,
    Completeness,
    State,
    States,
    TableState,
)

from support.policy_program import program, taken

P, Q, SERVERS, PORTS = map(TableId, ("a:p", "a:q", "nova:servers", "neutron:ports"))
STALE = TableState(State.STALE, "2026-01-01 00:00:00")
WORLD = program(
    PolicyIn("a"),
    PolicyIn("nova", "datasource"),
    SchemaIn("nova", Schema({"servers": ("id",)})),
    ("a", "p(x) :- q(x), r(x)  q(x) :- nova:servers(x)  q(x) :- nova:servers(x), r(x)"),
)


def answer(states: States, table: TableId = P, of: Program = WORLD) -> Completeness:
    return states.completeness(of, table)


def test_a_table_is_complete_when_all_below_is_live() -> None:
    states = States()
    assert answer(states) == Completeness(False, ((TableId("a:r"), LIVE), (SERVERS, LOADING)))
    states.set(SERVERS, LIVE)
    assert answer(states) == Completeness(True, ((TableId("a:r"), LIVE), (SERVERS, LIVE)))
    states.set(SERVERS, STALE)
    assert answer(states) == Completeness(False, ((TableId("a:r"), LIVE), (SERVERS, STALE)))
    states.forget(SERVERS)
    assert answer(states).of[1] == (SERVERS, LOADING)


def test_a_table_that_nobody_fills_is_absent() -> None:
    states = States()
    assert answer(states, PORTS) == Completeness(False, ((PORTS, ABSENT),))
    assert answer(states, TableId("nova:ports")).of == ((TableId("nova:ports"), ABSENT),)
    assert answer(states, TableId("time:now")).of == ((TableId("time:now"), LOADING),)


def test_facts_are_live_and_so_is_a_table_of_ones_own_without_any() -> None:
    assert answer(States(), TableId("a:nothing")).complete


def test_an_input_that_rules_fill_too_hangs_on_both() -> None:
    before = program(
        PolicyIn("nova", "datasource"), ("nova", "servers(1)  servers(x) :- neutron:ports(x)")
    )
    assert [table for table, _ in answer(States(), SERVERS, before).of] == [PORTS, SERVERS]


def test_a_rule_that_waits_makes_an_answer_incomplete() -> None:
    before = program(PolicyIn("a"), PolicyIn("nova", "datasource"), ("a", "p(x) :- nova:t(id=x)"))
    states = States()
    states.set(TableId("nova:t"), LIVE)
    found = answer(states, P, before)
    assert (found.complete, found.waiting) == (False, ("a: p(x) :- nova:t(id=x)",))


def test_an_answer_is_remembered_until_a_rule_or_a_state_changes() -> None:
    states = States()
    first = answer(states)
    assert answer(states) is first
    states.set(PORTS, LIVE)
    assert answer(states) is not first
    second = answer(states)
    states.set(PORTS, LIVE)
    states.forget(TableId("never:known"))
    by_fact = taken(WORLD, ("a", "r(1)")).program
    assert answer(states, of=by_fact) is second
    by_rule = taken(WORLD, ("a", "q(x) :- neutron:ports(x)")).program
    assert [table for table, _ in answer(states, of=by_rule).of] == ["a:r", PORTS, SERVERS]


def test_states_can_be_put_back() -> None:
    states = States()
    known = dict(states.known)
    states.set(SERVERS, LIVE)
    assert answer(states).complete
    states.restore(known)
    assert not answer(states).complete
