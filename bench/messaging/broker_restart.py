# SPDX-License-Identifier: Apache-2.0
"""A broker that dies and comes back under load: no call hangs, beside oslo.messaging.

Sixteen callers go on through it all. The broker, a private node, is killed and started again. Three
figures: calls that had neither an answer nor an error within their timeout and a second of grace;
seconds from the broker's coming back to the first answer; calls in all, and how many failed.

usage: python -m bench.messaging.broker_restart     -> bench/results/broker_restart.json
"""

import sys
import time
from typing import Any

from bench.messaging.running import OSLO, OURS, Kind, Node, contender, private_node
from bench.report import table, written

CALLERS = 16
TIMEOUT_S = 4.0
GRACE_S = 1.0
BEFORE_S = 1.5
LOAD_S = 20.0


def measure(kind: Kind, node: Node) -> dict[str, Any]:
    with contender(kind, node) as it:
        it.client.begin("load", topic=it.topic, callers=CALLERS, seconds=LOAD_S, timeout=TIMEOUT_S)
        time.sleep(BEFORE_S)
        node.kill()
        down_s = time.monotonic()
        node.start()
        up_s = time.monotonic()
        told = it.client.end()
    lives = told["lives"]
    answered = [ended for _, ended, error in lives if error is None]
    overdue = [life for life in lives if life[1] - life[0] > TIMEOUT_S + GRACE_S]
    failed: dict[str, int] = {}
    for *_, error in lives:
        if error is not None:
            failed[error] = failed.get(error, 0) + 1
    after = min((ended for ended in answered if ended > up_s), default=None)
    return {
        "calls": len(lives),
        "failed": failed,
        "hung": len(overdue) + told["unended"],
        "longest_s": round(max(ended - begun for begun, ended, _ in lives), 2),
        "broker_down_s": round(up_s - down_s, 2),
        "works_again_s": None if after is None else round(after - up_s, 2),
    }


def main() -> int:
    figures = {}
    for kind in (OURS, OSLO):
        with private_node() as node:
            figures[kind.name] = measure(kind, node)
    written(
        "broker_restart",
        {
            "claim": "a call over a broker that restarts answers or raises within its timeout",
            "callers": CALLERS,
            "timeout_s": TIMEOUT_S,
            "figures": figures,
            "goal": {"hung": 0},
            "versions": [OURS.version, OSLO.version],
        },
    )
    rows = [
        (name, told["hung"], told["longest_s"], told["works_again_s"], told["calls"],
         sum(told["failed"].values()))
        for name, told in figures.items()
    ]  # fmt: skip
    head = ("hung", "longest s", "works again after s", "calls", "failed")
    table((f"broker killed under load, timeout {TIMEOUT_S:.0f} s", *head), rows)
    print("goal: none hung")
    return 0


if __name__ == "__main__":
    sys.exit(main())
