"""Buckets: never more than burst plus rate, bounded memory; whose bucket an address has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.runtime.http.rates import Buckets, address_key


@given(
    st.floats(0.1, 100),
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3)), max_size=200),
)
def test_nobody_gets_more_than_burst_and_rate_and_a_wait_is_exact(per_s, burst, asked):
    buckets = Buckets(per_s, burst)
    now_s, taken = 0.0, {"a": [], "b": []}
    for caller, pause_s in asked:
        now_s += pause_s
        wait_s = buckets.take(caller, now_s)
        if wait_s:
            assert buckets.take(caller, now_s + wait_s * 0.99 - 1e-6) > 0
            now_s += wait_s
            assert buckets.take(caller, now_s + 1e-6) == 0
        taken[caller].append(now_s)
    for times in taken.values():
        for at, first_s in enumerate(times):
            for count, last_s in enumerate(times[at:], 1):
                assert count <= burst + (last_s - first_s) * per_s + 0.01


def test_a_caller_alone_gets_its_burst_at_once():
    buckets = Buckets(1.0, 3)
    assert [buckets.take("a", 5.0) > 0 for _ in range(4)] == [False, False, False, True]
    assert buckets.refused == 1


def test_memory_is_bounded_and_full_buckets_are_forgotten_first():
    buckets = Buckets(1.0, 10, most=100)
    for _ in range(10):
        buckets.take("busy", 0.0)
    for number in range(80):
        buckets.take(f"old {number}", 0.0)
    for number in range(60):
        buckets.take(f"new {number}", 5.0)  # the old ones are full again by now
        assert len(buckets) <= 100
    assert [buckets.take("busy", 5.0) > 0 for _ in range(6)] == [False] * 5 + [True]
    for number in range(10_000):
        buckets.take(f"flood {number}", 5.0)
        assert len(buckets) <= 100


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("127.0.0.1", None),
        ("127.9.9.9", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("", None),
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8:0:1::1", "20010db800000001"),
        ("2001:db8:0:1:ffff::9%eth0", "20010db800000001"),
    ],
)
def test_whose_bucket_an_address_has(host, key):
    assert address_key(host) == key
