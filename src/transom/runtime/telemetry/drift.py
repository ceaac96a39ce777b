# SPDX-License-Identifier: Apache-2.0
"""Says when the machine's wall clock was moved under a running process.

The process's own clock goes on evenly (see `runtime.clock`), so nothing breaks; but times in
answers are off by the jump until the process starts again, which is what the line tells.

Invariant: one jump is logged once.
"""

import asyncio
import logging

from transom.runtime.clock import SystemClock

log = logging.getLogger(__name__)

LOOK_S = 10.0
JUMP_S = 2.0


class DriftWatch:
    """A `lifecycle.Service`."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._told_s = 0.0
        self._next: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        self._turn()

    async def stop(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def look(self) -> None:
        """Compares the two clocks."""
        drift_s = self._clock.drift_s()
        if abs(drift_s - self._told_s) > JUMP_S:
            self._told_s = drift_s
            log.warning(
                "wall clock was moved; times stay as they were until a restart",
                extra={"moved_s": round(drift_s, 1)},
            )

    def _turn(self) -> None:
        self.look()
        self._next = asyncio.get_running_loop().call_later(LOOK_S, self._turn)
