# SPDX-License-Identifier: Apache-2.0
"""Calls over a bad bus, many seeds; what is checked says `support/calls_world`."""

from collections import Counter

from proof.outcome import Outcome
from support.calls_world import episode


def calls(seed: int, seeds: int) -> Outcome:
    faults: list[str] = []
    outcomes: Counter[str] = Counter()
    for one in range(seed, seed + seeds):
        try:
            outcomes += episode(one, faulty=True).outcomes
        except AssertionError as error:
            faults.append(f"seed {one}: {error}")
    return Outcome(seeds, faults, {"calls": outcomes.total(), "answered": outcomes["answered"]})
