"""Buffers that fill, connections that break, listeners that leave: nothing is lost in silence."""

import asyncio
import contextlib
import os
import time
from pathlib import Path

import pytest

from transom.errors import ConfigError, InvalidTransportURL, MessageDeliveryFailure
from transom.messaging.drivers.base import Address, Connected, Disconnected, Gap, Kind
from transom.messaging.drivers.zmq import RegistryServer
from transom.messaging.drivers.zmq.outbound import UNCONSUMED
from transom.runtime.clock import SystemClock

from support.driver_peer import WAIT_S, until
from support.zmq_bus import COPY, TOPIC, Peer, short_folder, zmq_bus


async def test_sends_to_a_full_peer_wait_then_fail_and_what_was_taken_arrives() -> None:
    async with zmq_bus() as bus:
        sender, server = await bus.peer(), await bus.peer()
        server.acknowledge = False
        await server.listen(TOPIC, server.driver.reply_address(), prefetch=10)
        taken: list[bytes] = []
        refused: list[bytes] = []

        async def send(number: int) -> None:
            body = b"%d" % number
            try:
                await sender.send(TOPIC, body, within_s=1.0)
                taken.append(body)
            except MessageDeliveryFailure:
                refused.append(body)

        started_s = time.monotonic()
        await asyncio.gather(*(send(number) for number in range(UNCONSUMED + 100)))
        assert time.monotonic() - started_s < 3.0
        assert len(taken) == UNCONSUMED + 10
        assert len(refused) == 90
        reply = Address(Kind.REPLY, server.name)
        with pytest.raises(MessageDeliveryFailure):
            await sender.send(TOPIC, b"full", within_s=0.1)
        await sender.send(reply, b"another address has room", within_s=1.0)
        late = asyncio.ensure_future(sender.send(TOPIC, b"last"))
        server.acknowledge = True
        for delivery in list(server.deliveries):
            delivery.acknowledge()
        await late


async def test_what_waits_in_a_receiver_is_bounded_and_keeps_its_deadline() -> None:
    async with zmq_bus() as bus:
        sender, server = await bus.peer(), await bus.peer()
        server.acknowledge = False
        await server.listen(TOPIC, prefetch=1)
        await sender.send(TOPIC, b"1")
        await sender.send(TOPIC, b"2", within_s=0.2)
        await sender.send(TOPIC, b"3")
        await asyncio.sleep(0.3)
        server.acknowledge = True
        server.deliveries[0].acknowledge()
        await until(lambda: len(server.bodies) == 2, "the third came")
        assert server.bodies == [b"1", b"3"]


async def test_a_lagging_peer_gets_a_gap_and_keeps_no_other_from_its_copies() -> None:
    async with zmq_bus() as bus:
        sender, quick, slow = await bus.peer(), await bus.peer(), await bus.peer()
        slow.acknowledge = False
        await quick.listen(COPY)
        await slow.listen(COPY, prefetch=1)
        count = UNCONSUMED + 50
        started_s = time.monotonic()
        for number in range(count):
            await sender.send(COPY, b"%d" % number, within_s=0.5)
        assert time.monotonic() - started_s < 5.0
        await until(lambda: len(quick.bodies) == count, "the quick one got every copy")
        assert quick.bodies == [b"%d" % number for number in range(count)]
        gaps = [event.peer for event in sender.events if isinstance(event, Gap)]
        assert set(gaps) == {slow.name}
        assert len(gaps) == count - UNCONSUMED - 1


async def test_a_server_that_stops_under_load_loses_no_message_and_none_comes_twice() -> None:
    async with zmq_bus() as bus:
        sender, stays, leaves = await bus.peer(), await bus.peer(), await bus.peer()
        await stays.listen(TOPIC)
        await leaves.listen(TOPIC)
        bodies = [b"%d" % number for number in range(3000)]

        async def send(part: list[bytes]) -> None:
            for body in part:
                await sender.send(TOPIC, body)

        sends = [asyncio.ensure_future(send(bodies[start::10])) for start in range(10)]
        await until(lambda: len(leaves.bodies) > 200, "both are served")
        await leaves.driver.stop()
        await asyncio.gather(*sends)
        await until(lambda: len(stays.bodies) + len(leaves.bodies) >= 3000, "all arrived")
        assert sorted(stays.bodies + leaves.bodies) == sorted(bodies)


