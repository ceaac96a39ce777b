# SPDX-License-Identifier: Apache-2.0
"""Feeds and events over a bad bus, for long; `support/feed_world`, `durable_world` and
`event_world` say what is checked."""

import logging
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from proof.outcome import Outcome
from support import durable_world, event_world
from support.feed_world import Divergence, campaign
from virtual import run_virtual

Episode = Callable[[Path, int], Awaitable[Any]]


def feed(seed: int, steps: int) -> Outcome:
    """Ends at the first divergence, naming the episode's seed, with which `campaign(1, seed)` shows
    it again.
    """
    try:
        episodes, taken = campaign(steps, seed)
    except Divergence as divergence:
        return Outcome(steps, [" ".join([str(divergence), *divergence.__notes__])])
    return Outcome(taken, figures={"episodes": episodes})


def durable_feed(seed: int, seeds: int) -> Outcome:
    """The real feed, publishers and replicas, killed between any two steps."""
    outcome, worlds = _episodes(durable_world.episode, seed, seeds)
    outcome.figures["change sets"] = sum(len(world.rows_at) - 1 for world in worlds)
    return outcome


def events(seed: int, seeds: int) -> Outcome:
    """Those who keep events and those who listen, killed between any two steps."""
    outcome, worlds = _episodes(event_world.episode, seed, seeds)
    pools = [(world.seen[pool], world.lost[pool]) for world in worlds for pool in world.seen]
    outcome.figures["events"] = sum(len(world.appended) for world in worlds)
    outcome.figures["given"] = sum(sum(seen.values()) for seen, _ in pools)
    outcome.figures["told lost"] = sum(sum(lost.values()) for _, lost in pools)
    return outcome


def _episodes(episode: Episode, seed: int, seeds: int) -> tuple[Outcome, list[Any]]:
    outcome, worlds = Outcome(seeds), []
    logging.getLogger("transom").addHandler(logging.NullHandler())  # deaths are what it is about
    with tempfile.TemporaryDirectory(prefix="transom-proof-") as folder:
        for one in range(seed, seed + seeds):
            place = Path(folder) / str(one)
            place.mkdir()
            try:
                worlds.append(run_virtual(partial(episode, place, one), one))
            except (AssertionError, ExceptionGroup) as error:
                outcome.faults.append(f"seed {one}: {_said(error)}")
    outcome.figures["deaths"] = sum(world.deaths for world in worlds)
    return outcome, worlds


def _said(error: BaseException) -> str:
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return "; ".join(map(_said, inner)) or repr(error)
