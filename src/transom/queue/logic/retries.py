# SPDX-License-Identifier: Apache-2.0
"""How often, and after which pauses, a notice is tried again: Zaqar's retry policies.

Four phases in a row: at once, after the least pause, after growing pauses, after the longest one.
The growing pauses go from the least towards the longest in as many steps as there are whole
`STEP_S` between them, by one of four functions (geometric and exponential are the same curve).

Invariants:
1. A policy has an end, and every pause of it lies between 0 and the longest one.
2. The pause before a try follows from the number of the tries before alone.

Source: Zaqar API v2, "Create subscription", `_retry_policy`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transom.queue.model import InvalidAttribute

KEY = "_retry_policy"
STEP_S = 5
LEAST_SPAN_S = 10
"""Between the least and the longest pause."""
MOST_S = 86_400
MOST_TRIES = 10_000
AT_ONCE_MOST, PAUSE_S = 20, 1
"""After so many tries without a pause, there is one: who is down is not flooded."""
LINEAR, ARITHMETIC, GEOMETRIC, EXPONENTIAL = "linear", "arithmetic", "geometric", "exponential"
FUNCTIONS = (LINEAR, ARITHMETIC, GEOMETRIC, EXPONENTIAL)
_NUMBERS = {
    "retries_with_no_delay": MOST_TRIES,
    "minimum_delay_retries": MOST_TRIES,
    "minimum_delay": MOST_S,
    "maximum_delay": MOST_S,
    "maximum_delay_retries": MOST_TRIES,
}
_FUNCTION, _OVERRIDE = "retry_backoff_function", "ignore_subscription_override"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The defaults are Zaqar's."""

    at_once: int = 3
    at_least: int = 3
    least_s: int = 5
    longest_s: int = 30
    at_longest: int = 3
    function: str = LINEAR

    @property
    def growing(self) -> int:
        """How many tries the third phase has."""
        return max(0, self.longest_s - self.least_s) // STEP_S

    def pause_s(self, tries: int) -> int | None:
        """How long to wait after so many tries, of which each failed; None: it is used up."""
        retry = tries - 1
        for phase, number in (
            (lambda at: 0 if at < AT_ONCE_MOST else PAUSE_S, self.at_once),
            (lambda at: self.least_s, self.at_least),
            (self._grown_s, self.growing),
            (lambda at: self.longest_s, self.at_longest),
        ):
            if retry < number:
                return phase(retry)
            retry -= number
        return None

    def _grown_s(self, step: int) -> int:
        steps, span_s = self.growing, self.longest_s - self.least_s
        if self.function == LINEAR or steps < 2:
            return self.least_s + step * STEP_S
        if self.function == ARITHMETIC:
            return self.least_s + span_s * step * (step + 1) // (steps * (steps - 1))
        least_s = max(1, self.least_s)
        return int(least_s * (self.longest_s / least_s) ** (step / (steps - 1)))


DEFAULT = RetryPolicy()


def check_policy(value: Any) -> None:
    """Raises: InvalidAttribute for what is no retry policy. None and an empty one are none."""
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise InvalidAttribute(f"{KEY} is an object.")
    unknown = sorted(set(value) - set(_NUMBERS) - {_FUNCTION, _OVERRIDE})
    if unknown:
        raise InvalidAttribute(f"{KEY} has no {unknown[0]!r}.")
    for name, most in _NUMBERS.items():
        number = value.get(name)
        if number is not None and (type(number) is not int or not 0 <= number <= most):
            raise InvalidAttribute(f"{name} of {KEY} is a whole number from 0 to {most}.")
    if value.get(_FUNCTION) not in (None, *FUNCTIONS):
        raise InvalidAttribute(f"{_FUNCTION} of {KEY} is one of {', '.join(FUNCTIONS)}.")
    if not isinstance(value.get(_OVERRIDE), bool | None):
        raise InvalidAttribute(f"{_OVERRIDE} of {KEY} is true or false.")
    policy = _read(value)
    if policy.longest_s - policy.least_s < LEAST_SPAN_S:
        raise InvalidAttribute(
            f"maximum_delay of {KEY} is {policy.longest_s}; "
            f"it has to be at least {LEAST_SPAN_S} above minimum_delay, {policy.least_s}."
        )


def policy_of(of_subscription: Any, of_queue: Any) -> RetryPolicy:
    """The one that holds, of two that were checked when they were stored.

    The subscription's own, unless there is none, or either says that the queue's overrides it.
    """
    own, queue = of_subscription or {}, of_queue or {}
    overridden = own.get(_OVERRIDE) or queue.get(_OVERRIDE)
    return _read(queue if overridden else own or queue)


def _read(value: Mapping[str, Any]) -> RetryPolicy:
    def number(name: str, default: int) -> int:
        given = value.get(name)
        return default if given is None else int(given)

    return RetryPolicy(
        number("retries_with_no_delay", DEFAULT.at_once),
        number("minimum_delay_retries", DEFAULT.at_least),
        number("minimum_delay", DEFAULT.least_s),
        number("maximum_delay", DEFAULT.longest_s),
        number("maximum_delay_retries", DEFAULT.at_longest),
        value.get(_FUNCTION) or LINEAR,
    )
