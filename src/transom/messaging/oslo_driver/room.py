# SPDX-License-Identifier: Apache-2.0
"""Messages for addresses where nobody is, tried again until somebody comes or their time is up.

Invariants:
1. The messages of an address go in their order.
2. At most `MESSAGES_MAX` messages of `BYTES_MAX` bytes wait; what finds no room fails at once.
3. An address costs one try each `EVERY_S`, however many messages wait there, and no thread.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from transom.errors import MessageDeliveryFailure, MessageUndeliverable, MessagingError
from transom.messaging.drivers.base import Address, Driver, Sent

EVERY_S = 0.25
MESSAGES_MAX = 5000
BYTES_MAX = 64 * 1024 * 1024


@dataclass(slots=True)
class _Waiting:
    body: bytes
    sent: Sent
    deadline_s: float
    until_s: float


class Room:
    """On one loop, before one driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Address, deque[_Waiting]] = {}
        self._count = 0
        self._bytes = 0

    def __contains__(self, address: Address) -> bool:
        return address in self._waiting

    def put(
        self, address: Address, body: bytes, sent: Sent, *, deadline_s: float, until_s: float
    ) -> None:
        """Until `until_s`; then `sent` is told MessageUndeliverable. `deadline_s`: the driver's."""
        if self._count >= MESSAGES_MAX or self._bytes + len(body) > BYTES_MAX:
            sent(MessageDeliveryFailure("too many messages wait for servers that are not there"))
            return
        queue = self._waiting.get(address)
        if queue is None:
            queue = self._waiting[address] = deque()
            self._loop.call_later(EVERY_S, self._try, address)
        queue.append(_Waiting(body, sent, deadline_s, until_s))
        self._count += 1
        self._bytes += len(body)

    def close(self) -> None:
        """What still waits fails."""
        for address in list(self._waiting):
            for message in self._waiting.pop(address):
                message.sent(MessageDeliveryFailure("the transport was stopped"))

    def _try(self, address: Address) -> None:
        queue = self._waiting.get(address)
        if queue is None:
            return
        now_s = self._loop.time()
        while queue and queue[0].until_s <= now_s:
            self._take(queue).sent(MessageUndeliverable(detail=f"nobody came to {address}"))
        if not queue:
            del self._waiting[address]
            return
        first = queue[0]

        def tried(error: MessagingError | None) -> None:
            if self._waiting.get(address) is not queue or not queue or queue[0] is not first:
                return
            if isinstance(error, MessageUndeliverable):
                self._loop.call_later(EVERY_S, self._try, address)
                return
            self._take(queue).sent(error)
            self._loop.call_soon(self._try, address)

        self._driver.send(address, first.body, tried, deadline_s=first.deadline_s, mandatory=True)

    def _take(self, queue: deque[_Waiting]) -> _Waiting:
        message = queue.popleft()
        self._count -= 1
        self._bytes -= len(message.body)
        return message
