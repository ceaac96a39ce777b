"""Events between real processes that are killed and paused, over each bus and in each database.

Claims, of each pool, when all is quiet again:
1. It was given every event that was committed, and none that was undone; numbers have no holes.
2. Nothing is waiting or out; what is not out was acknowledged by somebody.
3. It was given none twice as if for the first time.
"""

import asyncio
import random
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from transom import messaging
from transom.errors import MessagingError
from transom.messaging.events import events_topic

from support.driver_peer import until
from support.event_process import CLAIM_S
from support.postgres import on_postgres
from support.zmq_bus import Process, zmq_bus

pytestmark = pytest.mark.usefixtures("engine")

POOLS = ("audit", "search", "search")
KILLS_AND_PAUSES = ("keeper",) * 2 + ("listener",) * 4 + ("pause",) * 2
QUIET_S = 30.0
ALL = 100_000


class World:
    """Who keeps the events and who listens; `lives`: with their pools, those that ended too."""

    def __init__(self, url: str, folder: Path, seed: int, keep_events: int) -> None:
        server = on_postgres()
        self.draws = random.Random(seed)
        self.source = f"source{secrets.token_hex(4)}"
        self._url = url
        self._keep = (str(folder), server.url if server else "", str(keep_events))
        self.keepers: list[Process] = []
        self.lives: list[tuple[str, Process]] = []

    async def keep(self) -> Process:
        self.keepers.append(await self._process("keep", *self._keep))
        return self.keepers[-1]

    async def listen(self, pool: str) -> Process:
        made = await self._process("listen", pool)
        self.lives.append((pool, made))
        return made

    async def _process(self, verb: str, *words: str) -> Process:
        seed = str(self.draws.random())
        return await Process.start(
            verb, self._url, self.source, seed, *words, module="support.event_process"
        )

    async def end(self) -> None:
        for process in (*self.keepers, *(process for _, process in self.lives)):
            await process.end()

    async def until_quiet(self) -> None:
        """Each pool was given what was committed, or told that it is lost; nothing is out."""
        state: Any = "nobody answered"
        async with messaging.connect(self._url) as transport:
            target = messaging.Target(topic=events_topic(self.source))
            client = messaging.Client(transport, target, timeout_s=2)
            try:
                async with asyncio.timeout(QUIET_S):
                    while True:
                        try:
                            state = await client.call({}, "pools")
                        except MessagingError as error:
                            state = error
                        else:
                            left = sum(pool["waiting"] + pool["out"] for pool in state)
                            if not left and not self.missing():
                                return
                        await asyncio.sleep(0.1)
            except TimeoutError:
                pytest.fail(f"not quiet: {state}, missing: {self.missing()}")

    def said(self, pool: str, word: str) -> list[list[str]]:
        """The lines that begin with the word, of all who listened in the pool, by word."""
        lines = [line.split() for own, life in self.lives if own == pool for line in life.lines]
        return [line[1:] for line in lines if line[0] == word]

    def missing(self) -> dict[str, set[str]]:
        """By pool, what it was not given, if that is more than it was told to have lost."""
        found = {}
        for pool in {pool for pool, _ in self.lives}:
            given = {payload for _, payload, _ in self.said(pool, "given")}
            lost = sum(int(count) for _, count in self.said(pool, "lost"))
            unseen = self.committed() - given
            if len(unseen) > lost:
                found[pool] = unseen
        return found

    def committed(self) -> set[str]:
        lines = [line.split() for keeper in self.keepers for line in keeper.lines]
        return {line[1] for line in lines if line[0] == "committed"}


@asynccontextmanager
async def world_of(
    driver: str, request: pytest.FixtureRequest, folder: Path, keep_events: int, seed: int = 0
) -> AsyncIterator[World]:
    async with zmq_bus(beat_s=1.0) as zmq:
        url = f"zmq://{zmq.folder}"
        if driver == "rabbit":
            url = request.getfixturevalue("rabbit").url
        world = World(url, folder, seed, keep_events)
        try:
            yield world
        finally:
            await world.end()


