# SPDX-License-Identifier: Apache-2.0
"""A whole Transom whose data are in PostgreSQL, under load of every kind: roles are cut off from
the server, or killed, by seed.

The same as in `integration/test_cuts`, which says what is checked.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from proof.fire import BACK_MEDIAN_S
from proof.outcome import Outcome
from support.cuts import KINDS, Cuts, on_postgres, startling
from support.fire import Fire, Strikes
from support.leftovers import Marked
from support.ways import Ways
from support.whole_fire import WholeFire

Campaign = Callable[[int, int], Outcome]


def cuts_of(role: str) -> Campaign:
    def campaign(seed: int, rounds: int) -> Outcome:
        with (
            tempfile.TemporaryDirectory(prefix="transom-proof-") as folder,
            on_postgres(Path(folder) / "data", seed) as (stack, ways),
        ):
            return _cut(role, seed, rounds, stack, ways)

    return campaign


def kills_on_postgres(role: str) -> Campaign:
    def campaign(seed: int, rounds: int) -> Outcome:
        with (
            tempfile.TemporaryDirectory(prefix="transom-proof-") as folder,
            on_postgres(Path(folder) / "data", seed) as (stack, _),
        ):
            return _kill(role, seed, rounds, stack)

    return campaign


def _cut(role: str, seed: int, rounds: int, stack: Marked, ways: Ways) -> Outcome:
    with closing(WholeFire(stack, seed)) as fire:
        cuts = Cuts(fire.light(), ways, random.Random(seed))
        kinds: list[str] = []
        while len(kinds) < rounds:
            kinds += cuts.draw.sample(KINDS, len(KINDS))
        left = iter(kinds)
        faults = _rounds(fire, rounds, cuts.draw, lambda: cuts.cut(role, next(left)))
        faults += _doused(fire) + cuts.faults()
    return _outcome(stack, fire, cuts.back_s, faults)


def _kill(role: str, seed: int, rounds: int, stack: Marked) -> Outcome:
    with closing(WholeFire(stack, seed)) as fire:
        strikes = Strikes(fire.light(), random.Random(seed))
        faults = _rounds(fire, rounds, strikes.draw, lambda: strikes.kill(role))
        faults += _doused(fire) + fire.unexcused
    if strikes.median_s() > BACK_MEDIAN_S:
        faults.append(f"back after {strikes.median_s():.2f} s in the median")
    return _outcome(stack, fire, strikes.back_s, faults)


def _rounds(fire: Fire, rounds: int, draw: random.Random, strike: Callable[[], None]) -> list[str]:
    for number in range(rounds):
        time.sleep(draw.random() * 0.3)
        try:
            strike()
            fire.goes_on()
        except AssertionError as error:
            return [f"round {number}: {error}"]
    return []


def _doused(fire: Fire) -> list[str]:
    try:
        return fire.douse()
    except AssertionError as error:  # a round ended in the midst of a cut
        return [f"at the end: {error}"]


def _outcome(stack: Marked, fire: Fire, back_s: Sequence[float], faults: list[str]) -> Outcome:
    figures = {
        "back_median_s": round(statistics.median(back_s or [0.0]), 2),
        "back_worst_s": round(max(back_s, default=0.0), 2),
        **fire.told(),
        "refused": sum(hand.refused for hand in fire.hands),
    }
    return Outcome(len(back_s), faults + stack.left() + startling(stack.data), figures)
