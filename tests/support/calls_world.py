# SPDX-License-Identifier: Apache-2.0
"""Calls over a bus that drops, duplicates, delays, reorders and parts, with servers coming and
going: by seed, in virtual time.

Claims, each checked in every run:
1. every call ends within its timeout, with its own answer or with an error;
2. what is not marked idempotent is carried out at most once, however many copies arrive;
3. no sending of a request is carried out twice, an idempotent one's neither;
4. nothing is carried out after the deadline that came with it;
5. what a stopped server had acknowledged was carried out;
6. without faults every call is answered.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from transom import messaging
from transom.errors import MessagingError, MessagingTimeout
from transom.messaging import Client, Server, Target
from transom.messaging import server as server_module
from transom.messaging.drivers.memory import Faults, MemoryBus

from virtual import VirtualClock, run_virtual, seeded_randomness

CALLERS = 6
CALLS_EACH = 12
SERVERS = 3


def now_s() -> float:
    return asyncio.get_running_loop().time()


class World:
    """One run: its transports, what was asked, and what was carried out."""

    def __init__(self, seed: int, *, faulty: bool) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.faulty = faulty
        self.clock = VirtualClock()
        self.begun: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.deadlines_ms: dict[str, int] = {}
        self.sent_once: set[str] = set()
        self.accepted: Counter[str] = Counter()

    def transport(self, peer: str) -> messaging.Transport:
        return messaging.connect(
            f"memory://sim/{peer}",
            clock=self.clock,
            random=seeded_randomness(f"{self.seed}{peer}"),
        )

    def endpoint(self) -> object:
        world = self

        class Endpoint:
            async def work(self, context, key, seconds):
                assert world.clock.now_ms() < world.deadlines_ms[key], "begun past its deadline"
                world.begun[key] += 1
                await asyncio.sleep(seconds)
                world.finished[key] += 1
                return key

        return Endpoint()

    async def caller(self, number: int, transport: messaging.Transport) -> None:
        client = Client(transport, Target(topic="t"))
        for turn in range(CALLS_EACH):
            await asyncio.sleep(self.random.uniform(0, 3))
            key, timeout_s = f"{number}-{turn}", self.random.choice([1.0, 5.0, 20.0])
            idempotent = self.random.random() < 0.5
            monitor_s = self.random.choice([None, None, 2, 4])
            if not idempotent:
                self.sent_once.add(key)
            call = client.to(
                timeout_s=timeout_s, idempotent=idempotent, call_monitor_timeout_s=monitor_s
            )
            if self.random.random() < 0.5:
                call = call.to(server=f"h{self.random.randrange(SERVERS)}")
            await self.ask(call, key, timeout_s)

    async def ask(self, client: Client, key: str, timeout_s: float) -> None:
        started = now_s()
        self.deadlines_ms[key] = self.clock.now_ms() + int(timeout_s * 1000) + 1
        try:
            seconds = self.random.choice([0.0, 0.1, 2.0])
            assert await client.call({"request_id": key}, "work", key=key, seconds=seconds) == key
            self.outcomes["answered"] += 1
        except MessagingError as error:
            self.outcomes[type(error).__name__] += 1
        assert now_s() - started <= timeout_s + 0.001, "a call outlived its timeout"

    async def serve(self, number: int, transport: messaging.Transport, over: asyncio.Event) -> None:
        """A server that, in a faulty world, stops and starts again and again."""
        while not over.is_set():
            async with Server(
                transport, Target(topic="t", server=f"h{number}"), [self.endpoint()], concurrency=4
            ):
                await self.pause(over, 10.0 if self.faulty else 10_000.0)
            if self.faulty:
                await self.pause(over, 2.0)

    async def trouble(self, over: asyncio.Event) -> None:
        """Partitions that come and go."""
        bus = MemoryBus.named("sim")
        while not over.is_set():
            one = f"caller{self.random.randrange(CALLERS)}"
            bus.cut(one, f"server{self.random.randrange(SERVERS)}")
            await self.pause(over, 4.0)
            bus.heal()
            await self.pause(over, 4.0)

    async def pause(self, over: asyncio.Event, longest_s: float) -> None:
        try:
            async with asyncio.timeout(self.random.uniform(0.5, 1.0) * longest_s):
                await over.wait()
        except TimeoutError:
            return

    async def run(self) -> None:
        bus = MemoryBus.named("sim")
        if self.faulty:
            draw = self.random.random
            bus.faults = Faults(
                random.Random(self.seed),
                drop=draw() * 0.2,
                duplicate=draw() * 0.4,
                delay_s=draw() * 2,
                reorder=draw() * 0.5,
            )
        over = asyncio.Event()
        callers = [self.transport(f"caller{number}") for number in range(CALLERS)]
        servers = [self.transport(f"server{number}") for number in range(SERVERS)]
        for transport in [*callers, *servers]:
            await transport.start()
        async with asyncio.TaskGroup() as around:
            for number, transport in enumerate(servers):
                around.create_task(self.serve(number, transport, over))
            if self.faulty:
                around.create_task(self.trouble(over))
            await asyncio.sleep(0.1)
            async with asyncio.TaskGroup() as asking:
                for number, transport in enumerate(callers):
                    asking.create_task(self.caller(number, transport))
            over.set()
        for transport in [*callers, *servers]:
            assert len(transport.calls) == 0
            await transport.stop()


@contextmanager
def counted_sendings() -> Iterator[Counter[str]]:
    """How often each sending of a request was carried out, over all servers of a run."""
    seen: Counter[str] = Counter()
    carry_out = server_module.Server._carry_out

    async def counted(self, request, answer):
        seen[request.unique_id] += 1
        return await carry_out(self, request, answer)

    server_module.Server._carry_out = counted
    try:
        yield seen
    finally:
        server_module.Server._carry_out = carry_out


def episode(seed: int, *, faulty: bool) -> World:
    """One run, with all claims checked."""
    world = World(seed, faulty=faulty)
    with counted_sendings() as sendings:
        run_virtual(world.run, seed)
    assert sum(world.outcomes.values()) == CALLERS * CALLS_EACH
    assert max(sendings.values()) == 1, "a copy of a sending was carried out"
    twice = [key for key in world.sent_once if world.begun[key] > 1]
    assert twice == [], "a call that is not idempotent was carried out twice"
    assert world.begun == world.finished, "a server stopped before it had finished"
    if not faulty:
        slow = world.outcomes[MessagingTimeout.__name__]
        assert world.outcomes["answered"] == CALLERS * CALLS_EACH - slow
        assert slow <= CALLERS * CALLS_EACH // 3, "only what works longer than it may"
    return world
