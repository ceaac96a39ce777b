"""The bell: who is woken, in which order, and that no ring is lost. In virtual time."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from transom.errors import TooManyRequests, Unavailable
from transom.queue.app.bell import SPARE, Bell
from transom.queue.app.waiting import Waiting
from transom.queue.config import QueueConfig
from transom.queue.model import OutOfRange, Place
from transom.queue.store.availability import Look

from virtual import VirtualClock, run_virtual

Q, R = Place("p", "q"), Place("p", "r")


class Shelf:
    """Queues in memory: what is taken from them, and what comes later by itself."""

    def __init__(self, *, alone: bool = True, **config: Any) -> None:
        self.clock = VirtualClock()
        self.config = QueueConfig(**config)
        self.things: dict[Place, deque[int]] = {Q: deque(), R: deque()}
        self.later: dict[Place, list[tuple[int, int]]] = {Q: [], R: []}
        self.looks = 0
        self.bell = Bell(
            self.look,
            self.clock,
            waiters_max=self.config.max_waiters,
            project_waiters_max=self.config.project_max_waiters,
            alone=alone,
        )
        self.waiting = Waiting(self.bell, self.config)

    def ripen(self, place: Place) -> None:
        now_ms, later = self.clock.now_ms(), self.later[place]
        self.things[place].extend(thing for at_ms, thing in later if at_ms <= now_ms)
        self.later[place] = [pair for pair in later if pair[0] > now_ms]

    async def look(self, place: Place) -> Look:
        self.looks += 1
        await asyncio.sleep(0)
        self.ripen(place)
        following = min((at_ms for at_ms, _ in self.later[place]), default=None)
        return Look(bool(self.things[place]), following, (1, len(self.things[place])))

    def put(self, place: Place, *things: int) -> None:
        self.things[place].extend(things)
        self.bell.ring(place)

    def delay(self, place: Place, thing: int, seconds: float) -> None:
        self.later[place].append((self.clock.now_ms() + int(seconds * 1000), thing))
        self.bell.ring(place)

    async def take(self, wait_s: int, *places: Place) -> int | None:
        async def attempt() -> int | None:
            await asyncio.sleep(0)
            for place in places or (Q,):
                self.ripen(place)
                if self.things[place]:
                    return self.things[place].popleft()
            return None

        return await self.waiting.take(places or (Q,), wait_s, attempt)

    async def observe(self, wait_s: int, seen: Callable[[int], bool]) -> tuple[int, ...]:
        async def attempt() -> tuple[int, ...]:
            await asyncio.sleep(0)
            self.ripen(Q)
            return tuple(filter(seen, self.things[Q]))

        return await self.waiting.observe(Q, wait_s, attempt)


def now_s() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("seed", range(20))
def test_each_thing_is_taken_once_and_at_once(seed: int) -> None:
    async def main() -> None:
        shelf, draw, taken = Shelf(), random.Random(seed), []

        async def taker() -> None:
            began_s = now_s()
            thing = await shelf.take(50)
            assert thing is not None
            taken.append(thing)
            assert now_s() - began_s < 50

        async with asyncio.TaskGroup() as group:
            for _ in range(60):
                group.create_task(taker())
            thing = 1
            while thing <= 60:
                await asyncio.sleep(draw.choice([0, 0, 0.001, 0.5]))
                number = min(61 - thing, draw.randint(1, 9))
                shelf.put(Q, *range(thing, thing + number))
                thing += number
                put_s = now_s()
            async with asyncio.timeout(1):
                while len(taken) < 60:
                    await asyncio.sleep(0 if draw.random() < 0.99 else 1e-6)
            assert now_s() - put_s < 0.01  # nobody needed a timer
        assert sorted(taken) == list(range(1, 61))
        assert shelf.bell.waiting == 0

    run_virtual(main, seed)


@pytest.mark.parametrize("seed", range(10))
def test_first_come_first_served(seed: int) -> None:
    async def main() -> None:
        shelf, order = Shelf(), []

        async def taker(number: int) -> None:
            await asyncio.sleep(number)
            if await shelf.take(60) is not None:
                order.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(10):
                group.create_task(taker(number))
            await asyncio.sleep(20)
            for thing in range(1, 11):
                shelf.put(Q, thing)
                await asyncio.sleep(0.1)
        assert order == list(range(10))

    run_virtual(main, seed)


def test_a_delay_or_claim_that_ends_wakes_by_time_alone() -> None:
    async def main() -> None:
        shelf = Shelf()
        shelf.later[Q].append((shelf.clock.now_ms() + 20_000, 7))
        began_s = now_s()
        waiting = asyncio.create_task(shelf.take(60))
        await asyncio.sleep(1)
        shelf.delay(Q, 8, 4.0)  # what comes sooner is heard of
        assert await waiting == 8
        assert now_s() - began_s == pytest.approx(5.0, abs=0.01)
        assert await shelf.take(60) == 7
        assert now_s() - began_s == pytest.approx(20.0, abs=0.01)
        assert shelf.looks < 12

    run_virtual(main, 1)


def test_nothing_comes_and_the_answer_is_empty_in_time_and_without_polling() -> None:
    async def main() -> None:
        shelf = Shelf()
        began_s = now_s()
        assert await shelf.take(30) is None
        assert now_s() - began_s == 30
        assert await shelf.observe(10, lambda thing: True) == ()
        assert (now_s() - began_s, shelf.looks) == (40, 2)

    run_virtual(main, 1)


def test_who_observes_is_woken_for_each_ring_and_sleeps_on_if_it_is_not_for_them() -> None:
    async def main() -> None:
        shelf = Shelf()
        even = [
            asyncio.create_task(shelf.observe(60, lambda one: one % 2 == 0)) for _ in range(200)
        ]
        await asyncio.sleep(1)
        shelf.put(Q, 1)
        await asyncio.sleep(1)
        assert not any(task.done() for task in even)
        shelf.put(Q, 2)
        assert await asyncio.gather(*even) == [(2,)] * 200

    run_virtual(main, 1)


def test_many_rings_of_one_moment_wake_each_who_observes_once() -> None:
    async def main() -> None:
        shelf, number = Shelf(), 200
        tries = 0

        def none(thing: int) -> bool:
            nonlocal tries
            tries += 1
            return False

        tasks = [asyncio.create_task(shelf.observe(60, none)) for _ in range(number)]
        await asyncio.sleep(1)
        shelf.things[Q].append(1)
        for _ in range(50):
            shelf.bell.ring(Q)
        await asyncio.sleep(1)
        assert number <= tries <= 2 * number
        shelf.bell.close()
        await asyncio.gather(*tasks)

    run_virtual(main, 1)


def test_a_waiter_of_several_queues_hears_any_of_them() -> None:
    async def main() -> None:
        shelf = Shelf()
        task = asyncio.create_task(shelf.take(60, Q, R))
        await asyncio.sleep(1)
        shelf.put(R, 5)
        assert await task == 5
        assert not shelf.bell.has_takers(Q)

    run_virtual(main, 1)


@pytest.mark.parametrize("seed", range(10))
def test_who_is_cancelled_when_its_turn_comes_passes_it_on(seed: int) -> None:
    async def main() -> None:
        shelf = Shelf()
        first = asyncio.create_task(shelf.take(60))
        await asyncio.sleep(1)
        second = asyncio.create_task(shelf.take(60))
        await asyncio.sleep(1)
        shelf.put(Q, 1)
        first.cancel()
        assert await asyncio.wait_for(second, 1) == 1

    run_virtual(main, seed)


def test_a_caller_that_hangs_up_takes_nothing_and_frees_its_place() -> None:
    async def main() -> None:
        shelf, gone, given_back = Shelf(), asyncio.Event(), []

        async def attempt() -> int | None:
            return shelf.things[Q].popleft() if shelf.things[Q] else None

        async def undo(thing: int | None) -> None:
            given_back.append(thing)

        async def hung_up() -> None:
            await gone.wait()

        task = asyncio.create_task(shelf.waiting.take([Q], 60, attempt, hung_up, undo))
        await asyncio.sleep(1)
        gone.set()
        assert await task is None
        assert shelf.bell.waiting == 0
        shelf.put(Q, 1)
        assert list(shelf.things[Q]) == [1]

        async def late() -> int | None:  # it goes while it is served
            gone.set()
            await asyncio.sleep(0.01)
            return await attempt()

        gone.clear()
        assert await shelf.waiting.take([R], 60, late, hung_up, undo) == 1  # before it waited

    run_virtual(main, 1)


def test_a_drain_answers_all_at_once_and_nobody_waits_afterwards() -> None:
    async def main() -> None:
        shelf = Shelf()
        tasks = [asyncio.create_task(shelf.take(60)) for _ in range(5)]
        tasks.append(asyncio.create_task(shelf.take(60, Q, R)))
        await asyncio.sleep(1)
        began_s = now_s()
        shelf.bell.close()
        assert await asyncio.gather(*tasks) == [None] * 6
        assert await shelf.take(60) is None
        assert now_s() == began_s

    run_virtual(main, 1)


def test_waiters_are_bounded_for_the_process_and_for_each_project() -> None:
    async def main() -> None:
        shelf = Shelf(max_waiters=3, project_max_waiters=2)
        tasks = [asyncio.create_task(shelf.take(60)) for _ in range(2)]
        await asyncio.sleep(1)
        with pytest.raises(TooManyRequests) as refused:
            await shelf.take(60)
        assert refused.value.retry_after_s >= 1
        other = Place("other", "q")
        waiter = shelf.bell.enter([other], takes=True)
        with pytest.raises(Unavailable):
            shelf.bell.enter([Place("third", "q")], takes=True)
        shelf.bell.leave(waiter, served=False)
        assert await shelf.take(0) is None  # who does not wait needs no place
        shelf.put(Q, 1, 2)
        assert set(await asyncio.gather(*tasks)) == {1, 2}
        assert shelf.bell.waiting == 0
        with pytest.raises(OutOfRange):
            await shelf.take(61)

    run_virtual(main, 1)


def test_what_nobody_told_us_of_is_found_within_a_second_where_others_write() -> None:
    async def main() -> None:
        shelf = Shelf(alone=False)
        await shelf.bell.start()
        task = asyncio.create_task(shelf.take(60))
        await asyncio.sleep(5.3)
        shelf.things[Q].append(3)  # another process's, unheard of
        began_s = now_s()
        assert await task == 3
        assert 0 < now_s() - began_s <= 1.1
        await shelf.bell.stop()

    run_virtual(main, 1)


def test_what_another_waiter_saw_first_is_still_told_to_who_waits_longer() -> None:
    async def main() -> None:
        shelf = Shelf(alone=False)
        await shelf.bell.start()
        task = asyncio.create_task(shelf.take(60))
        await asyncio.sleep(5.3)
        shelf.things[Q].append(3)  # another process's, unheard of
        assert await shelf.observe(60, lambda thing: True) == (3,)
        waiter = shelf.bell.enter([Q], takes=False)  # and one that looks, and goes
        await shelf.bell.look(waiter)
        shelf.bell.leave(waiter, served=False)
        began_s = now_s()
        assert await task == 3
        assert now_s() - began_s <= 1.1
        await shelf.bell.stop()

    run_virtual(main, 1)


def test_what_was_taken_and_given_back_between_two_looks_is_found() -> None:
    async def main() -> None:
        shelf = Shelf(alone=False)
        await shelf.bell.start()
        shelf.bell.enter([Q], takes=False)  # keeps the line
        shelf.things[Q].append(3)
        await asyncio.sleep(3.3)
        taken = shelf.things[Q].popleft()  # elsewhere
        task = asyncio.create_task(shelf.take(60))
        await asyncio.sleep(0.2)
        shelf.things[Q].append(taken)  # elsewhere: nothing has changed since the last look
        began_s = now_s()
        assert await task == 3
        assert now_s() - began_s <= 1.1
        await shelf.bell.stop()

    run_virtual(main, 1)


def test_a_queue_that_cannot_be_looked_at_does_not_hide_the_others() -> None:
    async def main() -> None:
        shelf = Shelf(alone=False)
        look = shelf.look

        async def failing(place: Place) -> Look:
            if place == R:
                raise Unavailable("Its store is away.")
            return await look(place)

        shelf.bell._look = failing
        await shelf.bell.start()
        shelf.bell.enter([R], takes=False)
        task = asyncio.create_task(shelf.take(60))
        await asyncio.sleep(5.3)
        shelf.things[Q].append(3)
        began_s = now_s()
        assert await task == 3
        assert now_s() - began_s <= 1.1
        await shelf.bell.stop()

    run_virtual(main, 1)


@pytest.mark.parametrize("burst", [1, 100, 1000])
def test_a_thousand_who_wait_for_one_queue_are_woken_one_a_message(burst: int) -> None:
    async def main() -> None:
        number = 1000
        shelf = Shelf(max_waiters=number, project_max_waiters=number, max_wait_s=3600)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(shelf.take(3600)) for _ in range(number)]
        while shelf.bell.waiting < number:
            await asyncio.sleep(0)
        await asyncio.sleep(1)
        before = shelf.looks
        for first in range(0, number, burst):
            for thing in range(first + 1, first + burst + 1):
                shelf.put(Q, thing)
            while shelf.things[Q]:
                await asyncio.sleep(0)
        assert sorted(await asyncio.gather(*tasks)) == list(range(1, number + 1))  # type: ignore[type-var]
        assert shelf.looks - before <= 6 * number  # and not the square of it
        assert (shelf.bell.waiting, shelf.bell._lines, shelf.bell._of_project) == (0, {}, {})

    run_virtual(main, 1)


def test_who_comes_and_goes_behind_one_that_stays_leaves_nothing_behind() -> None:
    async def main() -> None:
        shelf = Shelf(max_wait_s=3600)
        first = asyncio.create_task(shelf.take(3600))
        while not shelf.bell.waiting or shelf.bell.awake:
            await asyncio.sleep(0)
        for _ in range(300):
            await asyncio.gather(*[shelf.take(1) for _ in range(5)])
        line = shelf.bell._lines[Q]
        assert len(line._asleep) <= 2 + SPARE
        assert len(line._listed) == len(line._asleep)
        shelf.put(Q, 7)
        assert await first == 7
        assert shelf.bell._lines == {}

    run_virtual(main, 1)


def test_ten_thousand_waiters_elsewhere_cost_a_ring_nothing() -> None:
    async def main() -> None:
        shelf = Shelf(max_waiters=100_000, project_max_waiters=100_000)
        for number in range(10_000):
            waiter = shelf.bell.enter([Place("p", f"other-{number % 7}")], takes=number % 2 == 0)
            waiter.tries()
        loop = asyncio.get_running_loop()
        before = len(loop._ready)  # type: ignore[attr-defined]
        for _ in range(1000):
            shelf.bell.ring(Q)
        assert len(loop._ready) == before  # type: ignore[attr-defined]

    run_virtual(main, 1)
