# SPDX-License-Identifier: Apache-2.0
"""What the stack costs while nobody asks for anything, and whether anything grows.

usage: python -m bench.stack.idle [--seconds 120]    writes bench/results/idle.json

CPU of all processes in percent of one core, wake-ups a second, and what changed between the first
and the last moment: memory (PSS), descriptors, threads, bytes of every file of the data folder.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from transom.node import remote
from transom.node.folder import DataFolder

SETTLE_S = 15.0
GOAL_CPU_PERCENT = 2.0


def transom(data: Path, *words: str) -> None:
    command = [sys.executable, "-m", "transom.cli", *words, "--data-dir", str(data)]
    subprocess.run(command, check=True, capture_output=True, timeout=90)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wakeups(pid: int) -> int:
    lines = [
        line
        for task in Path(f"/proc/{pid}/task").iterdir()
        for line in (task / "status").read_text().splitlines()
    ]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))


def look(data: Path) -> dict[str, Any]:
    roles = {one["name"]: one for one in remote.status(DataFolder(data))["roles"]}
    pids = {name: one["pid"] for name, one in roles.items()}
    return {
        "at_s": time.monotonic(),
        "cpu_s": {name: cpu_s(pid) for name, pid in pids.items()},
        "wakeups": {name: wakeups(pid) for name, pid in pids.items()},
        "memory_mib": {name: one["memory_mib"] for name, one in roles.items()},
        "descriptors": {name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in pids.items()},
        "threads": {name: len(os.listdir(f"/proc/{pid}/task")) for name, pid in pids.items()},
        "file_bytes": {
            str(path.relative_to(data)): path.stat().st_size
            for path in sorted(data.rglob("*"))
            if path.is_file()
        },
    }


def rate(before: dict[str, Any], after: dict[str, Any], what: str, factor: float) -> dict[str, Any]:
    passed_s = after["at_s"] - before["at_s"]
    return {
        name: round((after[what][name] - value) / passed_s * factor, 2)
        for name, value in before[what].items()
    }


def changes(before: dict[str, Any], after: dict[str, Any], what: str) -> dict[str, Any]:
    return {
        name: [before[what].get(name, 0), value]
        for name, value in after[what].items()
        if before[what].get(name, 0) != value
    }


def measure(seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="transom-bench-") as folder:
        data = Path(folder) / "data"
        transom(data, "up", "--detach", "--port", "0")
        try:
            time.sleep(SETTLE_S)
            before = look(data)
            time.sleep(seconds)
            after = look(data)
        finally:
            transom(data, "down")
    cpu = rate(before, after, "cpu_s", 100)
    return {
        "seconds": seconds,
        "cpu_percent": round(sum(cpu.values()), 2),
        "cpu_percent_of": cpu,
        "wakeups_a_second": rate(before, after, "wakeups", 1),
        "changed": {
            what: changes(before, after, what)
            for what in ("memory_mib", "descriptors", "threads", "file_bytes")
        },
        "goal_cpu_percent": GOAL_CPU_PERCENT,
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120.0)
    options = parser.parse_args()
    result = measure(options.seconds)
    target = Path(__file__).parent.parent / "results" / "idle.json"
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return int(result["cpu_percent"] > GOAL_CPU_PERCENT)


if __name__ == "__main__":
    sys.exit(main())
