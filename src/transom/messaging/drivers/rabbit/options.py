# SPDX-License-Identifier: Apache-2.0
"""The options of a `rabbit://` address: oslo.messaging's names, where they mean something here.

Invariants:
1. An option that is not known, or a value of the wrong form, is refused when the address is read.
2. What is not given has oslo.messaging's default, but for the login method (PLAIN, which every
   broker takes) and the pauses between tries to connect, which begin shorter and stay shorter.
"""

import ssl
from dataclasses import dataclass, field, fields
from typing import Any

from transom.errors import InvalidTransportURL
from transom.messaging.proto.amqp.settings import Mechanism
from transom.messaging.url import TransportURL

PORT = 5672
TLS_PORT = 5671
ALIASES = {"rabbit_quorum_queues": "rabbit_quorum_queue", "login_method": "rabbit_login_method"}
_MECHANISMS: dict[str, Mechanism] = {
    "PLAIN": "PLAIN",
    "AMQPLAIN": "AMQPLAIN",
    "EXTERNAL": "EXTERNAL",
}
COMPRESSIONS = ("", "gzip", "bz2")
TLS_VERSIONS = {
    "": ssl.TLSVersion.TLSv1_2,
    "TLSv1_2": ssl.TLSVersion.TLSv1_2,
    "TLSv1_3": ssl.TLSVersion.TLSv1_3,
}
_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How links are sealed. Empty paths: the system's authorities, no certificate of our own."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    version: str = ""
    verify_hostname: bool = True


@dataclass(frozen=True, slots=True)
class Host:
    """One broker node."""

    hostname: str
    port: int
    username: str
    password: str = field(repr=False)


def _option(default: Any, meaning: str, *, least: float = 0) -> Any:
    return field(default=default, metadata={"meaning": meaning, "least": least})


@dataclass(frozen=True, slots=True)
class Options:
    """Every option by its name in the address. Times are in seconds."""

    control_exchange: str = _option("openstack", "exchange of topics where a target names none")
    heartbeat_timeout_threshold: int = _option(60, "a silent peer is given up after this; 0: never")
    rabbit_qos_prefetch_count: int = _option(0, "most unacknowledged messages a queue; 0: ours")
    amqp_durable_queues: bool = _option(False, "topic exchanges and queues outlive the broker")
    amqp_auto_delete: bool = _option(False, "topic exchanges and queues go with their last user")
    rabbit_quorum_queue: bool = _option(False, "topic queues are quorum queues, and durable")
    rabbit_quorum_delivery_limit: int = _option(0, "deliveries until one is dropped; 0: no limit")
    rabbit_quorum_max_memory_length: int = _option(0, "messages kept in memory; 0: no limit")
    rabbit_quorum_max_memory_bytes: int = _option(0, "bytes kept in memory; 0: no limit")
    rabbit_transient_quorum_queue: bool = _option(False, "reply and fan-out queues are quorum too")
    rabbit_stream_fanout: bool = _option(False, "one stream a topic in place of fan-out queues")
    rabbit_transient_queues_ttl: int = _option(1800, "an unused reply or fan-out queue goes then")
    enable_cancel_on_failover: bool = _option(False, "mirrored queues cancel us when they move")
    rabbit_login_method: str = _option("PLAIN", "PLAIN, AMQPLAIN or EXTERNAL (our certificate)")
    rabbit_retry_interval: float = _option(0.25, "pause once every host was tried")
    rabbit_retry_backoff: float = _option(2.0, "each pause is longer by this factor", least=1)
    rabbit_interval_max: float = _option(5.0, "the longest pause", least=0.1)
    kombu_reconnect_delay: float = _option(0.0, "the shortest pause")
    kombu_compression: str = _option("", "what we send is packed: gzip or bz2; both are read")
    ssl: bool = _option(False, "links are sealed by TLS")
    ssl_ca_file: str = _option("", "authorities of the broker; empty: the system's")
    ssl_cert_file: str = _option("", "our certificate")
    ssl_key_file: str = _option("", "its key")
    ssl_version: str = _option("", "the least: TLSv1_2 (default) or TLSv1_3")
    ssl_enforce_hostname_verification: bool = _option(True, "the certificate names the host")

    @property
    def mechanism(self) -> Mechanism:
        """How we log in."""
        return _MECHANISMS[self.rabbit_login_method]

    @property
    def tls(self) -> TlsOptions | None:
        """None: links are open."""
        if not self.ssl:
            return None
        return TlsOptions(
            self.ssl_ca_file,
            self.ssl_cert_file,
            self.ssl_key_file,
            self.ssl_version,
            self.ssl_enforce_hostname_verification,
        )

    @classmethod
    def of(cls, url: TransportURL) -> "Options":
        """Those of the address. Raises: InvalidTransportURL."""
        known = {option.name: option for option in fields(cls)}
        values: dict[str, Any] = {}
        for name, text in url.query.items():
            option = known.get(ALIASES.get(name, name))
            if option is None:
                names = ", ".join(sorted(known))
                raise InvalidTransportURL(
                    f"the bus address has an unknown option {name!r}; known are {names}"
                )
            values[option.name] = _value(name, text, option.default, option.metadata["least"])
        options = cls(**values)
        options._check()
        return options

    def _check(self) -> None:
        _among("rabbit_login_method", self.rabbit_login_method, tuple(_MECHANISMS))
        _among("kombu_compression", self.kombu_compression, COMPRESSIONS)
        _among("ssl_version", self.ssl_version, tuple(TLS_VERSIONS))
        if bool(self.ssl_cert_file) != bool(self.ssl_key_file):
            raise InvalidTransportURL("ssl_cert_file and ssl_key_file go together")
        if not self.ssl and (self.ssl_ca_file or self.ssl_cert_file):
            raise InvalidTransportURL("ssl_ca_file and ssl_cert_file need ssl=true beside them")
        if self.rabbit_stream_fanout and not self.rabbit_transient_quorum_queue:
            raise InvalidTransportURL(
                "rabbit_stream_fanout=true needs rabbit_transient_quorum_queue=true beside it"
            )
        if self.heartbeat_timeout_threshold > 65535:
            raise InvalidTransportURL("heartbeat_timeout_threshold is at most 65535 seconds")


def hosts_of(url: TransportURL, options: Options) -> tuple[Host, ...]:
    """The nodes of the address; without any, the one on this machine. Guest where none is named."""
    port = TLS_PORT if options.ssl else PORT
    if not url.hosts:
        return (Host("localhost", port, "guest", "guest"),)
    found = []
    for host in url.hosts:
        named = host.username is not None
        password = host.password.reveal() if host.password is not None else ""
        found.append(
            Host(
                host.hostname or "localhost",
                host.port or port,
                host.username or "" if named else "guest",
                password if named else "guest",
            )
        )
    return tuple(found)


def _value(name: str, text: str, default: Any, least: float) -> Any:
    if isinstance(default, bool):
        word = text.strip().lower()
        if word not in _TRUE | _FALSE:
            raise InvalidTransportURL(f"the option {name} is true or false, not {text!r}")
        return word in _TRUE
    if isinstance(default, str):
        return text
    kind = type(default)
    try:
        value = kind(text)
    except ValueError as error:
        what = "a whole number" if kind is int else "a number"
        raise InvalidTransportURL(f"the option {name} is {what}, not {text!r}") from error
    if not least <= value < float("inf"):
        raise InvalidTransportURL(f"the option {name} is at least {least:g}, not {text!r}")
    return value


def _among(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        known = ", ".join(repr(one) for one in allowed)
        raise InvalidTransportURL(f"the option {name} is one of {known}, not {value!r}")
