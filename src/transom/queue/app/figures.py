# SPDX-License-Identifier: Apache-2.0
"""What the queue counts, for Prometheus.

Counters are of this process, and added up where there are several. Depths and ages are gauges of
the one process that looks at all queues (see `queue.bus.overview`); the others show none.

Invariants:
1. Labels are bounded: of queues only the `most` deepest have figures of their own.
2. Counting is a few dictionary steps a write, and never fails it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from transom.queue.store.overview import Seen
from transom.queue.store.verbs.claims import Reject, Take
from transom.queue.store.verbs.letters import Redrive
from transom.queue.store.verbs.many_claims import TakeMany
from transom.queue.store.verbs.messages import Delete, DeleteAnyway, Pop, Post

OPERATIONS = (
    "posted",
    "claimed",
    "deleted",
    "popped",
    "rejected",
    "buried",
    "redriven",
    "expired",
)
STATES = ("free", "claimed", "delayed")


class QueueFigures(Collector):
    """Of one process. Register it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: Counter[str] = Counter()
        self._seen: Sequence[Seen] | None = None
        self._now_ms = 0
        self.waiters: Callable[[], int] = int
        self.waiting_writes: Callable[[], int] = int

    def wrote(self, verb: Any, answer: Any) -> None:
        """A verb was carried out for a caller of this process."""
        kind = type(verb)
        if kind is Post:
            self._counts["posted"] += len(answer.ids) - len(answer.duplicates)
        elif kind is Take:
            if answer[0] is not None:
                self._counts["claimed"] += len(answer[0].messages)
        elif kind is TakeMany:
            self._counts["claimed"] += sum(len(part.messages) for _, part in answer[0])
        elif kind is Delete or kind is DeleteAnyway:
            self._counts["deleted"] += answer
        elif kind is Pop:
            self._counts["popped"] += len(answer)
        elif kind is Reject:
            self._counts["rejected"] += answer.number
        elif kind is Redrive:
            self._counts["redriven"] += answer.moved

    def buried(self, number: int) -> None:
        """A claim, whoever's, moved so many to the dead letters, where this process writes."""
        self._counts["buried"] += number

    def expired(self, number: int) -> None:
        self._counts["expired"] += number

    def saw(self, seen: Sequence[Seen] | None, now_ms: int) -> None:
        """All queues as they were then; None: another process looks now."""
        self._seen, self._now_ms = seen, now_ms

    def collect(self) -> Iterable[Metric]:
        operations = CounterMetricFamily(
            "transom_queue_messages",
            "Messages posted, claimed, deleted by their ids, popped, rejected, buried as claimed "
            "too often, redriven, expired.",
            labels=["operation"],
        )
        for name in OPERATIONS:
            operations.add_metric([name], self._counts[name])
        yield operations
        yield GaugeMetricFamily(
            "transom_queue_waiters",
            "Requests that wait for messages.",
            value=self.waiters(),
        )
        yield GaugeMetricFamily(
            "transom_queue_waiting_writes",
            "Writes that wait for their project's turn.",
            value=self.waiting_writes(),
        )
        if self._seen is not None:
            yield from self._of_all(self._seen)
            yield from self._of_each(self._seen)

    def _of_all(self, seen: Sequence[Seen]) -> Iterable[Metric]:
        yield GaugeMetricFamily("transom_queue_queues", "Queues.", value=len(seen))
        depth = GaugeMetricFamily(
            "transom_queue_depth", "Messages in all queues, by state.", labels=["state"]
        )
        for state in STATES:
            depth.add_metric([state], sum(getattr(one, state) for one in seen))
        yield depth
        yield GaugeMetricFamily(
            "transom_queue_body_bytes",
            "Bytes of the bodies of all messages.",
            value=sum(one.body_bytes for one in seen),
        )
        yield GaugeMetricFamily(
            "transom_queue_oldest_age_seconds",
            "Age of the oldest message of all queues.",
            value=max((self._age_s(one) for one in seen), default=0.0),
        )

    def _of_each(self, seen: Sequence[Seen]) -> Iterable[Metric]:
        labels = ["project_id", "queue"]
        depth = GaugeMetricFamily(
            "transom_queue_deepest_depth",
            "Messages in each of the deepest queues, by state.",
            labels=[*labels, "state"],
        )
        age = GaugeMetricFamily(
            "transom_queue_deepest_oldest_age_seconds",
            "Age of the oldest message of each of the deepest queues.",
            labels=labels,
        )
        deepest = sorted(seen, key=lambda one: -(one.free + one.claimed + one.delayed))
        for one in deepest[: self._most]:
            if not one.free + one.claimed + one.delayed:
                break
            where = [one.place.project_id, one.place.name]
            for state in STATES:
                depth.add_metric([*where, state], getattr(one, state))
            age.add_metric(where, self._age_s(one))
        return [depth, age]

    def _age_s(self, one: Seen) -> float:
        return 0.0 if one.oldest_ms is None else max(0, self._now_ms - one.oldest_ms) / 1000
