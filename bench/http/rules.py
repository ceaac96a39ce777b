# SPDX-License-Identifier: Apache-2.0
"""What an access rule costs, beside oslo.policy with the same rule, caller and target.

Ours is the whole `Rules.enforce`; oslo.policy's is `Enforcer.enforce`, with its rules in memory and
no file to look at. Rounds alternate, so what the machine does besides falls on both.

usage: python -m bench.http.rules    writes bench/results/rules.json
"""

import json
import os
import statistics
import sys
import timeit
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transom.identity.contract import DEFAULT_RULES as IDENTITY_RULES
from transom.queue.contract import DEFAULT_RULES as QUEUE_RULES
from transom.runtime.auth.context import Context
from transom.runtime.auth.declared import defaults
from transom.runtime.auth.rules import Rules

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from oslo_config import cfg
    from oslo_policy import policy

ROUNDS, OURS_CALLS, OSLO_CALLS = 15, 20_000, 300
GOAL_US = 1.0
CALLER = Context("r", user_id="u", project_id="p", roles=frozenset(["member", "reader"]))
CREDENTIALS = {"user_id": "u", "project_id": "p", "roles": ["member", "reader"]}
TARGET = {"project_id": "p", "target.user.id": "u"}
TEXTS = {
    **defaults(QUEUE_RULES),
    **defaults(IDENTITY_RULES),
    "one role": "role:member",
    "admin, or member and owner": "role:admin or (role:member and project_id:%(project_id)s)",
    "four roles, the last": "role:a or role:b or role:c or role:member",
}
MEASURED = (
    "one role",
    "admin, or member and owner",
    "four roles, the last",
    "messages:create",
    "identity:get_user",
)


def enforcer() -> Any:
    conf = cfg.ConfigOpts()
    conf([])
    made = policy.Enforcer(conf, use_conf=False)
    made.set_rules(policy.Rules.from_dict(dict(TEXTS)), use_conf=False)
    return made


def cost_us(step: Callable[[], Any], calls: int) -> float:
    return timeit.timeit(step, number=calls) / calls * 1e6


def main() -> None:
    ours, oslo = Rules(TEXTS), enforcer()
    result: dict[str, Any] = {}
    for name in MEASURED:
        steps: dict[str, tuple[Callable[[], Any], int]] = {
            "ours": (lambda name=name: ours.enforce(name, CALLER, TARGET), OURS_CALLS),
            "oslo": (lambda name=name: oslo.enforce(name, TARGET, CREDENTIALS, True), OSLO_CALLS),
        }
        rounds: dict[str, list[float]] = {"ours": [], "oslo": []}
        for _ in range(ROUNDS):
            for kind, (step, calls) in steps.items():
                rounds[kind].append(cost_us(step, calls))
        median = {kind: round(statistics.median(costs), 3) for kind, costs in rounds.items()}
        result[name] = {**median, "ratio": round(median["oslo"] / median["ours"])}
    print(f"{'rule':28} {'ours us':>8} {'oslo.policy us':>15} {'times':>6}")
    for name, row in result.items():
        print(f"{name:28} {row['ours']:8.2f} {row['oslo']:15.1f} {row['ratio']:6}")
    document = {
        "claim": f"an access rule costs less than {GOAL_US} microsecond",
        "unit": "microseconds a call, median of the rounds",
        "rules": result,
        "rounds": ROUNDS,
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": {"oslo.policy": version("oslo.policy")},
    }
    target = Path(__file__).parents[1] / "results" / "rules.json"
    target.write_text(json.dumps(document, indent=2) + "\n")
    sys.exit(max(row["ours"] for row in result.values()) >= GOAL_US)


if __name__ == "__main__":
    main()
