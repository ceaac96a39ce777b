# SPDX-License-Identifier: Apache-2.0
"""How long who guessed wrong must wait before the next guess.

The first failures of a key cost nothing; then each doubles the wait, up to the longest, and only
one guess at a time is let through. A success, or `FORGET_S` without a guess, clears the key.

Invariants:
1. At most `keys_max` keys are kept; the one longest untouched goes first.
2. What is let through counts before its outcome is known, once a key has no free failures left, so
   guesses sent all at once gain nothing.
"""

from collections import OrderedDict
from dataclasses import dataclass

WAIT_S = 1.0
FORGET_S = 900.0
KEYS_MAX = 10_000
_DOUBLINGS_MAX = 16


@dataclass(slots=True)
class _Failures:
    count: int
    last_s: float
    until_s: float


class Backoff:
    """Failures by key. `now_s` is on one clock that never steps back.

    `free`: how many cost nothing. `wait_most_s`: the longest wait.
    """

    def __init__(self, free: int, wait_most_s: float, keys_max: int = KEYS_MAX) -> None:
        self._free = free
        self._wait_most_s = wait_most_s
        self._keys_max = keys_max
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def wait_s(self, key: str, now_s: float) -> float:
        """Seconds to wait; 0.0 if a guess may be made now."""
        failures = self._failures.get(key)
        if failures is None or failures.count < self._free or self._over(failures, now_s):
            return 0.0
        return max(failures.until_s - now_s, 0.0)

    def begin(self, key: str, now_s: float) -> None:
        """A guess is let through."""
        failures = self._failures.get(key)
        if failures is not None and self._over(failures, now_s):
            del self._failures[key]
        elif failures is not None and failures.count >= self._free:
            self._touch(key, failures, now_s)

    def failed(self, key: str, now_s: float) -> None:
        failures = self._failures.get(key)
        if failures is None or self._over(failures, now_s):
            failures = _Failures(0, now_s, now_s)
        failures.count += 1
        self._touch(key, failures, now_s)
        if len(self._failures) > self._keys_max:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        self._failures.pop(key, None)

    def __len__(self) -> int:
        return len(self._failures)

    def _over(self, failures: _Failures, now_s: float) -> bool:
        return now_s - failures.last_s >= FORGET_S

    def _touch(self, key: str, failures: _Failures, now_s: float) -> None:
        doublings = min(failures.count - self._free, _DOUBLINGS_MAX)
        wait_s = 0.0 if doublings < 0 else min(WAIT_S * 2**doublings, self._wait_most_s)
        failures.last_s = now_s
        failures.until_s = now_s + wait_s
        self._failures[key] = failures
        self._failures.move_to_end(key)