async def disturb(world: World) -> None:
    """Kills and pauses at any moment; who was killed is followed by another."""
    deeds, draws = list(KILLS_AND_PAUSES), world.draws
    draws.shuffle(deeds)
    listening = world.lives[:]
    changing: list[asyncio.Task[None]] = []

    async def follow(pool: str) -> None:
        listening.append((pool, await world.listen(pool)))

    for deed in deeds:
        await asyncio.sleep(draws.uniform(0.1, 0.6))
        if deed == "keeper":
            world.keepers[-1].signal(signal.SIGKILL)
            await order(await world.keep(), "go")
            continue
        await until(lambda: bool(listening), "somebody listens who was not paused")
        pool, life = listening.pop(draws.randrange(len(listening)))
        if deed == "listener":
            life.signal(signal.SIGKILL)
            changing.append(asyncio.ensure_future(follow(pool)))
        else:
            life.signal(signal.SIGSTOP)
            changing.append(asyncio.ensure_future(resume(life, CLAIM_S * draws.uniform(1.1, 2))))
    await asyncio.gather(*changing)


async def order(process: Process, line: str) -> None:
    """Returns when it has answered; it says other things meanwhile."""
    seen = len(process.lines)
    await process.ask(line)
    await until(lambda: line in process.lines[seen:], f"{line} was done")


async def resume(life: Process, after_s: float) -> None:
    await asyncio.sleep(after_s)
    life.signal(signal.SIGCONT)


@pytest.mark.parametrize(("driver", "seed"), [("zmq", 1), ("rabbit", 2)])
async def test_each_event_reaches_each_pool_though_all_are_killed_and_paused(
    driver: str, seed: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async with world_of(driver, request, tmp_path, ALL, seed) as world:
        keeper = await world.keep()
        await asyncio.gather(*(world.listen(pool) for pool in POOLS))
        await order(keeper, "go")
        await disturb(world)
        await order(world.keepers[-1], "freeze")
        await world.until_quiet()
        numbered: dict[str, set[tuple[str, str]]] = {}
        for pool in sorted(set(POOLS)):
            given = world.said(pool, "given")
            numbered[pool] = {(n, payload) for n, payload, _ in given}
            payloads = {payload for _, payload in numbered[pool]}
            assert not [payload for payload in payloads if payload.startswith("undone")]
            numbers = sorted(int(n) for n, _ in numbered[pool])
            assert numbers == list(range(1, len(payloads) + 1))
            first = [n for n, _, how in given if how == "first"]
            assert len(first) == len(set(first))
            assert {int(n) for (n,) in world.said(pool, "doing")} == set(numbers)
            assert not world.said(pool, "lost")
        assert numbered["audit"] == numbered["search"]
        assert len(numbered["audit"]) > 100
        hows = {how for pool in numbered for _, _, how in world.said(pool, "given")}
        assert "again" in hows, "nobody died while it had an event"


async def test_a_pool_behind_retention_is_told_exactly_what_it_lost(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    driver = "zmq" if engine == "sqlite" else "rabbit"
    async with world_of(driver, request, tmp_path, 50) as world:
        keeper, reader = await world.keep(), await world.listen("slow")
        await order(keeper, "tell 10")
        await until(lambda: len(world.said("slow", "done")) == 10, "all are acknowledged")
        await order(reader, "hold")
        await order(keeper, "tell 5")
        await until(lambda: len(world.said("slow", "given")) > 10, "some are given")
        reader.signal(signal.SIGKILL)
        await order(keeper, "tell 200")
        await asyncio.sleep(CLAIM_S + 0.5)
        await world.listen("slow")
        await world.until_quiet()
        lost: list[int] = []
        for first, count in world.said("slow", "lost"):
            lost += range(int(first), int(first) + int(count))
        assert sorted(lost) == list(range(11, 166))
        done = [int(n) for (n,) in world.said("slow", "done")]
        given = [int(n) for n, *_ in world.said("slow", "given")]
        assert set(given) & set(range(16, 166)) == set()
        assert set(range(166, 216)) <= set(given)
        assert set(done) >= {*range(1, 11), *range(166, 216)}
