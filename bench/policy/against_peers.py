# SPDX-License-Identifier: Apache-2.0
"""The same cloud and the same questions for our engine and for others, at three sizes.

Loading from decoded rows, indexes too; the first question in full (ours: the rule is inserted and
from then on kept), a port that comes and the violation by it, an allowed row that goes, a thousand
ports as a what-if that leaves nothing behind, the first question again, and the second one in full.
What a contender keeps up to date differs, so it stands beside: none of the others has the answer
before it is asked again. All answers are compared with the true ones.

Who takes over 120 s, or would over 8 GB, is left out from there on, and the result says so. Medians
of rounds by turns; ratios of each round.

    python -m bench.policy.against_peers [SECONDS [ROUNDS]]

SECONDS: for each kind of change, of which up to 2,000 are tried.
"""

import time
from typing import Any

from bench.policy import cloud
from bench.policy.running import OURS, PEERS, Kind, Process, TooSlow
from bench.report import median, ratio, rounds_argument, seconds_argument, table, written

SINGLE = ("select", "insert", "forbid")
FIGURES = {
    "load_s": "load", "first_s": "first", "again_s": "again", "second_s": "second",
    "select_us": "select", "insert_us": "port comes", "forbid_us": "allowed goes",
    "what_if_ms": "what if",
}  # fmt: skip
MEMORY_MOST_MB = 8000
ROUND_MOST_S = 60.0
"""A contender whose round took longer has no second one."""
GOALS = {"load_s + first_s at 2,500,000 rows": 10, "what_if_ms at 2,500,000 rows": 50}
Figures = dict[str, float]


def turn(kind: Kind, servers: int, seconds: float, into: Figures) -> None:
    """One round; what was measured before it became too slow stays. Raises: TooSlow."""
    with Process(kind) as process:
        told = process.ask("load", folder=str(cloud.written(servers)))
        into["load_s"], into["most_mb"] = told["seconds"], told["most_mb"]
        into["first_s"] = process.ask("first")["seconds"]
        for what in SINGLE:
            told = process.ask(what, seconds=seconds, most=cloud.CHANGES)
            if "cannot" not in told:
                into[f"{what}_us"], into[f"{what}_p99_us"] = told["p50_us"], told["p99_us"]
        told = process.ask("what_if", seconds=seconds, most=20)
        if "cannot" not in told:
            into["what_if_ms"] = told["p50_us"] / 1000
        told = process.ask("again")
        if "cannot" not in told:
            into["again_s"] = told["seconds"]
        into["second_s"] = process.ask("second")["seconds"]


def version(kind: Kind) -> str:
    with Process(kind) as process:
        return str(process.ask("version"))


class Size:
    """All rounds at one size. `out`: who is left out, and why; it goes on to the next size."""

    def __init__(self, servers: int, out: dict[str, str]) -> None:
        self.servers = servers
        self.out = out
        self.turns: dict[str, list[Figures]] = {}
        self.heavy: dict[str, str] = {}

    def run(self, seconds: float, rounds: int) -> None:
        long: set[str] = set()
        for _ in range(rounds):
            for kind in (OURS, *PEERS):
                if kind.name in self.out or kind.name in long:
                    continue
                began_s = time.perf_counter()
                self._one(kind, seconds)
                if kind is not OURS and time.perf_counter() - began_s > ROUND_MOST_S:
                    long.add(kind.name)
        self.out.update(self.heavy)

    def _one(self, kind: Kind, seconds: float) -> None:
        figures: Figures = {}
        self.turns.setdefault(kind.name, []).append(figures)
        where = f"at {cloud.rows(self.servers):,} rows"
        try:
            turn(kind, self.servers, seconds, figures)
        except TooSlow as slow:
            self.out[kind.name] = f"{slow} {where}"
            return
        if figures["most_mb"] * 10 > MEMORY_MOST_MB and self.servers < cloud.SERVERS[-1]:
            self.heavy[kind.name] = f"takes {figures['most_mb']:,.0f} MB {where}"

    def told(self) -> dict[str, Any]:
        found = {}
        mine = self.turns[OURS.name]
        for name, turns in self.turns.items():
            figures = {
                what: median((one[what] for one in turns if what in one), 6)
                for what in sorted({what for one in turns for what in one})
            }
            times = {
                what: ratio([one[what] for one in turns], [our[what] for our in mine[: len(turns)]])
                for what in FIGURES
                if name != OURS.name and all(what in one for one in turns) and what in mine[0]
            }
            found[name] = {**figures, "ours_is_better_times": times, "rounds": len(turns)}
        return found


def printed(size: Size, found: dict[str, Any]) -> None:
    print(f"\n{cloud.rows(size.servers):,} rows")
    cells = [
        [name, *(f"{told[what]:,.4g}" if what in told else "-" for what in FIGURES)]
        for name, told in found.items()
    ]
    table(["", *(f"{head}, {what.rsplit('_')[-1]}" for what, head in FIGURES.items())], cells)
    for name, reason in size.out.items():
        print(f"{name} is left out: {reason}")


def main() -> None:
    seconds, rounds = seconds_argument(1.0), rounds_argument(3)
    out: dict[str, str] = {}
    sizes = {}
    for servers in cloud.SERVERS:
        cloud.written(servers)
        size = Size(servers, out)
        size.run(seconds, rounds if servers < cloud.SERVERS[-1] else max(1, rounds - 1))
        sizes[str(cloud.rows(servers))] = found = size.told()
        printed(size, found)
    print(f"\ngoals: {GOALS}")
    written("policy_against_peers", {
        "claim": "a changed row shows its violation at once, however many rows there are",
        "seed": cloud.SEED, "sizes": sizes, "left_out": out, "goals": GOALS,
        "keeps": {kind.name: kind.keeps for kind in (OURS, *PEERS)},
        "versions": [version(kind) for kind in (OURS, *PEERS)],
    })  # fmt: skip


if __name__ == "__main__":
    main()
