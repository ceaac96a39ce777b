# SPDX-License-Identifier: Apache-2.0
"""`make proof`: every campaign by seed, one table, exit status 1 at any fault.

    PYTHONPATH=tests python -m proof [--seed 1] [--scale 1.0] [--only WORD]

`--scale 0.05` is a quick look; `--only` runs the campaigns whose name holds the word. Writes
`bench/results/proof.json` when all were run in full.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from proof.calls import calls
from proof.cuts import cuts_of, kills_on_postgres
from proof.described import described
from proof.feed import durable_feed, events, feed
from proof.fire import (
    kills_of,
    kills_of_any,
    kills_of_owners,
    kills_of_workers,
    pauses_of,
    pauses_of_workers,
)
from proof.outcome import Outcome
from proof.policy import programs
from proof.power_cut import first_starts, power_cuts, power_cuts_of_shards
from proof.queue import lives_on, races_on
from proof.suites import tempest

Campaign = Callable[[int, int], Outcome]
"""(seed, rounds) -> what was found"""

CAMPAIGNS: Mapping[str, tuple[Campaign, int]] = {
    "feed": (feed, 1_000_000),
    "durable feed": (durable_feed, 200),
    "events": (events, 200),
    "calls": (calls, 1000),
    "described": (described, 300),
    "policy": (programs, 10_000),
    "queue on sqlite": (lives_on("sqlite"), 40),
    "queue on postgresql": (lives_on("postgres"), 3),
    "queue on shards": (lives_on("shards"), 10),
    "queue on pools": (lives_on("pools"), 3),
    "races on sqlite": (races_on("sqlite"), 40),
    "races on postgresql": (races_on("postgres"), 3),
    "races on shards": (races_on("shards"), 40),
    "races on pools": (races_on("pools"), 3),
    "kill api": (kills_of("api"), 100),
    "kill worker": (kills_of("worker"), 100),
    "kill forkserver": (kills_of("forkserver"), 100),
    "kill supervisor": (kills_of("supervisor"), 100),
    "kill any": (kills_of_any, 100),
    "kill of three workers": (kills_of_workers, 100),
    "kill of three owners": (kills_of_owners, 100),
    "pause of three workers": (pauses_of_workers, 12),
    "pause api": (pauses_of("api"), 12),
    "pause worker": (pauses_of("worker"), 12),
    "kill api on postgresql": (kills_on_postgres("api"), 100),
    "kill worker on postgresql": (kills_on_postgres("worker"), 100),
    "cut api": (cuts_of("api"), 12),
    "cut worker": (cuts_of("worker"), 12),
    "power cut": (power_cuts, 4),
    "power cut of shards": (power_cuts_of_shards, 1),
    "power cut at start": (first_starts, 3),
    "pause supervisor": (pauses_of("supervisor"), 12),
    "tempest": (tempest, 1),
}
RESULTS = Path(__file__).parents[2] / "bench" / "results" / "proof.json"
LINE = "{:<26}{:>10}{:>8}{:>8}{:>9}  {}"


def run(name: str, seed: int, scale: float) -> dict[str, Any]:
    campaign, rounds = CAMPAIGNS[name]
    began_s = time.monotonic()
    outcome = campaign(seed, max(1, round(rounds * scale)))
    seconds = round(time.monotonic() - began_s, 1)
    return {"campaign": name, "seed": seed, "seconds": seconds, **asdict(outcome)}


def show(row: Mapping[str, Any]) -> None:
    figures = "  ".join(f"{name.replace('_', ' ')} {n}" for name, n in row["figures"].items())
    faults = len(row["faults"])
    line = LINE.format(row["campaign"], row["rounds"], row["seed"], faults, row["seconds"], figures)
    print(line, flush=True)
    for fault in row["faults"]:
        print(f"    FAULT {fault}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m proof")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    print(LINE.format("campaign", "rounds", "seed", "faults", "seconds", ""), flush=True)
    rows = []
    for name in CAMPAIGNS:
        if options.only in name:
            rows.append(run(name, options.seed, options.scale))
            show(rows[-1])
    if len(rows) == len(CAMPAIGNS) and options.scale >= 1.0:
        RESULTS.write_text(json.dumps(rows, indent=2) + "\n")
    return int(any(row["faults"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
