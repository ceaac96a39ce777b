# SPDX-License-Identifier: Apache-2.0
"""What a transport has done, topic by topic: plain numbers that whoever watches may read.

Invariants:
1. At most `TOPICS_MAX` topics are told apart; what comes later is counted under `OTHERS`.
2. A number never goes back, but for `in_flight`.

Nothing here knows how the numbers are shown (see `node.figures`).
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

TOPICS_MAX = 500
OTHERS = "(others)"
BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
T = TypeVar("T")


class Durations:
    """How long things took: `counts[i]` of them at most `BOUNDS_S[i]` s, the last one longer."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, took_s: float) -> None:
        self.counts[bisect_left(BOUNDS_S, took_s)] += 1
        self.sum_s += took_s

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile_s(self, share: float) -> float | None:
        """The bound under which `share` (0 to 1) of them are; None where there are none."""
        below, wanted = 0, share * self.count
        for bound_s, count in zip(BOUNDS_S, self.counts, strict=False):
            below += count
            if below and below >= wanted:
                return bound_s
        return BOUNDS_S[-1] if self.count else None


@dataclass(slots=True)
class Sent:
    """What was sent to a topic. `outcomes`: answered, failed, timeout, undeliverable, not-taken;
    `casts`: by taken, not-taken.
    """

    in_flight: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    casts: dict[str, int] = field(default_factory=dict)
    took: Durations = field(default_factory=Durations)

    def ended(self, outcome: str, took_s: float) -> None:
        """A call."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self.took.add(took_s)

    def cast(self, outcome: str) -> None:
        """A cast, or a notification."""
        self.casts[outcome] = self.casts.get(outcome, 0) + 1


@dataclass(slots=True)
class Served:
    """What came to us at a topic. `outcomes` of requests: answered, failed, duplicate, late,
    unreadable, misdirected; of notifications: acknowledged, requeued, duplicate, unreadable.
    """

    in_flight: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    took: Durations = field(default_factory=Durations)

    def became(self, outcome: str) -> None:
        """One of them."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def ended(self, outcome: str, took_s: float) -> None:
        """A request that was carried out."""
        self.became(outcome)
        self.took.add(took_s)


@dataclass(slots=True)
class Replicated:
    """What befell the replicas of a source. `gaps`: of the link; `caught_up`: pages asked for,
    by since, snapshot.
    """

    gaps: int = 0
    stale: int = 0
    caught_up: dict[str, int] = field(default_factory=dict)

    def asked(self, by: str) -> None:
        """To catch up."""
        self.caught_up[by] = self.caught_up.get(by, 0) + 1


class Topics(dict[str, T], Generic[T]):
    """Numbers by topic; a topic's are made when it is first looked up."""

    def __init__(self, make: Callable[[], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, topic: str) -> T:
        if len(self) >= TOPICS_MAX and topic != OTHERS:
            return self[OTHERS]
        self[topic] = made = self._make()
        return made


class Counters:
    """Of one transport. `links`: connected, disconnected, gap; `late_replies`: for nobody.

    `refused`: messages that security dropped on arrival, by reason.
    """

    def __init__(self) -> None:
        self.sent = Topics(Sent)
        self.served = Topics(Served)
        self.heard = Topics(Served)
        self.replicated = Topics(Replicated)
        self.links = {"connected": 0, "disconnected": 0, "gap": 0}
        self.late_replies = 0
        self.refused: dict[str, int] = {}
