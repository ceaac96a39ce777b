# SPDX-License-Identifier: Apache-2.0
"""Live tables under fire: `transom tables watch` in a process of its own, and who changes queues.

Promise: when all is quiet, the rows that the watcher was told are the rows that there are.
"""

import json
import random
import subprocess
import sys
import threading
from typing import Any

from support.load import Hand, Session, read_pages
from support.stack import Stack, wait_for

Row = dict[str, Any]


class Watcher:
    """The rows of a table, as a replica in another process says them."""

    def __init__(self, stack: Stack, table: str) -> None:
        self.table = table
        self._version = stack.environment.get("PYTHONPATH", "ours")
        self.rows: dict[tuple[str, ...], Row] = {}
        self.live = False
        self._lock = threading.Lock()
        command = [sys.executable, "-m", "transom.cli", "tables", "watch", table, "--json"]
        self._process = subprocess.Popen(
            [*command, "--data-dir", str(stack.data)],
            env=stack.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def __str__(self) -> str:
        state = f"live: {self.live}, exit: {self._process.poll()}"
        return f"{self.table} by {self._version}, {len(self.rows)} rows, {state}"

    def stop(self) -> None:
        """Idempotent."""
        self._process.terminate()
        self._thread.join(30)
        self._process.wait(30)

    def knows(self, name: str) -> bool:
        """Whether it is sure of its rows, and one has this name."""
        with self._lock:
            return self.live and any(row["name"] == name for row in self.rows.values())

    def differs(self, wanted: dict[tuple[str, ...], Row], within_s: float = 30.0) -> list[str]:
        """Nothing, if the watcher soon has exactly these rows (as far as their columns go)."""

        def same() -> bool:
            with self._lock:
                rows = self.rows if self.live else None
                return (
                    rows is not None
                    and {
                        key: {name: row[name] for name in wanted.get(key, {})}
                        for key, row in rows.items()
                    }
                    == wanted
                )

        try:
            wait_for(same, within_s)
        except AssertionError:
            ended = self._process.poll()
            different = sorted(set(self.rows) ^ set(wanted))
            said = f"{len(self.rows)} of {len(wanted)} rows, live: {self.live}, exit: {ended}"
            return [f"{self.table}: {said}, different: {len(different)}, {different[:1]}"]
        return []

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                said = json.loads(line)
                with self._lock:
                    if "state" in said:
                        self.live = said["state"] == "live"
                    elif said["row"] is None:
                        self.rows.pop(tuple(said["key"]), None)
                    else:
                        self.rows[tuple(said["key"])] = said["row"]


class QueueMaker(Hand):
    """Makes queues, changes their metadata, deletes them."""

    def __init__(self, stack: Stack, token: str, seed: str) -> None:
        super().__init__(stack, token)
        self._draw = random.Random(seed)
        self._known: dict[str, bool] = {}  # name -> whether the last acknowledged deed made it
        self._number = 0

    def turn(self, session: Session) -> None:
        name = f"made-{self._draw.randrange(40)}"
        self._number += 1
        path = f"/queue/v2/queues/{name}"
        self._known.pop(name, None)  # until the answer it may be either way
        if self._draw.random() < 0.3:
            status, _ = session.ask("DELETE", path)
            if status == 204:
                self._known[name] = False
        else:
            status, _ = session.ask("PUT", path, {"number": self._number})
            if status in (201, 204):
                self._known[name] = True
        self._stop.wait(0.02)

    def missing(self, found: set[str]) -> list[str]:
        wrong = [name for name, there in self._known.items() if there != (name in found)]
        return [f"queues {wrong} are not as acknowledged"] if wrong else []


def queue_rows(session: Session) -> dict[str, Row]:
    """What `queue:queues` should say, by name, as far as the door shows it."""
    listed = read_pages(session, "/v2/queues?detailed=true&limit=20", "queues")
    return {queue["name"]: {"name": queue["name"]} for queue in listed}
