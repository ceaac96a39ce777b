# SPDX-License-Identifier: Apache-2.0
"""Requests a second and CPU against a Zaqar 23 that keeps its messages in Redis, in memory only.

Ours is a whole `transom up` on files: its 201 comes after the group's fsync. Zaqar runs under
gunicorn with two processes of eight threads, its Redis writes nothing to disk. Both are asked by
the same load client, a process of its own, over 16 keep-alive connections; bodies of 140 bytes.
A turn of "claim 20 and delete" is both requests. CPU is user and system time of all processes of
the server, Redis too. Rounds by turns; figures are medians, ratios the medians of each round's.

    python -m bench.queue.against_zaqar [SECONDS [ROUNDS]]
"""

from typing import Any

from bench.queue.running import HttpServer, measured, ours, zaqar
from bench.report import median, ratio, rounds_argument, seconds_argument, table, written

CONNECTIONS = 16
WHATS = ("post 1", "post 20", "list 20", "claim 20 and delete")
GOALS = {"post 1": 10, "post 20": 15, "list 20": 30, "claim 20 and delete": 30}
GOAL_CPU = 10


def rounds_of(
    servers: list[HttpServer], seconds: float, rounds: int
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for number in range(rounds + 1):
        for what in WHATS:
            for server in servers:
                told = measured(
                    server, what, connections=CONNECTIONS, seconds=seconds if number else 0.3
                )
                if number:  # the first only warms
                    found.setdefault(what, {}).setdefault(server.name, []).append(told)
    return found


def main() -> None:
    seconds, rounds = seconds_argument(1.5), rounds_argument(3)
    result: dict[str, Any] = {"connections": CONNECTIONS, "body_bytes": 140, "requests": {}}
    with ours() as mine, zaqar() as theirs:
        found = rounds_of([mine, theirs], seconds, rounds)
        result["acknowledged"] = {one.name: one.acknowledged for one in (mine, theirs)}
    rows = []
    for what, both in found.items():
        lists = {
            name: {key: [turn[key] for turn in turns] for key in ("per_s", "p99_ms", "cpu_us")}
            for name, turns in both.items()
        }
        ours_, peer = lists["transom"], lists["zaqar"]
        told = {
            name: {key: median(values) for key, values in figures.items()}
            for name, figures in lists.items()
        }
        times = ratio(ours_["per_s"], peer["per_s"])
        cpu = ratio(peer["cpu_us"], ours_["cpu_us"])
        goal = {"times": GOALS[what], "cpu_times": GOAL_CPU}
        result["requests"][what] = {**told, "times": times, "cpu_times": cpu, "goal": goal}
        rows.append([
            what, *(told[name][key] for key in ("per_s", "cpu_us") for name in told),
            times, GOALS[what], cpu,
        ])  # fmt: skip
    head = ["", "ours/s", "zaqar/s", "ours µs", "zaqar µs", "times", "goal", "cpu times"]
    table(head, rows)
    written("queue_against_zaqar", result)


if __name__ == "__main__":
    main()
