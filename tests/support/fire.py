# SPDX-License-Identifier: Apache-2.0
"""A whole Transom under load of every kind, and what can befall its processes meanwhile."""

import json
import os
import random
import signal
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from transom.errors import TransomError
from transom.node import remote
from transom.node.folder import DataFolder

from support.accounts import Registrar, Revoker, answers_again
from support.consumers import Consumer, Ledger
from support.load import Hand, Producer, Session, check_kept, login, read_all
from support.stack import Stack, wait_for
from support.watching import QueueMaker, Watcher, queue_rows

ROLES = ("api", "worker", "forkserver", "supervisor")
BACK_S = 60.0
ORPHANS_S = 10.0  # they need a tenth of a second, and may not wait for what can't come
PROGRESS = 20


class Fire:
    """The load on a stack that runs. `douse` ends it and answers every promise that was broken."""

    def __init__(self, stack: Stack, seed: int, watching: Sequence[Stack] = ()) -> None:
        """`watching`: whose `tables watch` are run, where that is not the stack's own."""
        self.stack = stack
        token = login(stack)
        self._ledger = Ledger()
        self._keepers = [Producer(stack, token, "kept", name) for name in range(2)]
        self._makers = [Producer(stack, token, "jobs", name) for name in range(2)]
        self._consumers = [
            Consumer(stack, token, "jobs", self._ledger, f"{seed}-{name}") for name in range(2)
        ]
        self._revoker = Revoker(stack, token, f"{seed}-revoker")
        self._registrar = Registrar(stack, token, f"{seed}-registrar")
        self._queues = QueueMaker(stack, token, f"{seed}-queues")
        places = watching or [stack]
        self._queue_watchers = [Watcher(place, "queue:queues") for place in places]
        self._project_watchers = [Watcher(place, "identity:projects") for place in places]
        self.token = token
        self.hands: list[Hand] = [
            *self._keepers, *self._makers, *self._consumers,
            self._revoker, self._registrar, self._queues,
        ]  # fmt: skip

    @property
    def posted(self) -> int:
        return sum(len(producer.acknowledged) for producer in [*self._keepers, *self._makers])

    @property
    def cut_off(self) -> int:
        """Requests to which no answer came."""
        return sum(hand.broken for hand in self.hands)

    @property
    def watching(self) -> set[int]:
        """The processes of the watchers, which outlive the stack's."""
        return {watcher.pid for watcher in self._watchers}

    @property
    def unexcused(self) -> list[str]:
        """Answers that said the fault was the server's, and not when to come again."""
        return [text for hand in self.hands for text in hand.unexcused]

    @property
    def _watchers(self) -> list[Watcher]:
        return [*self._queue_watchers, *self._project_watchers]

    def light(self) -> Self:
        wait_for(lambda: all(watcher.live for watcher in self._watchers), BACK_S)
        for hand in self.hands:
            hand.start()
        self.goes_on()
        return self

    def goes_on(self, within_s: float = BACK_S) -> None:
        """Returns when more was posted and acknowledged."""
        before = self.posted
        wait_for(lambda: self.posted > before + PROGRESS, within_s)

    def news_spread(self, name: str, within_s: float = BACK_S) -> None:
        """Makes a queue and a project of the name; returns when every watcher was told."""
        session = Session(self.stack.url, login(self.stack))
        project = {"project": {"name": name, "domain_id": "default"}}
        assert session.ask("PUT", f"/queue/v2/queues/{name}", {})[0] == 201
        assert session.ask("POST", "/identity/v3/projects", project)[0] == 201
        session.close()
        try:
            wait_for(lambda: self.knows(name), within_s)
        except AssertionError as error:
            untold = [str(watcher) for watcher in self._watchers if not watcher.knows(name)]
            raise AssertionError(f"{error}: {untold}") from None

    def knows(self, name: str) -> bool:
        """Whether every watcher was told of a row of this name, and is sure of its rows."""
        return all(watcher.knows(name) for watcher in self._watchers)

    def douse(self) -> list[str]:
        """Stops the load, then looks at everything that was promised."""
        for hand in self.hands:
            hand.stop()
        session = Session(self.stack.url, login(self.stack))
        answers_again(session)
        faults = self.missing(session)
        session.close()
        return faults

    def close(self) -> None:
        """Ends what is left of it, whatever happened. Idempotent."""
        for hand in self.hands:
            hand.give_up()
        for watcher in self._watchers:
            watcher.stop()

    def told(self) -> dict[str, int]:
        """How much there was to lose."""
        return {
            "posts": self.posted,
            "claims": self._ledger.claims,
            "deletions": self._ledger.deletions,
            "revocations": len(self._revoker.revoked),
            "accounts": sum(map(len, self._registrar.made.values())),
            "cut off": self.cut_off,
        }

    def missing(self, session: Session) -> list[str]:
        """When all is quiet: every promise that was broken."""
        faults = []
        try:
            check_kept(self._keepers, read_all(session, "kept"))
        except AssertionError as error:
            faults.append(str(error))
        faults += self._ledger.missing(session, "jobs", self._makers)
        faults += self._revoker.missing(session)
        faults += self._registrar.missing(session)
        return faults + self._differences(session)

    def _differences(self, session: Session) -> list[str]:
        named = queue_rows(session)
        faults = self._queues.missing(set(named))
        projects = session.ask("GET", "/identity/v3/projects")[1]["projects"]
        own = next(project["id"] for project in projects if project["name"] == "admin")
        queues = {(own, name): row for name, row in named.items()}
        for watcher in self._queue_watchers:
            faults += watcher.differs(queues)
        rows = {(project["id"],): {"name": project["name"]} for project in projects}
        for watcher in self._project_watchers:
            faults += watcher.differs(rows)
        return faults


