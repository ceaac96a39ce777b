# SPDX-License-Identifier: Apache-2.0
"""20 rows of messages: a statement each, beside as few statements as `execute_many` makes of them.

A thread writes them in groups of eight, on a file, undone each time; another keeps the interpreter
busy as a loop under load does, with the switch interval that the roles set. Wall time and the
writer's own CPU of 20 rows; medians of rounds by turns.

    python -m bench.db.rows_at_once [SECONDS [ROUNDS]]
"""

import itertools
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench.report import median, ratio, rounds_argument, seconds_argument, table, written

from transom.cli.roles import SWITCH_S
from transom.queue.service import MIGRATIONS
from transom.queue.store.posts import INSERT
from transom.runtime.db.verb import SqliteTransaction

ROWS, GROUP = 20, 8
BODY = b'"' + b"x" * 138 + b'"'
SPARE = INSERT.count("?")


class Turns:
    """Both ways on one connection."""

    def __init__(self, folder: str) -> None:
        self._connection = sqlite3.connect(Path(folder) / "rows.db", isolation_level=None)
        for pragma in ("journal_mode = wal", "synchronous = full"):
            self._connection.execute(f"pragma {pragma}")
        for migrations in MIGRATIONS:
            for one in migrations.files():
                self._connection.executescript(one.path.read_text("utf-8"))
        self._transaction = SqliteTransaction(self._connection)
        self._next = itertools.count(1)

    def rows(self) -> list[tuple[Any, ...]]:
        first = (1, 0, 1 << 40, 1, 2, 3600, None, b"c" * 16, BODY)
        return [
            (first[0], next(self._next), *first[2:], *[None] * (SPARE - len(first)))
            for _ in range(ROWS)
        ]

    def one_each(self, rows: list[tuple[Any, ...]]) -> None:
        self._connection.executemany(INSERT, rows)

    def few(self, rows: list[tuple[Any, ...]]) -> None:
        steps = self._transaction.execute_many(INSERT, rows)
        try:
            steps.send(None)
        except StopIteration:
            return

    def measured(self, way: Any, seconds: float) -> tuple[float, float]:
        """(wall, CPU) of 20 rows in µs."""
        done, began_s, cpu_s = 0, time.perf_counter(), time.thread_time()
        while time.perf_counter() < began_s + seconds:
            self._connection.execute("begin immediate")
            for _ in range(GROUP):
                way(self.rows())
            self._connection.execute("rollback")
            done += GROUP
        wall_s, cpu_s = time.perf_counter() - began_s, time.thread_time() - cpu_s
        return wall_s / done * 1e6, cpu_s / done * 1e6


def main() -> None:
    seconds, rounds = seconds_argument(0.5), rounds_argument(7)
    sys.setswitchinterval(SWITCH_S)
    ended = threading.Event()

    def burn() -> None:
        while not ended.is_set():
            for _ in range(100):
                pass

    busy = threading.Thread(target=burn)
    busy.start()
    found: dict[str, list[tuple[float, float]]] = {"a statement each": [], "few statements": []}
    try:
        with tempfile.TemporaryDirectory() as folder:
            turns = Turns(folder)
            for _ in range(rounds):
                for name, way in zip(found, (turns.one_each, turns.few), strict=True):
                    found[name].append(turns.measured(way, seconds))
    finally:
        ended.set()
        busy.join()
    each, few = found.values()
    told = {
        name: {
            "wall_us": median(one[0] for one in turns),
            "cpu_us": median(one[1] for one in turns),
        }
        for name, turns in found.items()
    }
    result = {
        **told,
        "wall_ratio": ratio([one[0] for one in few], [one[0] for one in each]),
        "cpu_ratio": ratio([one[1] for one in few], [one[1] for one in each]),
    }
    table(["20 rows", "wall µs", "CPU µs"], ([name, *one.values()] for name, one in told.items()))
    written("rows_at_once", {"rows": ROWS, "group": GROUP, **result})


if __name__ == "__main__":
    main()
