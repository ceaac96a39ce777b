"""The zmq bus over tcp on one host: who gets in, registries that come and go, slow peers."""

import asyncio
import logging
import signal
import time
from pathlib import Path

import pytest
import zmq
import zmq.asyncio

from transom.errors import InvalidTransportURL, MessageDeliveryFailure, MessageUndeliverable
from transom.messaging.drivers.base import Address, Connected, Disconnected, Gap, Kind
from transom.messaging.drivers.zmq.errand import COPY_WAIT_S
from transom.messaging.drivers.zmq.key import BusKey, make_bus_key
from transom.messaging.drivers.zmq.outbound import UNCONSUMED
from transom.messaging.drivers.zmq.wire import Frame, encode_hello, frame_kind

from support.driver_peer import until
from support.zmq_bus import BEAT_S, COPY, TOPIC, Peer, tcp_bus

HOSTS = "zmq://127.0.0.1:1,127.0.0.1:2"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("zmq://10.0.0.1", "make a bus key"),
        ("zmq://10.0.0.1/?key_file=", "make a bus key"),
        ("zmq://a,b,c,d/?key_file=/k", "3 are enough"),
        ("zmq://user@a/?key_file=/k", "with a user"),
        ("zmq://a/run/folder?key_file=/k", "in one folder, or on hosts"),
        ("zmq://a/?key_file=/k&secret=1", "does not know: secret"),
    ],
)
def test_an_address_that_can_t_be_used_says_what_to_write(address: str, told: str) -> None:
    with pytest.raises(InvalidTransportURL, match=told):
        Peer(address)


async def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    key_file = tmp_path / "bus.key"
    make_bus_key(key_file)
    key_file.chmod(0o640)
    with pytest.raises(InvalidTransportURL, match="chmod 600"):
        await Peer(f"{HOSTS}/?key_file={key_file}").driver.start(lambda event: None)


async def test_an_address_to_bind_that_is_of_no_interface_is_refused(tmp_path: Path) -> None:
    key_file = tmp_path / "bus.key"
    make_bus_key(key_file)
    with pytest.raises(InvalidTransportURL, match=r"\?bind="):
        await Peer(f"{HOSTS}/?key_file={key_file}&bind=192.0.2.1").driver.start(lambda event: None)


async def test_another_key_is_told_at_once_at_both_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "other.key"
    make_bus_key(other)
    async with tcp_bus(registries=2) as bus:
        stranger = Peer(str(bus.where).partition("?")[0] + f"?key_file={other}")
        await stranger.driver.start(stranger.events.append)
        started_s = time.monotonic()
        with pytest.raises(MessageDeliveryFailure, match="its bus key is another"):
            await stranger.listen(TOPIC)
        with pytest.raises(MessageDeliveryFailure, match="its bus key is another"):
            await stranger.send(TOPIC, b"x")
        assert time.monotonic() - started_s < 5.0
        told = [event.reason for event in stranger.events if isinstance(event, Disconnected)]
        assert told
        assert all("another bus key" in reason for reason in told)
        logged = {(record.levelno, record.message) for record in caplog.records}
        assert (
            logging.ERROR,
            "registry of the bus refuses this process: its bus key is another",
        ) in logged
        assert any("tried to enter the bus" in message for _, message in logged)
        await stranger.driver.stop()
        assert all(registry.snapshot().processes == 0 for registry in bus.registries)


