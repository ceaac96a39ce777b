# SPDX-License-Identifier: Apache-2.0
"""Rounds of several contenders: medians, ratios of one round, a table, and the JSON of a claim."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def median(values: Iterable[float], digits: int = 1) -> float:
    return round(statistics.median(values), digits)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How many times theirs ours is: the median of the ratios round by round."""
    return median((mine / other for mine, other in zip(ours, theirs, strict=True)), 2)


def seconds_argument(default: float) -> float:
    """`python -m bench.PART.X [SECONDS]`: of each measurement, else TRANSOM_BENCH_SECONDS."""
    if len(sys.argv) > 1:
        return float(sys.argv[1])
    return float(os.environ.get("TRANSOM_BENCH_SECONDS", default))


def rounds_argument(default: int) -> int:
    """The second argument, else TRANSOM_BENCH_ROUNDS."""
    if len(sys.argv) > 2:
        return int(sys.argv[2])
    return int(os.environ.get("TRANSOM_BENCH_ROUNDS", default))


def written(name: str, result: dict[str, Any]) -> None:
    """bench/results/<name>.json, with what it ran on."""
    place = {"cores": os.cpu_count(), "python": platform.python_version()}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**result, **place}, indent=2, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """The first column to the left, the others to the right."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *others = (
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join([first, *others]))
