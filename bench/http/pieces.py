# SPDX-License-Identifier: Apache-2.0
"""What the door's own steps cost a request, each beside the plainer way to do it.

usage: python -m bench.http.pieces
"""

import dataclasses
import os
import timeit
from collections.abc import Callable
from typing import Any

import msgspec
from bench.http.load import BODY
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from transom.runtime.auth.context import Context
from transom.runtime.auth.rules import Rules
from transom.runtime.http.body import check_numbers, json_decoder
from transom.runtime.http.request_ids import request_ids
from transom.runtime.ids import new_request_id
from transom.runtime.telemetry.metrics import RequestMeter

ROUNDS, CALLS = 9, 10_000
Frozen = dataclasses.make_dataclass(
    "Frozen", msgspec.structs.asdict(Context("")).keys(), frozen=True, slots=True
)
VALUES = ("r", "u", "n", "d", "p", "m", "d", "", False, frozenset(["member"]), 5)


def cost_us(step: Callable[[], Any]) -> float:
    """The best round: what the machine does besides only ever adds."""
    return min(timeit.repeat(step, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def library_meter() -> Callable[[], None]:
    registry = CollectorRegistry()
    labels = ["mount", "method"]
    count = Counter("requests", "-", [*labels, "status"], registry=registry)
    flying = Gauge("flying", "-", labels, registry=registry).labels("/queue", "POST")
    taken = Histogram("taken", "-", labels, registry=registry).labels("/queue", "POST")

    def step() -> None:
        flying.inc()
        flying.dec()
        count.labels("/queue", "POST", "201").inc()
        taken.observe(0.0004)

    return step


def own_meter() -> Callable[[], None]:
    meter = RequestMeter()

    def step() -> None:
        meter.began()
        meter.ended(201, 0.0004)

    return step


def pairs() -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Step -> (ours, the plainer way)."""
    checked = json_decoder(dict)
    plain = msgspec.json.Decoder(dict).decode
    rule = "role:admin or project_id:%(project_id)s"
    rules, context = Rules({"post": rule}), Context(*VALUES)
    target = {"project_id": "p"}
    return {
        "request id": (request_ids(os.urandom), lambda: new_request_id(os.urandom)),
        "context": (lambda: Context(*VALUES), lambda: Frozen(*VALUES)),
        "metrics": (own_meter(), library_meter()),
        "decode and check numbers": (
            lambda: checked(BODY),
            lambda: check_numbers(plain(BODY)),
        ),
        "access rule": (
            lambda: rules.enforce("post", context, target),
            lambda: "admin" in context.roles or context.project_id == target["project_id"],
        ),
    }


def main() -> None:
    print(f"{'step':26} {'ours us':>8} {'plainer us':>10}")
    for name, (ours, plainer) in pairs().items():
        print(f"{name:26} {cost_us(ours):8.2f} {cost_us(plainer):10.2f}")


if __name__ == "__main__":
    main()
