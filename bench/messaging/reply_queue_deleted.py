# SPDX-License-Identifier: Apache-2.0
"""How soon calls work again when the reply queue goes, beside oslo.messaging.

Somebody deletes the reply queue of a client, as an expiry or a failing node does. Two figures: how
long a call takes that begins right then, and how long one that was in flight still waits for its
answer beyond the time that its endpoint took. Rounds are interleaved.

usage: python -m bench.messaging.reply_queue_deleted    -> bench/results/reply_queue_deleted.json
"""

import sys
import threading
import time
from contextlib import ExitStack

from bench.messaging.running import HAND, OSLO, OURS, Broker, Contender, Process, broker, contender
from bench.report import median, rounds_argument, table, written

GOAL_MS = 100.0
WAIT_S = 30.0
IN_FLIGHT_S = 0.5
Figures = dict[str, dict[str, list[float]]]


def reply_queues(place: Broker) -> list[str]:
    return [name for (name,) in place.listed("queues", "name") if name.startswith("reply_")]


def next_call(it: Contender, hand: Process, queues: list[str]) -> float:
    hand.ask("delete", queues=queues)
    told = it.client.ask("once", topic=it.topic, timeout=WAIT_S)
    if told["error"] is not None:
        return WAIT_S * 1000
    return float(told["ms"])


def call_in_flight(it: Contender, hand: Process, queues: list[str]) -> float:
    """Milliseconds beyond its own time; the whole timeout if it had no answer."""
    began = {"topic": it.topic, "timeout": WAIT_S / 3, "method": "sleep"}
    deleting = threading.Timer(IN_FLIGHT_S / 2, hand.ask, ["delete"], {"queues": queues})
    deleting.start()
    told = it.client.ask("once", seconds=IN_FLIGHT_S, **began)
    deleting.join()
    return float(told["ms"]) - IN_FLIGHT_S * 1000


def measure(rounds: int) -> Figures:
    figures: Figures = {}
    for kind in (OURS, OSLO):
        # One at a time: whose reply queue is whose is not told by its name.
        with broker() as place, ExitStack() as stack:
            hand = Process(HAND, "hand", HAND.url(place))
            stack.callback(hand.stop)
            it = stack.enter_context(contender(kind, place))
            queues = reply_queues(place)
            own: dict[str, list[float]] = {"next call": [], "call in flight": []}
            for _ in range(rounds):
                own["next call"].append(next_call(it, hand, queues))
                own["call in flight"].append(call_in_flight(it, hand, queues))
                time.sleep(0.2)
            figures[kind.name] = own
    return figures


def main() -> int:
    figures = measure(rounds_argument(5))
    medians = {
        name: {what: median(values) for what, values in own.items()}
        for name, own in figures.items()
    }
    written(
        "reply_queue_deleted",
        {
            "claim": f"a reply queue that was deleted costs less than {GOAL_MS:.0f} ms",
            "unit": "milliseconds",
            "median": medians,
            "rounds": {
                name: {what: [round(one, 1) for one in values] for what, values in own.items()}
                for name, own in figures.items()
            },
            "goal": GOAL_MS,
            "no_answer_counts_as_s": WAIT_S,
            "versions": [OURS.version, OSLO.version],
        },
    )
    rows = [(name, *(f"{figure:.1f}" for figure in own.values())) for name, own in medians.items()]
    table(("reply queue deleted, ms", "next call", "call in flight"), rows)
    print(f"goal: next call below {GOAL_MS:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
