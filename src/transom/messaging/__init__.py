# SPDX-License-Identifier: Apache-2.0
"""Calls, notifications and live tables between services.

    async with messaging.connect("memory://bus") as transport:
        client = messaging.Client(transport, messaging.Target(topic="scheduler"))
        host = await client.call({}, "select_host", flavor="m1.small")

Names are loaded when they are first used, so that the pure rooms below (`proto`) can be had
without asyncio. Importing this loads no driver, no HTTP and no database.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transom.messaging import blocking
    from transom.messaging.authenticated import sender
    from transom.messaging.client import Client
    from transom.messaging.dispatch import expected_exceptions
    from transom.messaging.drivers.base import Connected, Disconnected, Gap, TransportEvent
    from transom.messaging.events import EventListener, EventPublisher
    from transom.messaging.notify import Incoming, Listener, Notifier
    from transom.messaging.replica import TableReplica
    from transom.messaging.server import Server
    from transom.messaging.tables import TablePublisher
    from transom.messaging.target import Target
    from transom.messaging.transport import Transport, connect

_PLACES = {
    "Client": "client",
    "Connected": "drivers.base",
    "Disconnected": "drivers.base",
    "EventListener": "events",
    "EventPublisher": "events",
    "Gap": "drivers.base",
    "Incoming": "notify",
    "Listener": "notify",
    "Notifier": "notify",
    "Server": "server",
    "TablePublisher": "tables",
    "TableReplica": "replica",
    "Target": "target",
    "Transport": "transport",
    "TransportEvent": "drivers.base",
    "connect": "transport",
    "expected_exceptions": "dispatch",
    "sender": "authenticated",
}

__all__ = [
    "Client",
    "Connected",
    "Disconnected",
    "EventListener",
    "EventPublisher",
    "Gap",
    "Incoming",
    "Listener",
    "Notifier",
    "Server",
    "TablePublisher",
    "TableReplica",
    "Target",
    "Transport",
    "TransportEvent",
    "blocking",
    "connect",
    "expected_exceptions",
    "sender",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "blocking":
        return import_module(f"{__name__}.blocking")
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{place}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
