# SPDX-License-Identifier: Apache-2.0
"""What a project's posts take while another project floods the same store, and what fairness costs.

Project A posts from 200 callers as fast as it is answered, one message or a hundred at a time;
project B posts one message each few milliseconds. Once through the fair writer, once without it.
Then a lone poster, and 64 posters of one project, with and without, in turns. Durable posts of
messages of 140 bytes into a file; the callers are in the store's process, so what is seen is the
store's queue and not the doors'.

    python -m bench.queue.fair_use [--seconds 5] [--json FILE]
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from transom.queue.config import QueueConfig
from transom.queue.model import ClientId, NewMessage, Place
from transom.queue.service import MIGRATIONS
from transom.queue.store.fair_writer import FairWriter
from transom.queue.store.verbs.messages import Post
from transom.queue.store.verbs.verb import LocalWriter, Tools, Writer
from transom.runtime.clock import SystemClock
from transom.runtime.db.sqlite import SqliteDatabase

FLOOD = 200
PAUSE_S = 0.005
ROUNDS = 15
BATCHES = (1, 100)
CLIENT = ClientId(b"c" * 16)
BODY = NewMessage(b'"' + b"x" * 138 + b'"', 3600)


def post(project_id: str, name: str, messages: int = 1) -> Post:
    return Post(Place(project_id, name), CLIENT, 180 * messages, (BODY,) * messages)


async def timed(writer: Writer, verb: Post, until_s: float, pause_s: float = 0.0) -> list[float]:
    """Posts until then; what each took, in ms."""
    took_ms = []
    while time.perf_counter() < until_s:
        began_s = time.perf_counter()
        await writer.write(verb)
        took_ms.append((time.perf_counter() - began_s) * 1000)
        if pause_s:
            await asyncio.sleep(pause_s)
    return took_ms


def shown(took_ms: list[float], seconds: float) -> dict[str, float]:
    took = sorted(took_ms)
    return {
        "per_s": round(len(took) / seconds),
        "p50_ms": round(statistics.median(took), 2),
        "p99_ms": round(took[len(took) * 99 // 100], 2),
    }


async def flooded(writer: Writer, messages: int, seconds: float) -> dict[str, Any]:
    until_s = time.perf_counter() + seconds
    loop = asyncio.get_running_loop()
    flood = [
        loop.create_task(timed(writer, post("a", f"q{number % 8}", messages), until_s))
        for number in range(FLOOD)
    ]
    calm = await timed(writer, post("b", "q"), until_s, PAUSE_S)
    every = [one for task in flood for one in await task]
    return {"b": shown(calm, seconds), "a": shown(every, seconds)}


async def together(writer: Writer, callers: int, seconds: float) -> dict[str, float]:
    until_s = time.perf_counter() + seconds
    found = await asyncio.gather(*(timed(writer, post("c", "q"), until_s) for _ in range(callers)))
    return shown([one for took in found for one in took], seconds)


class Nothing:
    """A writer that does nothing."""

    problem = ""
    leaves = False

    async def write(self, verb: Any) -> Any:
        return None


async def overhead_us(config: QueueConfig) -> float:
    """What the fair writer adds to a write that finds its way free: the least of some runs."""
    took_s: dict[bool, float] = {}
    plain, verb = Nothing(), post("c", "q")
    fair = FairWriter(plain, config)
    for _ in range(10):
        for is_fair, writer in ((False, plain), (True, fair)):
            began_s = time.perf_counter()
            for _ in range(10_000):
                await writer.write(verb)
            passed_s = time.perf_counter() - began_s
            took_s[is_fair] = min(took_s.get(is_fair, passed_s), passed_s)
    return round((took_s[True] - took_s[False]) / 10_000 * 1e6, 2)


async def bench(seconds: float) -> dict[str, Any]:
    config, clock = QueueConfig(), SystemClock()
    found: dict[str, Any] = {"flood": FLOOD, "writes_at_once": config.writes_at_once}
    with tempfile.TemporaryDirectory() as folder:
        database = SqliteDatabase(Path(folder) / "queue.db", MIGRATIONS, clock=clock)
        await database.start()
        plain = LocalWriter(database, Tools(config, clock, os.urandom))
        writers: dict[str, Writer] = {"plain": plain, "fair": FairWriter(plain, config)}
        for name, writer in writers.items():
            for messages in BATCHES:
                key = f"flooded by posts of {messages}, {name}"
                found[key] = await flooded(writer, messages, seconds)
        for callers in (1, 64):
            rounds: dict[str, list[dict[str, float]]] = {name: [] for name in writers}
            for number in range(ROUNDS):
                # Who comes first changes: the file grows, and other programs come and go.
                for name, writer in sorted(writers.items(), reverse=number % 2 == 0):
                    rounds[name].append(await together(writer, callers, seconds / ROUNDS))
            for name, rows in rounds.items():
                found[f"{callers} posters, {name}"] = {
                    key: round(statistics.median(row[key] for row in rows), 2) for key in rows[0]
                }
            ratios = [
                fair["per_s"] / plain["per_s"]
                for plain, fair in zip(rounds["plain"], rounds["fair"], strict=True)
            ]
            found[f"{callers} posters, fair / plain"] = round(statistics.median(ratios), 3)
        await database.stop()
    found["a write through the fair writer, us more"] = await overhead_us(config)
    for messages in BATCHES:
        key = f"flooded by posts of {messages}"
        before, after = (found[f"{key}, {name}"]["b"]["p99_ms"] for name in writers)
        found[f"{key}: p99 of b, plain / fair"] = round(before / after, 2)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = uvloop.run(bench(options.seconds))
    for name, row in found.items():
        print(f"{name:<50} {row}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    gains = [
        found[f"flooded by posts of {messages}: p99 of b, plain / fair"] for messages in BATCHES
    ]
    return int(min(gains) < 1)


if __name__ == "__main__":
    sys.exit(main())
