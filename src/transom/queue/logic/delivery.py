# SPDX-License-Identifier: Apache-2.0
"""The life of a notice at the head of a subscription: (state, what came of a try, now) -> next.

| what came of it                              | what is done                                     |
|----------------------------------------------|--------------------------------------------------|
| 2xx                                          | delivered: the next one                          |
| no connection, no answer, 408, 429, 5xx      | tried again by the policy, `Retry-After` heeded  |
| ... and the policy is used up                | undeliverable: to the dead letters, the next one |
| any other answer, an address that is refused | undeliverable at once: it would not change       |
| its message's ttl ended before               | undeliverable                                    |

Invariants:
1. Only `Delivered` and `Undeliverable` let the next one come, so the order is strict.
2. The next try is never before the policy's pause, and at most `RETRY_AFTER_MOST_S` after it.
"""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum

from transom.queue.logic.retries import RetryPolicy

RETRY_AFTER_MOST_S = 3600
ERROR_CHARACTERS_MAX = 300
_AGAIN = frozenset({408, 429})


class Result(Enum):
    """What a try came to."""

    DELIVERED = "delivered"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`error`: for people, without secrets; `retry_after_s`: what the subscriber asked for."""

    result: Result
    error: str = ""
    retry_after_s: int = 0


DELIVERED = Outcome(Result.DELIVERED)


def failed(error: str, retry_after_s: int = 0) -> Outcome:
    """It may go well another time."""
    return Outcome(Result.FAILED, error[:ERROR_CHARACTERS_MAX], retry_after_s)


def refused(error: str) -> Outcome:
    """It would be the same another time."""
    return Outcome(Result.REFUSED, error[:ERROR_CHARACTERS_MAX])


def answered(status: int, retry_after: str, now_ms: int) -> Outcome:
    """What an HTTP answer means. `retry_after`: that header, "" if there is none."""
    if 200 <= status < 300:
        return DELIVERED
    if status in _AGAIN or status >= 500:
        return failed(f"The subscriber answered {status}.", _seconds(retry_after, now_ms))
    if 300 <= status < 400:
        return refused(f"The subscriber answered {status}; redirects are not followed.")
    return refused(f"The subscriber answered {status}.")


def _seconds(retry_after: str, now_ms: int) -> int:
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return min(int(text[:9]), RETRY_AFTER_MOST_S)
    try:
        moment_ms = parsedate_to_datetime(text).timestamp() * 1000
    except (ValueError, OverflowError):
        return 0
    return int(min(max(0.0, (moment_ms - now_ms) / 1000), RETRY_AFTER_MOST_S))


@dataclass(frozen=True, slots=True)
class Again:
    """The next try of the same one: not before `at_ms`; `tries` it has had."""

    tries: int
    at_ms: int
    error: str


@dataclass(frozen=True, slots=True)
class Undeliverable:
    error: str


@dataclass(frozen=True, slots=True)
class Delivered:
    pass


Step = Again | Undeliverable | Delivered


def next_step(policy: RetryPolicy, tries: int, outcome: Outcome, now_ms: int) -> Step:
    """`tries`: those before this one."""
    if outcome.result is Result.DELIVERED:
        return Delivered()
    if outcome.result is Result.REFUSED:
        return Undeliverable(outcome.error)
    pause_s = policy.pause_s(tries + 1)
    if pause_s is None:
        return Undeliverable(f"{outcome.error} It was tried {tries + 1} times.")
    pause_s = max(pause_s, outcome.retry_after_s)
    return Again(tries + 1, now_ms + pause_s * 1000, outcome.error)


def ended(expires_ms: int, now_ms: int, last_error: str) -> Undeliverable | None:
    """What becomes of one whose message's life has ended before it could be delivered."""
    if now_ms < expires_ms:
        return None
    error = "The message's ttl ended before it could be delivered."
    return Undeliverable(f"{error} {last_error}".strip()[:ERROR_CHARACTERS_MAX])
