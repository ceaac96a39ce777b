# SPDX-License-Identifier: Apache-2.0
"""What a process says of itself: its databases, its loop, what it uses of the machine."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from transom.runtime.telemetry.watchdog import LoopWatchdog


class HealthMetrics(Collector):
    """`problems`: part -> what keeps it from all of its work, "" if nothing."""

    def __init__(self, problems: Mapping[str, Callable[[], str]], watchdog: LoopWatchdog) -> None:
        self._problems = problems
        self._watchdog = watchdog

    def collect(self) -> Iterable[Metric]:
        healthy = GaugeMetricFamily(
            "transom_part_healthy", "1 if the part can do all of its work.", labels=["part"]
        )
        for part, problem in self._problems.items():
            healthy.add_metric([part], 0.0 if problem() else 1.0)
        stalls = CounterMetricFamily(
            "transom_loop_stalls",
            "Times that the event loop was blocked for a quarter of a second.",
            value=self._watchdog.stalls,
        )
        return [healthy, stalls]


def register(
    registry: CollectorRegistry,
    problems: Mapping[str, Callable[[], str]],
    watchdog: LoopWatchdog,
) -> None:
    """Adds these figures, and the process's own (`transom_process_...`) as Linux tells them."""
    registry.register(HealthMetrics(problems, watchdog))
    ProcessCollector(namespace="transom", registry=registry)
