# SPDX-License-Identifier: Apache-2.0
"""How many requests a project, or an address without a valid token, may make.

A bucket holds `burst` requests and is filled at `per_s`. All that is kept of one is the moment at
which it is full again; a full one is not kept at all.

Invariants:
1. At most `BUCKETS_MOST` buckets are kept. If all of more are in use, the longest known ones are
   forgotten, which gives their callers a burst, and nobody else less.
2. An IPv6 caller is its /64: whoever has one address has them all.
3. Loopback is not limited by address: there are this machine's own calls (tokens that doors ask
   the embedded identity about), or a proxy that stands for everybody.
"""

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from itertools import islice
from math import ceil
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from transom.errors import TooManyRequests
from transom.runtime.auth.context import Context
from transom.runtime.clock import Clock
from transom.runtime.http.limits import HttpLimits

BUCKETS_MOST = 50_000


class Buckets:
    """One rate for many callers."""

    def __init__(self, per_s: float, burst: int, most: int = BUCKETS_MOST) -> None:
        self._each_s = 1 / per_s
        self._depth_s = burst / per_s
        self._most = most
        self._full_at_s: dict[str, float] = {}
        self.refused = 0

    def __len__(self) -> int:
        return len(self._full_at_s)

    def take(self, caller: str, now_s: float) -> float:
        """0.0 if there is room for one request, which is then taken; else when there will be."""
        full_at_s = max(self._full_at_s.get(caller, now_s), now_s) + self._each_s
        wait_s = full_at_s - now_s - self._depth_s
        if wait_s > 1e-9:
            self.refused += 1
            return wait_s
        self._full_at_s[caller] = full_at_s
        if len(self._full_at_s) > self._most:
            self._forget(now_s)
        return 0.0

    def _forget(self, now_s: float) -> None:
        """Leaves at most half, so that its cost is spread over as many new callers."""
        kept = {caller: at_s for caller, at_s in self._full_at_s.items() if at_s > now_s}
        surplus = max(0, len(kept) - self._most // 2)
        self._full_at_s = dict(islice(kept.items(), surplus, None))


class Rates(Collector):
    """The limits of one process's doors. Register it: `registry.register(rates)`.

    `share`: what part of each rate this process may give away, where several serve one port.
    """

    def __init__(self, limits: HttpLimits, clock: Clock, share: float = 1.0) -> None:
        self._clock = clock
        self._projects = _buckets(limits.project_requests_per_s, limits.project_burst, share)
        self._addresses = _buckets(limits.address_requests_per_s, limits.address_burst, share)
        self.limits_projects = self._projects is not None
        self.limits_addresses = self._addresses is not None

    def of_project(self, context: Context) -> None:
        """Counts one request with a valid token. Raises: TooManyRequests."""
        if self._projects is not None:
            caller = context.project_id or f"user {context.user_id}"
            wait_s = self._projects.take(caller, self._clock.monotonic_s())
            if wait_s:
                raise TooManyRequests(
                    "Your project asks more often than it may; slow down.",
                    retry_after_s=ceil(wait_s),
                )

    def of_address(self, host: str) -> None:
        """Counts one request that shows no valid token. Raises: TooManyRequests."""
        caller = None if self._addresses is None else address_key(host)
        if self._addresses is not None and caller is not None:
            wait_s = self._addresses.take(caller, self._clock.monotonic_s())
            if wait_s:
                raise TooManyRequests(
                    "Requests without a valid token come too often from your address; slow down.",
                    retry_after_s=ceil(wait_s),
                )

    def collect(self) -> Iterable[Metric]:
        refused = CounterMetricFamily(
            "transom_http_rate_limited", "Requests answered 429 by the doors.", labels=["limit"]
        )
        kept = GaugeMetricFamily(
            "transom_http_rate_buckets",
            "Callers whose latest requests are remembered.",
            labels=["limit"],
        )
        for name, buckets in (("project", self._projects), ("address", self._addresses)):
            if buckets is not None:
                refused.add_metric([name], buckets.refused)
                kept.add_metric([name], len(buckets))
        return [refused, kept]


def address_key(host: str) -> str | None:
    """Whose bucket an address has; None if it is not limited."""
    try:
        address: Any = ip_address(host.partition("%")[0])
    except ValueError:
        return None  # a socket without addresses
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return None
    return address.packed[:8].hex() if address.version == 6 else str(address)


def _buckets(per_s: float, burst: int, share: float) -> Buckets | None:
    return Buckets(per_s * share, max(1, ceil(burst * share))) if per_s else None
