# SPDX-License-Identifier: Apache-2.0
"""A rule comes to a cloud that is loaded, and goes; a question is asked of it without a rule.

All in slices, between which others may run: the whole time and the longest slice. `first`,
`second`: the two questions, which look at every row. `on top`: a rule that reads the first one's
answers. `one tenant`: a rule that looks at few rows. The same questions of DuckDB and SQLite, which
keep no answers, are what they take in full.

    python -m bench.policy.rule_insert [SECONDS [ROUNDS]]
"""

from typing import Any

from bench.policy import cloud
from bench.policy.against_peers import version
from bench.policy.running import DUCKDB, OURS, SQLITE, Process
from bench.report import median, rounds_argument, table, written

GOALS = {"ask first at 2,500,000 rows, s": 2.5, "longest slice, ms": 50}
Told = dict[str, dict[str, float]]


def turn(servers: int) -> Told:
    found: Told = {}
    folder = str(cloud.written(servers))
    with Process(OURS) as ours:
        ours.ask("load", folder=folder)
        found["ask first, nothing kept"] = ours.ask("ask")
        for what in ("first", "second", "one tenant"):
            found[f"add {what}"] = ours.ask("add", which=what)
        ours.ask("first")
        found["ask first, kept"] = ours.ask("ask")
        found["rows of first, kept"] = ours.ask("again")
        found["add on top"] = ours.ask("add", which="on top")
    for kind in (DUCKDB, SQLITE):
        with Process(kind) as peer:
            peer.ask("load", folder=folder)
            for what in ("first", "second"):
                found[f"{kind.name}, {what}"] = peer.ask(what)
    return found


def main() -> None:
    rounds = rounds_argument(3)
    turns: dict[int, list[Told]] = {servers: [] for servers in cloud.SERVERS}
    for at in range(rounds):
        for servers in cloud.SERVERS:
            if at < 2 or servers < cloud.SERVERS[-1]:
                turns[servers].append(turn(servers))
    sizes: dict[str, Any] = {
        str(cloud.rows(servers)): {
            what: {key: median((one[what][key] for one in found), 6) for key in told}
            for what, told in found[0].items()
        }
        for servers, found in turns.items()
    }
    written("policy_rule_insert", {
        "claim": "a rule is evaluated once, in slices that let others run",
        "sizes": sizes, "goals": GOALS,
        "versions": [version(kind) for kind in (OURS, DUCKDB, SQLITE)],
    })  # fmt: skip
    questions = next(iter(sizes.values()))
    table(
        ("ms (longest slice)", *(f"{int(rows):,} rows" for rows in sizes)),
        ([what, *(_cell(one[what]) for one in sizes.values())] for what in questions),
    )
    print(f"goals: {GOALS}")


def _cell(told: dict[str, float]) -> str:
    longest = f" ({told['longest_ms']:.1f})" if "longest_ms" in told else ""
    return f"{told['seconds'] * 1000:,.2f}{longest}"


if __name__ == "__main__":
    main()
