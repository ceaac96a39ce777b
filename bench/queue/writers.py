# SPDX-License-Identifier: Apache-2.0
"""Durable posts of 64 callers without doors: one process, two through an owner, two on one file,
two with a file each.

What `workers.py` measures with HTTP around it, here by itself: one message of 140 bytes a post.
The callers are spread over the processes; both share the cores of this machine.

    python -m bench.queue.writers [--seconds 5] [--json FILE]
"""

import argparse
import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import uvloop

from transom.messaging import connect
from transom.messaging.drivers.zmq import RegistryServer
from transom.messaging.server import Server
from transom.messaging.target import Target
from transom.messaging.transport import Transport
from transom.queue.bus.frames import TOPIC
from transom.queue.bus.neighbours import Neighbours
from transom.queue.bus.owner import Owner
from transom.queue.bus.writer import RemoteWriter
from transom.queue.config import QueueConfig
from transom.queue.model import ClientId, NewMessage, Place
from transom.queue.service import MIGRATIONS
from transom.queue.store.verbs.messages import Post
from transom.queue.store.verbs.verb import LocalWriter, Tools, Writer
from transom.runtime.clock import SystemClock
from transom.runtime.db.sqlite import SqliteDatabase

ROOT = Path(__file__).parents[2]
CALLERS = 64
VERB = Post(Place("p", "q"), ClientId(b"c" * 16), 160, (NewMessage(b'"' + b"x" * 138 + b'"'),))
PAIR = ("first", "second")
"""Each owns one of two files, and writes the other one through its owner."""
AT_HOME = " at home"
"""Each writes its own one only: as if every caller knew where its queue is."""


class Alternating:
    """A writer that takes its verbs to several in turn, as queues of several shards would."""

    problem = ""
    leaves = False

    def __init__(self, writers: list[Writer]) -> None:
        self._writers = itertools.cycle(writers)

    async def write(self, verb: Any) -> Any:
        return await next(self._writers).write(verb)


async def measured(writer: Writer, callers: int, seconds: float) -> list[float]:
    """How long each post took, in ms."""
    took: list[float] = []
    end_s = time.perf_counter() + seconds

    async def call() -> None:
        while (began_s := time.perf_counter()) < end_s:
            await writer.write(VERB)
            took.append((time.perf_counter() - began_s) * 1000)

    await asyncio.gather(*(call() for _ in range(callers)))
    return took


async def role(name: str, folder: Path, callers: int, seconds: float) -> None:
    """One process of a layout: says ready, waits for a line, measures, prints what it found."""
    async with AsyncExitStack() as opened:
        writer = await _writer(name, folder, opened)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        took = await measured(writer, callers, seconds)
        # Not on the loop: the pipe takes 64 KiB, and the others still write through this process.
        await asyncio.to_thread(print, json.dumps(took), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


async def _writer(name: str, folder: Path, opened: AsyncExitStack) -> Writer:
    if name != "naive":
        transport = connect(f"zmq://{folder}")
        if name in ("owner", PAIR[0], PAIR[0] + AT_HOME):
            registry = RegistryServer(folder, clock=SystemClock())
            await registry.start()
            opened.push_async_callback(registry.stop)
        await opened.enter_async_context(transport)
    if name == "follower":
        remote = RemoteWriter(transport)
        await remote.start()
        opened.push_async_callback(remote.stop)
        return remote
    own = name.removesuffix(AT_HOME)
    if own in PAIR:
        writers = await _of_pair(PAIR.index(own), folder, transport, opened)
        return Alternating([it for it in writers if own == name or not it.leaves])
    clock = SystemClock()
    path, alone = folder / "queue.db", name == "owner"
    database = SqliteDatabase(path, MIGRATIONS, clock=clock, exclusive=alone)
    await database.start()
    opened.push_async_callback(database.stop)
    writer = LocalWriter(database, Tools(QueueConfig(), clock, os.urandom))
    if name == "owner":
        server = Server(transport, Target(topic=TOPIC, server="owner"), [Owner(writer)])
        await server.start()
        opened.push_async_callback(server.stop)
    return writer


async def _of_pair(
    own: int, folder: Path, transport: Transport, opened: AsyncExitStack
) -> list[Writer]:
    neighbours = Neighbours(
        folder, SystemClock(), worker=own, workers=2, transport=transport, server=PAIR[own]
    )
    neighbours.equip(lambda: Tools(QueueConfig(), SystemClock(), os.urandom))
    writers: list[Writer] = []
    for shard in neighbours.shards(3):  # the home, the first, has no part in it
        await shard.start()
        opened.push_async_callback(shard.stop)
        writers.append(shard.store.writer)
    return writers


def layout(names: list[str], seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="tw") as folder:
        Path(folder).chmod(0o700)
        processes = []
        for name in names:
            command = [sys.executable, "-m", "bench.queue.writers", "--role", name, folder]
            words = [str(CALLERS // len(names)), str(seconds)]
            process = subprocess.Popen(
                [*command, *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                text=True,
            )  # fmt: skip
            assert process.stdout is not None
            process.stdout.readline()
            processes.append(process)
        took: list[float] = []
        for process in processes:
            _tell(process)
        for process in processes:
            assert process.stdout is not None
            took += json.loads(process.stdout.readline())
        for process in reversed(processes):
            _tell(process)
            process.wait(20)
    took.sort()
    return {
        "per_s": round(len(took) / seconds),
        "p50_ms": round(took[len(took) // 2], 2),
        "p99_ms": round(took[len(took) * 99 // 100], 2),
        "worst_ms": round(took[-1], 1),
    }


def _tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


LAYOUTS = {
    "one process": ["owner"],
    "two, through the owner": ["owner", "follower"],
    "three, through the owner": ["owner", "follower", "follower"],
    "two on one file": ["naive", "naive"],
    "two files, an owner each": list(PAIR),
    "the same, callers at home": [name + AT_HOME for name in PAIR],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--role", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        name, folder, callers, seconds = options.role
        uvloop.run(role(name, Path(folder), int(callers), float(seconds)))
        return 0
    found: dict[str, Any] = {"cores": os.cpu_count(), "callers": CALLERS}
    for name, names in LAYOUTS.items():
        found[name] = row = layout(names, options.seconds)
        print(f"{name:<26}{row['per_s']:>8}/s  " + "  ".join(
            f"{key} {row[key + '_ms']}" for key in ("p50", "p99", "worst")
        ), flush=True)  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
