# SPDX-License-Identifier: Apache-2.0
"""A call that waits for its answer, at the client: a pure machine.

| state | event | then |
|---|---|---|
| waiting | answer with `ending` | answered: gone |
| waiting | heartbeat, or a result without `ending` | waiting, heard; the result is kept |
| waiting | `ending` without a result, a result was kept | answered with what was kept |
| waiting | its deadline | expired: gone |
| waiting | nothing heard for `monitor_s` | expired, silent: gone |
| waiting | nothing heard for `resend_s`, sendings left | to be sent again |
| gone | anything | nothing |

Invariants:
1. A call is answered or expired once, and expires at its deadline at the latest.
2. What comes for a call that is gone changes nothing.

Times are seconds on one monotonic clock.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Expired:
    """No answer in time. `silent`: given up before the deadline, for lack of heartbeats."""

    silent: bool


@dataclass(frozen=True, slots=True)
class SendAgain:
    """Send once more, then wake the call at `wake_s`."""

    wake_s: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """Nothing to do before `wake_s`."""

    wake_s: float


class Call(Generic[A]):
    """`A` is what an answer is. `gone`: it has ended."""

    __slots__ = (
        "_heard_s",
        "_kept",
        "_monitor_s",
        "_resend_s",
        "_resends_left",
        "deadline_s",
        "gone",
    )

    def __init__(
        self,
        now_s: float,
        deadline_s: float,
        *,
        monitor_s: float | None = None,
        resend_s: float | None = None,
        resends_max: int = 0,
    ) -> None:
        self.gone = False
        self.deadline_s = deadline_s
        self._heard_s = now_s
        self._monitor_s = monitor_s
        self._resend_s = resend_s
        self._resends_left = resends_max
        self._kept: A | None = None

    def wake_s(self) -> float:
        """When to `wake` it."""
        wake_s = self.deadline_s
        if self._monitor_s is not None:
            wake_s = min(wake_s, self._heard_s + self._monitor_s)
        if self._resend_s is not None and self._resends_left:
            wake_s = min(wake_s, self._heard_s + self._resend_s)
        return wake_s

    def hear(self, answer: A, now_s: float, *, ending: bool, empty: bool) -> A | None:
        """Something came from a server: the answer if it ends the call.

        `empty`: it has neither a result nor a failure.
        """
        if self.gone or now_s >= self.deadline_s:
            return None
        if ending:
            self.gone = True
            return self._kept if empty and self._kept is not None else answer
        self._heard_s = now_s
        if not empty:
            self._kept = answer
        return None

    def wake(self, now_s: float) -> Expired | SendAgain | Sleep:
        """The time given by `wake_s`, or by the last `wake`, has come."""
        silent = self._monitor_s is not None and now_s >= self._heard_s + self._monitor_s
        if silent or now_s >= self.deadline_s:
            self.gone = True
            return Expired(silent=now_s < self.deadline_s)
        resend_s = self._resend_s
        if resend_s is not None and self._resends_left and now_s >= self._heard_s + resend_s:
            self._resends_left -= 1
            self._resend_s = resend_s + (now_s - self._heard_s)
            return SendAgain(self.wake_s())
        return Sleep(self.wake_s())
