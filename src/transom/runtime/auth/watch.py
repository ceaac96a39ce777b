# SPDX-License-Identifier: Apache-2.0
"""Whether Keystone answers, known also while no request needs it.

As long as every token is known, nobody would see that Keystone is away until the first new one is
refused. So when nothing was asked of it for `LOOK_S`, the service user's own token is asked about.

Invariant: an outage and its end are one line each in the log, however many requests meet it.
"""

import asyncio
import contextlib
import logging

from transom.errors import Unavailable
from transom.runtime.auth.keystone import VALIDATING_ROLES, Keystone
from transom.runtime.clock import Clock

log = logging.getLogger(__name__)

LOOK_S = 10.0
AWAY = "does not answer; tokens that are known go on, others are answered 503"
NO_ROLE = "the service user has neither the role service nor admin, and may not validate tokens"


class KeystoneWatch:
    """A `lifecycle.Service`; the Keystone is started and stopped by another."""

    def __init__(self, keystone: Keystone, clock: Clock, look_s: float = LOOK_S) -> None:
        self._keystone = keystone
        self._clock = clock
        self._look_s = look_s
        self._logged = ""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Waits for no answer: Keystone may start later than its users."""
        self._task = asyncio.get_running_loop().create_task(self._looking())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def warning(self) -> str:
        """What is wrong, without saying where Keystone is; "" if nothing."""
        if self._keystone.problem:
            return AWAY
        roles = self._keystone.own_roles
        return NO_ROLE if roles and not roles & VALIDATING_ROLES else ""

    async def _looking(self) -> None:
        while True:
            idle_s = self._clock.monotonic_s() - self._keystone.asked_s
            if idle_s >= self._look_s:
                idle_s = 0.0
                with contextlib.suppress(Unavailable):  # it is noted in `problem`
                    await self._keystone.probe()
            self._tell(self._keystone.problem or self.warning())
            await asyncio.sleep(self._look_s - idle_s)

    def _tell(self, problem: str) -> None:
        if problem and not self._logged:
            log.warning("keystone cannot be used", extra={"why": problem})
        elif self._logged and not problem:
            log.warning("keystone can be used again")
        self._logged = problem
