# SPDX-License-Identifier: Apache-2.0
"""CPU that a JSON post costs the server: our door beside bare falcon, uvicorn and msgspec; and the
door over TLS (connections that exist: no handshakes).

Both servers stay up; rounds alternate between them, so what the machine does besides falls on both.
CPU is the server process's own time on a core, user and system, from the kernel's scheduler.

usage: python -m bench.http.door [ROUNDS] [REQUESTS]    writes bench/results/http.json
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATH = "/queue/v2/queues/jobs/messages"
CONNECTIONS = 16
GOAL = 1.6
KINDS = ("bare", "door", "secured")


def cpu_ns(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks)


def load(port: int, requests: int, kind: str) -> None:
    arguments = [str(port), PATH, str(CONNECTIONS), str(requests), kind]
    subprocess.run([*module("load"), *arguments], cwd=ROOT, check=True, timeout=180)


def module(name: str) -> list[str]:
    return [sys.executable, "-c", f"from bench.http.{name} import run; run()"]


def measure(rounds: int, requests: int, kinds: Sequence[str] = KINDS) -> dict[str, list[float]]:
    servers = {
        kind: subprocess.Popen(
            [*module("servers"), kind], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for kind in kinds
    }
    figures: dict[str, list[float]] = {kind: [] for kind in kinds}
    try:
        ports = {kind: int(server.stdout.readline()) for kind, server in servers.items()}
        for kind, port in ports.items():
            load(port, requests // 4, kind)
        for number in range(rounds):
            for kind in kinds if number % 2 else reversed(kinds):
                before_ns = cpu_ns(servers[kind].pid)
                load(ports[kind], requests, kind)
                spent_ns = cpu_ns(servers[kind].pid) - before_ns
                figures[kind].append(spent_ns / requests / 1000)
    finally:
        for server in servers.values():
            server.kill()
            server.wait()
    return figures


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    requests = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    figures = measure(rounds, requests)
    medians = {kind: statistics.median(figures[kind]) for kind in KINDS}
    ratio = statistics.median(
        ours / bare for ours, bare in zip(figures["door"], figures["bare"], strict=True)
    )
    names = ("falcon", "uvicorn", "uvloop", "httptools", "msgspec")
    result = {
        "claim": f"a post through the door costs at most {GOAL} times the bare route's CPU",
        "unit": "microseconds of server CPU a request",
        "median": {kind: round(figure, 2) for kind, figure in medians.items()},
        "ratio": round(ratio, 3),
        "goal": GOAL,
        "rounds": {kind: [round(figure, 2) for figure in figures[kind]] for kind in KINDS},
        "requests_a_round": requests,
        "connections": CONNECTIONS,
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": {name: version(name) for name in names},
    }
    target = ROOT / "bench" / "results" / "http.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{'server':8} {'us/request':>10}")
    for kind in KINDS:
        print(f"{kind:8} {medians[kind]:10.1f}")
    print(f"ratio    {ratio:10.2f}   (goal: at most {GOAL})")
    sys.exit(ratio > GOAL)


if __name__ == "__main__":
    main()
