# SPDX-License-Identifier: Apache-2.0
"""Threads, connections and memory with 64 calls in flight, beside oslo.messaging.

As the kernel counts them: entries of /proc/PID/task, established TCP connections to the broker's
port, resident memory.

usage: python -m bench.messaging.footprint          -> bench/results/footprint.json
"""

import sys
import time

from bench.messaging.running import (
    OSLO,
    OURS,
    Kind,
    broker,
    connections,
    contender,
    resident_mb,
    threads,
)
from bench.report import table, written

CALLS = 64
IN_FLIGHT_S = 4.0
GOAL = {"threads": 1, "connections": 2}


def measure(kind: Kind) -> dict[str, dict[str, float]]:
    with broker() as place, contender(kind, place) as it:
        # Once through, so that whatever grows has grown.
        it.client.ask("calls", topic=it.topic, callers=CALLS, seconds=0.5, x="warm")
        it.client.ask("sleepers", topic=it.topic, callers=CALLS, seconds=IN_FLIGHT_S)
        time.sleep(IN_FLIGHT_S / 2)
        return {
            role: {
                "threads": threads(process.pid),
                "connections": connections(process.pid, place.address[1]),
                "resident_mb": round(resident_mb(process.pid), 1),
            }
            for role, process in (("server", it.server), ("client", it.client))
        }


def main() -> int:
    figures = {kind.name: measure(kind) for kind in (OURS, OSLO)}
    written(
        "footprint",
        {
            "claim": f"a server with {CALLS} calls in flight has one thread and two connections",
            "figures": figures,
            "goal": GOAL,
            "versions": [OURS.version, OSLO.version],
        },
    )
    rows = [
        (f"{name}, {role}", told["threads"], told["connections"], told["resident_mb"])
        for name, roles in figures.items()
        for role, told in roles.items()
    ]
    table((f"{CALLS} calls in flight", "threads", "connections", "MB"), rows)
    print("goal: a server with 1 thread, 2 connections")
    return 0


if __name__ == "__main__":
    sys.exit(main())
