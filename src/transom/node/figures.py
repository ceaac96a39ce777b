# SPDX-License-Identifier: Apache-2.0
"""What a process does on its bus, for Prometheus: the counters of its transport, shown.

Invariant: reading them changes nothing, and counting knows nothing of this.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from transom.messaging.counters import BOUNDS_S, Counters, Durations, Sent, Served


class BusMetrics(Collector):
    """Of one transport. Register it: `registry.register(BusMetrics(transport.counters))`."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        counters = self._counters
        yield from _sent(counters.sent)
        yield from _served(counters.served)
        yield _outcomes(
            "transom_bus_notifications_heard",
            "Notifications that came, by what became of them.",
            {topic: heard.outcomes for topic, heard in counters.heard.items()},
        )
        links = CounterMetricFamily(
            "transom_bus_link_events", "What befell the links of the bus.", labels=["event"]
        )
        for event, count in counters.links.items():
            links.add_metric([event], count)
        yield links
        yield CounterMetricFamily(
            "transom_bus_late_replies",
            "Answers that came when nobody waited for them any more.",
            value=counters.late_replies,
        )
        refused = CounterMetricFamily(
            "transom_bus_refused",
            "Messages that security dropped on arrival, by reason.",
            labels=["reason"],
        )
        for reason, count in list(counters.refused.items()):
            refused.add_metric([reason], count)
        yield refused
        yield from _replicated(counters)


def _sent(sent: Mapping[str, Sent]) -> Iterator[Metric]:
    yield _outcomes(
        "transom_bus_calls",
        "Calls that ended, by how.",
        {topic: counts.outcomes for topic, counts in sent.items()},
    )
    yield _durations(
        "transom_bus_call_duration_seconds",
        "From sending a call to its end.",
        {topic: counts.took for topic, counts in sent.items()},
    )
    yield _in_flight("transom_bus_calls_in_flight", "Calls that wait for their answer.", sent)
    yield _outcomes(
        "transom_bus_casts",
        "Casts and notifications sent, by whether the bus took them.",
        {topic: counts.casts for topic, counts in sent.items()},
    )


def _served(served: Mapping[str, Served]) -> Iterator[Metric]:
    yield _outcomes(
        "transom_bus_requests",
        "Requests that came, by what became of them.",
        {topic: counts.outcomes for topic, counts in served.items()},
    )
    yield _durations(
        "transom_bus_request_duration_seconds",
        "From beginning a request to its answer.",
        {topic: counts.took for topic, counts in served.items()},
    )
    yield _in_flight("transom_bus_requests_in_flight", "Requests being carried out.", served)


def _replicated(counters: Counters) -> Iterator[Metric]:
    gaps = CounterMetricFamily(
        "transom_feed_gaps",
        "Times that the bus may have lost changes on the way to a replica.",
        labels=["source"],
    )
    stale = CounterMetricFamily(
        "transom_feed_stale", "Times that a replica became stale.", labels=["source"]
    )
    for source, counts in counters.replicated.items():
        gaps.add_metric([source], counts.gaps)
        stale.add_metric([source], counts.stale)
    caught_up = _outcomes(
        "transom_feed_resynchronisations",
        "Pages that replicas asked for to catch up, by how.",
        {source: counts.caught_up for source, counts in counters.replicated.items()},
        labels=("source", "by"),
    )
    yield from (gaps, stale, caught_up)


def _outcomes(
    name: str,
    meaning: str,
    counted: Mapping[str, Mapping[str, int]],
    labels: tuple[str, str] = ("topic", "outcome"),
) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=labels)
    for topic, outcomes in counted.items():
        for outcome, count in outcomes.items():
            family.add_metric([topic, outcome], count)
    return family


def _in_flight(name: str, meaning: str, counted: Mapping[str, Sent | Served]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=["topic"])
    for topic, counts in counted.items():
        family.add_metric([topic], counts.in_flight)
    return family


def _durations(name: str, meaning: str, counted: Mapping[str, Durations]) -> Metric:
    family = HistogramMetricFamily(name, meaning, labels=["topic"])
    for topic, took in counted.items():
        if not took.count:
            continue
        below, buckets = 0, []
        for bound_s, count in zip((*BOUNDS_S, float("inf")), took.counts, strict=True):
            below += count
            buckets.append((f"{bound_s:g}" if bound_s != float("inf") else "+Inf", below))
        family.add_metric([topic], buckets, sum_value=took.sum_s)
    return family
