"""The driver on the loop that our processes run on."""

import os

import pytest
import uvloop

from transom.messaging.drivers.rabbit import RabbitDriver
from transom.messaging.testing import CHECKS, check_driver
from transom.messaging.url import TransportURL
from transom.runtime.clock import SystemClock

from support.rabbit import Broker


@pytest.mark.parametrize(
    "check",
    [
        name
        for name in CHECKS
        if name.startswith(("order", "large", "a_reply", "stop", "prefetch", "cancel"))
    ],
)
def test_driver_conforms_on_uvloop(rabbit: Broker, check: str) -> None:
    url = TransportURL.parse(rabbit.url)

    async def checked() -> None:
        await check_driver(
            lambda: RabbitDriver(url, clock=SystemClock(), random=os.urandom), [check]
        )

    uvloop.run(checked())
