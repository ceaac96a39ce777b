# SPDX-License-Identifier: Apache-2.0
"""A whole Transom under load of every kind, whose processes are killed and suspended by seed.

The same strikes as in `integration/test_kills`, which says what is checked; here hundreds of them,
at moments, on roles and for times that the seed draws.
"""

import random
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from proof.outcome import Outcome
from support.fire import ROLES, Strikes, complaints
from support.leftovers import Marked
from support.whole_fire import NEEDS, WholeFire

BACK_MEDIAN_S = 1.5
LONG_PAUSE_S = 23.0  # a role that is silent for 20 s is killed
Strike = Callable[[Strikes], None]


def kills_of(role: str) -> Callable[[int, int], Outcome]:
    def campaign(seed: int, rounds: int) -> Outcome:
        limit_s = BACK_MEDIAN_S if role in ("api", "worker") else None
        return _campaign(seed, rounds, lambda strikes: strikes.kill(role), limit_s)

    return campaign


def kills_of_any(seed: int, rounds: int) -> Outcome:
    """One, or several at once."""

    def strike(strikes: Strikes) -> None:
        victims = strikes.draw.sample(ROLES[:3], strikes.draw.choice([1, 2, 2, 3]))
        strikes.kill_all(victims)

    return _campaign(seed, rounds, strike)


def kills_of_workers(seed: int, rounds: int) -> Outcome:
    """Three behind one port; the first, which writes for all, as often as both others together."""

    def strike(strikes: Strikes) -> None:
        victims = strikes.draw.choice([["api"], ["api-2"], ["api-3"], ["api", "api-2"]])
        strikes.kill_all(victims)

    return _campaign(seed, rounds, strike, BACK_MEDIAN_S, workers=3)


def kills_of_owners(seed: int, rounds: int) -> Outcome:
    """Three files, each with an owner among three workers, and what is moved between files."""

    def strike(strikes: Strikes) -> None:
        victims = strikes.draw.choice([["api"], ["api-2"], ["api-3"], ["worker"], ["api", "api-2"]])
        strikes.kill_all(victims)

    return _campaign(seed, rounds, strike, 2 * BACK_MEDIAN_S, workers=3, shards=3)


def pauses_of_workers(seed: int, rounds: int) -> Outcome:
    left = iter([LONG_PAUSE_S])

    def strike(strikes: Strikes) -> None:
        role = strikes.draw.choice(["api", "api-2"])
        strikes.pause(role, next(left, 0) or strikes.draw.choice([0.05, 0.5, 3.5, 5.0]))

    return _campaign(seed, rounds, strike, workers=3)


def pauses_of(role: str) -> Callable[[int, int], Outcome]:
    def campaign(seed: int, rounds: int) -> Outcome:
        left = iter([LONG_PAUSE_S])  # one of them outlasts the supervisor's patience

        def strike(strikes: Strikes) -> None:
            strikes.pause(role, next(left, 0) or strikes.draw.choice([0.05, 0.5, 3.5, 5.0]))

        return _campaign(seed, rounds, strike)

    return campaign


def _campaign(
    seed: int,
    rounds: int,
    strike: Strike,
    limit_s: float | None = None,
    *,
    workers: int = 1,
    shards: int = 1,
) -> Outcome:
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="transom-proof-") as folder:
        stack = Marked(Path(folder) / "data")
        stack.environment |= NEEDS
        stack.environment["TRANSOM_API__WORKERS"] = str(workers)
        stack.environment["TRANSOM_QUEUE__SHARDS"] = str(shards)
        try:
            with closing(WholeFire(stack.start(), seed)) as fire:
                strikes = Strikes(fire.light(), draw)
                faults = _strike(strikes, rounds, strike)
                faults += fire.douse()
            faults += stack.left() + complaints(stack.data)
        finally:
            stack.stop()
    if limit_s is not None and strikes.median_s() > limit_s:
        faults.append(f"back after {strikes.median_s():.2f} s in the median")
    figures = {
        "back_median_s": round(strikes.median_s(), 2),
        "back_worst_s": round(max(strikes.back_s), 2),
        **fire.told(),
    }
    return Outcome(len(strikes.back_s), faults, figures)


def _strike(strikes: Strikes, rounds: int, strike: Strike) -> list[str]:
    for number in range(rounds):
        time.sleep(strikes.draw.random() * 0.3)
        try:
            strike(strikes)
            strikes.fire.goes_on()
        except AssertionError as error:
            return [f"strike {number}: {error}"]
    return []
