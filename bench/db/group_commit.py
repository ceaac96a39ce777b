# SPDX-License-Identifier: Apache-2.0
"""Durable single-row inserts and inline reads: ours beside a bare group-commit loop, in one run.

usage: python -m bench.db.group_commit [--seconds 2] [--rounds 3] [--busy-us 0]
writes bench/results/group_commit.json

The bare loop has no verbs, no savepoints, no bounds: rows are put on a queue, a thread inserts all
that wait in one transaction, commits to disk, and wakes the callers. `--busy-us` makes each caller
burn that much of the loop's thread between two writes, as a door does. Figures are medians.
"""

import argparse
import asyncio
import json
import platform
import queue
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from transom.runtime.clock import SystemClock
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.db.transaction import Transaction

TABLE = "create table message (id integer primary key, body blob not null);"
INSERT = "insert into message (body) values (?)"
BODY = bytes(140)
CALLERS = (1, 16, 64, 256)

Write = Callable[[], Awaitable[Any]]


class Bare:
    """The least that gives a durable group commit."""

    def __init__(self, path: Path) -> None:
        self._jobs: queue.SimpleQueue[asyncio.Future[None] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        self._connection.execute(TABLE)
        self._thread = threading.Thread(target=self._main)
        self._thread.start()

    async def write(self) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._jobs.put(future)
        await future

    def stop(self) -> None:
        self._jobs.put(None)
        self._thread.join()
        self._connection.close()

    def _main(self) -> None:
        running = True
        while running:
            group = [self._jobs.get()]
            while not self._jobs.empty():
                group.append(self._jobs.get_nowait())
            futures = [future for future in group if future is not None]
            running = len(futures) == len(group)
            self._connection.execute("begin immediate")
            for _ in futures:
                self._connection.execute(INSERT, (BODY,))
            self._connection.execute("commit")
            if futures:
                self._loop.call_soon_threadsafe(_wake, futures)


def _wake(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


async def insert(transaction: Transaction) -> None:
    await transaction.execute(INSERT, (BODY,))


async def measured(
    write: Write, callers: int, seconds: float, busy_us: float, per_s: float = 0.0
) -> dict[str, float]:
    """`per_s`: writes are due at that rate, and their times count from when they were due; 0: each
    follows the one before it."""
    latencies: list[float] = []
    start = time.perf_counter()
    end = start + seconds

    async def caller(at: int) -> None:
        due = start + at / per_s if per_s else 0.0
        while (began := due or time.perf_counter()) < end:
            if per_s:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                due += callers / per_s
            await write()
            latencies.append(time.perf_counter() - began)
            until = time.perf_counter() + busy_us / 1e6
            while time.perf_counter() < until:
                pass

    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*map(caller, range(callers)))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    latencies.sort()
    return {
        "writes_s": len(latencies) / took,
        "cpu_us": cpu / len(latencies) * 1e6,
        "p50_ms": latencies[len(latencies) // 2] * 1e3,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1e3,
    }


async def ours(
    folder: Path, callers: int, seconds: float, busy_us: float, per_s: float = 0.0
) -> dict[str, float]:
    room = folder / "migrations"
    room.mkdir()
    (room / "0001_before_message.sql").write_text(TABLE)
    database = SqliteDatabase(folder / "ours.db", [Migrations("bench", room)], clock=SystemClock())
    await database.start()
    try:
        figures = await measured(lambda: database.write(insert), callers, seconds, busy_us, per_s)
        figures["read_us"] = await read_us(database)
    finally:
        await database.stop()
    return figures


async def read_us(database: SqliteDatabase) -> float:
    async def verb(transaction: Transaction) -> Any:
        return await transaction.fetch_one("select body from message where id = ?", (1,))

    began = time.perf_counter()
    for _ in range(5000):
        await database.read(verb)
    return (time.perf_counter() - began) / 5000 * 1e6


async def bare(
    folder: Path, callers: int, seconds: float, busy_us: float, per_s: float = 0.0
) -> dict[str, float]:
    loop = Bare(folder / "bare.db")
    try:
        return await measured(loop.write, callers, seconds, busy_us, per_s)
    finally:
        loop.stop()


def median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(one[name] for one in rounds), 3) for name in rounds[0]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy-us", type=float, default=0)
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for callers in CALLERS:
        found: dict[str, list[dict[str, float]]] = {"ours": [], "bare": []}
        for _ in range(options.rounds):
            for name, work in (("ours", ours), ("bare", bare)):
                with tempfile.TemporaryDirectory() as folder:
                    run = work(Path(folder), callers, options.seconds, options.busy_us)
                    found[name].append(asyncio.run(run))
        results[str(callers)] = {name: median(rounds) for name, rounds in found.items()}
    result = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "busy_us": options.busy_us,
        "callers": results,
    }
    target = Path(__file__).parent.parent / "results" / "group_commit.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
