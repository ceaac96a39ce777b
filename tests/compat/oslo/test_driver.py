# SPDX-License-Identifier: Apache-2.0
"""An unmodified service on our driver: each claim is a function of `scenarios.py`, run in a process
of oslo.messaging's own environment, over RabbitMQ and zmq, with and without eventlet.

A few run side by side, on topics of their own: most of their time is waiting.
"""

import asyncio
from pathlib import Path

import pytest

from support.oslo_peer import OSLO
from support.rabbit import fresh_vhost
from support.zmq_bus import zmq_bus

SCENARIOS = Path(__file__).parent / "scenarios.py"
WITHIN_S = 200
AT_ONCE = 4
BOTH = ("calls", "timeouts", "heartbeats_end", "dead_callers", "casts_wait", "stop_is_clean",
        "forks", "fork_before_use", "notifications", "unsettled", "many_threads")  # fmt: skip
RABBIT = ("no_broker", "options", "refused", "stock_peers")
EVENTLET = ("calls", "timeouts", "casts_wait", "stop_is_clean", "forks", "notifications",
            "many_threads")  # fmt: skip
pytestmark = pytest.mark.timeout(WITHIN_S + 30)


async def fault(name: str, url: str, words: tuple[str, ...], room: asyncio.Semaphore) -> str:
    """What the scenario says went wrong; empty if its claim holds."""
    async with room:
        process = await asyncio.create_subprocess_exec(
            str(OSLO), "-W", "ignore", str(SCENARIOS), name, url, *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            said, wrong = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode == 0 and said.endswith(b"holds\n"):
        return ""
    return f"{name}: {wrong.decode()[-5000:]}"


async def hold(names: tuple[str, ...], url: str, *words: str) -> None:
    room = asyncio.Semaphore(AT_ONCE)
    async with asyncio.timeout(WITHIN_S):
        told = await asyncio.gather(*(fault(name, url, words, room) for name in names))
    faults = [text for text in told if text]
    assert not faults, "\n\n".join(faults)


async def test_over_rabbit() -> None:
    with fresh_vhost() as broker:
        await hold(BOTH + RABBIT, f"transom+{broker.url}")


async def test_over_rabbit_under_eventlet() -> None:
    with fresh_vhost() as broker:
        await hold((*EVENTLET, "no_broker"), f"transom+{broker.url}", "--eventlet")


async def test_over_zmq() -> None:
    async with zmq_bus(beat_s=1.0) as bus:
        await hold(BOTH, f"transom+zmq://{bus.folder}")


async def test_over_zmq_under_eventlet() -> None:
    async with zmq_bus(beat_s=1.0) as bus:
        await hold(EVENTLET, f"transom+zmq://{bus.folder}", "--eventlet")
