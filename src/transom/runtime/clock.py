# SPDX-License-Identifier: Apache-2.0
"""Time, as an argument.

Invariant: `now_ms` never steps back and never jumps while a process lives, whatever is done to
the wall clock: it is the wall clock at start plus what the boot-time clock has counted since
(which goes on while the machine sleeps). `drift_s` tells how far the wall clock is from it now.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Both clocks. Tests hand in one that they move."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""

    def monotonic_s(self) -> float:
        """Seconds since some moment; for deadlines and durations within one process."""


class SystemClock:
    """The machine's clocks, anchored."""

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def now_ms(self) -> int:
        return (time.clock_gettime_ns(time.CLOCK_BOOTTIME) + self._offset_ns) // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    def drift_s(self) -> float:
        """Seconds by which the wall clock is ahead (negative: behind) of `now_ms`."""
        return (time.time_ns() // 1_000_000 - self.now_ms()) / 1000
