# SPDX-License-Identifier: Apache-2.0
"""What the key server counts, for Prometheus: what was given out, and what was refused and why."""

from collections import Counter
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from transom.errors import TransomError, catalogued


class KeyFigures(Collector):
    """Counts of one process. Register it: `registry.register(figures)`."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def given(self, purpose: str) -> None:
        self._counts[purpose, "given"] += 1

    def refused(self, purpose: str, error: TransomError) -> None:
        self._counts[purpose, catalogued(type(error)).code] += 1

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "transom_keys_requests",
            "Signed requests of parties. `outcome`: given, or the code of the refusal.",
            labels=["purpose", "outcome"],
        )
        for (purpose, outcome), count in sorted(self._counts.items()):
            requests.add_metric([purpose, outcome], count)
        return [requests]
