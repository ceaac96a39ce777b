"""The zmq driver against the conformance suite of drivers, ipc and tcp, both loops."""

import asyncio
import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from transom.messaging.drivers.zmq import RegistryServer, ZmqDriver
from transom.messaging.drivers.zmq.key import make_bus_key
from transom.messaging.drivers.zmq.tcp import TcpSeat
from transom.messaging.testing import CHECKS, check_driver
from transom.messaging.url import TransportURL
from transom.runtime.clock import SystemClock

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("loop", LOOPS)
def test_zmq_driver_conforms(check: str, loop: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="tz"))
    try:
        with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
            runner.run(conform(folder, check))
        assert list(folder.iterdir()) == [], "sockets and locks are gone"
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def two_registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a bus over tcp whose registries know that nobody is there."""
    key_file = tmp_path_factory.mktemp("bus") / "bus.key"
    make_bus_key(key_file)
    found: queue.Queue[str] = queue.Queue()
    with asyncio.Runner() as runner:
        loop, stopping = runner.get_loop(), asyncio.Event()

        async def serve() -> None:
            seats = [TcpSeat("127.0.0.1:0", str(key_file)) for _ in range(2)]
            registries = [RegistryServer(seat, clock=SystemClock()) for seat in seats]
            for registry in registries:
                await registry.start()
            while not all(registry.snapshot().settled for registry in registries):
                await asyncio.sleep(0.05)
            hosts = ",".join(registry.address for registry in registries)
            found.put(f"zmq://{hosts}/?key_file={key_file}")
            await stopping.wait()
            for registry in registries:
                await registry.stop()

        thread = threading.Thread(target=runner.run, args=(serve(),))
        thread.start()
        try:
            yield found.get(timeout=20)
        finally:
            loop.call_soon_threadsafe(stopping.set)
            thread.join(timeout=20)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("loop", LOOPS)
def test_zmq_driver_conforms_over_tcp_with_two_registries(
    check: str, loop: str, two_registries: str
) -> None:
    url = TransportURL.parse(two_registries)
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(
            check_driver(lambda: ZmqDriver(url, clock=SystemClock(), random=os.urandom), [check])
        )


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    return LOOPS[name]


async def conform(folder: Path, check: str) -> None:
    clock = SystemClock()
    registry = RegistryServer(folder, clock=clock)
    await registry.start()
    url = TransportURL.parse(f"zmq://{folder}")
    try:
        await check_driver(lambda: ZmqDriver(url, clock=clock, random=os.urandom), [check])
    finally:
        await registry.stop()
