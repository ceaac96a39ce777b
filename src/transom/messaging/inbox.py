# SPDX-License-Identifier: Apache-2.0
"""What waits for a replica's machine.

Invariant: at most `bound` changes wait, or one message. A message that finds no room is dropped
and the machine is told by a Gap, one for any number; answers to its own requests, of which one is
out, are never dropped.
"""

import asyncio
from collections import deque

from transom.messaging.proto.feed import ChangeSet, Event, Gap, Heard, Part, Tick


class Inbox:
    """A queue of one reader."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._events: deque[Event] = deque()
        self._held = 0
        self._lost = False
        self._arrived = asyncio.Event()

    def put(self, event: Event) -> None:
        weight = _weight(event)
        full = weight and self._held and self._held + weight > self._bound
        if full or isinstance(event, Gap):
            self._lost = True
            self._arrived.set()
            return
        self._held += weight
        self._events.append(event)
        self._arrived.set()

    async def get(self, until_s: float | None) -> Event:
        """The next event; a Tick if none came until `until_s` on the loop's clock."""
        try:
            async with asyncio.timeout_at(until_s):
                while not (self._events or self._lost):
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return Tick()
        if self._lost:
            self._lost = False
            return Gap()
        event = self._events.popleft()
        self._held -= _weight(event)
        return event


def _weight(event: Event) -> int:
    """Zero for what may not be dropped."""
    match event:
        case ChangeSet() | Part():
            return len(event.changes) + 1
        case Heard():
            return 1
        case _:
            return 0
