# SPDX-License-Identifier: Apache-2.0
"""How long the whole stack takes to be there, and what it weighs.

usage: python -m bench.stack.start [--rounds 7]    writes bench/results/start.json

Seconds from `transom up --detach` to its return, on a fresh and on a used folder; from the `kill
-9` of a role to the next one's readiness, nothing else going on; PSS of all processes 10 s after a
start. Beside it what any such stack pays on this machine: a Python process that does nothing, and
one that imports all parts. There is no peer for the whole.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transom.errors import TransomError
from transom.node import remote
from transom.node.folder import DataFolder

IDLE_S = 10.0
BACK_S = 30.0
GOALS = {"used_s": 3.0, "memory_mib": 200.0, "back_s": 1.5}


def run(*words: str) -> None:
    """As a person would: with the bytecode of the last start at hand."""
    environment = {**os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, *words]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=90)


def transom(data: Path, *words: str) -> None:
    run("-m", "transom.cli", *words, "--data-dir", str(data))


def seconds(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def start(data: Path) -> float:
    return seconds(lambda: transom(data, "up", "--detach", "--port", "0"))


def python(code: str) -> float:
    return seconds(lambda: run("-c", code))


def role(data: Path, name: str) -> dict[str, Any]:
    return next(one for one in remote.status(DataFolder(data))["roles"] if one["name"] == name)


def back(data: Path, name: str) -> float:
    """Seconds from the role's end by `kill -9` until its successor is ready."""
    victim = role(data, name)["pid"]
    began_s = time.perf_counter()
    os.kill(victim, signal.SIGKILL)
    while time.perf_counter() - began_s < BACK_S:
        try:
            now = role(data, name)
        except TransomError:
            continue
        if now["ready"] and now["pid"] != victim:
            return time.perf_counter() - began_s
        time.sleep(0.005)
    raise SystemExit(f"{name} did not come back")


def measure(rounds: int) -> dict[str, Any]:
    took: dict[str, list[float]] = {
        name: [] for name in ("fresh_s", "used_s", "python_s", "imports_s", "api_s", "worker_s")
    }
    memory = []
    with tempfile.TemporaryDirectory(prefix="transom-bench-") as folder:
        python("import transom.cli.roles, transom.cli.up")
        for number in range(rounds):
            data = Path(folder) / str(number)
            took["python_s"].append(python("pass"))
            took["imports_s"].append(python("import transom.cli.roles"))
            try:
                took["fresh_s"].append(start(data))
                transom(data, "down")
                took["used_s"].append(start(data))
                time.sleep(IDLE_S)
                memory.append(remote.status(DataFolder(data)))
                for name in ("api", "worker"):
                    took[f"{name}_s"].append(back(data, name))
            finally:
                transom(data, "down")
    medians = {name: round(statistics.median(values), 3) for name, values in took.items()}
    least = min(memory, key=lambda status: status["memory_mib"])
    return {
        "rounds": rounds,
        "start": {name: medians[name] for name in ("fresh_s", "used_s", "python_s", "imports_s")},
        "back_after_kill": {name: medians[f"{name}_s"] for name in ("api", "worker")},
        "memory_mib": statistics.median(status["memory_mib"] for status in memory),
        "memory_mib_of": {one["name"]: one["memory_mib"] for one in least["roles"]},
        "goals": GOALS,
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    result = measure(options.rounds)
    target = Path(__file__).parent.parent / "results" / "start.json"
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    slow = max(result["back_after_kill"].values())
    return int(
        result["start"]["used_s"] > GOALS["used_s"]
        or result["memory_mib"] > GOALS["memory_mib"]
        or slow > GOALS["back_s"]
    )


if __name__ == "__main__":
    sys.exit(main())
