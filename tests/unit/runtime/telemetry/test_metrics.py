# SPDX-License-Identifier: Apache-2.0
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from transom.runtime.telemetry.metrics import RequestMetrics, exposition


def samples(registry) -> dict[tuple, float]:
    text = exposition(registry).decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_are_counted_by_mount_method_and_status():
    registry = CollectorRegistry()
    metrics = RequestMetrics()
    registry.register(metrics)
    meter = metrics.meter("/queue", "GET")
    for status, duration_s in [(200, 0.0001), (200, 0.0005), (404, 0.02), (200, 60.0)]:
        meter.began()
        meter.ended(status, duration_s)
    meter.began()
    found = samples(registry)
    place = (("method", "GET"), ("mount", "/queue"))
    name = "transom_http_request_duration_seconds"
    assert found["transom_http_requests_total", *place, ("status", "200")] == 3
    assert found["transom_http_requests_total", *place, ("status", "404")] == 1
    assert found["transom_http_requests_in_flight", *place] == 1
    buckets = {
        labels[0][1]: value for (kind, *labels), value in found.items() if kind == f"{name}_bucket"
    }
    assert (buckets["0.0005"], buckets["0.01"], buckets["0.025"], buckets["10.0"]) == (2, 2, 3, 3)
    assert buckets["+Inf"] == found[f"{name}_count", *place] == 4
    assert abs(found[f"{name}_sum", *place] - 60.0206) < 1e-9


def test_one_meter_serves_one_mount_and_method():
    metrics = RequestMetrics()
    assert metrics.meter("/a", "GET") is metrics.meter("/a", "GET")
    assert metrics.meter("/a", "GET") is not metrics.meter("/a", "PUT")
