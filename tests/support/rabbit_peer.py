"""A rabbit driver of this process for tests: what it received, and what it was told."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from transom.messaging.drivers.base import TransportEvent
from transom.messaging.drivers.rabbit import RabbitDriver
from transom.messaging.url import TransportURL
from transom.runtime.clock import SystemClock

from support.driver_peer import WAIT_S, DriverPeer, until


class Peer(DriverPeer):
    """A started driver with what happened to it."""

    def __init__(self, url: str, *, verify_s: float = 20.0) -> None:
        parsed = TransportURL.parse(url)
        super().__init__(
            RabbitDriver(parsed, clock=SystemClock(), random=os.urandom, verify_s=verify_s)
        )

    def told(self, kind: type[TransportEvent], name: str = "") -> int:
        """How many events of the kind came, of the links whose name ends so."""
        return sum(isinstance(event, kind) and event.peer.endswith(name) for event in self.events)

    async def heard(self, count: int, within_s: float = WAIT_S) -> list[bytes]:
        """The bodies, once there are so many."""
        claim = f"{count} messages arrived"
        await until(lambda: len(self.deliveries) >= count, claim, within_s)
        return self.bodies


@asynccontextmanager
async def peers(*urls: str, verify_s: float = 20.0) -> AsyncIterator[list[Peer]]:
    """A started driver for each address; all are stopped afterwards."""
    made = [Peer(url, verify_s=verify_s) for url in urls]
    try:
        for peer in made:
            await peer.driver.start(peer.events.append)
        yield made
    finally:
        for peer in reversed(made):
            await peer.driver.stop()
