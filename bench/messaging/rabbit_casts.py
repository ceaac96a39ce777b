# SPDX-License-Identifier: Apache-2.0
"""Casts, fan-out to three servers and notifications over RabbitMQ, beside oslo.messaging.

Every message is persistent and confirmed before the sender goes on; a rate is that of the senders
(`sent`) or of the receivers until the last message was carried out (`handled`). Notifications are
listened to from a full queue and acknowledged one by one. Rounds are interleaved.

usage: python -m bench.messaging.rabbit_casts [SECONDS [ROUNDS]]  -> bench/results/rabbit_casts.json
"""

import sys
import time
from contextlib import ExitStack

from bench.messaging.running import ARGUMENT, OSLO, OURS, Contender, broker, contender
from bench.report import (
    median,
    ratio,
    rounds_argument,
    seconds_argument,
    table,
    written,
)

SERVERS = 3
HANDLED_S = 120.0
GOAL = 10.0
Figures = dict[str, dict[str, list[float]]]


def handled(it: Contender, count: int) -> float:
    """When the last of so many was carried out, at every server. Raises: RuntimeError if late."""
    until_s = time.monotonic() + HANDLED_S
    last_s = 0.0
    for server in it.servers:
        while (told := server.ask("told"))["count"] < count:
            if time.monotonic() > until_s:
                raise RuntimeError(f"{it.kind.name} carried out {told['count']} of {count}")
            time.sleep(0.02)
        last_s = max(last_s, told["last_s"])
        server.ask("reset")
    return last_s


def one_round(alone: Contender, three: Contender, seconds: float) -> dict[str, float]:
    figures = {}
    send = {"seconds": seconds, "x": ARGUMENT}
    for callers in (1, 64):
        told = alone.client.ask("casts", topic=alone.topic, callers=callers, **send)
        figures[f"casts sent, {callers}"] = told["count"] / told["took_s"]
        took_s = handled(alone, told["count"]) - told["began_s"]
        figures[f"casts handled, {callers}"] = told["count"] / took_s
        told = three.client.ask("casts", topic=three.topic, callers=callers, fanout=True, **send)
        took_s = handled(three, told["count"]) - told["began_s"]
        figures[f"fan-out deliveries, {callers}"] = told["count"] * SERVERS / took_s
    return figures


def notified(it: Contender, seconds: float, number: int) -> dict[str, float]:
    """Sent by one and by many, then listened to by a listener that finds the queue full."""
    figures = {}
    topic, count = f"{it.topic}-notified-{number}", 0
    for callers in (1, 64):
        send = {"topic": topic, "callers": callers, "seconds": seconds, "x": ARGUMENT}
        told = it.client.ask("notify", **send)
        figures[f"notifications sent, {callers}"] = told["count"] / told["took_s"]
        count += told["count"]
    it.server.ask("listen", listen_topic=topic)
    until_s = time.monotonic() + HANDLED_S
    while (heard := it.server.ask("told"))["count"] < count:
        if time.monotonic() > until_s:
            raise RuntimeError(f"{it.kind.name} heard {heard['count']} of {count}")
        time.sleep(0.02)
    it.server.ask("reset")
    figures["notifications listened"] = (count - 1) / (heard["last_s"] - heard["first_s"])
    return figures


def measure(seconds: float, rounds: int) -> Figures:
    figures: Figures = {}
    with broker() as place, ExitStack() as stack:
        started = [
            (
                stack.enter_context(contender(kind, place)),
                stack.enter_context(contender(kind, place, servers=SERVERS, topic="three")),
            )
            for kind in (OURS, OSLO)
        ]
        for number in range(rounds):
            for alone, three in started:
                own = figures.setdefault(alone.kind.name, {})
                told = one_round(alone, three, seconds) | notified(alone, seconds, number)
                for name, value in told.items():
                    own.setdefault(name, []).append(value)
    return figures


def main() -> int:
    seconds, rounds = seconds_argument(0.7), rounds_argument(3)
    figures = measure(seconds, rounds)
    ours, theirs = figures[OURS.name], figures[OSLO.name]
    result = {
        name: {
            OURS.name: median(ours[name], 0),
            OSLO.name: median(theirs[name], 0),
            "ratio": ratio(ours[name], theirs[name]),
        }
        for name in ours
    }
    written(
        "rabbit_casts",
        {
            "claim": "casts, fan-out and notifications a second over RabbitMQ, confirmed",
            "seconds": seconds,
            "goal": GOAL,
            "rates": result,
            "rounds": {
                name: {of: [round(value) for value in values] for of, values in own.items()}
                for name, own in figures.items()
            },
            "versions": [OURS.version, OSLO.version],
        },
    )
    rows = [
        (name, *(f"{told[who]:.0f}" for who in (OURS.name, OSLO.name)), f"{told['ratio']:.1f}")
        for name, told in result.items()
    ]
    table(("a second, senders", OURS.name, OSLO.name, "times"), rows)
    print(f"goal: casts {GOAL:.0f} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
