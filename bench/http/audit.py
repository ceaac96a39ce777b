# SPDX-License-Identifier: Apache-2.0
"""What the audit log adds to a JSON post through the door: the same door with it and without.

As `bench.http.door`, but with the two doors beside each other; one line is written for each post.

usage: python -m bench.http.audit [ROUNDS] [REQUESTS]    writes bench/results/audit.json
"""

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

from bench.http.door import CONNECTIONS, measure

GOAL_US = 25.0
KINDS = ("door", "audited")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    requests = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
        os.environ["TMPDIR"] = folder  # a file system as a data folder's, which the servers share
        figures = measure(rounds, requests, KINDS)
    medians = {kind: round(statistics.median(figures[kind]), 2) for kind in KINDS}
    pairs = list(zip(figures["audited"], figures["door"], strict=True))
    ratio = statistics.median(audited / plain for audited, plain in pairs)
    added_us = statistics.median(audited - plain for audited, plain in pairs)
    result = {
        "claim": f"a line of the audit log costs at most {GOAL_US:.0f} microseconds",
        "unit": "microseconds of server CPU a request",
        "median": medians,
        "added": round(added_us, 2),
        "ratio": round(ratio, 3),
        "goal": GOAL_US,
        "rounds": {kind: [round(figure, 2) for figure in figures[kind]] for kind in KINDS},
        "requests_a_round": requests,
        "connections": CONNECTIONS,
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
    }
    target = Path(__file__).parents[1] / "results" / "audit.json"
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{'door':18} {medians['door']:8.1f} us of CPU a post")
    print(f"{'with an audit log':18} {medians['audited']:8.1f}")
    print(f"{'added':18} {added_us:8.1f}   (goal: at most {GOAL_US:.0f}; {ratio:.2f} times)")
    sys.exit(added_us > GOAL_US)


if __name__ == "__main__":
    main()