class Cutter:
    """Stands before a peer's socket, and cuts its connections on demand."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / name
        self._behind = folder / f"{name}.real"
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._path.rename(self._behind)
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def stop(self) -> None:
        self._server.close()
        await self.cut()
        with contextlib.suppress(FileNotFoundError):
            self._behind.unlink()

    async def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        if self._pumps:
            await asyncio.wait(self._pumps, timeout=WAIT_S)

    async def _serve(self, near_in: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        far_in, far = await asyncio.open_unix_connection(self._behind)
        self._writers += [near, far]
        for source, sink in ((near_in, far), (far_in, near)):
            task = asyncio.ensure_future(self._pump(source, sink))
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while block := await source.read(700):
                sink.write(block)
                await sink.drain()


async def test_a_connection_cut_again_and_again_loses_nothing_and_repeats_nothing() -> None:
    async with zmq_bus() as bus:
        sender, server = await bus.peer(), await bus.peer()
        await server.listen(TOPIC)
        cutter = Cutter(bus.folder, server.name)
        await cutter.start()
        bodies = [b"%d" % number for number in range(4000)]

        async def send(part: list[bytes]) -> None:
            for body in part:
                await sender.send(TOPIC, body)

        sends = [asyncio.ensure_future(send(bodies[start::40])) for start in range(40)]
        for _ in range(8):
            goal = len(server.bodies) + 100
            await until(lambda goal=goal: len(server.bodies) > goal, "it goes on after a cut")
            await cutter.cut()
        await asyncio.gather(*sends)
        assert sorted(server.bodies) == sorted(bodies)
        cuts = [event for event in sender.events if isinstance(event, Disconnected)]
        assert len(cuts) >= 8
        assert isinstance(sender.events[-1], Connected)
        await cutter.stop()


async def test_what_a_listener_did_not_finish_waits_for_the_next_until_its_deadline() -> None:
    async with zmq_bus() as bus:
        sender, first, second = await bus.peer(), await bus.peer(), await bus.peer()
        first.acknowledge = False
        subscription = await first.listen(TOPIC, prefetch=2)
        for number in range(5):
            await sender.send(TOPIC, b"%d" % number)
        await until(lambda: len(first.bodies) == 2, "two are out")
        first.deliveries[0].acknowledge()
        await subscription.cancel()
        await second.listen(TOPIC)
        await until(lambda: len(second.bodies) >= 4, "the others came to the second")
        assert sorted(second.bodies) == [b"1", b"2", b"3", b"4"]


async def test_a_folder_has_one_registry() -> None:
    async with zmq_bus() as bus:
        second = RegistryServer(bus.folder, clock=SystemClock())
        with pytest.raises(ConfigError, match="another registry"):
            await second.start()
        await second.stop()
        peer = await bus.peer()
        await peer.listen(TOPIC)
        assert TOPIC in bus.registry.entries()[0].addresses


async def test_a_driver_refuses_a_folder_that_others_may_enter() -> None:
    with short_folder() as folder:
        folder.chmod(0o755)
        with pytest.raises(InvalidTransportURL, match="chmod 700"):
            await Peer(folder).driver.start(lambda event: None)
        with pytest.raises(InvalidTransportURL, match="chmod 700"):
            await RegistryServer(folder, clock=SystemClock()).start()
        assert list(folder.iterdir()) == []


async def test_a_driver_refuses_a_path_too_long_for_a_socket() -> None:
    with short_folder() as folder:
        deep = folder / ("d" * 100)
        deep.mkdir(0o700)
        with pytest.raises(InvalidTransportURL, match="more than 107 bytes"):
            await Peer(deep).driver.start(lambda event: None)


async def test_a_name_that_is_taken_is_not_bound_again() -> None:
    async with zmq_bus() as bus:
        first = await bus.peer()
        names = [bytes.fromhex(first.name), os.urandom(8)]
        second = Peer(bus.folder)
        second.driver._place._random = lambda count: names.pop(0)
        await second.driver.start(second.events.append)
        assert second.name != first.name
        await first.listen(TOPIC)
        await second.send(TOPIC, b"x")
        await until(lambda: first.bodies == [b"x"], "the first still has its socket")
        await second.driver.stop()
