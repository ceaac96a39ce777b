# SPDX-License-Identifier: Apache-2.0
"""In front of a store's writer: projects get their turns by what they have used, not by how many
of their writes wait.

What the store was handed cannot be overtaken, so a write waits for that at least. Therefore little
of each project is handed on at a time while several write. A project that writes alone is handed on
much more, so that its writes hardly ever wait here.

Invariants:
1. What is handed on at a time of a project costs at most `writes_at_once` and one write, and
   `ALONE` times that while it writes alone; of all projects not more than this. Who has less goes
   straight on, and pays a microsecond.
2. A project that has too much waiting is refused, and it alone.
3. A caller that is cancelled gives its place or its turn back.

Measured: see bench/queue/fair_use.py.
"""

import asyncio
from typing import Any, TypeVar

from transom.errors import TooManyRequests, Unavailable
from transom.queue.config import QueueConfig
from transom.queue.logic.fairness import FairLine, Refused
from transom.queue.store.verbs.catalogue import Once
from transom.queue.store.verbs.messages import Post
from transom.queue.store.verbs.travelling import Here
from transom.queue.store.verbs.verb import Writer, WriteVerb

T = TypeVar("T")

QUANTUM = 8
COST_MAX = 16 * QUANTUM
BYTES_A_COST = 4096
"""A message of so many bytes counts as two."""
ALONE = 8
SEVERAL_S = 0.25
"""After the last write of another project a project writes alone."""
WAITING_MAX = 4096
RETRY_AFTER_S = 1


_Turn = tuple[str, int, asyncio.Future[None]]
"""(project, cost, what its caller waits for)"""


class FairWriter:
    """A `Writer` of another's verbs."""

    def __init__(self, writer: Writer, config: QueueConfig) -> None:
        self._writer = writer
        self._at_once = config.writes_at_once
        self._project_max = config.project_max_waiting_writes
        self._line: FairLine[_Turn] = FairLine(
            QUANTUM, self._at_once * ALONE, self._project_max, max(WAITING_MAX, self._project_max)
        )
        self._last = ""  # the project that wrote last
        self._several_until_s = 0.0

    @property
    def problem(self) -> str:
        return self._writer.problem

    @property
    def leaves(self) -> bool:
        return self._writer.leaves

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._line)

    async def write(self, verb: WriteVerb[T]) -> T:
        """Raises: also TooManyRequests, for the project of the verb alone."""
        cost, project_id = cost_of(verb), verb.place.project_id
        if project_id != self._last:
            self._comes(project_id)
        if not self._line.goes(project_id, cost, self._at_once) and not self._line.goes(
            project_id, cost, self._share()
        ):
            await self._turn(project_id, cost)
        try:
            return await self._writer.write(verb)
        finally:
            self._done(project_id, cost)

    def _comes(self, project_id: str) -> None:
        if self._last:
            self._several_until_s = asyncio.get_running_loop().time() + SEVERAL_S
        self._last = project_id

    def _share(self) -> int:
        several = asyncio.get_running_loop().time() < self._several_until_s
        return self._at_once if several else self._at_once * ALONE

    async def _turn(self, project_id: str, cost: int) -> None:
        """Returns when the verb is among those handed on."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        refused = self._line.put(project_id, cost, (project_id, cost, turn))
        if refused is Refused.FLOW_FULL:
            raise TooManyRequests(
                f"{self._project_max} writes of this project wait already; send them slower.",
                retry_after_s=RETRY_AFTER_S,
            )
        if refused is Refused.FULL:
            raise Unavailable("Too many writes wait for the store; try again.")
        try:
            await turn
        except asyncio.CancelledError:
            # Told to go, but cancelled before it ran; else its turn comes, and goes to the next.
            if turn.done() and not turn.cancelled():
                self._done(project_id, cost)
            raise

    def _done(self, project_id: str, cost: int) -> None:
        self._line.done(project_id, cost)
        if self._line:
            self._admit()

    def _admit(self) -> None:
        share = self._share()
        while (found := self._line.take(share)) is not None:
            project_id, cost, turn = found
            if turn.done():  # its caller was cancelled
                self._line.done(project_id, cost)
            else:
                turn.set_result(None)


def cost_of(verb: WriteVerb[Any]) -> int:
    """What a verb costs the store, roughly: 1 and more for many or large messages."""
    inner: Any = verb
    while type(inner) is Here or type(inner) is Once:
        inner = inner.verb
    if type(inner) is Post:
        return min(COST_MAX, len(inner.messages) + inner.size_bytes // BYTES_A_COST)
    ids = getattr(inner, "ids", None)
    return min(COST_MAX, max(1, len(ids) if ids is not None else getattr(inner, "limit", 1)))
