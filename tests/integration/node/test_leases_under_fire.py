"""A lease's holder in a process of its own, paused, killed, cut off: on a file and on a server.

Invariant of each: no row of an earlier holder stands after one of a later holder.
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fault_proxy import FaultProxy
from support.leasechild import TTL_MS, database_at
from support.postgres import Server, on_postgres

TESTS = Path(__file__).parents[2]
WAIT_S = 20.0


class Process:
    """One would-be holder, and what it said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[dict[str, Any]] = []

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said.append(json.loads(line))

    def times(self, what: str) -> dict[int, float]:
        return {said[what]: said["at"] for said in self.said if what in said}

    @property
    def holds(self) -> bool:
        return bool(self.said) and "gain" in self.said[-1]

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)


@asynccontextmanager
async def holder(name: str, folder: Path, url: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "support.leasechild", name, str(folder), url,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent / 'src'}"},
    )  # fmt: skip
    made = Process(process)
    listening = asyncio.create_task(made.listen())
    try:
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening


async def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline_s, "it did not come"
        await asyncio.sleep(0.01)


async def generations(folder: Path) -> list[int]:
    """Of the rows, in their order."""
    server = on_postgres()
    database = database_at(folder, server.url if server else "")
    await database.start()
    try:
        rows = await database.read(lambda tx: tx.fetch("select name, size from thing"))
    finally:
        await database.stop()
    assert sorted(int(name) for name, _ in rows) == list(range(len(rows)))
    return [size for _, size in sorted(rows)]


async def grown(folder: Path, generation: int, count: int = 20) -> None:
    """Until that holder has written so many."""
    deadline_s = time.monotonic() + WAIT_S
    while (await generations(folder)).count(generation) < count:
        assert time.monotonic() < deadline_s, "the holder does not write"
        await asyncio.sleep(0.05)


async def pause(process: Process, folder: Path) -> None:
    """Anywhere, on a server. On a file, outside of its transactions: the file's lock goes only with
    its holder's process, so the one who is paused inside of one is killed by its supervisor.
    """
    while True:
        process.signal(signal.SIGSTOP)
        if on_postgres():
            return
        connection = sqlite3.connect(folder / "lease.db", timeout=0, isolation_level=None)
        try:
            connection.execute("begin immediate")
            return
        except sqlite3.OperationalError:
            process.signal(signal.SIGCONT)
            await asyncio.sleep(0.003)
        finally:
            connection.close()


def url_now() -> str:
    server = on_postgres()
    return server.url if server else ""


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("strike", ["paused", "killed"])
async def test_another_takes_over_and_the_former_writes_nothing_more(
    tmp_path: Path, strike: str
) -> None:
    async with holder("one", tmp_path, url_now()) as one:
        await until(lambda: one.holds)
        async with holder("two", tmp_path, url_now()) as two:
            await grown(tmp_path, 1)
            for generation in (2, 3):  # each takes it from the other
                here, there = (one, two) if generation == 2 else (two, one)
                struck_s = time.monotonic()
                if strike == "paused":
                    await pause(here, tmp_path)
                else:
                    here.signal(signal.SIGKILL)
                await until(lambda: there.holds)  # noqa: B023
                await grown(tmp_path, generation)
                # The lease's time, the time of a session asleep inside a transaction, and a try.
                assert there.times("gain")[generation] - struck_s < 3 * TTL_MS / 1000 + 2
                if strike == "killed":
                    break
                here.signal(signal.SIGCONT)
                await until(lambda: not here.holds)  # noqa: B023
                before = len(await generations(tmp_path))
                await grown(tmp_path, generation, before)
        found = await generations(tmp_path)
        assert found == sorted(found)


@pytest.mark.usefixtures("postgres")
async def test_a_holder_that_is_cut_off_has_stopped_before_another_gains(
    tmp_path: Path, server: Server
) -> None:
    async with FaultProxy(*server.address) as proxy:
        async with holder("one", tmp_path, server.through(proxy.address)) as one:
            await until(lambda: one.holds)
            async with holder("two", tmp_path, server.url) as two:
                await grown(tmp_path, 1)
                proxy.faults.swallow = True
                await until(lambda: two.holds)
                await until(lambda: not one.holds)
                assert one.times("loss")[1] < two.times("gain")[2]
                proxy.faults.swallow = False
                await grown(tmp_path, 2)
                two.signal(signal.SIGKILL)
                await until(lambda: one.holds)  # it came back by itself
                await grown(tmp_path, 3)
        found = await generations(tmp_path)
        assert found == sorted(found)
        assert set(found) == {1, 2, 3}
