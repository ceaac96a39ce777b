"""The life cycle of a role: its table, its bounds, and random histories."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from transom.node.logic.fleet import to_begin, to_stop
from transom.node.logic.life import (
    TABLE,
    Effect,
    Event,
    Kind,
    Life,
    Limits,
    State,
    backoff_s,
    step,
)

LIMITS = Limits()
ALIVE = {State.STARTING, State.READY, State.SILENT, State.DRAINING, State.KILLED}


def run(life: Life, *kinds: Kind, limits: Limits = LIMITS) -> tuple[Life, list[Effect]]:
    effects: list[Effect] = []
    for kind in kinds:
        life, new = step(life, Event(kind, problem="died"), limits, 0.5)
        effects += new
    return life, effects


def test_a_role_begins_becomes_ready_and_is_asked_whether_it_lives() -> None:
    life, effects = run(Life(), Kind.BEGIN, Kind.SAID_READY)
    assert life.ready
    assert effects == [Effect.SPAWN, Effect.ASK]


def test_the_first_restart_after_readiness_is_immediate() -> None:
    life, _ = run(Life(), Kind.BEGIN, Kind.SAID_READY, Kind.ENDED)
    assert (life.state, life.wake_s) == (State.DELAYED, 0.0)
    life, effects = run(life, Kind.BEAT)
    assert effects == [Effect.SPAWN]
    assert life.restarts == 1


def test_quick_deaths_after_readiness_never_open_the_breaker_and_wait_half_a_second_at_most() -> (
    None
):
    life = Life()
    life, _ = run(life, Kind.BEGIN)
    for _ in range(100):
        life, _ = run(life, Kind.SAID_READY, Kind.ENDED)
        assert life.state is State.DELAYED
        assert life.wake_s is not None
        assert life.wake_s <= LIMITS.quick_delay_most_s
        life, _ = run(life, Kind.BEAT)


def test_a_role_that_was_ready_for_a_while_is_again_restarted_at_once() -> None:
    life, _ = run(Life(), Kind.BEGIN)
    for _ in range(5):
        life, _ = run(life, Kind.SAID_READY, Kind.ENDED, Kind.BEAT)
    life, _ = run(life, Kind.SAID_READY, *[Kind.BEAT, Kind.ANSWERED] * LIMITS.steady_beats)
    life, _ = run(life, Kind.ENDED)
    assert life.wake_s == 0.0


def test_deaths_before_readiness_open_the_breaker_and_keep_the_reason() -> None:
    life, _ = run(Life(), Kind.BEGIN)
    waits = []
    while life.state is not State.FAILED:
        life, _ = run(life, Kind.ENDED)
        waits.append(life.wake_s)
        life, _ = run(life, Kind.BEAT)
    assert len(waits) == LIMITS.early_deaths_most
    assert waits[0] == 0.0
    assert waits[-1] is None
    assert life.problem == "died"
    assert run(life, Kind.BEAT, Kind.SAID_READY, Kind.ENDED)[1] == []


def test_readiness_forgives_earlier_early_deaths() -> None:
    life, _ = run(Life(), Kind.BEGIN)
    for _ in range(50):
        life, _ = run(life, Kind.ENDED, Kind.BEAT, Kind.ENDED, Kind.BEAT, Kind.SAID_READY)
        life, _ = run(life, Kind.ENDED, Kind.BEAT)
    assert life.state is State.STARTING


def test_a_hopeless_end_is_not_tried_again() -> None:
    life, _ = run(Life(), Kind.BEGIN)
    life, _ = step(life, Event(Kind.ENDED, "port taken", hopeless=True), LIMITS, 0.5)
    assert (life.state, life.problem) == (State.FAILED, "port taken")


def test_a_role_that_never_says_ready_is_killed_at_its_bound() -> None:
    life, _ = run(Life(), Kind.BEGIN)
    life, effects = run(life, *[Kind.BEAT] * LIMITS.ready_beats)
    assert life.state is State.KILLED
    assert effects == [Effect.KILL]
    life, _ = run(life, Kind.ENDED)
    assert life.early == 1
    assert "was not ready" in life.problem


def test_a_silent_role_is_seen_killed_and_restarted_without_counting_toward_the_breaker() -> None:
    life, _ = run(Life(), Kind.BEGIN, Kind.SAID_READY, *[Kind.BEAT] * LIMITS.silent_beats)
    assert life.state is State.SILENT
    life, effects = run(life, *[Kind.BEAT] * (LIMITS.kill_beats - LIMITS.silent_beats))
    assert (life.state, effects) == (State.KILLED, [Effect.KILL])
    life, _ = run(life, Kind.ENDED)
    assert (life.state, life.early, life.wake_s) == (State.DELAYED, 0, 0.0)


def test_one_question_is_out_at_a_time() -> None:
    life, _ = run(Life(), Kind.BEGIN, Kind.SAID_READY)
    _, effects = run(life, *[Kind.BEAT] * 10)
    assert effects == []
    _, effects = run(life, Kind.ANSWERED, Kind.BEAT, Kind.ANSWERED, Kind.BEAT)
    assert effects == [Effect.ASK, Effect.ASK]


def test_a_silent_role_that_answers_is_ready_again() -> None:
    life, _ = run(Life(), Kind.BEGIN, Kind.SAID_READY, *[Kind.BEAT] * LIMITS.silent_beats)
    life, _ = run(life, Kind.ANSWERED)
    assert (life.ready, life.problem) == (True, "")


def test_a_drain_beyond_its_grace_is_killed() -> None:
    life, effects = run(Life(), Kind.BEGIN, Kind.SAID_READY, Kind.STOP)
    assert effects[-1] is Effect.DRAIN
    life, effects = run(life, *[Kind.BEAT] * LIMITS.drain_beats)
    assert (life.state, effects) == (State.KILLED, [Effect.KILL])
    assert run(life, Kind.ENDED)[0].state is State.STOPPED


def test_backoff_doubles_to_its_cap_with_jitter_of_half() -> None:
    assert [backoff_s(n, 0.1, 5.0, 1.0) for n in (0, 1, 2, 3, 4)] == [0, 0, 0.1, 0.2, 0.4]
    assert backoff_s(10_000, 0.1, 5.0, 1.0) == 5.0
    assert backoff_s(10_000, 0.1, 5.0, 0.0) == 2.5


events = st.lists(st.tuples(st.sampled_from(Kind), st.booleans()), max_size=200)
small = Limits(ready_beats=3, kill_beats=4, silent_beats=2, drain_beats=2, reap_beats=2)


@given(events)
def test_every_history_keeps_to_the_table_and_to_its_invariants(history) -> None:
    life, asked_to_stop = Life(), False
    for kind, hopeless in history:
        before = life
        life, effects = step(before, Event(kind, "x", hopeless), small, 0.5)
        asked_to_stop = asked_to_stop or kind is Kind.STOP
        rule = TABLE.get((before.state, kind))
        if rule is None:
            assert life == before
            assert effects == ()
        else:
            assert life.state in rule.leads_to
        assert (life.wake_s is None) == (life.ended or life.state is State.IDLE)
        assert not (asked_to_stop and Effect.SPAWN in effects)
        if Effect.SPAWN in effects:
            assert before.state not in ALIVE, "a second process beside a living one"


@given(events)
def test_every_life_ends_after_a_stop_within_a_bound_of_beats(history) -> None:
    life, _ = run(Life(), *[kind for kind, _ in history], limits=small)
    life, _ = run(life, Kind.STOP, *[Kind.BEAT] * 10, limits=small)
    assert life.ended


def test_a_role_begins_when_all_of_a_lower_order_are_settled() -> None:
    orders = {"a": 1, "b": 1, "c": 2}
    lives = dict.fromkeys(orders, Life())
    assert to_begin(lives, orders) == ["a", "b"]
    lives["a"] = Life(State.READY)
    lives["b"] = Life(State.DELAYED)
    assert to_begin(lives, orders) == []
    lives["b"] = Life(State.FAILED)
    assert to_begin(lives, orders) == ["c"]


def test_roles_stop_in_the_reverse_order() -> None:
    orders = {"a": 1, "b": 2, "c": 2}
    lives = dict.fromkeys(orders, Life(State.READY))
    assert to_stop(lives, orders) == ["b", "c"]
    lives["b"] = replace(lives["b"], state=State.STOPPED)
    assert to_stop(lives, orders) == ["c"]
    lives["c"] = replace(lives["c"], state=State.FAILED)
    assert to_stop(lives, orders) == ["a"]
