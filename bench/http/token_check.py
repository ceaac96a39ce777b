# SPDX-License-Identifier: Apache-2.0
"""A token check with a warm cache, as each request has it, beside keystonemiddleware's.

Ours: SHA-256 of the token, the entry, its time, the revocation counter; the answer is the context.
Theirs, in the environment of the real Keystone: the entry in its in-process cache, decoded, made an
access object and its time compared; and the same with the headers that tell the service. Rounds of
both alternate, so what the machine does besides falls on both; CPU is counted, not time.

usage: python -m bench.http.token_check [ROUNDS]    writes bench/results/token_check.json
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from importlib.metadata import version
from pathlib import Path

from bench.http.load import TOKEN
from bench.http.servers import OneToken

from transom.runtime.auth.generation import Generation
from transom.runtime.auth.tokens import TokenValidator
from transom.runtime.clock import SystemClock

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".cache" / "keystone" / "bin" / "python"
CALLS, PEER_CALLS = 20_000, 2_000
GOAL_US = 2.0
CPU_S = time.process_time
STEPS = ("check", "check and headers")


async def measure(rounds: int) -> dict[str, list[float]]:
    """Microseconds a call, a figure for each round."""
    with tempfile.TemporaryDirectory() as folder:
        generation = Generation(Path(folder) / "generation", os.urandom)
        await generation.start()
        validator = TokenValidator(OneToken(), SystemClock(), generation.read)
        await validator.validate(TOKEN)
        assert validator.cached(TOKEN) is not None
        figures: dict[str, list[float]] = {name: [] for name in ("transom", *STEPS)}
        with subprocess.Popen(
            [str(PEER), "-W", "ignore", "-c", "from middleware import run; run()"],
            cwd=Path(__file__).parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as peer:  # fmt: skip
            peer.stdin.write(json.dumps({"token": TOKEN, "calls": PEER_CALLS}) + "\n")
            for _ in range(rounds):
                seconds = timeit.timeit(lambda: validator.cached(TOKEN), timer=CPU_S, number=CALLS)
                figures["transom"].append(seconds / CALLS * 1e6)
                peer.stdin.write("\n")
                peer.stdin.flush()
                answer = json.loads(peer.stdout.readline())
                for name in STEPS:
                    figures[name].append(answer[name] * 1e6)
            peer.stdin.close()
        await generation.stop()
    return figures


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    figures = asyncio.run(measure(rounds))
    medians = {name: statistics.median(values) for name, values in figures.items()}
    ratio = statistics.median(
        theirs / ours for theirs, ours in zip(figures["check"], figures["transom"], strict=True)
    )
    ask_version = "from importlib.metadata import version; print(version('keystonemiddleware'))"
    peer_version = subprocess.run(
        [str(PEER), "-c", ask_version], capture_output=True, text=True, check=True
    )
    result = {
        "claim": f"a token check with a warm cache costs below {GOAL_US} microseconds",
        "unit": "microseconds of CPU",
        "median": {name: round(figure, 2) for name, figure in medians.items()},
        "best": {name: round(min(values), 2) for name, values in figures.items()},
        "ratio": round(ratio, 1),
        "goal": GOAL_US,
        "token_length": len(TOKEN),
        "rounds": {name: [round(at, 2) for at in values] for name, values in figures.items()},
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": {
            "msgspec": version("msgspec"),
            "keystonemiddleware": peer_version.stdout.strip(),
        },
    }
    target = ROOT / "bench" / "results" / "token_check.json"
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{'':40} {'median us':>9} {'best us':>9}")
    for name, values in figures.items():
        label = name if name == "transom" else f"keystonemiddleware, {name}"
        print(f"{label:40} {medians[name]:9.2f} {min(values):9.2f}")
    print(f"keystonemiddleware's check costs {ratio:.0f} times ours  (goal: below {GOAL_US} us)")
    return int(medians["transom"] >= GOAL_US)


if __name__ == "__main__":
    sys.exit(main())
