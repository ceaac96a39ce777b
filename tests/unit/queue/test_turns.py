"""Turns: requests on one queue keep their order, whatever comes and ends when."""

import random

from hypothesis import given
from hypothesis import strategies as st

from transom.queue.logic.turns import Kind, Turns

R, W, P = Kind.READING, Kind.WRITING, Kind.WAITING
REQUESTS = st.lists(st.tuples(st.sampled_from(["", "q", "r"]), st.sampled_from(Kind)), max_size=30)


def test_writes_overlap_only_where_they_keep_their_order() -> None:
    for overlapping in (True, False):
        turns: Turns[int] = Turns(overlapping=overlapping)
        assert turns.begins("q", W, 1)
        assert turns.begins("q", W, 2) is overlapping
        assert turns.begins("other", W, 3)
        assert turns.begins("", W, 4)


def test_a_read_waits_for_the_writes_before_it_and_a_write_for_the_reads() -> None:
    turns: Turns[str] = Turns(overlapping=True)
    assert turns.begins("q", W, "w1")
    assert not turns.begins("q", R, "r1")
    assert not turns.begins("q", R, "r2")
    assert not turns.begins("q", W, "w2")
    assert turns.ended("q", W) == ["r1", "r2"]
    assert turns.ended("q", R) == []
    assert turns.ended("q", R) == ["w2"]
    assert turns.ended("q", W) == []


def test_what_waits_for_messages_holds_nobody_up() -> None:
    turns: Turns[str] = Turns(overlapping=False)
    assert turns.begins("q", P, "long")
    assert turns.begins("q", W, "post")
    assert not turns.begins("q", P, "later")
    assert not turns.begins("q", W, "next")
    assert turns.ended("q", W) == ["later", "next"]


def test_an_end_of_what_never_held_a_turn_begins_nothing() -> None:
    turns: Turns[str] = Turns(overlapping=False)
    assert turns.ended("q", W) == []
    assert turns.begins("q", W, "post")
    assert turns.ended("q", P) == []
    assert turns.ended("q", W) == []


@given(REQUESTS, st.booleans(), st.integers())
def test_every_request_begins_once_in_order_and_none_beside_what_it_waits_for(
    requests: list[tuple[str, Kind]], overlapping: bool, seed: int
) -> None:
    turns: Turns[int] = Turns(overlapping=overlapping)
    chance = random.Random(seed)
    running: set[int] = set()
    begun: list[int] = []

    def begin(number: int) -> None:
        queue, kind = requests[number]
        if queue:
            beside = [requests[other][1] for other in running if requests[other][0] == queue]
            beside = [other for other in beside if other is not P]
            assert all(other is kind and (kind is R or overlapping) for other in beside)
            same = [other for other in begun if requests[other][0] == queue]
            assert not same or same[-1] < number
        running.add(number)
        begun.append(number)

    def end_one() -> None:
        number = chance.choice(sorted(running))
        running.remove(number)
        for other in turns.ended(*requests[number]):
            begin(other)

    for number, (queue, kind) in enumerate(requests):
        if turns.begins(queue, kind, number):
            begin(number)
        while running and chance.random() < 0.4:
            end_one()
    while running:
        end_one()
    assert sorted(begun) == list(range(len(requests)))
