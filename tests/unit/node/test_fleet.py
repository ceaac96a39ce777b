# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is, and the ends of a role that is asked to stop."""

from dataclasses import replace

from transom.node.logic.fleet import to_begin, to_stop
from transom.node.logic.life import Effect, Event, Kind, Life, Limits, State, step

LIMITS = Limits()
ORDERS = {"first": 1, "second": 1, "last": 2}


def lives(**states: State) -> dict[str, Life]:
    return {name: Life(state=state) for name, state in states.items()}


def test_nobody_begins_while_one_of_an_earlier_turn_is_not_settled() -> None:
    starting = lives(first=State.STARTING, second=State.IDLE, last=State.IDLE)
    assert to_begin(starting, ORDERS) == ["second"]
    ready = lives(first=State.READY, second=State.FAILED, last=State.IDLE)
    assert to_begin(ready, ORDERS) == ["last"]


def test_when_all_are_settled_nobody_begins() -> None:
    everyone = lives(first=State.READY, second=State.FAILED, last=State.STOPPED)
    assert to_begin(everyone, ORDERS) == []


def test_the_last_to_begin_stop_first() -> None:
    everyone = lives(first=State.READY, second=State.READY, last=State.DRAINING)
    assert to_stop(everyone, ORDERS) == ["last"]
    ended = lives(first=State.READY, second=State.FAILED, last=State.STOPPED)
    assert to_stop(ended, ORDERS) == ["first"]


def test_when_all_have_ended_nobody_is_stopped() -> None:
    ended = lives(first=State.STOPPED, second=State.FAILED, last=State.STOPPED)
    assert to_stop(ended, ORDERS) == []


def test_a_role_that_is_killed_when_the_stop_comes_ends_as_stopped() -> None:
    killed = Life(state=State.KILLED, wake_s=1.0)
    stopping, effects = step(killed, Event(Kind.STOP), LIMITS, 0.5)
    assert (stopping.state, stopping.stopping, effects) == (State.KILLED, True, ())
    ended, effects = step(stopping, Event(Kind.ENDED), LIMITS, 0.5)
    assert (ended.state, effects) == (State.STOPPED, ())


def test_a_process_that_cannot_be_killed_is_killed_again_and_given_up_at_a_stop() -> None:
    killed = Life(state=State.KILLED, wake_s=1.0, beats=LIMITS.reap_beats)
    again, effects = step(killed, Event(Kind.BEAT), LIMITS, 0.5)
    assert (again.state, effects) == (State.KILLED, (Effect.KILL,))
    given_up, effects = step(replace(again, stopping=True), Event(Kind.BEAT), LIMITS, 0.5)
    assert (given_up.state, effects) == (State.STOPPED, ())
    assert given_up.problem == "could not be killed"
