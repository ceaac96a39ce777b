"""Processes on the zmq bus that are killed, stopped and restarted."""

import asyncio
import signal
import time

import pytest

from transom import messaging
from transom.errors import MessageDeliveryFailure, MessageUndeliverable, MessagingError
from transom.messaging.drivers.base import Address, Connected, Disconnected, Gap, Kind
from transom.messaging.drivers.zmq.errand import COPY_WAIT_S

from support.driver_peer import WAIT_S, until
from support.zmq_bus import BEAT_S, COPY, TOPIC, zmq_bus

TIMEOUT_S = 1.5
SLACK_S = 1.0


class Load:
    """Callers that call without pause; each call's end is noted."""

    def __init__(self, transport: messaging.Transport) -> None:
        target = messaging.Target(topic="work")
        self._client = messaging.Client(transport, target, timeout_s=TIMEOUT_S)
        self.answered: list[int] = []
        self.failed: list[MessagingError] = []
        self.longest_s = 0.0
        self.running = True

    async def caller(self) -> None:
        while self.running:
            started_s = time.monotonic()
            try:
                pid = await self._client.call({}, "work", until_s=started_s + TIMEOUT_S)
                self.answered.append(pid)
            except MessagingError as error:
                self.failed.append(error)
                await asyncio.sleep(0.02)
            self.longest_s = max(self.longest_s, time.monotonic() - started_s)


async def test_calls_to_a_server_that_is_killed_under_load_end_and_its_successor_serves() -> None:
    async with zmq_bus(beat_s=1.0) as bus, messaging.connect(f"zmq://{bus.folder}") as transport:
        load = Load(transport)
        server = await bus.process("serve")
        async with asyncio.TaskGroup() as callers:
            for _ in range(16):
                callers.create_task(load.caller())
            processes = [server]
            for _ in range(3):
                seen = len(load.answered)
                await until(lambda seen=seen: len(load.answered) > seen + 50, "calls are answered")
                processes[-1].signal(signal.SIGKILL)
                await processes[-1].end()
                processes.append(await bus.process("serve"))
            seen = len(load.answered)
            await until(lambda: len(load.answered) > seen + 50, "the last server answers")
            load.running = False
        assert load.longest_s < TIMEOUT_S + SLACK_S
        assert len(set(load.answered)) == 4
        assert not any("late" in process.lines for process in processes)


@pytest.mark.alone
async def test_a_dead_peer_is_known_at_once_and_reported() -> None:
    async with zmq_bus() as bus:
        peer = await bus.peer()
        process = await bus.process("take")
        await peer.send(TOPIC, b"x")
        connected = [event for event in peer.events if isinstance(event, Connected)]
        name = connected[-1].peer
        process.signal(signal.SIGKILL)
        await process.end()
        started_s = time.monotonic()
        with pytest.raises((MessageUndeliverable, MessageDeliveryFailure)):
            await peer.send(TOPIC, b"y")
        assert time.monotonic() - started_s < 1.0
        await until(lambda: peer.told(Disconnected, name), "the disconnect is reported")


@pytest.mark.alone
async def test_a_stopped_peer_is_dropped_and_comes_back_without_old_messages() -> None:
    async with zmq_bus() as bus:
        peer = await bus.peer()
        process = await bus.process("take")
        await peer.send(TOPIC, b"before")
        await until(lambda: "got before" in process.lines, "it is served")
        process.signal(signal.SIGSTOP)
        started_s = time.monotonic()
        with pytest.raises(MessageDeliveryFailure):
            await peer.send(TOPIC, b"stale", within_s=0.3)
        assert 0.2 < time.monotonic() - started_s < 1.0
        with pytest.raises((MessageDeliveryFailure, MessageUndeliverable)):
            await peer.send(COPY, b"copy", within_s=WAIT_S)
            await peer.send(TOPIC, b"gone", within_s=WAIT_S)
        assert time.monotonic() - started_s < 10 * BEAT_S + 1.0
        assert any(isinstance(event, Gap) for event in peer.events)
        process.signal(signal.SIGCONT)
        await until(lambda: bool(bus.registry.entries()[1:]), "it has registered again")
        await until(
            lambda: any("Gap(peer='registry')" in line for line in process.lines),
            "it was told that it may have missed something",
        )
        await peer.send(TOPIC, b"after")
        await until(lambda: "got after" in process.lines, "it is served again")
        assert "got stale" not in process.lines


