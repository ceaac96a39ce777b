"""The virtual loop keeps its promises, and the private parts of asyncio that it uses are there."""

import asyncio
import inspect
import time
from asyncio.base_events import BaseEventLoop

import pytest

from virtual import START_S, Deadlock, Overtime, VirtualClock, run_virtual, seeded_randomness


def test_asyncio_still_has_the_private_parts_that_the_loop_is_built_on() -> None:
    source = inspect.getsource(BaseEventLoop._run_once)
    assert "self._selector.select(timeout)" in source
    assert "self._process_events(event_list)" in source
    assert "self._clock_resolution" in source
    assert "ntodo = len(self._ready)" in source
    loop = BaseEventLoop()
    try:
        assert hasattr(loop._ready, "extendleft")
        handle = loop.call_soon(print)
        assert handle._callback is print
        assert loop._ready[-1] is handle
    finally:
        loop.close()


def test_a_step_of_a_task_can_be_told_from_a_plain_callback() -> None:
    kinds: list[bool] = []

    async def step() -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(step())
        kinds.append(isinstance(loop._ready[-1]._callback.__self__, asyncio.Task))
        await task

    run_virtual(main, 1)
    assert kinds == [True]


def test_an_hour_passes_at_once_and_every_clock_agrees() -> None:
    async def main() -> tuple[float, int, float]:
        clock = VirtualClock()
        before = clock.now_ms()
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time(), clock.now_ms() - before, clock.monotonic_s()

    begun = time.perf_counter()
    assert run_virtual(main, 1) == (START_S + 3600, 3_600_000, START_S + 3600)
    assert time.perf_counter() - begun < 1


def test_a_timeout_ends_in_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(main, 1) == START_S + 30


async def _race() -> str:
    order: list[str] = []

    async def runner(name: str) -> None:
        for _ in range(3):
            order.append(name)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for name in "abcd":
            group.create_task(runner(name))
    return "".join(order)


def test_one_seed_gives_one_run_and_many_seeds_give_many() -> None:
    runs = [run_virtual(_race, seed) for seed in range(50)]
    assert runs == [run_virtual(_race, seed) for seed in range(50)]
    assert len(set(runs)) > 40


def test_a_symmetric_race_of_two_tasks_comes_out_both_ways() -> None:
    async def main() -> str:
        winner: list[str] = []

        async def contender(name: str) -> None:
            await asyncio.sleep(1)
            winner.append(name)

        await asyncio.gather(contender("a"), contender("b"))
        return winner[0]

    winners = [run_virtual(main, seed) for seed in range(100)]
    assert 20 < winners.count("a") < 80


def test_a_lost_update_across_one_await_is_found() -> None:
    async def main() -> int:
        total = 0

        async def add(yields: int) -> None:
            nonlocal total
            read = total
            for _ in range(yields):
                await asyncio.sleep(0)
            total = read + 1

        async def guarded(gate: asyncio.Event) -> None:
            await gate.wait()
            await add(1)

        gate = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(guarded(gate))
            group.create_task(guarded(gate))
            gate.set()
        return total

    assert {run_virtual(main, seed) for seed in range(100)} == {1, 2}


def test_plain_callbacks_keep_their_order() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        seen: list[int] = []
        others = [loop.create_task(asyncio.sleep(0)) for _ in range(5)]
        for number in range(20):
            loop.call_soon(seen.append, number)
        await asyncio.wait(others)
        await asyncio.sleep(1)
        return seen

    for seed in range(50):
        assert run_virtual(main, seed) == list(range(20))


def test_time_stands_still_while_a_step_is_held_back() -> None:
    async def main() -> float:
        async def spin() -> None:
            for _ in range(1000):
                await asyncio.sleep(0)

        asyncio.get_running_loop().call_later(1, lambda: None)
        await asyncio.gather(spin(), spin())
        return asyncio.get_running_loop().time()

    assert run_virtual(main, 3) == START_S


def test_a_deadlock_is_an_error_that_names_the_waiting_tasks_and_the_seed() -> None:
    async def main() -> None:
        async def stuck_forever() -> None:
            await asyncio.Event().wait()

        async with asyncio.TaskGroup() as group:
            group.create_task(stuck_forever(), name="the-stuck-one")

    with pytest.raises(Deadlock, match=r"the-stuck-one at .*stuck_forever") as caught:
        run_virtual(main, 7)
    assert "seed 7" in caught.value.__notes__[0]


def test_a_run_that_never_ends_is_an_error() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(1)

    with pytest.raises(Overtime):
        run_virtual(main, 1, limit_s=500)


def test_threads_and_sockets_are_refused() -> None:
    async def threads() -> None:
        await asyncio.to_thread(print)

    async def sockets() -> None:
        await asyncio.open_connection("localhost", 1)

    with pytest.raises(RuntimeError, match="no threads"):
        run_virtual(threads, 1)
    with pytest.raises(RuntimeError, match="no threads"):
        run_virtual(sockets, 1)


def test_what_main_raises_comes_out_and_its_tasks_are_cancelled() -> None:
    ended: list[str] = []

    async def main() -> None:
        async def other() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                ended.append("cancelled")

        task = asyncio.get_running_loop().create_task(other())
        await asyncio.sleep(1)
        raise ValueError(f"{task.done()}")

    with pytest.raises(ValueError, match="False"):
        run_virtual(main, 1)
    assert ended == ["cancelled"]


def test_randomness_by_seed_repeats() -> None:
    assert seeded_randomness(4)(16) == seeded_randomness(4)(16)
    assert seeded_randomness(4)(16) != seeded_randomness(5)(16)
