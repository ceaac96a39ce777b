"""The writer in front of which projects wait for their turns, in virtual time."""

import asyncio
import random
from typing import Any

import pytest

from transom.errors import TooManyRequests
from transom.node.once import Key
from transom.queue.config import QueueConfig
from transom.queue.model import ClientId, NewMessage, Place
from transom.queue.store.fair_writer import ALONE, COST_MAX, FairWriter, cost_of
from transom.queue.store.verbs.catalogue import Once
from transom.queue.store.verbs.messages import Pop, Post
from transom.queue.store.verbs.travelling import Here

from virtual import run_virtual


class Slow:
    """A writer that takes a millisecond for each, some at a time."""

    problem = ""
    leaves = False

    def __init__(self) -> None:
        self.under_way = self.most = 0
        self.order: list[str] = []

    async def write(self, verb: Any) -> Any:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0.001)
            self.most = max(self.most, self.under_way)
            self.order.append(verb.place.project_id)
            return 0
        finally:
            self.under_way -= 1


def pop(project_id: str) -> Pop:
    return Pop(Place(project_id, "q"), 1)


@pytest.mark.parametrize("seed", range(10))
def test_one_projects_flood_does_not_hold_up_another(seed: int) -> None:
    async def main() -> None:
        slow = Slow()
        writer = FairWriter(slow, QueueConfig(writes_at_once=4))
        loop = asyncio.get_running_loop()
        flood = [loop.create_task(writer.write(pop("flood"))) for _ in range(900)]
        await asyncio.sleep(0.002)
        began_s = loop.time()
        await writer.write(pop("calm"))
        took_s = loop.time() - began_s
        assert took_s < 0.002  # behind none of those that wait
        await writer.write(pop("calm"))  # by now nothing of the time before the calm one is left
        slow.most = 0
        await writer.write(pop("calm"))
        assert slow.most <= 4 + 1  # what the flood may have under way now, and the calm one
        await asyncio.gather(*flood)
        assert writer.waiting == 0

    run_virtual(main, seed)


@pytest.mark.parametrize("seed", range(10))
def test_who_has_too_much_waiting_is_refused_alone_and_who_is_cancelled_frees_its_place(
    seed: int,
) -> None:
    async def main() -> None:
        slow, draw = Slow(), random.Random(seed)
        config = QueueConfig(writes_at_once=2, project_max_waiting_writes=10)
        writer = FairWriter(slow, config)
        loop = asyncio.get_running_loop()
        alone = 2 * ALONE
        tasks = [loop.create_task(writer.write(pop("a"))) for _ in range(alone + 10)]
        for _ in range(1000):  # all begin, and no time passes
            await asyncio.sleep(0)
        assert (writer.waiting, slow.under_way) == (10, alone)
        with pytest.raises(TooManyRequests) as refused:
            await writer.write(pop("a"))
        assert refused.value.retry_after_s >= 1
        tasks.append(loop.create_task(writer.write(pop("b"))))
        await asyncio.sleep(0.0005)
        for task in draw.sample(tasks, 12):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(2):  # no place has leaked
            await asyncio.gather(*[writer.write(pop("c")) for _ in range(10)])
            await asyncio.gather(*[writer.write(pop(f"p{number}")) for number in range(40)])
        assert (slow.under_way, slow.most, writer.waiting) == (0, alone, 0)

    run_virtual(main, seed)


def test_a_large_post_counts_for_more_than_a_small_one() -> None:
    def post(number: int, size_bytes: int) -> Post:
        return Post(Place("a", "q"), ClientId(b"c" * 16), size_bytes, (NewMessage(b"1"),) * number)

    assert cost_of(post(1, 200)) == 1
    assert cost_of(post(20, 200)) == 20
    assert cost_of(post(1, 40_960)) == 11
    assert cost_of(post(1000, 10**6)) == COST_MAX
    assert cost_of(pop("a")) == 1
    key = Key("a", "u", "once", b"d" * 32, 1000)
    assert cost_of(Here(None, Once(key, post(20, 200)))) == 20
