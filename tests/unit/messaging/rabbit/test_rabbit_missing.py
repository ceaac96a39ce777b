"""Answers whose caller's queue is missing."""

from random import Random

from transom.messaging.drivers.rabbit import missing
from transom.messaging.drivers.rabbit.missing import Held, MissingQueues


def held(text: str, deadline_s: float = 100.0) -> Held:
    return Held(text.encode(), deadline_s)


def test_a_queue_that_is_back_gets_its_messages_in_order() -> None:
    queues = MissingQueues()
    assert not queues.in_line("r", held("a"))
    queues.missing("r", held("a"), 0.0)
    assert queues.in_line("r", held("b"))
    assert queues.in_line("r", held("c"))
    [(name, first)] = queues.due(queues.wake_s())
    assert (name, first.body) == ("r", b"a")
    assert [one.body for one in queues.tried("r", 0.1, found=True)] == [b"b", b"c"]
    assert len(queues) == queues.held == 0


def test_a_queue_is_tried_a_few_times_with_one_message_and_is_then_dead() -> None:
    queues = MissingQueues()
    for number in range(10):
        queues.missing("r", held(str(number)), 0.0)
    now_s = tries = 0
    while queues.wake_s() < 50:
        now_s = queues.wake_s()
        tries += len(queues.due(now_s))
        assert queues.due(now_s) == [], "one try at a time"
        assert queues.tried("r", now_s, found=False) == []
    assert tries == missing.TRIES
    assert 2 < now_s < 5
    assert queues.held == 0
    queues.missing("r", held("later"), now_s + 1)
    assert queues.held == 0, "nothing is kept for a dead queue"
    assert not queues.in_line("r", held("later")), "but it is tried by being sent"
    queues.missing("r", held("much later"), now_s + missing.DEAD_S + 1)
    assert queues.held == 1, "after a while it gets another chance"


def test_a_dead_queue_that_is_found_is_forgotten() -> None:
    queues = MissingQueues()
    queues.missing("r", held("a"), 0.0)
    for _ in range(missing.TRIES):
        now_s = queues.wake_s()
        queues.due(now_s)
        queues.tried("r", now_s, found=False)
    queues.is_there("r")
    assert len(queues) == 0


def test_a_message_past_its_deadline_is_not_tried() -> None:
    queues = MissingQueues()
    queues.missing("r", held("a", deadline_s=0.005), 0.0)
    assert queues.due(1.0) == []
    assert queues.held == 0


def test_whatever_happens_memory_is_bounded_and_counted_right() -> None:
    draws = Random(7)
    queues = MissingQueues()
    now_s = 0.0
    for _ in range(20_000):
        now_s += draws.random() * 0.01
        name = f"r{draws.randrange(3000)}"
        message = Held(bytes(draws.randrange(100_000)), now_s + draws.random() * 5)
        if not queues.in_line(name, message):
            queues.missing(name, message, now_s)
        for tried, _ in queues.due(now_s):
            queues.tried(tried, now_s, found=draws.random() < 0.1)
        assert len(queues) <= missing.QUEUES_MAX
        assert 0 <= queues.held <= missing.HELD_MAX
        assert 0 <= queues._held_bytes <= missing.HELD_BYTES_MAX
    for name in list(queues._queues):
        queues.tried(name, now_s, found=True)
    assert queues.held == queues._held_bytes == 0
