"""The zmq driver against the conformance suite of drivers, on both event loops."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from transom.messaging.drivers.zmq import RegistryServer, ZmqDriver
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
