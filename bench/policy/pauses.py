# SPDX-License-Identifier: Apache-2.0
"""How long an event loop's turn is at most, while one changed row comes with each turn.

Each turn decodes a message, gives its row to the engine and lets the loop go round; ten thousand
messages are held at any time, so garbage collections of all generations come. Beside it the same
loop without an engine, and what one full collection takes with all that is loaded frozen, as
whoever drives an engine does, and without.

    python -m bench.policy.pauses [SECONDS]
"""

from typing import Any

from bench.policy import cloud
from bench.policy.against_peers import version
from bench.policy.running import OURS, Process
from bench.report import seconds_argument, table, written

GOAL_MS = 50


def measured(servers: int, seconds: float) -> dict[str, Any]:
    with Process(OURS) as ours:
        ours.ask("load", folder=str(cloud.written(servers)))
        ours.ask("first")
        told: dict[str, Any] = ours.ask("pauses", seconds=seconds)
    return told


def main() -> None:
    seconds = seconds_argument(10.0)
    sizes = {str(cloud.rows(servers)): measured(servers, seconds) for servers in cloud.SERVERS}
    written("policy_pauses", {
        "claim": f"no turn of the loop takes {GOAL_MS} ms in steady state",
        "sizes": sizes, "goal_ms": GOAL_MS, "versions": [version(OURS)],
    })  # fmt: skip
    rows = []
    for number, told in sizes.items():
        for name in ("engine", "bare"):
            one = told[name]
            collections = "/".join(str(two["times"]) for two in one["collections"].values())
            rows.append([
                f"{int(number):,} rows, {name}", f"{one['times']:,}", f"{one['p50_us']:.1f}",
                f"{one['p999_us']:.0f}", f"{one['most_us'] / 1000:.2f}", collections,
            ])  # fmt: skip
    table(("", "turns", "p50, µs", "p99.9, µs", "longest, ms", "collections"), rows)
    for number, told in sizes.items():
        frozen, not_so = (told[f"full_collection_{how}_ms"] for how in ("frozen", "unfrozen"))
        print(
            f"a full collection at {int(number):,} rows: {frozen:.1f} ms, not frozen {not_so:.1f}"
        )
    print(f"goal: {GOAL_MS} ms at {cloud.rows(cloud.SERVERS[-1]):,} rows")


if __name__ == "__main__":
    main()
