# SPDX-License-Identifier: Apache-2.0
"""How long who guessed wrong must wait before the next guess.

The first `FREE` failures of a key cost nothing; then each doubles the wait, from `WAIT_S` to
`WAIT_MOST_S`, and only one guess at a time is let through. A success, or `FORGET_S` without a
guess, clears the key.

Invariants:
1. At most `KEYS_MAX` keys are kept; the one longest untouched goes first.
2. What is let through counts before its outcome is known, once a key has no free failures left, so
   guesses sent all at once gain nothing.
"""

from collections import OrderedDict
from dataclasses import dataclass

FREE = 5
WAIT_S = 1.0
WAIT_MOST_S = 60.0
FORGET_S = 900.0
KEYS_MAX = 10_000
_DOUBLINGS_MAX = 16


@dataclass(slots=True)
class _Failures:
    count: int
    last_s: float
    until_s: float


class Backoff:
    """Failures by key. `now_s` is on one clock that never steps back."""

    def __init__(self, keys_max: int = KEYS_MAX) -> None:
        self._keys_max = keys_max
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def admit(self, key: str, now_s: float) -> float:
        """Seconds to wait; 0.0 lets the guess through."""
        failures = self._failures.get(key)
        if failures is None or failures.count < FREE:
            return 0.0
        if now_s - failures.last_s >= FORGET_S:
            del self._failures[key]
            return 0.0
        if now_s < failures.until_s:
            return failures.until_s - now_s
        self._touch(key, failures, now_s)
        return 0.0

    def failed(self, key: str, now_s: float) -> None:
        failures = self._failures.get(key)
        if failures is None or now_s - failures.last_s >= FORGET_S:
            failures = _Failures(0, now_s, now_s)
        failures.count += 1
        self._touch(key, failures, now_s)
        if len(self._failures) > self._keys_max:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        self._failures.pop(key, None)

    def __len__(self) -> int:
        return len(self._failures)

    def _touch(self, key: str, failures: _Failures, now_s: float) -> None:
        doublings = min(failures.count - FREE, _DOUBLINGS_MAX)
        wait_s = 0.0 if doublings < 0 else min(WAIT_S * 2**doublings, WAIT_MOST_S)
        failures.last_s = now_s
        failures.until_s = now_s + wait_s
        self._failures[key] = failures
        self._failures.move_to_end(key)
