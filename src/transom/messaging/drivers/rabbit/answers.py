# SPDX-License-Identifier: Apache-2.0
"""Tries answers again whose caller's queue was missing; `missing` decides which and when.

Invariant: whoever sent the answer was told at once that nobody was there; what is tried here holds
no place of a server, only bounded memory of ours.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf

from transom.errors import MessagingError
from transom.messaging.drivers.base import Sent
from transom.messaging.drivers.rabbit.missing import Held, MissingQueues

Send = Callable[[str, Held, Sent], None]


class Answers:
    """`send` publishes a mandatory message to the queue of this name."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._missing = MissingQueues()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def stop(self) -> None:
        """What is held is dropped."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def in_line(self, name: str, body: bytes, deadline_s: float) -> bool:
        """Whether it waits behind others for a queue that is missing."""
        missing = self._missing
        return len(missing) > 0 and missing.in_line(name, Held(body, deadline_s))

    def missing(self, name: str, body: bytes, deadline_s: float) -> None:
        """It was sent, and there is no such queue."""
        if not self._stopped:
            self._missing.missing(name, Held(body, deadline_s), self._loop.time())
            self._later()

    def arrived(self, name: str) -> None:
        """A message found the queue."""
        if len(self._missing):
            self._missing.is_there(name)

    def _later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake_s = self._missing.wake_s()
        if wake_s < inf and not self._stopped:
            self._timer = self._loop.call_at(wake_s, self._try)

    def _try(self) -> None:
        self._timer = None
        for name, held in self._missing.due(self._loop.time()):
            self._send(name, held, partial(self._tried, name))
        self._later()

    def _tried(self, name: str, error: MessagingError | None) -> None:
        for held in self._missing.tried(name, self._loop.time(), found=error is None):
            self._send(name, held, _forget)
        self._later()


def _forget(error: MessagingError | None) -> None:
    """Who sent it does not wait any more."""
