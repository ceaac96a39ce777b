# SPDX-License-Identifier: Apache-2.0
"""Figures of several processes, shown by each as one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from transom.runtime.telemetry.metrics import RequestMetrics, exposition
from transom.runtime.telemetry.shared import (
    CommonCounter,
    SharedRegistry,
    _decode,
    _encode,
    _Said,
)


def worker(folder: Path, name: str, *statuses: int) -> SharedRegistry:
    """A registry of one mount that has answered these."""
    metrics = RequestMetrics()
    meter = metrics.meter("/queue", "POST")
    for status in statuses:
        meter.began()
        meter.ended(status, 0.003)
    registry = SharedRegistry(folder, name)
    registry.register(metrics)
    return registry


def shown(registry: SharedRegistry) -> dict[str, float]:
    lines = exposition(registry).decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def total(registry: SharedRegistry, status: int) -> float:
    name = f'transom_http_requests_total{{method="POST",mount="/queue",status="{status}"}}'
    return shown(registry)[name]


async def test_each_shows_the_sum_of_all(tmp_path: Path) -> None:
    first, second = worker(tmp_path, "api", 201, 201, 503), worker(tmp_path, "api-2", 201)
    for registry in (first, second):
        await registry.start()
    for registry in (first, second):
        assert total(registry, 201) == 3
        assert total(registry, 503) == 1
        figures = shown(registry)
        prefix = "transom_http_request_duration_seconds"
        assert figures[prefix + '_count{method="POST",mount="/queue"}'] == 4
        assert figures[prefix + '_bucket{le="+Inf",method="POST",mount="/queue"}'] == 4
        assert figures[prefix + '_sum{method="POST",mount="/queue"}'] == pytest.approx(0.012)
    for registry in (first, second):
        await registry.stop()


async def test_a_worker_that_is_started_anew_goes_on_from_what_was_shown(tmp_path: Path) -> None:
    first = worker(tmp_path, "api", 201, 201)
    await first.start()
    killed = worker(tmp_path, "api-2", 201)
    await killed.start()
    assert total(first, 201) == 3
    again = worker(tmp_path, "api-2", 201, 404)
    await again.start()
    assert total(first, 201) == total(again, 201) == 4
    assert total(first, 404) == 1
    for registry in (first, killed, again):
        await registry.stop()


class Kept(Collector):
    """What was counted where all processes see it."""

    def __init__(self) -> None:
        self.number = 0

    def collect(self):
        yield CommonCounter("transom_kept", "Kept.", value=self.number)


async def test_what_all_read_from_one_place_is_shown_once_and_not_added_to_after_a_restart(
    tmp_path: Path,
) -> None:
    kept = Kept()
    first, second = SharedRegistry(tmp_path, "api"), SharedRegistry(tmp_path, "api-2")
    for registry in (first, second):
        registry.register(kept)
        await registry.start()
    kept.number = 5
    assert shown(first)["transom_kept_total"] == shown(second)["transom_kept_total"] == 5
    await second.stop()
    again = SharedRegistry(tmp_path, "api-2")
    again.register(kept)
    await again.start()
    kept.number = 6
    assert shown(again)["transom_kept_total"] == shown(first)["transom_kept_total"] == 6
    for registry in (first, again):
        await registry.stop()


class Waiting(Collector):
    def __init__(self, number: int) -> None:
        self.number = number

    def collect(self):
        return [GaugeMetricFamily("transom_waiting", "Waiting.", value=self.number)]


async def test_a_gauge_belongs_to_its_process_and_goes_with_it(tmp_path: Path) -> None:
    first, second = SharedRegistry(tmp_path, "api"), SharedRegistry(tmp_path, "api-2")
    first.register(Waiting(3))
    second.register(Waiting(5))
    for registry in (first, second):
        await registry.start()
    assert shown(first) == {
        'transom_waiting{process="api"}': 3,
        'transom_waiting{process="api-2"}': 5,
    }
    await second.stop()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    file = tmp_path / "api-2"
    file.write_bytes(_encode(_Said(gone.pid, _decode(file.read_bytes()).families)))
    assert shown(first) == {'transom_waiting{process="api"}': 3}
    await first.stop()


async def test_a_file_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    registry = worker(tmp_path, "api", 201)
    await registry.start()
    (tmp_path / "api-2").write_bytes(os.urandom(64))
    assert total(registry, 201) == 1
    await registry.stop()
