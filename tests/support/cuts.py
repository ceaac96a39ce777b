# SPDX-License-Identifier: Apache-2.0
"""What can befall the way of one role to PostgreSQL, while a whole Transom is under fire."""

import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transom.node import remote
from transom.node.folder import DataFolder

from support.fire import BACK_S, Fire, complaints
from support.leftovers import Marked
from support.load import Session, login
from support.postgres import fresh_database
from support.stack import get, wait_for
from support.ways import Ways
from support.whole_fire import NEEDS

STATEMENT_S = 1.0
"""So that a silence of a few seconds outlasts a verb's time, and a commit's."""
KINDS = ("reset", "torn", "silent", "refused", "forgotten", "slow")
BACK_MOST_S = 25.0
"""A lease's time, and a verb's and its commit's on top, on a busy machine."""
TORN_BYTES = 600
OWN = ("database away", "outcome of a commit unknown")
"""What the log has to say when the database is cut off."""


@contextmanager
def on_postgres(data: Path, seed: int) -> Iterator[tuple[Marked, Ways]]:
    """A whole Transom with a database of its own, to which each process has a way of its own."""
    with fresh_database() as server, Ways(server.address, seed) as ways:
        stack = Marked(data)
        stack.environment |= NEEDS
        stack.environment["TRANSOM_DATABASE__STATEMENT_TIMEOUT_S"] = str(STATEMENT_S)
        try:
            yield stack.start("--database", server.through(ways.address)), ways
        finally:
            stack.stop()


@dataclass
class Cuts:
    """Cuts, and how long after each one all was well again."""

    fire: Fire
    ways: Ways
    draw: random.Random
    back_s: list[float] = field(default_factory=list)

    def cut(self, role: str, kind: str) -> None:
        """Returns when all is well again.

        "reset": all connections. "torn": so too, in the middle of a message. "silent": nothing
        passes for 1 to 4 s, then all are reset. "refused": so too, and new ones are turned away.
        "forgotten": connections of before stay silent for ever, new ones work. "slow".
        """
        pid = self._role(role)["pid"]
        assert self.ways.order(pid)["connections"], f"{role} has no way to be cut"
        self._befall(pid, kind)
        began_s = time.monotonic()
        try:
            self._well(role, pid)
        except AssertionError as error:
            raise AssertionError(f"{role} {kind}: {error}; {self._role(role)}") from error
        self.back_s.append(time.monotonic() - began_s)

    def median_s(self) -> float:
        return statistics.median(self.back_s)

    def faults(self) -> list[str]:
        """When the fire is out: what should not have been, though nothing promised is broken."""
        found = list(self.fire.unexcused)
        if self.fire.cut_off:
            found.append(f"{self.fire.cut_off} requests had no answer")
        if max(self.back_s, default=0.0) > BACK_MOST_S:
            found.append(f"back after {max(self.back_s):.1f} s")
        return found

    def _befall(self, pid: int, kind: str) -> None:
        """Invariant: nothing passes on a connection that has lost bytes."""
        match kind:
            case "reset":
                self.ways.order(pid, reset=True)
            case "torn":
                self.ways.order(pid, cut_after_bytes=self.draw.randrange(1, TORN_BYTES))
                wait_for(lambda: self.ways.order(pid)["cut_after_bytes"] is None, BACK_S)
            case "silent":
                self.ways.order(pid, swallow=True)
                time.sleep(self.draw.uniform(1, 4))
                self.ways.order(pid, reset=True, swallow=False)
            case "refused":
                self.ways.order(pid, reset=True, refuse=True)
                time.sleep(self.draw.uniform(0.1, 4))
                self.ways.order(pid, refuse=False)
            case "forgotten":
                self.ways.order(pid, swallow=True, leave=True)
            case "slow":
                self.ways.order(pid, delay_s=self.draw.uniform(0.05, 1.5))
                time.sleep(self.draw.uniform(1, 4))
                self.ways.order(pid, delay_s=0.0)
            case _:
                raise AssertionError(kind)

    def _well(self, role: str, pid: int) -> None:
        """It says so, posts go on, and changes reach the live tables in another process."""

        def sound() -> bool:
            now = self._role(role)
            return bool(now["ready"]) and "problem" not in now

        wait_for(sound, BACK_S)
        assert self._role(role)["pid"] == pid, f"{role} was started again"
        wait_for(lambda: get(f"{self.fire.stack.url}/readyz")[0] == 200, BACK_S)
        self.fire.goes_on()
        self._news(f"news-{len(self.back_s)}")

    def _news(self, name: str) -> None:
        """As `Fire.news_spread`, whatever is answered at first."""
        session = Session(self.fire.stack.url, login(self.fire.stack))
        project = {"project": {"name": name, "domain_id": "default"}}

        def told() -> bool:
            queue, _ = session.ask("PUT", f"/queue/v2/queues/{name}", {})
            made, _ = session.ask("POST", "/identity/v3/projects", project)
            return queue in (201, 204) and made in (201, 409)

        wait_for(told, BACK_S)
        session.close()
        wait_for(lambda: self.fire.knows(name), BACK_S)

    def _role(self, name: str) -> dict[str, Any]:
        roles = remote.status(DataFolder(self.fire.stack.data))["roles"]
        return next(role for role in roles if role["name"] == name)


def startling(data: Path) -> list[str]:
    """As `complaints`, but for what has to be logged when the database is cut off."""
    said = (line.split(": ", 2) for line in complaints(data))
    return [": ".join(parts) for parts in said if parts[1] not in OWN]
