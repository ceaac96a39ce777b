# SPDX-License-Identifier: Apache-2.0
"""Live tables: change sets a second to a replica, rows a second of catching up and of snapshots.

Over memory (both ends in one process), zmq (ipc) and RabbitMQ, publisher and replica in a process
each. No other library has such a thing, so there is no peer beside it. `catch-up` are change sets
that were made and never sent: the replica finds out by a heartbeat and asks; the rate is from the
first of them to the last.

usage: python -m bench.messaging.feed [SECONDS [ROUNDS]]        -> bench/results/feed.json
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.messaging.running import HERE, OURS, Kind, Process, broker
from bench.report import median, rounds_argument, seconds_argument, table, written

from transom.messaging.proto.feed import Limits

ROWS = 20_000
SETS_A_SECOND = 1_500
MANY = 50
CAUGHT_UP_SETS = 1_000
KIND = Kind("transom", "feed_peer.py", OURS.python, "transom", variables=HERE)


@contextmanager
def started(bus: str) -> Iterator[tuple[Process, Process]]:
    """(publisher, replica) on a bus of their own."""
    with ExitStack() as stack:

        def process(*words: str) -> Process:
            one = Process(KIND, *words)
            stack.callback(one.stop)
            return one

        if bus == "memory":
            both = process("both", "memory://bench")
            yield both, both
            return
        if bus == "zmq":
            folder = tempfile.mkdtemp(prefix="tz")
            stack.callback(shutil.rmtree, folder)
            url = f"zmq://{folder}"
            process("registry", url)
        else:
            url = stack.enter_context(broker()).url
        yield process("publish", url), process("replicate", url)


def measure(bus: str, seconds: float, rounds: int) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}

    def keep(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    with started(bus) as (publisher, replica):
        publisher.ask("fill", rows=ROWS)
        for _ in range(rounds):
            keep("snapshot rows", ROWS / replica.ask("load", rows=ROWS)["took_s"])
            for changes in (1, MANY):
                sets = max(50, int(seconds * SETS_A_SECOND / changes**0.5))
                replica.ask("follow")
                told = publisher.ask("burst", sets=sets, changes=changes)
                heard = replica.ask("heard", changes=sets * changes)
                took_s = heard["last_s"] - told["began_s"]
                name = f"change sets of {changes}" if changes > 1 else "change sets of one"
                keep(name, sets / took_s)
            replica.ask("follow")
            publisher.ask("burst", sets=CAUGHT_UP_SETS, changes=1, sent=False)
            heard = replica.ask("heard", changes=CAUGHT_UP_SETS)
            # The first page comes at once, and its way is not within the time.
            rest = CAUGHT_UP_SETS - Limits().since_sets
            keep("catch-up change sets", rest / (heard["last_s"] - heard["first_s"]))
    return figures


def main() -> int:
    seconds, rounds = seconds_argument(1.0), rounds_argument(3)
    figures = {bus: measure(bus, seconds, rounds) for bus in ("memory", "zmq", "rabbit")}
    medians = {
        bus: {name: median(values, 0) for name, values in own.items()}
        for bus, own in figures.items()
    }
    written(
        "feed",
        {
            "claim": "live tables: a second to a replica (no other library has them)",
            "rows": ROWS,
            "median": medians,
            "rounds": {
                bus: {name: [round(value) for value in values] for name, values in own.items()}
                for bus, own in figures.items()
            },
            "versions": [OURS.version],
        },
    )
    names = list(medians["memory"])
    rows = [(name, *(f"{medians[bus][name]:.0f}" for bus in medians)) for name in names]
    table(("a second, to a replica", *medians), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
