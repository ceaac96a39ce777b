# SPDX-License-Identifier: Apache-2.0
"""What carries bytes: one Protocol, and one module a kind of bus, loaded on first use.

A driver from elsewhere is an entry point of the group `transom.drivers`, named by its scheme; it
gives a class with the constructor `(url, *, clock, random)`. Built-in schemes win.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from transom.errors import InvalidTransportURL
from transom.messaging.drivers.base import Driver
from transom.runtime.clock import Clock
from transom.runtime.ids import Randomness

if TYPE_CHECKING:
    from transom.messaging.url import TransportURL

BUILT_IN = {
    "kombu": "transom.messaging.drivers.rabbit:RabbitDriver",
    "memory": "transom.messaging.drivers.memory:MemoryDriver",
    "rabbit": "transom.messaging.drivers.rabbit:RabbitDriver",
    "zmq": "transom.messaging.drivers.zmq:ZmqDriver",
}
ENTRY_POINT_GROUP = "transom.drivers"


class DriverClass(Protocol):
    """How a driver is made; making it does no work."""

    def __call__(self, url: "TransportURL", *, clock: Clock, random: Randomness) -> Driver: ...


def driver_class(scheme: str) -> DriverClass:
    """The driver registered under the scheme. Raises: InvalidTransportURL if there is none."""
    place = BUILT_IN.get(scheme)
    if place is None:
        return _from_entry_point(scheme)
    module, _, name = place.partition(":")
    try:
        return cast(DriverClass, getattr(import_module(module), name))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("transom"):
            raise
        raise InvalidTransportURL(
            f"the driver {scheme!r} needs the package {error.name!r}; install it"
        ) from error


def _from_entry_point(scheme: str) -> DriverClass:
    # Looked up here, not at the top: it reads every installed package's metadata.
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINT_GROUP, name=scheme):
        return cast(DriverClass, entry.load())
    known = ", ".join(f"{name}://" for name in sorted(BUILT_IN))
    raise InvalidTransportURL(
        f"no bus driver is named {scheme!r}; built in are {known}, "
        f"others register the entry point group {ENTRY_POINT_GROUP!r}"
    )
