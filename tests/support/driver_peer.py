# SPDX-License-Identifier: Apache-2.0
"""A driver of this process for tests: what it received, and what it was told."""

import asyncio
from collections.abc import Callable

from transom.messaging.drivers.base import Address, Delivery, Driver, TransportEvent
from transom.messaging.testing import send

WAIT_S = 30.0


async def until(holds: Callable[[], bool], claim: str, within_s: float = WAIT_S) -> None:
    """Polls until it holds. Raises: AssertionError with the claim."""
    deadline_s = asyncio.get_running_loop().time() + within_s
    while not holds():
        assert asyncio.get_running_loop().time() < deadline_s, claim
        await asyncio.sleep(0.01)


class DriverPeer:
    """It is started and stopped by others, with `events.append` as what it tells."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.events: list[TransportEvent] = []
        self.deliveries: list[Delivery] = []
        self.acknowledge = True

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.deliveries]

    def deliver(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if self.acknowledge:
            delivery.acknowledge()

    async def listen(self, *addresses: Address, prefetch: int = 100):
        return await self.driver.listen(addresses, self.deliver, prefetch=prefetch)

    async def send(
        self, address: Address, body: bytes, *, within_s: float = WAIT_S, mandatory: bool = True
    ) -> None:
        await send(self.driver, address, body, within_s=within_s, mandatory=mandatory)