async def test_who_has_only_the_public_key_of_the_bus_gets_in_nowhere() -> None:
    async with tcp_bus() as bus:
        server = await bus.peer()
        await server.listen(TOPIC)
        key = BusKey.read(bus.folder / "bus.key")
        endpoint = "tcp://" + server.name.partition("@")[2]
        with zmq.asyncio.Context() as context:
            for sealed in (False, True):
                socket = context.socket(zmq.DEALER)
                socket.setsockopt(zmq.LINGER, 0)
                socket.setsockopt(zmq.ROUTING_ID, b"0123456789abcdef@127.0.0.1:1.1")
                if sealed:
                    socket.curve_serverkey = key.server.public
                    socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
                socket.connect(endpoint)
                await socket.send(encode_hello(0.0, server.name))
                assert await socket.poll(1000) == 0, "no answer"
                socket.close()
            socket = context.socket(zmq.DEALER)
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.ROUTING_ID, b"0123456789abcdef@127.0.0.1:1.1")
            socket.curve_serverkey = key.server.public
            socket.curve_publickey = key.client.public
            socket.curve_secretkey = key.client.secret
            socket.connect(endpoint)
            await socket.send(encode_hello(0.0, server.name))
            assert await socket.poll(5000), "who has the key is answered"
            assert frame_kind(await socket.recv()) is Frame.WHOLE
            await socket.send(encode_hello(0.0, "fedcba9876543210@127.0.0.1:1"))
            while (kind := frame_kind(await socket.recv())) is Frame.RECEIPT:
                pass  # for the hello before
            assert kind is Frame.STRANGER
            socket.close()


