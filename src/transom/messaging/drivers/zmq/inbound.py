# SPDX-License-Identifier: Apache-2.0
"""The receiving end of a link: which record is next, and the receipts that are due.

Invariants:
1. Each number is admitted once, in order; what comes again after a reconnect is not.
2. A receipt tells each fate once; a whole one tells all that the sender may not know yet.

Pure: no sockets, no clock.
"""

from collections import deque
from enum import Enum, auto

from transom.messaging.drivers.zmq.outbound import UNCONFIRMED
from transom.messaging.drivers.zmq.wire import Receipt, Refusal


class Order(Enum):
    NEXT = auto()
    AGAIN = auto()
    GAP = auto()


class Inbound:
    """One link from one peer. `last`: the number up to which the fates are decided."""

    def __init__(self) -> None:
        self.last = 0
        self._serial = 0
        self._gap_told = -1
        self._held: set[int] = set()
        self._refused: deque[tuple[int, Refusal]] = deque(maxlen=UNCONFIRMED)
        self._new_held: set[int] = set()
        self._new_released: list[int] = []
        self._new_refused: list[tuple[int, Refusal]] = []

    def order(self, number: int) -> Order:
        if number == self.last + 1:
            return Order.NEXT
        return Order.AGAIN if number <= self.last else Order.GAP

    def tell_gap(self) -> bool:
        """Whether the sender has yet to hear of this gap."""
        untold = self._gap_told != self.last
        self._gap_told = self.last
        return untold

    def take(self, number: int) -> None:
        """It was handed over."""
        self.last = number

    def hold(self, number: int) -> None:
        """It waits in our room."""
        self.last = number
        self._held.add(number)
        self._new_held.add(number)

    def refuse(self, number: int, reason: Refusal) -> None:
        self.last = number
        self._refused.append((number, reason))
        self._new_refused.append((number, reason))

    def release(self, number: int) -> None:
        """It no longer waits in our room."""
        self._held.discard(number)
        if number in self._new_held:
            self._new_held.discard(number)
        else:
            self._new_released.append(number)

    def receipt(self) -> Receipt:
        """What happened since the last one."""
        self._serial += 1
        if not (self._new_held or self._new_released or self._new_refused):
            return Receipt(self._serial, self.last)
        receipt = Receipt(
            self._serial,
            self.last,
            tuple(self._new_held),
            tuple(self._new_released),
            tuple(self._new_refused),
        )
        self._forget_news()
        return receipt

    def whole(self) -> Receipt:
        """All that the sender may have missed."""
        self._forget_news()
        return Receipt(self._serial, self.last, tuple(self._held), (), tuple(self._refused))

    def _forget_news(self) -> None:
        self._new_held = set()
        self._new_released = []
        self._new_refused = []
