# SPDX-License-Identifier: Apache-2.0
"""When a replica may ask its feed for something.

Invariants:
1. At most one request is out; it has a deadline, after which its answer is not heeded.
2. The first request for a need waits about the grace, so that what is merely late can come and
   many replicas do not ask at once; after failures it backs off, with jitter, up to a limit.
"""

from dataclasses import dataclass

from transom.messaging.proto.feed.limits import Limits


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is out. `n`: where we stood; `first_page`: of a snapshot that is to begin."""

    request: int
    at_s: float
    n: int
    first_page: bool


class Asking:
    """The one request and the time of the next."""

    def __init__(self, limits: Limits) -> None:
        self.failures = 0
        self._limits = limits
        self._requests = 0
        self._out: Asked | None = None
        self._due_s: float | None = None

    def ready(self, needed: bool, now_s: float, jitter: float) -> bool:
        """Whether to ask now."""
        if self._out is not None and now_s >= self._out.at_s + self._limits.ask_timeout_s:
            self._out = None
            self.failed()
        if not needed:
            self._due_s = None
            return False
        if self._out is not None:
            return False
        if self._due_s is None:
            self._due_s = now_s + self._wait_s(jitter)
        return now_s >= self._due_s

    def begin(self, now_s: float, n: int, *, first_page: bool) -> int:
        self._requests += 1
        self._due_s = None
        self._out = Asked(self._requests, now_s, n, first_page)
        return self._requests

    def take(self, request: int) -> Asked | None:
        """The request that this answers, if it is still out."""
        asked = self._out
        if asked is None or asked.request != request:
            return None
        self._out = None
        return asked

    def soon(self, now_s: float) -> None:
        """All is well; what is needed next, if anything, need not wait."""
        self.failures = 0
        self._due_s = now_s

    def settled(self, failures: int = 0) -> None:
        """An answer was of use; what is needed next waits as after so many failures."""
        self.failures = failures
        self._due_s = None

    def failed(self) -> None:
        self.settled(self.failures + 1)

    def revive(self) -> None:
        """The feed may be in reach again: what backed off need not wait so long."""
        if self.failures:
            self.settled()

    def anew(self) -> None:
        """What is out is of no use any more."""
        self._out = None
        self.settled()

    def wake_s(self) -> float | None:
        """When `ready` may answer otherwise though nothing happened."""
        if self._out is not None:
            return self._out.at_s + self._limits.ask_timeout_s
        return self._due_s

    def _wait_s(self, jitter: float) -> float:
        if self.failures == 0:
            return self._limits.grace_s * (0.5 + jitter)
        doubled_s = self._limits.retry_least_s * float(2 ** min(self.failures - 1, 16))
        return min(self._limits.retry_most_s, doubled_s) * (0.5 + jitter / 2)
