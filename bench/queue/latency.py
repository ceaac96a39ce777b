# SPDX-License-Identifier: Apache-2.0
"""A durable post of 64 connections: its 99th percentile beside a Zaqar's and beside bare loops.

The bare loops have no HTTP and no queue; their callers are 64 tasks of one process: a thread that
inserts one row for each caller that waits, commits the group with one fsync and wakes them ("bare
SQLite"), and our own writer of databases with the same row ("our writer"). Zaqar keeps its messages
in memory only. Each is measured twice: as fast as its callers go, which is a time of queueing, and
at `PACED` posts a second, which all of them can carry. Rounds by turns; medians, ratios of each
round.

    python -m bench.queue.latency [SECONDS [ROUNDS]]
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop
from bench.db import group_commit
from bench.queue.running import ROOT, HttpServer, measured, ours, zaqar
from bench.report import median, ratio, rounds_argument, seconds_argument, table, written

CONNECTIONS = 64
PACED = 200
GOAL_ZAQAR, GOAL_BARE = 5, 4


async def bare(seconds: float, per_s: float) -> dict[str, dict[str, float]]:
    """Both loops, one after the other, on files of their own."""
    found = {}
    for name, loop in (("bare SQLite", group_commit.bare), ("our writer", group_commit.ours)):
        with tempfile.TemporaryDirectory() as folder:
            found[name] = await loop(Path(folder), CONNECTIONS, seconds, 0, per_s)
    return found


def apart(seconds: float, per_s: float) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.queue.latency", "--bare", str(seconds), str(per_s)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    told: dict[str, Any] = json.loads(done.stdout)
    return {name: {**one, "per_s": one["writes_s"]} for name, one in told.items()}


def turn(servers: list[HttpServer], seconds: float, per_s: float) -> dict[str, Any]:
    told = {
        server.name: measured(
            server, "post 1", connections=CONNECTIONS, seconds=seconds, per_s=per_s
        )
        for server in servers
    }
    return told | apart(seconds, per_s)


def judged(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of each, and how ours stands to the others."""
    p99 = {name: [one[name]["p99_ms"] for one in turns] for name in turns[0]}
    return {
        "contenders": {
            name: {
                "p99_ms": median(p99[name], 2),
                "p50_ms": median((one[name]["p50_ms"] for one in turns), 2),
                "per_s": median((one[name]["per_s"] for one in turns), 0),
            }
            for name in p99
        },
        "below_zaqar_times": ratio(p99["zaqar"], p99["transom"]),
        "above_bare_times": ratio(p99["transom"], p99["bare SQLite"]),
        "above_our_writer_times": ratio(p99["transom"], p99["our writer"]),
    }


def main() -> None:
    if sys.argv[1:2] == ["--bare"]:
        print(json.dumps(uvloop.run(bare(float(sys.argv[2]), float(sys.argv[3])))))
        return
    seconds, rounds = seconds_argument(2.0), rounds_argument(5)
    found: dict[str, list[dict[str, Any]]] = {"": [], "paced": []}
    with ours() as mine, zaqar() as theirs:
        turn([mine, theirs], 0.3, 0.0)  # only warms
        for _ in range(rounds):
            found[""].append(turn([mine, theirs], seconds, 0.0))
            found["paced"].append(turn([mine, theirs], seconds, PACED))
    result: dict[str, Any] = {
        "connections": CONNECTIONS,
        **judged(found[""]),
        "paced": {"posts_per_s": PACED, **judged(found["paced"])},
        "goal": {"below_zaqar_times": GOAL_ZAQAR, "above_bare_times": GOAL_BARE},
    }
    for head, told in (("all they can", result), (f"{PACED} a second", result["paced"])):
        table(
            [head, "p50 ms", "p99 ms", "posts/s"],
            ([name, one["p50_ms"], one["p99_ms"], one["per_s"]]
             for name, one in told["contenders"].items()),
        )  # fmt: skip
        print(f"p99 below Zaqar's {told['below_zaqar_times']} times (goal {GOAL_ZAQAR})")
        print(f"p99 above the bare loop's {told['above_bare_times']} times (goal {GOAL_BARE})")
    written("queue_latency", result)


if __name__ == "__main__":
    main()
