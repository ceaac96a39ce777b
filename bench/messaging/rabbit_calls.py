# SPDX-License-Identifier: Apache-2.0
"""Calls a second over RabbitMQ and CPU a call, beside oslo.messaging and aio-pika.

One broker, client and server in a process each, an argument of 100 bytes, the same guarantees:
every request and answer is persistent, mandatory and confirmed, a request is acknowledged before it
is carried out. Rounds are interleaved. CPU is user plus system time of both processes.

usage: python -m bench.messaging.rabbit_calls [SECONDS [ROUNDS]]  -> bench/results/rabbit_calls.json
"""

import importlib.util
import sys
from contextlib import ExitStack
from typing import Any

from bench.messaging.running import (
    AIO_PIKA,
    ARGUMENT,
    OSLO,
    OSLO_17,
    OURS,
    OURS_UVLOOP,
    PLUGIN,
    Contender,
    broker,
    contender,
)
from bench.report import (
    median,
    ratio,
    rounds_argument,
    seconds_argument,
    table,
    written,
)

CALLERS = (1, 64)
GOALS = {1: {"rate": 5.0, "cpu": 6.0}, 64: {"rate": 10.0, "cpu": 6.0}}
PEER = OSLO.name
Figures = dict[str, dict[str, list[float]]]


def one_round(it: Contender, callers: int, seconds: float) -> dict[str, float]:
    before_s = it.cpu_s()
    told = it.client.ask("calls", topic=it.topic, callers=callers, seconds=seconds, x=ARGUMENT)
    return {
        "calls_per_s": told["count"] / told["took_s"],
        "cpu_us_per_call": (it.cpu_s() - before_s) / told["count"] * 1e6,
        "p50_ms": told["p50_ms"],
        "p99_ms": told["p99_ms"],
    }


def measure(seconds: float, rounds: int) -> dict[int, Figures]:
    """Of each number of callers, each contender, each figure: one value a round."""
    kinds = [OURS, OURS_UVLOOP, OSLO, OSLO_17, AIO_PIKA]
    if importlib.util.find_spec("transom.messaging.oslo_driver") is not None:
        kinds.append(PLUGIN)
    figures: dict[int, Figures] = {callers: {} for callers in CALLERS}
    with broker() as place, ExitStack() as stack:
        started = [stack.enter_context(contender(kind, place)) for kind in kinds]
        for _ in range(rounds):
            for callers in CALLERS:
                for it in started:
                    own = figures[callers].setdefault(it.kind.name, {})
                    for name, value in one_round(it, callers, seconds).items():
                        own.setdefault(name, []).append(value)
    return figures


def compared(callers: int, figures: Figures) -> dict[str, Any]:
    """Medians, and ours beside each peer's."""
    ours = figures[OURS.name]
    peers: dict[str, Any] = {}
    for name, own in figures.items():
        peers[name] = {figure: median(values, 2) for figure, values in own.items()}
        peers[name]["ours_is_faster_by"] = ratio(ours["calls_per_s"], own["calls_per_s"])
        peers[name]["ours_needs_less_cpu_by"] = ratio(
            own["cpu_us_per_call"], ours["cpu_us_per_call"]
        )
    return {
        "contenders": peers,
        "ratio": peers[PEER]["ours_is_faster_by"],
        "cpu_ratio": peers[PEER]["ours_needs_less_cpu_by"],
        "goal": GOALS[callers],
    }


def main() -> int:
    seconds, rounds = seconds_argument(1.0), rounds_argument(3)
    figures = measure(seconds, rounds)
    result = {str(callers): compared(callers, figures[callers]) for callers in CALLERS}
    written(
        "rabbit_calls",
        {
            "claim": "calls a second over RabbitMQ, beside oslo.messaging on the same broker",
            "seconds": seconds,
            "callers": result,
            "rounds": {
                str(callers): {
                    name: [round(value) for value in own["calls_per_s"]]
                    for name, own in figures[callers].items()
                }
                for callers in CALLERS
            },
            "versions": [kind.version for kind in (OURS, OSLO, OSLO_17, AIO_PIKA)],
        },
    )
    for callers, told in result.items():
        rows = [
            (name, f"{own['calls_per_s']:.0f}", f"{own['p50_ms']:.2f}", f"{own['p99_ms']:.2f}",
             f"{own['cpu_us_per_call']:.0f}", f"{own['ours_is_faster_by']:.1f}",
             f"{own['ours_needs_less_cpu_by']:.1f}")
            for name, own in told["contenders"].items()
        ]  # fmt: skip
        head = ("calls/s", "p50 ms", "p99 ms", "CPU us", "times", "CPU times")
        table((f"{callers} callers", *head), rows)
        print(f"goal: {told['goal']['rate']} times, a {told['goal']['cpu']:.0f}th of the CPU\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
