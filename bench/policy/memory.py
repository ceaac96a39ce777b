# SPDX-License-Identifier: Apache-2.0
"""Memory of the same cloud in each engine, above its bare process, and of an index of ours.

Proportional set size as the kernel counts it, after loading and after the first question too
(ours keeps its answer and the indexes that it needs); rows are decoded one by one while they are
loaded, so nothing else stays. The index: of ports by server, as it is and as it would be with a
set for each key.

    python -m bench.policy.memory
"""

from typing import Any

from bench.policy import cloud
from bench.policy.against_peers import MEMORY_MOST_MB, version
from bench.policy.running import OURS, PEERS, Kind, Process, TooSlow
from bench.report import table, written

GOAL_MB = 1229
"""1.2 GiB, at 2,500,000 rows."""


def measured(kind: Kind, servers: int) -> dict[str, float]:
    """Raises: TooSlow."""
    with Process(kind) as process:
        told = process.ask("memory", folder=str(cloud.written(servers)))
    del told["found"]
    bytes_a_row = told["first_mb"] * 2**20 / cloud.rows(servers)
    return {**{what: round(mb, 1) for what, mb in told.items()}, "bytes_a_row": round(bytes_a_row)}


def main() -> None:
    sizes: dict[str, dict[str, Any]] = {}
    out: dict[str, str] = {}
    for servers in cloud.SERVERS:
        rows = cloud.rows(servers)
        found = sizes[str(rows)] = {}
        for kind in (OURS, *PEERS):
            if kind.name in out:
                continue
            try:
                found[kind.name] = measured(kind, servers)
            except TooSlow as slow:
                out[kind.name] = f"{slow} at {rows:,} rows"
                continue
            heavy = found[kind.name]["most_mb"] * 10 > MEMORY_MOST_MB
            if heavy and servers < cloud.SERVERS[-1]:
                out[kind.name] = f"takes {found[kind.name]['most_mb']:,.0f} MB at {rows:,} rows"
    with Process(OURS) as process:
        index = process.ask("index", folder=str(cloud.written(cloud.SERVERS[-1])))
    written("policy_memory", {
        "claim": f"{cloud.rows(cloud.SERVERS[-1]):,} rows, indexes and answers in {GOAL_MB} MB",
        "sizes": sizes, "left_out": out, "goal_mb": GOAL_MB, "index_of_a_million": index,
        "versions": [version(kind) for kind in (OURS, *PEERS)],
    })  # fmt: skip
    for rows, found in sizes.items():
        table(
            (f"{int(rows):,} rows", "loaded, MB", "with answers, MB", "most, MB", "bytes a row"),
            ([name, one["load_mb"], one["first_mb"], one["most_mb"], one["bytes_a_row"]]
             for name, one in found.items()),
        )  # fmt: skip
    for name, reason in out.items():
        print(f"{name} is left out: {reason}")
    print(f"an index of a million rows: {index['index_mb']:.0f} MB; "
          f"with sets: {index['sets_mb']:.0f} MB")  # fmt: skip
    print(f"goal: {GOAL_MB} MB at {cloud.rows(cloud.SERVERS[-1]):,} rows")


if __name__ == "__main__":
    main()