@pytest.mark.alone
async def test_a_stopped_peer_holds_no_fan_out_up() -> None:
    async with zmq_bus(beat_s=5.0) as bus:
        sender, quick = await bus.peer(), await bus.peer()
        process = await bus.process("take")
        await quick.listen(COPY)
        await sender.send(COPY, b"before")
        process.signal(signal.SIGSTOP)
        started_s = time.monotonic()
        for number in range(10):
            await sender.send(COPY, b"%d" % number, within_s=5.0)
        assert time.monotonic() - started_s < 3 * COPY_WAIT_S, "it is waited for once"
        assert quick.bodies == [b"before", *(b"%d" % number for number in range(10))]
        process.signal(signal.SIGCONT)

        async def reached() -> bool:
            await sender.send(COPY, b"after")
            return "got after" in process.lines

        async with asyncio.timeout(WAIT_S):
            while not await reached():
                await asyncio.sleep(0.05)


async def test_messages_go_on_while_the_registry_is_killed_and_it_is_whole_after_a_restart() -> (
    None
):
    async with zmq_bus(registry=False) as bus:
        registry = await bus.process("registry", str(BEAT_S))
        server, sender, idle = await bus.peer(), await bus.peer(), await bus.peer()
        await server.listen(TOPIC)
        await sender.send(TOPIC, b"1")
        registry.signal(signal.SIGKILL)
        await registry.end()
        await until(lambda: sender.told(Disconnected, "registry"), "its end is reported")
        await asyncio.sleep(4 * BEAT_S)
        await sender.send(TOPIC, b"2")
        await idle.send(TOPIC, b"3")
        restarted = await bus.start_registry()
        newcomer = await bus.peer()
        await newcomer.send(TOPIC, b"4")
        assert len(restarted.entries()) == 4
        assert restarted.snapshot().settled
        await until(lambda: len(server.bodies) == 4, "all arrived")
        assert server.bodies == [b"1", b"2", b"3", b"4"]


async def test_a_restarted_registry_waits_for_the_living_before_it_says_nobody() -> None:
    async with zmq_bus() as bus:
        process = await bus.process("take")
        await bus.registry.stop()
        process.signal(signal.SIGSTOP)
        restarted = await bus.start_registry()
        peer = await bus.peer()
        send = asyncio.ensure_future(peer.send(TOPIC, b"waited"))
        await asyncio.sleep(BEAT_S)
        assert not restarted.snapshot().settled
        assert not send.done()
        process.signal(signal.SIGCONT)
        await send
        await until(lambda: "got waited" in process.lines, "it arrived")
        assert restarted.snapshot().settled


@pytest.mark.alone
async def test_without_a_registry_an_unknown_address_fails_within_its_deadline() -> None:
    async with zmq_bus(registry=False) as bus:
        peer = await bus.peer()
        started_s = time.monotonic()
        with pytest.raises(MessageDeliveryFailure, match="registry did not answer"):
            await peer.send(TOPIC, b"x", within_s=0.3)
        assert time.monotonic() - started_s < 1.0


@pytest.mark.alone
async def test_who_stops_serving_does_not_wait_for_a_registry_that_is_away() -> None:
    async with zmq_bus(registry=False) as bus:
        registry = await bus.process("registry", str(BEAT_S))
        server, other = await bus.peer(), await bus.peer()
        topics = [Address(Kind.TOPIC, f"work-{number}") for number in range(10)]
        subscriptions = [await server.listen(topic) for topic in topics]
        registry.signal(signal.SIGKILL)
        await registry.end()
        await until(lambda: server.told(Disconnected, "registry"), "its end is known")
        started_s = time.monotonic()
        for subscription in subscriptions[1:]:
            await subscription.cancel()
        assert time.monotonic() - started_s < 5 * BEAT_S
        restarted = await bus.start_registry()
        await other.send(topics[0], b"still served")

        def served() -> set[Address]:
            entries = restarted.entries()
            return {address for entry in entries for address in entry.addresses} & set(topics)

        await until(lambda: served() == {topics[0]}, "it hears of what is not served any more")


async def test_a_registry_that_stops_removes_what_the_dead_left() -> None:
    async with zmq_bus() as bus:
        living, process = await bus.peer(), await bus.process("take")
        process.signal(signal.SIGKILL)
        await process.end()
        await bus.registry.stop()
        left = {path.stem for path in bus.folder.iterdir()}
        assert left == {living.name}
