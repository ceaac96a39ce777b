"""Calls over a bus that drops, duplicates, delays, reorders and parts: by seed, in virtual time.

Forty seeds here, a thousand in `proof/calls.py`; what is checked says `support/calls_world`.
"""

import asyncio
import random
from collections import Counter

import pytest

from transom.errors import MessagingTimeout
from transom.messaging import Client, Server, Target
from transom.messaging.drivers.memory import Faults, MemoryBus

from support.calls_world import World, episode
from virtual import run_virtual


@pytest.mark.parametrize("seed", range(40))
def test_calls_keep_their_promises_on_a_bad_bus(seed: int) -> None:
    episode(seed, faulty=True)


@pytest.mark.parametrize("seed", range(10))
def test_every_call_is_answered_on_a_good_bus(seed: int) -> None:
    episode(seed, faulty=False)


def test_idempotent_calls_survive_a_bus_that_loses_a_third() -> None:
    answered: Counter[bool] = Counter()

    async def run() -> None:
        world = World(7, faulty=False)
        bus = MemoryBus.named("sim")
        async with (
            world.transport("a") as ours,
            world.transport("b") as theirs,
            Server(theirs, Target(topic="t", server="h"), [world.endpoint()]),
        ):
            bus.faults = Faults(random.Random(7), drop=0.3)
            for idempotent in (True, False):
                client = Client(ours, Target(topic="t"), timeout_s=40, idempotent=idempotent)
                for number in range(100):
                    key = f"{idempotent}{number}"
                    world.deadlines_ms[key] = world.clock.now_ms() + 40_001
                    try:
                        await client.call({}, "work", key=key, seconds=0)
                        answered[idempotent] += 1
                    except MessagingTimeout:
                        continue

    run_virtual(run, 7)
    assert answered[True] >= 88, "half of the calls come through, four tries leave a sixteenth"
    assert 35 <= answered[False] <= 65


def test_the_same_seed_gives_the_same_run() -> None:
    def outcome(seed: int) -> tuple[Counter[str], Counter[str]]:
        world = World(seed, faulty=True)
        run_virtual(world.run, seed)
        return world.outcomes, world.begun

    assert outcome(3) == outcome(3)
    assert outcome(3) != outcome(4)


@pytest.mark.parametrize("seed", range(40))
def test_stop_at_any_moment_neither_loses_nor_doubles_a_request(seed: int) -> None:
    done: Counter[int] = Counter()

    class Endpoint:
        async def work(self, context, number):
            done[number] += 1

    async def run() -> None:
        draw, world = random.Random(seed), World(seed, faulty=False)
        async with world.transport("a") as ours, world.transport("b") as theirs:
            staying, leaving = (
                Server(theirs, Target(topic="t", server=name), [Endpoint()], concurrency=2)
                for name in ("stays", "leaves")
            )
            await staying.start()
            await leaving.start()
            client = Client(ours, Target(topic="t"), timeout_s=60)
            sending = [
                asyncio.ensure_future(client.cast({}, "work", number=number))
                for number in range(20)
            ]
            for _ in range(draw.randrange(12)):
                await asyncio.sleep(0)
            await leaving.stop()
            await asyncio.gather(*sending)
            await asyncio.sleep(10)
            await staying.stop()

    run_virtual(run, seed)
    assert done == Counter(range(20))
