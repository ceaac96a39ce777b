# SPDX-License-Identifier: Apache-2.0
"""Starts, watches and drains the roles of one machine.

All decisions are in `logic.life` and `logic.fleet`; here events go in and effects come out.

Invariants:
1. Nothing here awaits between an event and its effects: `_happen` runs to its end.
2. When `stop` returns, no role and no fork server lives.
3. When this process dies, however it dies, its roles drain by themselves and are killed after the
   grace of a drain (see `forkserver` 3 and `channel` 1).
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transom.errors import InternalError
from transom.node.forkserver import EXIT_CONFIG
from transom.node.logic.fleet import to_begin, to_stop
from transom.node.logic.life import Effect, Event, Kind, Life, Limits, State, step
from transom.node.memory import memory_mib
from transom.node.processes import (
    PAYLOAD_BYTES_MOST,
    ForkServerProcess,
    RoleProcess,
    RoleSpec,
    Watcher,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """A role as it is now. `problem`: why it is not ready, "" if it is; `info`: what it said.

    A process that runs may have a problem too: then it is not ready, and what it can do it does.
    """

    name: str
    state: State
    pid: int | None
    restarts: int
    problem: str
    info: Mapping[str, Any]

    @property
    def ready(self) -> bool:
        return self.state is State.READY and not self.problem


@dataclass(slots=True)
class _Role:
    name: str
    spec: RoleSpec
    life: Life
    process: RoleProcess | None = None
    timer: asyncio.TimerHandle | None = None
    last_words: str = ""
    complaint: str = ""
    hopeless: bool = False
    info: Mapping[str, Any] | None = None


Report = Callable[[RoleStatus], None]


class Supervisor:
    """Owner of a machine's roles. A `Service` (see `runtime.lifecycle`).

    `preload`: modules that the fork server imports. `random`: numbers from 0 to 1, for jitter.
    `report`: told of every change of a role's state. `keep`: descriptors that every process of
    the family holds as long as it lives (the lock of the data folder).
    """

    def __init__(
        self,
        specs: Sequence[RoleSpec],
        *,
        preload: Sequence[str],
        random: Callable[[], float],
        limits: Limits | None = None,
        report: Report | None = None,
        keep: Sequence[int] = (),
    ) -> None:
        self._limits = limits or Limits()
        self._random = random
        self._report = report
        self._roles = {name: _Role(name, spec, Life()) for spec in specs for name in _names(spec)}
        self._orders = {name: role.spec.order for name, role in self._roles.items()}
        grace_s = self._limits.drain_beats * self._limits.beat_s
        self._server = ForkServerProcess(preload, grace_s, keep)
        self._settled = asyncio.Event()
        self._ended = asyncio.Event()
        self._stopping = False

    async def start(self) -> None:
        """Returns when every role has been ready or has failed for good; `ready` says which.

        A `stop` meanwhile ends the wait. Raises: InternalError if no process can be started.
        """
        try:
            self._server.start()
        except OSError as error:
            raise InternalError(f"the fork server cannot be started: {error}") from error
        self._move_on()
        await self._settled.wait()

    async def stop(self) -> None:
        """Drains in reverse order, kills what does not drain in time, ends the fork server."""
        self._stopping = True
        self._settled.set()
        self._move_on()
        await self._ended.wait()
        await self._server.stop()

    @property
    def ready(self) -> bool:
        return not self._stopping and all(role.ready for role in self.roles())

    def roles(self) -> list[RoleStatus]:
        return [_status(role) for role in self._roles.values()]

    def status(self) -> dict[str, Any]:
        """What `transom status --json` prints. The supervisor and the fork server are entries too.

        Memory is PSS in MiB, read now (about a millisecond a process).
        """
        rows = [
            _row("supervisor", os.getpid(), "ready", 0, ready=True),
            _row(
                "forkserver",
                self._server.pid,
                "ready" if self._server.loaded else "starting",
                self._server.restarts,
                ready=self._server.loaded,
            ),
        ]
        for role in self.roles():
            row = _row(role.name, role.pid, role.state, role.restarts, ready=role.ready)
            if role.problem:
                row["problem"] = role.problem
            if role.info:
                row["info"] = dict(role.info)
            rows.append(row)
        total_mib = round(sum(row["memory_mib"] for row in rows), 1)
        return {"ready": self.ready, "memory_mib": total_mib, "roles": rows}

    def _happen(self, role: _Role, event: Event) -> None:
        before = role.life
        role.life, effects = step(before, event, self._limits, self._random())
        # Invariant: a timer stands exactly while a beat is due; any other event leaves it be.
        if event.kind is Kind.BEAT or role.life.state is not before.state:
            self._wind(role)
        for effect in effects:
            self._carry_out(role, effect)
        if role.life.state is not before.state:
            self._tell_change(role)
            self._move_on()

    def _move_on(self) -> None:
        lives = {name: role.life for name, role in self._roles.items()}
        if self._stopping:
            for name in to_stop(lives, self._orders):
                self._happen(self._roles[name], Event(Kind.STOP))
        else:
            for name in to_begin(lives, self._orders):
                self._happen(self._roles[name], Event(Kind.BEGIN))
        if all(role.life.settled for role in self._roles.values()):
            self._settled.set()
        if self._stopping and all(role.life.ended for role in self._roles.values()):
            self._ended.set()

    def _wind(self, role: _Role) -> None:
        if role.timer is not None:
            role.timer.cancel()
            role.timer = None
        if role.life.wake_s is not None:
            loop = asyncio.get_running_loop()
            role.timer = loop.call_later(role.life.wake_s, self._happen, role, Event(Kind.BEAT))

    def _carry_out(self, role: _Role, effect: Effect) -> None:
        if effect is Effect.SPAWN:
            self._spawn(role)
        elif role.process is None:
            return
        elif effect is Effect.ASK:
            role.process.tell({"ask": True})
        elif effect is Effect.DRAIN:
            role.process.tell({"stop": True})
        elif effect is Effect.KILL:
            role.process.kill()

    def _spawn(self, role: _Role) -> None:
        role.last_words, role.complaint, role.hopeless, role.info = "", "", False, None
        watcher = Watcher(
            said=lambda message: self._hear(role, message),
            ended=lambda code: self._bury(role, code),
        )
        try:
            role.process = self._server.fork(role.name, role.spec, watcher)
        except (InternalError, OSError) as error:
            role.last_words = str(error)
            asyncio.get_running_loop().call_soon(self._bury, role, None)

    def _hear(self, role: _Role, message: Mapping[str, Any]) -> None:
        if "ready" in message:
            role.info = message["ready"]
            self._happen(role, Event(Kind.SAID_READY))
        elif "answer" in message:
            self._happen(role, Event(Kind.ANSWERED))
            self._listen(role, str(message.get("complaint", "")))
        elif "problem" in message:
            role.last_words, role.hopeless = message["problem"], message["hopeless"]

    def _listen(self, role: _Role, complaint: str) -> None:
        if complaint != role.complaint:
            role.complaint = complaint
            self._tell_change(role)

    def _bury(self, role: _Role, code: int | None) -> None:
        pid = role.process.pid if role.process is not None else None
        role.process = None
        problem = role.last_words or _describe(code)
        if role.life.state is not State.DRAINING:
            log.warning(
                "role ended", extra={"role": role.name, "pid": pid, "code": code, "why": problem}
            )
        hopeless = role.hopeless or code == EXIT_CONFIG
        self._happen(role, Event(Kind.ENDED, problem, hopeless))

    def _tell_change(self, role: _Role) -> None:
        status = _status(role)
        log.info(
            "role changed",
            extra={
                "role": role.name,
                "state": status.state,
                "pid": status.pid,
                "problem": status.problem,
            },
        )
        if self._report is not None:
            try:
                self._report(status)
            except Exception:  # Safety: a page that cannot be printed must not stop the roles
                log.exception("report failed", extra={"role": role.name})


def _names(spec: RoleSpec) -> list[str]:
    if len(spec.payload) > PAYLOAD_BYTES_MOST:
        raise ValueError(f"payload of role {spec.name} is over {PAYLOAD_BYTES_MOST} bytes")
    if spec.count == 1:
        return [spec.name]
    return [f"{spec.name}-{number + 1}" for number in range(spec.count)]


def _status(role: _Role) -> RoleStatus:
    pid = role.process.pid if role.process is not None else None
    life = role.life
    problem = life.problem or role.complaint
    return RoleStatus(role.name, life.state, pid, life.restarts, problem, role.info or {})


def _row(name: str, pid: int | None, state: str, restarts: int, *, ready: bool) -> dict[str, Any]:
    memory = round(memory_mib(pid), 1) if pid is not None else 0.0
    return {
        "name": name,
        "pid": pid,
        "ready": ready,
        "memory_mib": memory,
        "restarts": restarts,
        "state": state,
    }


def _describe(code: int | None) -> str:
    if code is None:
        return "ended"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"
