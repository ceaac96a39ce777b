"""The counters of a transport, as Prometheus sees them."""

from prometheus_client import CollectorRegistry, generate_latest

from transom.messaging.counters import Counters
from transom.node.figures import BusMetrics


def test_every_counter_is_shown() -> None:
    counters = Counters()
    counters.sent["scheduler"].ended("answered", 0.002)
    counters.sent["scheduler"].ended("timeout", 60.0)
    counters.sent["scheduler"].cast("taken")
    counters.served["compute"].in_flight = 3
    counters.served["compute"].became("duplicate")
    counters.heard["notifications"].became("requeued")
    counters.replicated["images"].asked("snapshot")
    counters.replicated["images"].gaps = 2
    counters.replicated["images"].stale = 1
    counters.links["gap"] = 4
    counters.late_replies = 5
    registry = CollectorRegistry()
    registry.register(BusMetrics(counters))
    lines = set(generate_latest(registry).decode().splitlines())
    assert lines >= {
        'transom_bus_calls_total{outcome="answered",topic="scheduler"} 1.0',
        'transom_bus_calls_total{outcome="timeout",topic="scheduler"} 1.0',
        'transom_bus_call_duration_seconds_bucket{le="0.0025",topic="scheduler"} 1.0',
        'transom_bus_call_duration_seconds_bucket{le="10",topic="scheduler"} 1.0',
        'transom_bus_call_duration_seconds_bucket{le="+Inf",topic="scheduler"} 2.0',
        'transom_bus_call_duration_seconds_sum{topic="scheduler"} 60.002',
        'transom_bus_casts_total{outcome="taken",topic="scheduler"} 1.0',
        'transom_bus_requests_in_flight{topic="compute"} 3.0',
        'transom_bus_requests_total{outcome="duplicate",topic="compute"} 1.0',
        'transom_bus_notifications_heard_total{outcome="requeued",topic="notifications"} 1.0',
        'transom_bus_link_events_total{event="gap"} 4.0',
        "transom_bus_late_replies_total 5.0",
        'transom_feed_gaps_total{source="images"} 2.0',
        'transom_feed_stale_total{source="images"} 1.0',
        'transom_feed_resynchronisations_total{by="snapshot",source="images"} 1.0',
    }
