# SPDX-License-Identifier: Apache-2.0
"""All roles in the supervising process: `transom up --single-process`.

The same roles, started in the same order on one loop; what kills one kills all.
"""

import os
import socket
from collections.abc import Mapping
from typing import Any

from transom.cli.roles import ROLES, Complain, start_role
from transom.cli.settings import Settings
from transom.node.memory import memory_mib
from transom.runtime.lifecycle import Lifecycle


class SingleProcess:
    """Stands where a supervisor would. A `Service` (see `runtime.lifecycle`)."""

    def __init__(self, settings: Settings, listeners: Mapping[str, socket.socket]) -> None:
        self._settings = settings
        self._listeners = listeners
        self._lifecycle = Lifecycle()
        self._ready: dict[str, Complain] = {}

    async def start(self) -> None:
        for role in ROLES:
            self._ready[role] = await start_role(
                role, role, self._settings, self._listeners, self._lifecycle
            )

    async def stop(self) -> None:
        self._ready.clear()
        await self._lifecycle.stop()

    @property
    def ready(self) -> bool:
        return not any(self._problem(role) for role in ROLES)

    def status(self) -> dict[str, Any]:
        """As a supervisor's; the process's memory stands with the supervisor."""
        own_mib = round(memory_mib(os.getpid()), 1)
        rows = [_row("supervisor", own_mib, "")]
        rows += [_row(name, 0.0, self._problem(name)) for name in ROLES]
        return {"ready": self.ready, "memory_mib": own_mib, "roles": rows}

    def _problem(self, role: str) -> str:
        return self._ready[role]() if role in self._ready else "starting"


def _row(name: str, memory: float, problem: str) -> dict[str, Any]:
    row = {
        "name": name,
        "pid": os.getpid(),
        "ready": not problem,
        "memory_mib": memory,
        "restarts": 0,
        "state": "starting" if problem == "starting" else "ready",
    }
    return {**row, "problem": problem} if problem else row