async def test_nothing_goes_over_the_wire_in_clear() -> None:
    async with tcp_bus() as bus:
        sender, server = await bus.peer(), await bus.peer()
        await server.listen(TOPIC)
        seen = bytearray()
        host, _, port = server.name.partition("@")[2].rpartition(":")

        async def tap(near_in: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
            far_in, far = await asyncio.open_connection(host, int(port))

            async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                while block := await source.read(65536):
                    seen.extend(block)
                    sink.write(block)
                sink.close()

            await asyncio.gather(pump(near_in, far), pump(far_in, near))

        tapped = await asyncio.start_server(tap, "127.0.0.1", 0)
        near_port = tapped.sockets[0].getsockname()[1]
        place = sender.driver._place
        place.endpoint = lambda process: f"tcp://127.0.0.1:{near_port}"
        await sender.send(TOPIC, b"a secret that is not to be seen")
        await until(lambda: len(server.bodies) == 1, "it came")
        assert len(seen) > 300
        assert b"CURVE" in seen
        for clear in (b"secret", b"work", server.name.encode(), sender.name.encode()):
            assert clear not in seen
        tapped.close()


@pytest.mark.alone
async def test_a_process_that_dies_is_known_at_once() -> None:
    async with tcp_bus() as bus:
        sender = await bus.peer()
        process = await bus.process("take")
        await sender.send(TOPIC, b"before")
        process.signal(signal.SIGKILL)
        await process.end()
        started_s = time.monotonic()
        with pytest.raises((MessageUndeliverable, MessageDeliveryFailure)):
            await sender.send(TOPIC, b"after")
        assert time.monotonic() - started_s < 2.0
        assert any(isinstance(event, Disconnected) for event in sender.events)


@pytest.mark.alone
async def test_a_stopped_peer_holds_no_fan_out_up_and_meets_no_old_message() -> None:
    async with tcp_bus() as bus:
        sender, quick = await bus.peer(), await bus.peer()
        process = await bus.process("take")
        await quick.listen(COPY)
        await sender.send(COPY, b"before")
        await until(lambda: "got before" in process.lines, "it is served")
        process.signal(signal.SIGSTOP)
        started_s = time.monotonic()
        with pytest.raises(MessageDeliveryFailure):
            await sender.send(TOPIC, b"stale", within_s=0.2)
        for number in range(10):
            await sender.send(COPY, b"%d" % number, within_s=5.0)
        assert time.monotonic() - started_s < 0.2 + 3 * COPY_WAIT_S, "it is waited for once"
        assert quick.bodies == [b"before", *(b"%d" % number for number in range(10))]
        assert any(isinstance(event, Gap) for event in sender.events)
        process.signal(signal.SIGCONT)

        async def reached() -> bool:
            await sender.send(COPY, b"after")
            return "got after" in process.lines

        async with asyncio.timeout(20):
            while not await reached():
                await asyncio.sleep(0.05)
        assert "got stale" not in process.lines


async def test_a_lagging_peer_gets_a_gap_and_keeps_no_other_from_its_copies(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with tcp_bus() as bus:
        sender, quick, slow = await bus.peer(), await bus.peer(), await bus.peer()
        slow.acknowledge = False
        await quick.listen(COPY)
        await slow.listen(COPY, prefetch=1)
        count = UNCONSUMED + 50
        for number in range(count):
            await sender.send(COPY, b"%d" % number, within_s=0.5)
        await until(lambda: len(quick.bodies) == count, "the quick one got every copy")
        gaps = [event.peer for event in sender.events if isinstance(event, Gap)]
        assert set(gaps) == {slow.name}
        assert len(gaps) == count - UNCONSUMED - 1
        lost = [record for record in caplog.records if record.message == "copy of a fan-out lost"]
        assert len(lost) == len(gaps)


async def test_one_registry_of_two_is_enough_and_the_other_is_found_again() -> None:
    async with tcp_bus(registries=2) as bus:
        server, sender = await bus.peer(), await bus.peer()
        await server.listen(TOPIC)
        first = bus.registries[0]
        await first.stop()
        await sender.send(TOPIC, b"1")
        newcomer = await bus.peer()
        await newcomer.listen(COPY)
        await sender.send(COPY, b"2")
        await asyncio.sleep(5 * BEAT_S)
        await sender.send(TOPIC, b"3")
        assert server.bodies == [b"1", b"3"]
        assert newcomer.bodies == [b"2"]
        assert not sender.told(Disconnected, "registry"), "one registry was always there"
        again = await bus.serve_registry(first.address)
        await until(lambda: again.snapshot().processes == 3, "all are back")
        await bus.registries[1].stop()
        await asyncio.sleep(5 * BEAT_S)
        await sender.send(TOPIC, b"4")
        await sender.send(COPY, b"5")
        assert server.bodies == [b"1", b"3", b"4"]
        assert newcomer.bodies == [b"2", b"5"]


async def test_without_any_registry_links_and_views_stay() -> None:
    async with tcp_bus(registries=2) as bus:
        server, sender, idle = await bus.peer(), await bus.peer(), await bus.peer()
        await server.listen(TOPIC, server.driver.reply_address())
        await sender.send(TOPIC, b"1")
        await until(lambda: bool(idle.driver._registry.view.lookup(TOPIC)), "it has heard of it")
        for registry in bus.registries:
            await registry.stop()
        await until(lambda: sender.told(Disconnected, "registry"), "their end is reported")
        await asyncio.sleep(5 * BEAT_S)
        await sender.send(TOPIC, b"2")
        await idle.send(TOPIC, b"3")
        await idle.send(server.driver.reply_address(), b"4")
        assert server.bodies == [b"1", b"2", b"3", b"4"]
        with pytest.raises(MessageDeliveryFailure, match="registry did not answer"):
            await idle.send(Address(Kind.TOPIC, "unknown"), b"x", within_s=0.3)
        before = sum(isinstance(event, Connected) for event in sender.events)
        again = await bus.serve_registry(bus.registries[1].address)
        await until(lambda: again.snapshot().settled, "it knows everybody")
        await until(
            lambda: sum(isinstance(event, Connected) for event in sender.events) > before,
            "its return is reported",
        )
        with pytest.raises(MessageUndeliverable):
            await idle.send(Address(Kind.TOPIC, "unknown"), b"x")
        await idle.send(TOPIC, b"5")
        assert server.bodies[-1] == b"5"


async def test_a_port_that_another_process_has_got_gets_nothing_of_the_dead_one() -> None:
    async with tcp_bus() as bus:
        sender, heir = await bus.peer(), await bus.peer()
        dead = f"{'0' * 16}@{heir.name.partition('@')[2]}"
        await heir.listen(Address(Kind.REPLY, dead), heir.driver.reply_address())
        with pytest.raises((MessageUndeliverable, MessageDeliveryFailure)):
            await sender.send(Address(Kind.REPLY, dead), b"for the dead", within_s=2.0)
        await sender.send(heir.driver.reply_address(), b"for the heir")
        assert heir.bodies == [b"for the heir"]
