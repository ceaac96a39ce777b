# SPDX-License-Identifier: Apache-2.0
"""Durable posts of 64 callers without doors: one process, two through an owner, two on one file.

What `workers.py` measures with HTTP around it, here by itself: one message of 140 bytes a post.
The callers are spread over the processes; both share the cores of this machine.

    python -m bench.queue.writers [--seconds 5] [--json FILE]
"""

import argparse
import asyncio
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
from transom.queue.bus import TOPIC, Owner, RemoteWriter
from transom.queue.config import QueueConfig
from transom.queue.model import ClientId, NewMessage, Place
from transom.queue.service import MIGRATIONS
from transom.queue.store.verbs import LocalWriter, Post, Tools, Writer
from transom.runtime.clock import SystemClock
from transom.runtime.db.sqlite import SqliteDatabase

ROOT = Path(__file__).parents[2]
CALLERS = 64
VERB = Post(Place("p", "q"), ClientId(b"c" * 16), 160, (NewMessage(b'"' + b"x" * 138 + b'"'),))


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
        print(json.dumps(took), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


async def _writer(name: str, folder: Path, opened: AsyncExitStack) -> Writer:
    if name != "naive":
        transport = connect(f"zmq://{folder}")
        if name == "owner":
            registry = RegistryServer(folder, clock=SystemClock())
            await registry.start()
            opened.push_async_callback(registry.stop)
        await opened.enter_async_context(transport)
    if name == "follower":
        remote = RemoteWriter(transport)
        await remote.start()
        opened.push_async_callback(remote.stop)
        return remote
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
