# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is: deficit round robin over bounded lines, one line for each flow.

A flow that waits is given `quantum` of credit each round, and what is at its head goes when it has
credit for its cost. So each flow gets the same share of the cost, however much it has waiting. What
went is under way until it is said to be done; of that each flow may have a *share*, and all of them
together *room*.

Invariants:
1. Within a flow: first come, first served.
2. Between two goes of a flow that waits, and has not its share, each other flow gets at most a
   quantum and one cost.
3. What is under way costs at most the room and one cost, and of a flow its share and one cost. A
   flow that has less than its share goes straight on while there is room.
4. A flow that has nothing waiting has no credit; one that has nothing under way either is not
   remembered.

Source: Shreedhar and Varghese, Efficient Fair Queueing using Deficit Round Robin, 1995.
"""

from collections import deque
from enum import Enum, auto
from typing import Generic, TypeVar

T = TypeVar("T")


class Refused(Enum):
    """Why something may not wait."""

    FLOW_FULL = auto()
    FULL = auto()


class _Flow(Generic[T]):
    __slots__ = ("credit", "waiting")

    def __init__(self) -> None:
        self.credit = 0
        self.waiting: deque[tuple[int, T]] = deque()


class FairLine(Generic[T]):
    """`room`: see above. `flow_max`: the most that wait in one flow; `most`: in all of them."""

    def __init__(self, quantum: int, room: int, flow_max: int, most: int) -> None:
        self._quantum = quantum
        self._room = room
        self._flow_max = flow_max
        self._most = most
        self._flows: dict[str, _Flow[T]] = {}  # that have something waiting
        self._round: deque[str] = deque()
        self._begun = False  # the first of the round has had its credit
        self._waiting = 0
        self._under_way: dict[str, int] = {}
        self._all_under_way = 0

    def __len__(self) -> int:
        return self._waiting

    def of(self, flow: str) -> int:
        """How many of the flow wait."""
        found = self._flows.get(flow)
        return 0 if found is None else len(found.waiting)

    def under_way(self, flow: str) -> int:
        """What is under way of the flow, by its cost."""
        return self._under_way.get(flow, 0)

    def goes(self, flow: str, cost: int, share: int) -> bool:
        """Whether it goes straight on, and is under way; else it is to be put."""
        under_way = self._under_way.get(flow, 0)
        if under_way >= share or self._all_under_way >= self._room or flow in self._flows:
            return False
        self._under_way[flow] = under_way + cost
        self._all_under_way += cost
        return True

    def done(self, flow: str, cost: int) -> None:
        """What had gone is no longer under way."""
        self._all_under_way -= cost
        left = self._under_way[flow] - cost
        if left:
            self._under_way[flow] = left
        else:
            del self._under_way[flow]

    def put(self, flow: str, cost: int, item: T) -> Refused | None:
        """Lets it wait; or says why it may not. `cost`: 1 or more."""
        if self._waiting >= self._most:
            return Refused.FULL
        found = self._flows.get(flow)
        if found is None:
            found = self._flows[flow] = _Flow()
            self._round.append(flow)
        elif len(found.waiting) >= self._flow_max:
            return Refused.FLOW_FULL
        found.waiting.append((cost, item))
        self._waiting += 1
        return None

    def take(self, share: int) -> T | None:
        """What goes next, and is under way; None if nothing may."""
        passed = 0
        while self._all_under_way < self._room and passed < len(self._round):
            name = self._round[0]
            flow = self._flows[name]
            under_way = self._under_way.get(name, 0)
            if under_way >= share:
                flow.credit = 0
                passed += 1
                self._next()
                continue
            if not self._begun:
                self._begun = True
                flow.credit += self._quantum
            cost, item = flow.waiting[0]
            if cost > flow.credit:
                passed = 0
                self._next()
                continue
            flow.waiting.popleft()
            flow.credit -= cost
            self._waiting -= 1
            self._under_way[name] = under_way + cost
            self._all_under_way += cost
            if not flow.waiting:
                del self._flows[name]
                self._round.popleft()
                self._begun = False
            return item
        return None

    def _next(self) -> None:
        self._round.rotate(-1)
        self._begun = False
