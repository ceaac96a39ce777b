# SPDX-License-Identifier: Apache-2.0
"""One changed row to its violations, a what-if, an explanation: at three sizes, SQLite beside it.

A port comes, an allowed row goes, with the first rule kept and then with a second one; a thousand
ports tried and rolled back; all derivations of a violation; which literal fails for a server that
is all right. What a change touches is counted, not timed: rows looked at and lines of Python
executed are the same at every size, or the run fails. By the door: through a workspace, which takes
the rule as a text and checks each change; with the times of loading and of the rule. SQLite is
asked with SQL that was written for the change and keeps nothing.

    python -m bench.policy.one_row [SECONDS [ROUNDS]]

SECONDS: of each kind of change, of which up to 2,000 are tried.
"""

import statistics
import sys
from typing import Any

from bench.policy import cloud
from bench.policy.against_peers import version
from bench.policy.running import OURS, SQLITE, Process
from bench.report import median, rounds_argument, seconds_argument, table, written

COUNTED = 200
"""Changes whose rows and lines are counted."""
FLAT_TIMES = {"insert": 1.25, "forbid": 2.5}
"""What a change touches at any size is at most so many times what it touches at another. For an
allowed row there are two ways that are as good: by the tenant's servers and by the net's ports."""
GOALS = {"insert_p50_us": 15, "flat_times": 2, "what_if_ms": 50}
Told = dict[str, Any]


def turn(servers: int, seconds: float) -> Told:
    found: Told = {}
    with Process(OURS) as ours:
        ours.ask("load", folder=str(cloud.written(servers)))
        ours.ask("first")
        for what in ("insert", "forbid", "select"):
            found[what] = ours.ask(what, seconds=seconds, most=cloud.CHANGES)
        found["what_if"] = ours.ask("what_if", seconds=seconds, most=20)
        found["explain"] = ours.ask("explain", most=1000)
        found["why_not"] = ours.ask("why_not", most=1000)
        for what in ("insert", "forbid"):
            found[f"{what}_counted"] = ours.ask("touched", change=what, most=COUNTED)
        ours.ask("second")
        found["insert, two rules"] = ours.ask("insert", seconds=seconds, most=cloud.CHANGES)
    with Process(OURS) as ours:
        found["insert, by the door"] = ours.ask(
            "door", folder=str(cloud.written(servers)), seconds=seconds
        )
    with Process(SQLITE) as peer:
        peer.ask("load", folder=str(cloud.written(servers)))
        for what in ("insert", "forbid", "select"):
            found[f"{what}, SQLite"] = peer.ask(what, seconds=seconds, most=cloud.CHANGES)
        found["what_if, SQLite"] = peer.ask("what_if", seconds=seconds, most=20)
    return found


def counted(changes: list[dict[str, int]]) -> dict[str, float]:
    """Means, since an allowed row has more or fewer users."""
    return {what: round(statistics.fmean(one[what] for one in changes), 1) for what in changes[0]}


def joined(turns: list[Told]) -> Told:
    """Medians over the rounds."""
    found: Told = {}
    for what, told in turns[0].items():
        if what.endswith("_counted"):
            found[what] = counted(told)
        else:
            found[what] = {key: median((one[what][key] for one in turns), 2) for key in told}
    return found


def main() -> int:
    seconds, rounds = seconds_argument(1.0), rounds_argument(3)
    turns: dict[int, list[Told]] = {servers: [] for servers in cloud.SERVERS}
    for at in range(rounds):
        for servers in cloud.SERVERS:
            if at < 2 or servers < cloud.SERVERS[-1]:
                turns[servers].append(turn(servers, seconds))
    sizes = {cloud.rows(servers): joined(found) for servers, found in turns.items()}
    flat = {
        what: round(
            max(one[what]["p50_us"] for one in sizes.values())
            / min(one[what]["p50_us"] for one in sizes.values()),
            2,
        )
        for what in ("insert", "forbid", "select", "explain", "why_not")
    }
    counted_flat = {
        f"{what}: {of}": round(
            max(one[f"{what}_counted"][of] for one in sizes.values())
            / min(one[f"{what}_counted"][of] for one in sizes.values()),
            2,
        )
        for what in ("insert", "forbid")
        for of in ("touched", "lines")
    }
    written("policy_one_row", {
        "claim": "a changed row costs what it touches, not what is there",
        "sizes": {str(rows): told for rows, told in sizes.items()}, "flat_times": flat,
        "counted_flat_times": counted_flat, "goals": GOALS,
        "versions": [version(OURS), version(SQLITE)],
    })  # fmt: skip
    names = [name for name in next(iter(sizes.values())) if not name.endswith("_counted")]
    table(
        ("µs: p50 / p99", *(f"{rows:,} rows" for rows in sizes)),
        ([name, *(f"{one[name]['p50_us']:,.1f} / {one[name]['p99_us']:,.1f}"
                  for one in sizes.values())] for name in names),
    )  # fmt: skip
    table(
        ("counted", *(f"{rows:,} rows" for rows in sizes)),
        ([f"{what}: {of}", *(one[f"{what}_counted"][of] for one in sizes.values())]
         for what in ("insert", "forbid") for of in ("touched", "lines", "violations")),
    )  # fmt: skip
    print(f"p50 largest over smallest: {flat}")
    print(f"counted, largest over smallest: {counted_flat}")
    print(f"goals: {GOALS}")
    return int(any(times > FLAT_TIMES[name.split(":")[0]] for name, times in counted_flat.items()))


if __name__ == "__main__":
    sys.exit(main())
