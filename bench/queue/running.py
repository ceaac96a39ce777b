# SPDX-License-Identifier: Apache-2.0
"""Ours and a Zaqar as servers to load, and what the kernel says of their processes.

with ours() as server, zaqar() as peer:
    measured(server, "post 1", connections=16, seconds=1.0)["per_s"]
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
LOAD = Path(__file__).parent / "contenders" / "http_load.py"
sys.path.insert(0, str(ROOT / "tests"))

from support.load import login  # noqa: E402
from support.stack import running  # noqa: E402
from support.zaqar import real_zaqar  # noqa: E402

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
LISTED = 1000
"""Messages in the queue that is listed."""


@dataclass
class HttpServer:
    """`roots`: the processes that it consists of, with all their descendants."""

    name: str
    port: int
    prefix: str
    headers: Mapping[str, str]
    roots: list[int]
    acknowledged: str
    turns_per_s: float = 1000.0
    filled: set[str] = field(default_factory=set)

    def cpu_s(self) -> float:
        return tree_cpu_s(self.roots)


def tree_cpu_s(roots: list[int]) -> float:
    """User and system time of the processes, their descendants, and those that have ended."""
    children: dict[int, list[int]] = {}
    used: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            text = Path(f"/proc/{name}/stat").read_text()
        except OSError:
            continue
        columns = text.rpartition(")")[2].split()
        children.setdefault(int(columns[1]), []).append(int(name))
        used[int(name)] = sum(int(columns[at]) for at in (11, 12, 13, 14))
    met: set[int] = set()
    todo = list(roots)
    while todo:
        pid = todo.pop()
        if pid not in met:
            met.add(pid)
            todo += children.get(pid, [])
    return sum(used.get(pid, 0) for pid in met) / TICKS_PER_S


def loaded(server: HttpServer, queue: str, what: str, **more: Any) -> dict[str, Any]:
    """What the load client says, a process of its own."""
    told = {
        "port": server.port, "prefix": server.prefix, "headers": dict(server.headers),
        "queue": queue, "what": what, "connections": 1, "seconds": 1.0, **more,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(LOAD)], input=json.dumps(told), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{server.name}, {what}: {done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measured(
    server: HttpServer, what: str, *, connections: int, seconds: float, per_s: float = 0.0
) -> dict[str, Any]:
    """One measurement with the server's CPU; what it needs to find there is posted before.

    `per_s`: requests are due at that rate; 0: each follows the answer before it.

    Raises: RuntimeError if a request failed.
    """
    queue = what.replace(" ", "-")
    if what == "list 20" and what not in server.filled:
        server.filled.add(what)
        loaded(server, queue, f"fill {LISTED}")
    if what.startswith("claim"):
        loaded(server, queue, f"fill {round(server.turns_per_s * 20 * (seconds + 0.5))}")
    cpu_s = server.cpu_s()
    found = loaded(server, queue, what, connections=connections, seconds=seconds, per_s=per_s)
    cpu_s = server.cpu_s() - cpu_s
    if found["failed"] or not found["done"]:
        raise RuntimeError(f"{server.name}, {what}: {found}")
    if what.startswith("claim"):
        server.turns_per_s = found["per_s"] * 1.3
    return {**found, "cpu_us": cpu_s / found["done"] * 1e6}


@contextmanager
def ours() -> Iterator[HttpServer]:
    """A whole `transom up` as it comes, on files."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "data") as stack:
        port = urlsplit(stack.url).port
        assert port is not None
        pids = [role["pid"] for role in stack.status()["roles"] if role["pid"]]
        headers = {"X-Auth-Token": login(stack)}
        yield HttpServer(
            "transom", port, "/queue", headers, pids, "on disk (a group's fsync)", 2500.0
        )


@contextmanager
def zaqar() -> Iterator[HttpServer]:
    """Zaqar 23 as the research ran it: gunicorn, two processes of 8 threads, Redis in memory."""
    with (
        tempfile.TemporaryDirectory() as folder,
        real_zaqar(Path(folder) / "zaqar", workers=2) as server,
    ):
        headers = {"X-Project-Id": "bench", "X-Roles": "admin"}
        roots = [server.pid, server.redis.pid]
        yield HttpServer("zaqar", server.port, "", headers, roots, "in memory", 120.0)
