# SPDX-License-Identifier: Apache-2.0
"""What a replica pays for changes of tables that it does not want: it decodes and drops them.

A publisher sends change sets of one table over `memory://`; the CPU of the process with a replica
of another table, less that without any replica, is the replica's. A fan-out a table would save it,
and take apart steps that touch several tables.

usage: python -m bench.messaging.feed_filter [ROUNDS] [SETS]; writes bench/results/feed_filter.json
"""

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path

from transom import messaging
from transom.messaging.proto.feed import Change
from transom.messaging.tables import MemoryFeed, TablePublisher, TableReplica

GOAL_US = 150.0
CHANGES = (1, 20)


def row(number: int) -> dict[str, object]:
    return {
        "id": f"{number:032x}",
        "name": f"server-{number}",
        "status": "ACTIVE",
        "flavor": {"vcpus": 4, "ram": 8192},
        "addresses": [f"10.0.0.{number % 255}"],
        "metadata": {"a": "b" * 120},
    }


async def measure(sets: int, changes: int, *, followed: bool) -> float:
    """CPU microseconds a change set."""
    async with (
        messaging.connect("memory://bus/owner") as owner,
        messaging.connect("memory://bus/reader") as reader,
    ):
        feed = MemoryFeed(1, ["servers", "images"])
        replica = TableReplica(reader, "source", ["images"])
        async with TablePublisher(owner, "source", feed) as publisher:
            if followed:
                await replica.start()
            began_s = time.process_time()
            for number in range(sets):
                made = feed.change(
                    Change("servers", (f"{at}",), row(number * changes + at))
                    for at in range(changes)
                )
                assert made is not None
                await publisher.send(made)
                await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            used_s = time.process_time() - began_s
            await replica.stop()
    return used_s / sets * 1e6


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    sets = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    figures: dict[int, list[float]] = {changes: [] for changes in CHANGES}
    for _ in range(rounds):
        for changes in CHANGES:
            alone = asyncio.run(measure(sets, changes, followed=False))
            followed = asyncio.run(measure(sets, changes, followed=True))
            figures[changes].append(followed - alone)
    medians = {changes: round(statistics.median(found), 1) for changes, found in figures.items()}
    result = {
        "claim": f"an unwanted change set of one row costs a replica at most {GOAL_US:.0f} us",
        "unit": "microseconds of CPU a change set, by changes in it",
        "median": medians,
        "goal": GOAL_US,
        "rounds": {changes: [round(us, 1) for us in found] for changes, found in figures.items()},
        "sets_a_round": sets,
    }
    target = Path(__file__).parents[1] / "results" / "feed_filter.json"
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    sys.exit(medians[1] > GOAL_US)


if __name__ == "__main__":
    main()
