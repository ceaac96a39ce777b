# SPDX-License-Identifier: Apache-2.0
"""Replies whose caller's queue is missing. Pure: time is an argument.

A caller that lost its queue makes it again under the same name within a moment, and its calls
still wait; a caller that died never does. So an answer is kept for a short while and its queue
tried now and then, with one message; then the queue counts as dead, and nothing is kept for it.

Invariants:
1. Messages to one queue leave in the order in which they came.
2. At most QUEUES_MAX queues are remembered, HELD_MAX messages and HELD_BYTES_MAX bytes are held.
3. A queue is tried at most TRIES times; then it is dead for DEAD_S. What is sent to a dead queue
   is tried once, by being sent: a queue that is there after all is found at once.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from math import inf

QUEUES_MAX = 1000
HELD_MAX = 512
HELD_A_QUEUE_MAX = 64
HELD_BYTES_MAX = 16 * 1024 * 1024
PAUSE_S = 0.01
PAUSE_MAX_S = 0.5
TRIES = 12  # 10, 20, 40 ... ms: about 3.5 s in all
DEAD_S = 60.0


@dataclass(frozen=True, slots=True)
class Held:
    """An answer that found no queue."""

    body: bytes
    deadline_s: float


@dataclass(slots=True)
class _Queue:
    held: deque[Held] = field(default_factory=deque)
    tries: int = 0
    pause_s: float = PAUSE_S
    due_s: float = 0.0
    dead_until_s: float = -inf
    trying: bool = False


class MissingQueues:
    """By the queue's name."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, _Queue] = OrderedDict()
        self._held = 0
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._queues)

    @property
    def held(self) -> int:
        """Messages, of all queues."""
        return self._held

    def wake_s(self) -> float:
        """When the next queue is to be tried; inf: none."""
        waiting = (one.due_s for one in self._queues.values() if one.held and not one.trying)
        return min(waiting, default=inf)

    def in_line(self, name: str, message: Held) -> bool:
        """Whether the message has to wait behind others for this queue; then it is held (or, if
        there is no room, dropped)."""
        queue = self._queues.get(name)
        if queue is None or not queue.held:
            return False
        self._hold(queue, message)
        return True

    def missing(self, name: str, message: Held, now_s: float) -> None:
        """The message was sent, and there was no such queue."""
        queue = self._queues.get(name)
        if queue is None or (queue.dead_until_s <= now_s and not queue.held):
            queue = self._queues[name] = _Queue(due_s=now_s + PAUSE_S)
            self._bound()
        if queue.dead_until_s <= now_s:
            self._hold(queue, message)

    def due(self, now_s: float) -> list[tuple[str, Held]]:
        """The first message of each queue that is to be tried now; say `tried` of each."""
        found: list[tuple[str, Held]] = []
        for name, queue in self._queues.items():
            if queue.held and not queue.trying and queue.due_s <= now_s:
                self._drop_late(queue, now_s)
                if queue.held:
                    queue.trying = True
                    found.append((name, queue.held[0]))
        return found

    def tried(self, name: str, now_s: float, *, found: bool) -> list[Held]:
        """What became of a try. What is returned follows the one that was tried."""
        queue = self._queues.get(name)
        if queue is None:
            return []
        queue.trying = False
        if found:
            del self._queues[name]
            rest = list(queue.held)
            self._let_go(queue)
            return rest[1:]
        queue.tries += 1
        queue.pause_s = min(queue.pause_s * 2, PAUSE_MAX_S)
        queue.due_s = now_s + queue.pause_s
        if queue.tries >= TRIES:
            queue.dead_until_s = now_s + DEAD_S
            self._let_go(queue)
        return []

    def is_there(self, name: str) -> None:
        """A message found the queue."""
        queue = self._queues.get(name)
        if queue is not None and not queue.held:
            del self._queues[name]

    def _hold(self, queue: _Queue, message: Held) -> None:
        full = self._held >= HELD_MAX or len(queue.held) >= HELD_A_QUEUE_MAX
        if full or self._held_bytes + len(message.body) > HELD_BYTES_MAX:
            return
        queue.held.append(message)
        self._held += 1
        self._held_bytes += len(message.body)

    def _drop_late(self, queue: _Queue, now_s: float) -> None:
        kept = [message for message in queue.held if message.deadline_s > now_s]
        self._let_go(queue)
        for message in kept:
            self._hold(queue, message)

    def _let_go(self, queue: _Queue) -> None:
        self._held -= len(queue.held)
        self._held_bytes -= sum(len(message.body) for message in queue.held)
        queue.held.clear()

    def _bound(self) -> None:
        while len(self._queues) > QUEUES_MAX:
            self._let_go(self._queues.popitem(last=False)[1])
