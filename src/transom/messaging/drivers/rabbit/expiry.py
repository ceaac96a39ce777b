# SPDX-License-Identifier: Apache-2.0
"""Messages by their deadlines. Pure: time is an argument.

Invariant: a message costs the logarithm of how many are open, once, and none of the others is
looked at when one is late. What was told before its deadline is let go in bulk, so that at most
about twice as many are kept as are open.
"""

from heapq import heapify, heappop, heappush
from math import inf

from transom.messaging.drivers.rabbit.outgoing import Outgoing

SPARE = 1024


class Expiry:
    """A heap; the number keeps those of one deadline in the order in which they were sent."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Outgoing]] = []
        self._count = 0
        self._full = SPARE

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, message: Outgoing) -> None:
        """Without a deadline it is not kept."""
        if message.deadline_s == inf:
            return
        self._count += 1
        heappush(self._heap, (message.deadline_s, self._count, message))
        if len(self._heap) >= self._full:
            self._heap = [entry for entry in self._heap if entry[2].sent is not None]
            heapify(self._heap)
            self._full = 2 * len(self._heap) + SPARE

    def due(self, now_s: float) -> list[Outgoing]:
        """Those that are late and not told yet, by deadline; they are let go."""
        heap = self._heap
        late = []
        while heap and heap[0][0] <= now_s:
            message = heappop(heap)[2]
            if message.sent is not None:
                late.append(message)
        return late

    def wake_s(self) -> float:
        """The next deadline of a message that is not told yet; inf: none."""
        heap = self._heap
        while heap and heap[0][2].sent is None:
            heappop(heap)
        return heap[0][0] if heap else inf