@dataclass
class Strikes:
    """What befalls the processes of a stack under fire, and how long each was away."""

    fire: Fire
    draw: random.Random
    back_s: list[float] = field(default_factory=list)

    def kill(self, role: str) -> None:
        """`kill -9`; a supervisor is started anew by `transom up`, as a person would."""
        if role == "supervisor":
            self._kill_family()
            return
        self.kill_all([role])

    def kill_all(self, roles: Sequence[str]) -> None:
        """Several at once, none of them the supervisor; it counts as one."""
        before = {role: self._role(role)["pid"] for role in roles}
        began_s = time.monotonic()
        for victim in before.values():
            os.kill(victim, signal.SIGKILL)
        for role, victim in before.items():
            self._back(role, victim)
        self.back_s.append(time.monotonic() - began_s)

    def pause(self, role: str, pause_s: float) -> None:
        """SIGSTOP, and SIGCONT after a while, unless it was killed for its silence."""
        pid = self._role(role)["pid"]
        handle = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(handle, signal.SIGSTOP)
            time.sleep(pause_s)
            began_s = time.monotonic()
            signal.pidfd_send_signal(handle, signal.SIGCONT)
        except ProcessLookupError:
            began_s = time.monotonic()
        finally:
            os.close(handle)
        self._back(role, 0)
        self.back_s.append(time.monotonic() - began_s)

    def median_s(self) -> float:
        return statistics.median(self.back_s)

    def _kill_family(self) -> None:
        state = json.loads((self.fire.stack.data / "state.json").read_text())
        began_s = time.monotonic()
        os.kill(state["pid"], signal.SIGKILL)
        if self.draw.random() < 0.5:  # before anybody starts it anew, or while they drain
            wait_for(lambda: not DataFolder(self.fire.stack.data).taken(), ORPHANS_S)
        self.fire.stack.start("--port", str(state["port"]))
        self.back_s.append(time.monotonic() - began_s)

    def _back(self, name: str, victim: int) -> None:
        def there() -> bool:
            role = self._role(name)
            return bool(role) and role["ready"] and role["pid"] != victim

        wait_for(there, BACK_S)

    def _role(self, name: str) -> dict[str, Any]:
        try:
            roles = remote.status(DataFolder(self.fire.stack.data))["roles"]
        except TransomError:
            return {}
        return next(role for role in roles if role["name"] == name)


def complaints(data: Path) -> list[str]:
    """What a person would be startled by in the logs: errors, and exceptions of any level."""
    found = []
    for path in sorted(data.glob("logs/*.log")):
        if path.name == "audit.log":  # what callers did; its lines have another form
            continue
        for line in path.read_text().splitlines():
            said = json.loads(line)
            if said["level"] in ("error", "critical") or "exception" in said:
                found.append(f"{path.stem}: {said['message']}: {line[:400]}")
    return found
