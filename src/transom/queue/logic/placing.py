# SPDX-License-Identifier: Apache-2.0
"""Which database a new queue goes to: weighted rendezvous hashing.

Each candidate draws a score from the queue's name and its own, and the highest one wins. A
candidate of twice the weight gets twice as many queues, and one that comes or goes moves only what
it gets or gave. Where a queue went is remembered, so nothing that exists ever moves.

Source: Schindelhauer, Schomaker, "Weighted distributed hash tables", 2005 (logarithmic method).
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

MOST_WEIGHT = (1 << 32) - 1
_DRAWS = 1 << 53
"""As many as a float tells apart."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A database. `flavor`: "" takes queues that ask for none; `weight` 0 takes no new ones."""

    store: str
    weight: int
    flavor: str = ""


def choose(
    project_id: str, name: str, flavor: str, candidates: Iterable[Candidate]
) -> Candidate | None:
    """The one for this queue among those of the flavor; None if none takes any."""
    admitted = [one for one in candidates if one.flavor == flavor and one.weight > 0]
    key = f"{len(project_id)}.{project_id}.{name}".encode()
    return max(admitted, key=lambda one: (_score(key, one), one.store), default=None)


def _score(key: bytes, candidate: Candidate) -> float:
    digest = hashlib.blake2b(key, key=_short(candidate.store), digest_size=8).digest()
    drawn = ((int.from_bytes(digest, "big") >> 11) + 0.5) / _DRAWS
    return -candidate.weight / math.log(drawn)


def _short(store: str) -> bytes:
    return hashlib.sha256(store.encode()).digest()
