# SPDX-License-Identifier: Apache-2.0
"""What doors count, for Prometheus.

Counting is a few list and dictionary steps on a meter that was looked up when the route was made;
the client library sees the numbers only when it is asked for them.
Measured: 0.4 microseconds a request, 5.1 with the library's own counter, gauge and histogram
(bench/http/pieces.py).

Invariant: a meter is used by one event loop only, so no lock guards it.
"""

from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


class RequestMeter:
    """Counts of one (mount, method)."""

    __slots__ = ("buckets", "in_flight", "statuses", "total_s")

    def __init__(self) -> None:
        self.in_flight = 0
        self.statuses: dict[int, int] = {}
        self.buckets = [0] * (len(BUCKETS_S) + 1)
        self.total_s = 0.0

    def began(self) -> None:
        self.in_flight += 1

    def ended(self, status: int, duration_s: float) -> None:
        """`status` 0: the caller went away and got no answer."""
        self.in_flight -= 1
        statuses = self.statuses
        statuses[status] = statuses.get(status, 0) + 1
        self.buckets[bisect_left(BUCKETS_S, duration_s)] += 1
        self.total_s += duration_s


class RequestMetrics(Collector):
    """The meters of one process's doors. Register it: `registry.register(metrics)`."""

    def __init__(self) -> None:
        self._meters: dict[tuple[str, str], RequestMeter] = {}

    def meter(self, mount: str, method: str) -> RequestMeter:
        return self._meters.setdefault((mount, method), RequestMeter())

    def collect(self) -> Iterable[Metric]:
        labels = ["mount", "method"]
        requests = CounterMetricFamily(
            "transom_http_requests", "Requests answered.", labels=[*labels, "status"]
        )
        in_flight = GaugeMetricFamily(
            "transom_http_requests_in_flight", "Requests being carried out.", labels=labels
        )
        duration = HistogramMetricFamily(
            "transom_http_request_duration_seconds",
            "From the end of the headers to the answer.",
            labels=labels,
        )
        for (mount, method), meter in self._meters.items():
            for status, count in meter.statuses.items():
                requests.add_metric([mount, method, str(status)], count)
            in_flight.add_metric([mount, method], meter.in_flight)
            duration.add_metric([mount, method], _cumulative(meter.buckets), meter.total_s)
        return [requests, in_flight, duration]


def exposition(registry: CollectorRegistry) -> bytes:
    """Everything registered, as text in `TEXT_FORMAT`."""
    return generate_latest(registry)


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    bounds = [*(str(bound) for bound in BUCKETS_S), "+Inf"]
    total = 0
    rows: list[tuple[str, float]] = []
    for bound, count in zip(bounds, buckets, strict=True):
        total += count
        rows.append((bound, total))
    return rows
