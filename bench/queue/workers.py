# SPDX-License-Identifier: Apache-2.0
"""Durable posts and reads at 64 connections: one, two and three workers behind one port.

Beside them, what they are not: two processes that write the same file, each for itself. One
message of 140 bytes a post; a read is a list of the queue's first 10. The load runs on the same
machine as the server, so with two cores more workers can only show what they cost.

    python -m bench.queue.workers [--seconds 5] [--json FILE]
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from transom.queue.config import QueueConfig
from transom.queue.service import MIGRATIONS, build
from transom.runtime.auth.context import Context
from transom.runtime.clock import SystemClock
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.http.app import make_app
from transom.runtime.http.listen import bind
from transom.runtime.http.server import HttpServer

ROOT = Path(__file__).parents[2]
CONNECTIONS = 64
CLIENT_ID = "3381af92-2b9e-11e3-b191-71861300734c"
LENGTH = re.compile(rb"content-length: (\d+)")
MESSAGE = json.dumps({"messages": [{"body": "x" * 138, "ttl": 3600}]})
POST = ("POST", "/queue/v2/queues/bench/messages", MESSAGE)
READ = ("GET", "/queue/v2/queues/bench/messages?echo=true", "")
KNOWN = Context("", user_id="u", project_id="p", roles=frozenset({"member"}))


class Caller(asyncio.Protocol):
    """One connection, which asks again as soon as it is answered, until the time is up."""

    def __init__(self, request: bytes, until_s: float, done: asyncio.Future[None]) -> None:
        self.request = request
        self.until_s = until_s
        self.done = done
        self.took_ms: list[float] = []
        self.failed = 0
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.began_s = time.perf_counter()
        if self.began_s > self.until_s:
            self.transport.close()
            return
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head_end = self.received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        found = LENGTH.search(self.received)
        if found is None or len(self.received) < head_end + 4 + int(found[1]):
            return
        self.took_ms.append((time.perf_counter() - self.began_s) * 1000)
        self.failed += not self.received.startswith(b"HTTP/1.1 20")
        self.received = b""
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def load(port: int, token: str, what: tuple[str, str, str], seconds: float) -> dict[str, Any]:
    method, path, body = what
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Auth-Token: {token}\r\n"
        f"Client-ID: {CLIENT_ID}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    callers: list[Caller] = []
    until_s = time.perf_counter() + seconds
    for _ in range(CONNECTIONS):
        caller = Caller((head + body).encode(), until_s, loop.create_future())
        await loop.create_connection(lambda caller=caller: caller, "127.0.0.1", port)
        callers.append(caller)
    await asyncio.wait([caller.done for caller in callers], timeout=seconds + 30)
    took = sorted(one for caller in callers for one in caller.took_ms)
    return {
        "per_s": round(len(took) / seconds),
        "p50_ms": round(statistics.median(took), 2),
        "p99_ms": round(took[len(took) * 99 // 100], 2),
        "failed": sum(caller.failed for caller in callers),
    }


def measured(port: int, token: str, seconds: float) -> dict[str, Any]:
    """Posts, then reads, from a process of its own; a short warming before."""
    uvloop.run(load(port, token, POST, min(1.0, seconds)))
    return {
        name: json.loads(
            subprocess.run(
                [sys.executable, "-m", "bench.queue.workers", "--load"],
                input=json.dumps([port, token, what, seconds]),
                cwd=ROOT, capture_output=True, text=True, check=True,
            ).stdout
        )
        for name, what in (("post", POST), ("read", READ))
    }  # fmt: skip


@contextmanager
def stack(workers: int) -> Iterator[tuple[int, str, list[dict[str, Any]]]]:
    """A real `transom up`; gives its port, a token, its processes."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.load import login
    from support.stack import running

    os.environ["TRANSOM_API__WORKERS"] = str(workers)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "data") as stack:
        port = urlsplit(stack.url).port
        assert port is not None
        yield port, login(stack), stack.status()["roles"]


@contextmanager
def naive(processes: int) -> Iterator[int]:
    """As many processes as wished, each with a writer of its own on one file; gives their port."""
    with tempfile.TemporaryDirectory() as folder:
        door = bind("127.0.0.1", 0)
        door.listen(1024)
        door.set_inheritable(True)
        command = [sys.executable, "-m", "bench.queue.workers", "--serve"]
        started = [
            subprocess.Popen(
                [*command, str(door.fileno()), folder],
                cwd=ROOT, pass_fds=[door.fileno()], stdout=subprocess.PIPE,
            )
            for _ in range(processes)
        ]  # fmt: skip
        try:
            for process in started:
                assert process.stdout is not None
                process.stdout.readline()
            yield door.getsockname()[1]
        finally:
            for process in started:
                process.terminate()
                process.wait(20)
            door.close()


async def serve(descriptor: int, folder: str) -> None:
    """One process of the naive layout, until it is killed."""
    import socket

    sys.path.insert(0, str(ROOT / "tests"))
    from support.http import Tokens

    clock = SystemClock()
    database = SqliteDatabase(Path(folder) / "queue.db", MIGRATIONS, clock=clock, exclusive=False)
    service = build(QueueConfig(), database, clock=clock, random=os.urandom)
    await service.start()
    app = make_app([service.mount], authenticate=Tokens({"token": KNOWN}), random=os.urandom)
    await HttpServer(app, [socket.socket(fileno=descriptor)]).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


def bench(seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {"cores": os.cpu_count(), "connections": CONNECTIONS}
    for workers in (1, 2, 3):
        with stack(workers) as (port, token, roles):
            found[f"{workers} workers"] = measured(port, token, seconds)
            found[f"{workers} workers"]["mib"] = {
                role["name"]: role["memory_mib"] for role in roles if role["name"][:3] == "api"
            }
            show(f"{workers} workers", found[f"{workers} workers"])
    for processes in (1, 2):
        name = f"naive, {processes} writing"
        with naive(processes) as port:
            found[name] = measured(port, "token", seconds)
            show(name, found[name])
    return found


def show(name: str, row: dict[str, Any]) -> None:
    for what in ("post", "read"):
        figures = row[what]
        print(
            f"{name:<18} {what}  {figures['per_s']:>7}/s  p50 {figures['p50_ms']:>7} ms  "
            f"p99 {figures['p99_ms']:>8} ms  failed {figures['failed']}",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        port, token, what, seconds = json.loads(sys.stdin.read())
        print(json.dumps(uvloop.run(load(port, token, tuple(what), seconds))))
        return 0
    if options.serve:
        uvloop.run(serve(int(options.serve[0]), options.serve[1]))
        return 0
    found = bench(options.seconds)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return int(any(row["post"]["failed"] for row in found.values() if isinstance(row, dict)))


if __name__ == "__main__":
    sys.exit(main())
