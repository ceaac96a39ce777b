# SPDX-License-Identifier: Apache-2.0
"""Which of a socket's requests may be carried out at once: those on one queue keep their order.

| waits for → | reading | writing | waiting |
|---|---|---|---|
| reading | no | yes | no |
| writing | yes | unless writes keep their order by themselves | no |
| waiting | yes | yes | no |

Invariants:
1. On one queue, a request begins after those before it that it waits for have ended.
2. What waits for messages (`wait`) holds nobody up; otherwise a post behind it would wait for it.
3. Requests on different queues, and those on no queue, wait for nobody.
"""

from collections import deque
from enum import Enum, auto
from typing import Generic, TypeVar

T = TypeVar("T")


class Kind(Enum):
    """What a request does to its queue."""

    READING = auto()
    WRITING = auto()
    WAITING = auto()


class _Line(Generic[T]):
    __slots__ = ("held", "kind", "running")

    def __init__(self) -> None:
        self.running = 0
        self.kind = Kind.READING
        self.held: deque[tuple[T, Kind]] = deque()


class Turns(Generic[T]):
    """Of one socket. `overlapping`: writes that begin in order are carried out in order."""

    def __init__(self, *, overlapping: bool) -> None:
        self._overlapping = overlapping
        self._lines: dict[str, _Line[T]] = {}

    def begins(self, queue: str, kind: Kind, request: T) -> bool:
        """Whether it begins now; otherwise `ended` gives it back when its turn has come."""
        if not queue:
            return True
        line = self._lines.get(queue)
        if line is None:
            if kind is Kind.WAITING:
                return True
            line = self._lines[queue] = _Line()
        if line.held or not self._fits(line, kind):
            line.held.append((request, kind))
            return False
        self._begin(line, kind)
        return True

    def ended(self, queue: str, kind: Kind) -> list[T]:
        """The requests that begin now, in order."""
        line = self._lines.get(queue)
        if line is None or kind is Kind.WAITING:
            return []
        line.running -= 1
        begun: list[T] = []
        while line.held and self._fits(line, line.held[0][1]):
            request, next_kind = line.held.popleft()
            self._begin(line, next_kind)
            begun.append(request)
        if not line.running and not line.held:
            del self._lines[queue]
        return begun

    def _fits(self, line: _Line[T], kind: Kind) -> bool:
        if not line.running:
            return True
        if kind is Kind.WRITING and not self._overlapping:
            return False
        return kind is line.kind

    def _begin(self, line: _Line[T], kind: Kind) -> None:
        if kind is not Kind.WAITING:
            line.running += 1
            line.kind = kind
