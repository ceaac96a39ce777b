# SPDX-License-Identifier: Apache-2.0
"""Heartbeats both ways, by a clock that the owner reads.

Invariants:
1. After half an interval, and at most a tick more, in which nothing was written, a heartbeat is
   due.
2. After two intervals, and at most a tick more, in which nothing was heard, the peer is lost. A
   tick that comes late counts as one: a process that slept must first read what came meanwhile.

A tick is due each eighth of an interval; only then is asked what was heard and written, so that
a message costs no look at a clock.
"""

import math
from enum import Enum

_TICKS = 8
_QUIET_MAX = 4
_SILENT_MAX = 16


class Pulse(Enum):
    """What a tick asks for."""

    WAIT = "wait"
    BEAT = "beat"
    LOST = "lost"


class Heart:
    """`wake_s`: when the next tick is due. `heard`, `written`: since the last one, set by the
    owner."""

    __slots__ = ("_quiet", "_silent", "_tick_s", "heard", "wake_s", "written")

    def __init__(self) -> None:
        self.wake_s = math.inf
        self.heard = False
        self.written = False
        self._tick_s = math.inf
        self._quiet = 0
        self._silent = 0

    def start(self, interval_s: int) -> None:
        """A tick is due at once. `interval_s` 0: never."""
        if interval_s:
            self._tick_s = interval_s / _TICKS
            self.wake_s = -math.inf

    def tick(self, now_s: float) -> Pulse:
        if now_s < self.wake_s:
            return Pulse.WAIT
        self.wake_s = now_s + self._tick_s
        self._silent = 0 if self.heard else self._silent + 1
        self._quiet = 0 if self.written else self._quiet + 1
        self.heard = self.written = False
        if self._silent >= _SILENT_MAX:
            return Pulse.LOST
        if self._quiet >= _QUIET_MAX:
            self._quiet = 0
            return Pulse.BEAT
        return Pulse.WAIT

    def stop(self) -> None:
        self.wake_s = math.inf
