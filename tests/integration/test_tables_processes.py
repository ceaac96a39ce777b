"""Live tables between real processes, over each driver: killed, paused and cut off."""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from transom import messaging
from transom.messaging.proto.feed import Change, ChangeSet, Live
from transom.messaging.tables import MemoryFeed, TablePublisher, TableReplica

from fault_proxy import FaultProxy
from support.rabbit import Broker
from support.table_process import Copy, Process, Truth
from support.zmq_bus import bus_url, tcp_bus, zmq_bus

WAIT_S = 20.0
BETWEEN_PROCESSES = ("zmq", "zmq-tcp", "rabbit")
DRIVERS = ("memory", *BETWEEN_PROCESSES)


@dataclass
class Bus:
    """A bus of the test's own, or a source of its own on a shared one; processes end with it."""

    url: str
    source: str = field(default_factory=lambda: f"source{secrets.token_hex(4)}")
    processes: list[Process] = field(default_factory=list)

    async def process(self, verb: str, *words: str) -> Process:
        made = await Process.start(verb, self.url, self.source, *words)
        self.processes.append(made)
        return made


@asynccontextmanager
async def bus_of(driver: str, request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    if driver.startswith("zmq"):
        made = tcp_bus(registries=2, beat_s=1.0) if driver == "zmq-tcp" else zmq_bus(beat_s=1.0)
        async with made as zmq:
            bus = Bus(bus_url(zmq.where))
            try:
                yield bus
            finally:
                await end(bus)
    else:
        broker = request.getfixturevalue("rabbit") if driver == "rabbit" else None
        bus = Bus(broker.url if broker else f"memory://{secrets.token_hex(4)}")
        try:
            yield bus
        finally:
            await end(bus)


async def end(bus: Bus) -> None:
    for process in bus.processes:
        await process.end()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_replicas_load_follow_and_survive_a_new_owner(
    driver: str, request: pytest.FixtureRequest
) -> None:
    async with (
        bus_of(driver, request) as bus,
        messaging.connect(bus.url) as reader,
        TableReplica(reader, bus.source, ["a"]) as replica,
    ):
        rows: dict[tuple[str, ...], object] = {}
        async with messaging.connect(bus.url) as owner:
            feed = MemoryFeed(1, ["a"])
            feed.replace({"a": {(f"k{n}",): {"n": n} for n in range(1200)}})
            async with TablePublisher(owner, bus.source, feed) as publisher:
                await follow(replica, rows, 1200)
                made = feed.change([Change("a", ("new",), {"n": -1})])
                assert made is not None
                await publisher.send(made)
                await follow(replica, rows, 1201)
                feed.change([Change("a", ("never sent",), {"n": -2})])
                await follow(replica, rows, 1202)
                many = {(f"k{n}",): {"n": -n, "blob": "x" * 1000} for n in range(5000)}
                made = feed.replace({"a": many})
                assert made is not None
                await publisher.send(made)
                await follow(replica, rows, 5000)
                assert rows == many
        async with messaging.connect(bus.url) as owner:
            feed = MemoryFeed(2, ["a"])
            feed.replace({"a": {("k0",): {"n": 0}, ("other",): {"n": 5}}})
            async with TablePublisher(owner, bus.source, feed):
                await follow(replica, rows, 2)
        assert rows == {("k0",): {"n": 0}, ("other",): {"n": 5}}


@pytest.mark.parametrize("driver", BETWEEN_PROCESSES)
async def test_a_publisher_that_is_killed_is_missed_and_the_next_one_followed(
    driver: str, request: pytest.FixtureRequest
) -> None:
    async with bus_of(driver, request) as bus, messaging.connect(bus.url) as reader:
        copy = Copy(reader, bus.source)
        await copy.start()
        for epoch in ("1", "2", "3"):
            publisher = await bus.process("publish", epoch)
            await copy.until_state("Live")
            await asyncio.sleep(0.3)
            if epoch == "3":
                await copy.until(await publisher.ask("freeze"))
            else:
                publisher.signal(signal.SIGKILL)
                await copy.until_state("Stale")
                age_s = copy.replica.age_s
                assert age_s is not None
                assert age_s > 2
        assert in_turns(copy.states), "stale in between, also where a busy machine made it so"
        await copy.stop()


@pytest.mark.parametrize("driver", BETWEEN_PROCESSES)
async def test_a_replica_that_was_paused_catches_up_and_stops_nobody(
    driver: str, request: pytest.FixtureRequest
) -> None:
    async with bus_of(driver, request) as bus, messaging.connect(bus.url) as owner:
        truth, well = Truth(owner, bus.source, 1), Copy(owner, bus.source)
        await truth.start()
        await well.start()
        follower = await bus.process("follow")
        truth.go()
        await well.until_state("Live")
        follower.signal(signal.SIGSTOP)
        await asyncio.sleep(5)
        await well.until_state("Live")
        follower.signal(signal.SIGCONT)
        await asyncio.sleep(0.5)
        rows = truth.freeze()
        await well.until(rows)
        async with asyncio.timeout(WAIT_S):
            while (said := await follower.ask("rows"))["rows"] != rows or said["state"] != "Live":
                await asyncio.sleep(0.1)
        await well.stop()
        await truth.stop()


@pytest.mark.parametrize("driver", BETWEEN_PROCESSES)
async def test_a_publisher_that_was_paused_makes_replicas_stale_and_then_live(
    driver: str, request: pytest.FixtureRequest
) -> None:
    async with bus_of(driver, request) as bus, messaging.connect(bus.url) as reader:
        copy = Copy(reader, bus.source)
        await copy.start()
        publisher = await bus.process("publish", "1")
        await copy.until_state("Live")
        publisher.signal(signal.SIGSTOP)
        await copy.until_state("Stale")
        publisher.signal(signal.SIGCONT)
        await copy.until_state("Live")
        await copy.until(await publisher.ask("freeze"))
        await copy.stop()


@pytest.mark.parametrize("cut", ["reset", "swallowed"])
async def test_a_replica_that_is_cut_off_from_its_broker_is_stale_and_comes_back_equal(
    cut: str, rabbit: Broker
) -> None:
    bus = Bus(rabbit.url)
    try:
        publisher = await bus.process("publish", "1")
        async with (
            FaultProxy(*rabbit.address) as proxy,
            messaging.connect(rabbit.through(proxy.address)) as reader,
        ):
            copy = Copy(reader, bus.source)
            await copy.start()
            await copy.until_state("Live")
            if cut == "reset":
                proxy.faults.refuse = True
                proxy.reset_all()
            else:
                proxy.faults.swallow = True
            await copy.until_state("Stale")
            rows = await publisher.ask("freeze")
            proxy.faults.refuse = proxy.faults.swallow = False
            proxy.reset_all()
            await copy.until(rows, within_s=40)
            assert in_turns(copy.states)
            await copy.stop()
    finally:
        await end(bus)


def in_turns(states: list[str]) -> bool:
    """Told once at each change, and live at the end."""
    return states[-1] == "Live" and all(one != other for one, other in pairwise(states))


async def follow(replica: TableReplica, rows: dict[tuple[str, ...], object], count: int) -> None:
    """Until there are `count` rows and the replica is live."""
    async with asyncio.timeout(WAIT_S):
        while len(rows) != count or not isinstance(replica.state, Live):
            item = await anext(replica)
            if isinstance(item, ChangeSet):
                for change in item.changes:
                    if change.row is None:
                        del rows[change.key]
                    else:
                        rows[change.key] = change.row
