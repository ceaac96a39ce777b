"""A listener of events: what it holds, what it hands out, and what it does when nobody answers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from transom.errors import BadRequest, MessagingTimeout
from transom.messaging.drivers.memory import MemoryBus
from transom.messaging.events import (
    LOOK_S,
    Event,
    EventListener,
    EventPublisher,
    Item,
    Lost,
    poke_events,
)
from transom.messaging.transport import Transport
from transom.node.events import EventLog, append
from transom.node.events.migrations import EVENTS
from transom.node.migrations import NODE
from transom.node.publisher import DurablePublisher
from transom.runtime.db.transaction import Transaction

from support.db import opened
from support.tables import bus
from virtual import VirtualClock, run_virtual

CLAIM_S = 9.0
SEEDS = range(10)


class Place:
    """Events that are kept and served by one transport, and heard on another."""

    def __init__(self, log: EventLog, owner: Transport, reader: Transport) -> None:
        self.log = log
        self.reader = reader
        self.owner = owner
        shell = EventPublisher(owner, "test", log, on_poke=lambda: self.publisher.poke())
        self.publisher = DurablePublisher(log, shell, holder="one", clock=VirtualClock())

    async def tell(self, *payloads: object, poked: bool = True) -> None:
        async def verb(transaction: Transaction) -> None:
            for payload in payloads:
                await append(transaction, "test", VirtualClock().now_ms(), "made", payload)

        await self.log.database.write(verb)
        if poked:
            poke_events(self.owner, "test")

    def listener(self, pool: str = "pool", **options: int) -> EventListener:
        return EventListener(self.reader, "test", pool, begin="oldest", **options)


@asynccontextmanager
async def place(folder: Path, seed: int, keep_events: int = 1000) -> AsyncIterator[Place]:
    clock = VirtualClock()
    async with (
        opened(folder, NODE, EVENTS, clock=clock, inline_writer=True) as database,
        bus(seed) as (owner, reader),
    ):
        log = EventLog(database, "test", clock=clock, claim_s=CLAIM_S, keep_events=keep_events)
        here = Place(log, owner, reader)
        await here.publisher.start()
        try:
            yield here
        finally:
            await here.publisher.stop()


async def some(listener: EventListener, count: int, *, done: bool = True) -> list[Item]:
    found = []
    async with asyncio.timeout(30):
        while len(found) < count:
            found.append(await anext(listener))
            if done:
                await listener.acknowledge(found[-1])
    return found


def said(items: Sequence[Item]) -> list[object]:
    return [item.payload if isinstance(item, Event) else item for item in items]


@pytest.mark.parametrize("seed", SEEDS)
def test_an_event_is_heard_at_once_and_without_a_word_within_a_look(
    tmp_path: Path, seed: int
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with place(tmp_path, seed) as here, here.listener() as listener:
            await here.tell("first")
            assert said(await some(listener, 1)) == ["first"]
            waiting = asyncio.ensure_future(some(listener, 1))
            await asyncio.sleep(20)
            began_s = loop.time()
            await here.tell("poked")
            assert said(await waiting) == ["poked"]
            assert loop.time() - began_s < 0.1
            began_s = loop.time()
            await here.tell("not poked", poked=False)
            assert said(await some(listener, 1)) == ["not poked"]
            assert loop.time() - began_s < 2 * LOOK_S

    run_virtual(main, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_slow_consumer_has_stays_its_own_and_it_gets_no_more_than_it_may(
    tmp_path: Path, seed: int
) -> None:
    async def main() -> None:
        async with (
            place(tmp_path, seed) as here,
            here.listener(prefetch=3) as slow,
            here.listener() as other,
        ):
            await here.tell(*range(8))
            items = await some(slow, 3, done=False)
            assert said(await some(other, 5)) == [3, 4, 5, 6, 7]
            more = asyncio.ensure_future(anext(slow))
            idle = asyncio.ensure_future(anext(other))
            await asyncio.sleep(10 * CLAIM_S)
            assert not more.done()
            assert not idle.done()
            await slow.acknowledge(*items)
            await here.tell("more", "and more")
            async with asyncio.timeout(5):
                await asyncio.wait([more, idle], return_when=asyncio.FIRST_COMPLETED)
            more.cancel()
            idle.cancel()

    run_virtual(main, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_listener_that_stops_leaves_what_it_has_to_the_others_at_once(
    tmp_path: Path, seed: int
) -> None:
    async def main() -> None:
        async with place(tmp_path, seed) as here, here.listener() as other:
            await here.tell("a", "b")
            async with here.listener() as stops:
                items = await some(stops, 2, done=False)
                await stops.acknowledge(items[0])
            (again,) = await some(other, 1)
            assert isinstance(again, Event)
            assert (again.payload, again.redelivered) == ("b", True)
            assert [item async for item in stops] == []

    run_virtual(main, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_behind_a_partition_nothing_is_handed_out_that_another_may_have(
    tmp_path: Path, seed: int
) -> None:
    async def main() -> None:
        async with place(tmp_path, seed) as here, here.listener(prefetch=4) as cut_off:
            await here.tell("a", "b", "c")
            assert said(await some(cut_off, 1, done=False)) == ["a"]
            MemoryBus.named("bus").cut("owner", "reader")
            await asyncio.sleep(CLAIM_S * 2)
            late = asyncio.ensure_future(anext(cut_off))
            await asyncio.sleep(1)
            assert not late.done()
            other = EventListener(here.owner, "test", "pool")
            async with other:
                assert said(await some(other, 3)) == ["a", "b", "c"]
            MemoryBus.named("bus").heal()
            await here.tell("d")
            async with asyncio.timeout(20):
                assert said([await late]) == ["d"]

    run_virtual(main, seed)


def test_a_loss_is_told_and_acknowledged_like_an_event(tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path, 1, keep_events=2) as here, here.listener() as listener:
            assert await here.log.take("pool", "nobody", 1) == []
            await here.tell(*range(9))
            assert said(await some(listener, 3)) == [Lost(1, 7), 7, 8]
            (state,) = await here.log.pools()
            assert (state["waiting"], state["out"]) == (0, 0)

    run_virtual(main, 1)


def test_a_listener_waits_for_who_keeps_the_events_and_says_what_is_refused(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with place(tmp_path, 1) as here:
            await here.publisher.stop()
            async with here.listener() as listener:
                waiting = asyncio.ensure_future(some(listener, 1))
                await asyncio.sleep(20)
                await here.publisher.start()
                await here.tell("a")
                assert said(await waiting) == ["a"]
            async with here.listener("x" * 300) as refused:
                with pytest.raises(BadRequest):
                    await anext(refused)
            for prefetch in (0, 101):
                with pytest.raises(ValueError, match="prefetch"):
                    here.listener(prefetch=prefetch)

    run_virtual(main, 1)


def test_what_could_not_be_acknowledged_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path, 1) as here, here.listener() as listener:
            await here.tell("a")
            (item,) = await some(listener, 1, done=False)
            MemoryBus.named("bus").cut("owner", "reader")
            with pytest.raises(MessagingTimeout):
                await listener.acknowledge(item)
            MemoryBus.named("bus").heal()
            await listener.acknowledge(item)
            (state,) = await here.log.pools()
            assert state["out"] == 0

    run_virtual(main, 1)
