# SPDX-License-Identifier: Apache-2.0
"""How deliveries are counted for the metrics."""

import asyncio
from typing import Any

from transom.queue.deliveries.figures import DeliveryFigures
from transom.runtime.clock import SystemClock


class Breaking:
    """Stores, of which the first look ends in a fault of ours."""

    looks = 0

    def every(self) -> list[Any]:
        self.looks += 1
        if self.looks == 1:
            raise ZeroDivisionError
        return []


async def test_a_look_that_fails_is_not_the_last_one() -> None:
    figures = DeliveryFigures(Breaking(), SystemClock(), 0)  # type: ignore[arg-type]
    await figures.start()
    async with asyncio.timeout(10):
        while not list(figures.collect()):
            await asyncio.sleep(0)
    await figures.stop()
