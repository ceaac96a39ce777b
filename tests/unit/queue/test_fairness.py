"""Whose turn it is: fair by cost, first come first served within a flow, bounded."""

import random
from collections import Counter

import pytest

from transom.queue.logic.fairness import FairLine, Refused

EVER = 10**9


@pytest.mark.parametrize("seed", range(50))
def test_flows_that_wait_share_the_cost_equally_and_keep_their_order(seed: int) -> None:
    draw = random.Random(seed)
    line: FairLine[tuple[str, int, int]] = FairLine(8, EVER, 10_000, 100_000)
    names = [f"flow-{number}" for number in range(draw.randint(2, 6))]
    for name in names:
        most = draw.choice([1, 5, 30])
        for number in range(2000):
            cost = draw.randint(1, most)
            assert line.put(name, cost, (name, number, cost)) is None
    used: Counter[str] = Counter()
    seen: dict[str, int] = dict.fromkeys(names, -1)
    while all(line.of(name) for name in names):
        taken = line.take(EVER)
        assert taken is not None
        name, number, cost = taken
        assert number == seen[name] + 1
        seen[name] = number
        used[name] += cost
        assert max(used[name] for name in names) - min(used[name] for name in names) <= 2 * (8 + 30)


def test_a_flow_is_bounded_alone_and_all_of_them_together() -> None:
    line: FairLine[int] = FairLine(8, EVER, 2, 3)
    assert [line.put("a", 1, number) for number in range(3)] == [None, None, Refused.FLOW_FULL]
    assert line.put("b", 1, 3) is None
    assert line.put("c", 1, 4) is Refused.FULL
    assert [line.take(EVER) for _ in range(4)] == [0, 3, 1, None] or len(line) == 0
    assert line.put("a", 1, 9) is None


def test_one_who_rests_saves_nothing_up() -> None:
    line: FairLine[str] = FairLine(4, EVER, 100, 1000)
    for _ in range(50):
        line.put("busy", 1, "busy")
    for _ in range(20):
        line.take(EVER)
    for _ in range(50):
        line.put("late", 1, "late")
    assert Counter(line.take(EVER) for _ in range(8)) == {"busy": 4, "late": 4}


def test_who_has_its_share_under_way_waits_and_others_go_straight_on() -> None:
    line: FairLine[int] = FairLine(8, 10, 100, 1000)
    assert [line.goes("a", 1, 2) for _ in range(3)] == [True, True, False]
    assert line.put("a", 1, 1) is None
    assert line.take(2) is None
    assert line.goes("b", 1, 2)
    line.done("a", 1)
    assert not line.goes("a", 1, 2)  # behind the one that waits
    assert line.take(2) == 1
    assert (line.under_way("a"), line.under_way("b"), len(line)) == (2, 1, 0)


def test_where_there_is_no_room_nobody_goes() -> None:
    line: FairLine[str] = FairLine(8, 3, 100, 1000)
    assert [line.goes(name, 1, 2) for name in "abcd"] == [True, True, True, False]
    line.put("d", 1, "d")
    assert line.take(2) is None
    line.done("a", 1)
    assert line.take(2) == "d"
    for name in "bcd":
        line.done(name, 1)
    assert line.under_way("d") == 0
