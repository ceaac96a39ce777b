# SPDX-License-Identifier: Apache-2.0
"""oslo's configuration as an address of ours.

Invariants:
1. The configuration object is the one that oslo.messaging was given; no global one is read.
2. `transom+x://...` becomes `x://...` with the same hosts, virtual host and query. For rabbit the
   options of [oslo_messaging_rabbit] that mean something here are put into the query; what the
   address itself says wins.

Source: the option names of oslo.messaging 18.3.1.
"""

from dataclasses import dataclass, fields
from typing import Any

from oslo_config import cfg
from oslo_messaging import InvalidTransportURL

from transom.errors import InvalidTransportURL as NoAddress
from transom.messaging.url import TransportHost, TransportURL
from transom.runtime.secrets import Secret

GROUP = "oslo_messaging_rabbit"
SCHEME = "transom"
OWN = ("control_exchange",)
CONNECT_S = 2.0


@dataclass(frozen=True, slots=True)
class Settings:
    """`prefetch`: 0 is ours to choose. The others: pauses between tries to reach the bus."""

    url: TransportURL
    prefetch: int = 0
    interval_s: float = 1.0
    backoff_s: float = 2.0
    interval_max_s: float = 30.0

    def bound_s(self, retry: int | None) -> float | None:
        """How long `retry` more tries take; None: there is no end to them."""
        if retry is None or retry < 0:
            return None
        pauses = (
            min(self.interval_s + number * self.backoff_s, self.interval_max_s)
            for number in range(min(retry, 1000))
        )
        return CONNECT_S + sum(pauses)


def settings_of(conf: Any, url: Any) -> Settings:
    """Raises: oslo's InvalidTransportURL."""
    name, _, scheme = url.transport.partition("+")
    if name != SCHEME or not scheme:
        raise InvalidTransportURL(str(url), f"write it like {SCHEME}+rabbit:// or {SCHEME}+zmq://")
    group = _rabbit_options(conf) if scheme == "rabbit" else {}
    query = {**_known(group), **url.query}
    prefetch = query.get("rabbit_qos_prefetch_count", 0)
    ours = TransportURL(
        scheme,
        tuple(_host(host) for host in url.hosts),
        url.virtual_host or "",
        {option: _text(value) for option, value in query.items() if value is not None},
    )
    try:
        _check(ours)
    except NoAddress as error:
        raise InvalidTransportURL(repr(ours), error.text) from error
    if not group:
        return Settings(ours)
    return Settings(
        ours,
        prefetch=int(prefetch),
        interval_s=group["rabbit_retry_interval"],
        backoff_s=group["rabbit_retry_backoff"],
        interval_max_s=group["rabbit_interval_max"],
    )


def register_missing(conf: Any) -> None:
    """Options that oslo.messaging reads from a configuration but registers on the global one only,
    so that one of the caller's own would fail at its first call.
    """
    from oslo_messaging._metrics import client as metrics

    conf.register_opts(metrics.oslo_messaging_metrics, group="oslo_messaging_metrics")
    try:
        from oslo_messaging._tracing import client as tracing
    except ImportError:  # before 18.3
        return
    conf.register_opts(tracing.oslo_messaging_tracing, group="oslo_messaging_tracing")


def _rabbit_options(conf: Any) -> dict[str, Any]:
    from oslo_messaging._drivers import amqp, impl_rabbit

    conf.register_group(cfg.OptGroup(GROUP))
    conf.register_opts(impl_rabbit.rabbit_opts, group=GROUP)
    conf.register_opts(amqp.amqp_opts, group=GROUP)
    return dict(conf[GROUP])


def _known(group: dict[str, Any]) -> dict[str, Any]:
    if not group:
        return {}
    from transom.messaging.drivers.rabbit.options import Options

    names = {option.name for option in fields(Options)} - set(OWN)
    if not group["ssl"]:  # the stock driver ignores the others then
        names = {name for name in names if not name.startswith("ssl_")}
    return {name: value for name, value in group.items() if name in names}


def _check(url: TransportURL) -> None:
    if url.driver == "rabbit":
        from transom.messaging.drivers.rabbit.options import Options

        Options.of(url)


def _host(host: Any) -> TransportHost:
    password = None if host.password is None else Secret(host.password)
    return TransportHost(host.hostname or "", host.port or 0, host.username, password)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
