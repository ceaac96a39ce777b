# SPDX-License-Identifier: Apache-2.0
"""The queue on each of its engines, many seeds: its answers beside a plain model's, and races of
workers; see `support/queue_life` and `support/queue_race`."""

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from proof.outcome import Outcome
from support.postgres import on_engine
from support.queue_life import live
from support.queue_race import MESSAGES, race

STEPS = 600
Campaign = Callable[[int, int], Outcome]
Episode = Callable[[Path, int], Counter[str]]


def lives_on(engine: str) -> Campaign:
    """A round is a life of `STEPS` steps, after each of which all queues are compared."""

    def life(folder: Path, seed: int) -> Counter[str]:
        asyncio.run(live(folder, random.Random(seed), STEPS))
        return Counter(steps=STEPS)

    return lambda seed, rounds: _campaign(engine, seed, rounds, life)


def races_on(engine: str) -> Campaign:
    """A round is a race of eight workers for `MESSAGES` messages."""

    def one(folder: Path, seed: int) -> Counter[str]:
        run = asyncio.run(race(folder, seed))
        return Counter(messages=MESSAGES, claims=run.claims, late=run.late, redriven=run.moved)

    return lambda seed, rounds: _campaign(engine, seed, rounds, one)


def _campaign(engine: str, seed: int, rounds: int, episode: Episode) -> Outcome:
    outcome, figures = Outcome(rounds), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="transom-proof-") as folder, on_engine(engine):
        for one in range(seed, seed + rounds):
            place = Path(folder) / str(one)
            place.mkdir()
            try:
                figures += episode(place, one)
            except (AssertionError, ExceptionGroup) as error:
                outcome.faults.append(f"seed {one}: {said(error)}")
    outcome.figures |= figures
    return outcome


def said(error: BaseException) -> str:
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return "; ".join(map(said, inner)) or repr(error)[:400]
