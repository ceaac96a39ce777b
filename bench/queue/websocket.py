# SPDX-License-Identifier: Apache-2.0
"""The queue's WebSocket against its HTTP, on one server: requests a second and the server's CPU.

A whole `transom up` on files: each answer comes after the group's fsync. 16 connections with one
request each under way, over HTTP, over a WebSocket with MessagePack and with JSON; and sockets with
8 requests each under way, which HTTP cannot have. Bodies of 140 bytes. A turn of "claim 20 and
delete" is both requests. Rounds by turns; figures are medians, ratios those of each round.

    python -m bench.queue.websocket [SECONDS [ROUNDS]]
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.queue.running import HttpServer, loaded, measured, ours
from bench.report import median, ratio, rounds_argument, seconds_argument, table, written

LOAD = Path(__file__).parent / "contenders" / "socket_load.py"
CONNECTIONS = 16
WHATS = ("post 1", "post 20", "list 20", "claim 20 and delete")
KEYS = ("per_s", "messages_per_s", "p50_ms", "p99_ms", "cpu_us")
SOCKETS: dict[str, dict[str, Any]] = {
    "websocket msgpack": {"window": 1, "binary": True},
    "websocket json": {"window": 1, "binary": False},
    "websocket msgpack, 8 under way": {"window": 8, "binary": True},
}


def socket_measured(server: HttpServer, what: str, seconds: float, **more: Any) -> dict[str, Any]:
    """As `running.measured`."""
    queue = what.replace(" ", "-")
    if what.startswith("claim"):
        loaded(server, queue, f"fill {round(server.turns_per_s * 20 * (seconds + 0.5))}")
    told = {
        "port": server.port, "prefix": server.prefix, "headers": dict(server.headers),
        "queue": queue, "what": what, "connections": CONNECTIONS, "seconds": seconds, **more,
    }  # fmt: skip
    cpu_s = server.cpu_s()
    done = subprocess.run(
        [sys.executable, str(LOAD)], input=json.dumps(told), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    cpu_s = server.cpu_s() - cpu_s
    if done.returncode:
        raise RuntimeError(f"{what}: {done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    if found["failed"] or not found["done"]:
        raise RuntimeError(f"{what}: {found}")
    return {**found, "cpu_us": cpu_s / found["done"] * 1e6}


def main() -> None:
    seconds, rounds = seconds_argument(1.5), rounds_argument(3)
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    with ours() as server:
        for number in range(rounds + 1):
            for what in WHATS:
                turn = seconds if number else 0.3
                told = {"http": measured(server, what, connections=CONNECTIONS, seconds=turn)}
                for name, how in SOCKETS.items():
                    told[name] = socket_measured(server, what, turn, **how)
                if number:  # the first only warms
                    for name, figures in told.items():
                        found.setdefault(what, {}).setdefault(name, []).append(figures)
    result: dict[str, Any] = {"connections": CONNECTIONS, "body_bytes": 140, "requests": {}}
    rows = []
    for what, ways in found.items():
        http = [turn["per_s"] for turn in ways["http"]]
        http_cpu = [turn["cpu_us"] for turn in ways["http"]]
        for name, turns in ways.items():
            figures = {key: median(turn[key] for turn in turns) for key in KEYS}
            times = ratio([turn["per_s"] for turn in turns], http)
            cpu = ratio(http_cpu, [turn["cpu_us"] for turn in turns])
            result["requests"].setdefault(what, {})[name] = {
                **figures, "times_http": times, "cpu_times_http": cpu,
            }  # fmt: skip
            rows.append([f"{what}, {name}", *figures.values(), times, cpu])
    table(["", *KEYS, "times http", "cpu times http"], rows)
    written("queue_websocket", result)


if __name__ == "__main__":
    main()
