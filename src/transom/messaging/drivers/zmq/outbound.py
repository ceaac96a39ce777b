# SPDX-License-Identifier: Apache-2.0
"""The sending end of a link: which parcel may be written, and what became of each.

Invariants:
1. A parcel is settled exactly once. TAKEN: the receiver's driver has it. NOWHERE: it surely was
   not delivered. LATE: its deadline passed. LOST: it was written and the peer died; nobody knows.
2. At most `UNCONFIRMED` written parcels wait for their receipt, and at most `UNCONSUMED` parcels
   (or bytes) to one address take up the receiver's room; others wait here, in order.
   Credits are by address: a busy topic keeps no reply up.
3. After a broken connection the same records are written again under the same numbers, from the
   first that the receiver does not have.

Pure: no sockets, no clock.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from transom.messaging.drivers.zmq.wire import Receipt, Record, Refusal

UNCONFIRMED = 1024
UNCONFIRMED_BYTES = 8 << 20
UNCONSUMED = 256
UNCONSUMED_BYTES = 4 << 20
WAITING = 10_000


class Outcome(Enum):
    TAKEN = auto()
    NOWHERE = auto()
    LATE = auto()
    LOST = auto()


class Timer(Protocol):
    def cancel(self) -> None: ...


class Parcel(Record):
    """A record and who waits for its outcome. `number` is 0 until it is written.

    `timer`: calls `late` at its deadline.
    """

    __slots__ = ("number", "settle", "settled", "timer")

    def __init__(
        self, address: bytes, body: bytes, deadline_s: float, settle: Callable[[Outcome], None]
    ) -> None:
        super().__init__(address, body, deadline_s)
        self.number = 0
        self.settle = settle
        self.settled = False
        self.timer: Timer | None = None

    def end(self, outcome: Outcome) -> None:
        if self.settled:
            return
        self.settled = True
        if self.timer is not None:
            self.timer.cancel()
        self.settle(outcome)


class Lane:
    """The parcels of a link to one address. `lagging`: a copy was given up for want of room."""

    __slots__ = ("lagging", "room_bytes", "taken", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Parcel] = deque()
        self.taken = 0
        self.room_bytes = UNCONSUMED_BYTES
        self.lagging = False

    def has_room(self) -> bool:
        """One parcel may always be under way, however big."""
        return self.taken == 0 or (self.taken < UNCONSUMED and self.room_bytes > 0)

    def take(self, parcel: Parcel) -> None:
        self.taken += 1
        self.room_bytes -= len(parcel.body)

    def release(self, parcel: Parcel) -> None:
        self.taken -= 1
        self.room_bytes += len(parcel.body)
        self.lagging = False


class Outbound:
    """One link. `open` is false until the receiver has said what it has."""

    def __init__(self) -> None:
        self.open = False
        self._last = 0
        self._serial = 0
        self._lanes: dict[bytes, Lane] = {}
        self._active: dict[bytes, Lane] = {}
        self._unconfirmed: deque[Parcel] = deque()
        self._unconfirmed_bytes = 0
        self._held: dict[int, Parcel] = {}

    def offer(self, parcel: Parcel) -> bool:
        """Queues it; false if too many wait already."""
        lane = self._lanes.get(parcel.address)
        if lane is None:
            lane = self._lanes[parcel.address] = Lane()
        if len(lane.waiting) >= WAITING:
            return False
        lane.waiting.append(parcel)
        self._active[parcel.address] = lane
        return True

    def load(self, address: bytes) -> int:
        """How many parcels to the address are waiting or not consumed yet."""
        lane = self._lanes.get(address)
        return 0 if lane is None else lane.taken + len(lane.waiting)

    def lags(self, address: bytes) -> bool:
        """Whether a copy to the address was given up, and nothing shows yet that it goes on."""
        lane = self._lanes.get(address)
        return lane is not None and lane.lagging and (lane.taken > 0 or not self.open)

    def late(self, parcel: Parcel) -> None:
        """Its deadline has passed: if not written yet, it never will be."""
        if parcel.settled:
            return
        lane = self._lanes[parcel.address]
        lane.lagging = True
        if parcel.number == 0:
            lane.waiting.remove(parcel)
        parcel.end(Outcome.LATE)

    def take(self) -> list[Parcel]:
        """The parcels that may be written now, numbered."""
        if not self.open:
            return []
        taken: list[Parcel] = []
        for address, lane in list(self._active.items()):
            while lane.waiting and lane.has_room() and self._may_write():
                parcel = lane.waiting.popleft()
                self._last += 1
                parcel.number = self._last
                lane.take(parcel)
                self._unconfirmed.append(parcel)
                self._unconfirmed_bytes += len(parcel.body)
                taken.append(parcel)
            if not lane.waiting:
                del self._active[address]
        return taken

    def confirm(self, receipt: Receipt) -> bool:
        """Settles what the receipt tells of; false if one before it was lost: ask for the whole.

        A connection may be made anew before its loss is noticed, and lose receipts.
        """
        if not self.open:
            return True
        if receipt.serial != self._serial + 1:
            self.open = False
            return False
        self._serial = receipt.serial
        self._settle(receipt)
        return True

    def _settle(self, receipt: Receipt) -> None:
        refused = dict(receipt.refused)
        held = frozenset(receipt.held)
        while self._unconfirmed and self._unconfirmed[0].number <= receipt.last:
            parcel = self._unconfirmed.popleft()
            self._unconfirmed_bytes -= len(parcel.body)
            refusal = refused.get(parcel.number)
            if refusal is None:
                if parcel.number in held:
                    self._held[parcel.number] = parcel
                else:
                    self._lanes[parcel.address].release(parcel)
                parcel.end(Outcome.TAKEN)
                continue
            self._lanes[parcel.address].release(parcel)
            parcel.end(Outcome.LATE if refusal is Refusal.LATE else Outcome.NOWHERE)
        for number in receipt.released:
            self._release(number)

    def resume(self, whole: Receipt) -> list[Parcel] | None:
        """The link stands: settles, and returns what must be written again.

        None if the receiver knows nothing of the link's past: close it.
        """
        self._settle(whole)
        self._serial = whole.serial
        first = self._unconfirmed[0].number if self._unconfirmed else self._last + 1
        if first != whole.last + 1:
            return None
        held = frozenset(whole.held)
        for number in [number for number in self._held if number not in held]:
            self._release(number)
        self.open = True
        for lane in self._lanes.values():
            lane.lagging = False
        return list(self._unconfirmed)

    def broken(self) -> None:
        """The connection is gone; it may come back."""
        self.open = False

    def close(self, last_words: Receipt | None) -> bool:
        """Settles everything; true if the fate of some is unknown.

        With `last_words`, what they do not tell of was surely not delivered.
        """
        if last_words is not None:
            self._settle(last_words)
        self.open = False
        written, self._unconfirmed = self._unconfirmed, deque()
        unknown = last_words is None and any(not parcel.settled for parcel in written)
        for parcel in written:
            parcel.end(Outcome.LOST if last_words is None else Outcome.NOWHERE)
        lanes, self._lanes = self._lanes, {}
        self._active.clear()
        self._held.clear()
        for lane in lanes.values():
            for parcel in lane.waiting:
                parcel.end(Outcome.NOWHERE)
        return unknown

    @property
    def under_way(self) -> bool:
        """Whether something was written that is not confirmed yet."""
        return bool(self._unconfirmed)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is unconfirmed."""
        return not self._active and not self._unconfirmed

    def _may_write(self) -> bool:
        return len(self._unconfirmed) < UNCONFIRMED and self._unconfirmed_bytes < UNCONFIRMED_BYTES

    def _release(self, number: int) -> None:
        parcel = self._held.pop(number, None)
        if parcel is not None:
            self._lanes[parcel.address].release(parcel)
