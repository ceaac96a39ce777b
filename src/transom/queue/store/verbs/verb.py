# SPDX-License-Identifier: Apache-2.0
"""What a write is, and who carries it out. See the package."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

import msgspec

from transom.errors import StorageFull
from transom.queue.config import QueueConfig
from transom.queue.logic.quota import Leeway, Limits, Quotas
from transom.queue.model import Place
from transom.queue.store.project_keys import Keyring
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database, Transaction
from transom.runtime.ids import Randomness

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
RUNG_LATE_S = 1.0


def _nobody(place: Place) -> None:
    """Nobody waits."""


def _uncounted(number: int) -> None:
    """Nobody counts."""


@dataclass(slots=True)
class Moved:
    """What a run of a verb that `moves` did beside its answer. `places`: the queues that it moved
    messages to; `buried`: how many it gave up, since they had been claimed too often."""

    places: list[Place] = field(default_factory=list)
    buried: int = 0


class Tools(msgspec.Struct, frozen=True):
    """What every verb finds where it runs.

    `ring` is told, after the commit, of a queue in which something may be available now; `bury`,
    how many messages were given up. `moved`: where a verb that `moves` writes down what it did.
    """

    config: QueueConfig
    clock: Clock
    random: Randomness
    ring: Callable[[Place], None] = _nobody
    bury: Callable[[int], None] = _uncounted
    moved: Moved | None = None
    keyring: Keyring = msgspec.field(default_factory=lambda: Keyring(None))
    quotas: Quotas = msgspec.field(default_factory=lambda: Quotas(Limits()))
    leeway: Leeway = msgspec.field(default_factory=Leeway)


class WriteVerb(Protocol[T_co]):
    """One of the classes of this package."""

    @property
    def moves(self) -> bool:
        """See `Verb.moves`."""

    @property
    def grows(self) -> bool:
        """See `Verb.grows`."""

    def rings(self, answer: Any, /) -> Sequence[Place]:
        """See `Verb.rings`."""

    @property
    def place(self) -> Place:
        """The queue whose store it changes."""

    async def run(self, tx: Transaction, tools: Tools) -> T_co:
        """Raises: what the step of the store raises."""


class Writer(Protocol):
    """Carries verbs out, here or in the process that may."""

    @property
    def problem(self) -> str:
        """What keeps it from writing now; "" if nothing."""

    @property
    def leaves(self) -> bool:
        """Whether verbs leave this process: what must not be seen on the way is sealed before."""

    async def write(self, verb: WriteVerb[T]) -> T:
        """Returns when the verb's effect is on disk. Raises: what the verb raises, Unavailable."""


class LocalWriter:
    """On a database that this process may write."""

    leaves = False

    def __init__(self, database: Database, tools: Tools) -> None:
        self._database = database
        self._tools = tools

    @property
    def problem(self) -> str:
        return self._database.problem

    async def write(self, verb: WriteVerb[T]) -> T:
        tools, moved = self._tools, None
        if verb.grows and self._database.is_short(tools.config.min_free_bytes):
            raise StorageFull(detail="less than [queue] min_free_bytes is free")
        try:
            if verb.moves:
                answer, moved = await self._database.write(lambda tx: self._moving(tx, verb))
            else:
                answer = await self._database.write(lambda tx: verb.run(tx, tools))
        except asyncio.CancelledError:  # it commits, perhaps, and nobody is here to say so
            asyncio.get_running_loop().call_later(RUNG_LATE_S, tools.ring, verb.place)
            raise
        for place in verb.rings(answer):
            tools.ring(place)
        if moved is not None:
            for place in dict.fromkeys(moved.places):
                tools.ring(place)
            if moved.buried:
                tools.bury(moved.buried)
        return answer

    async def _moving(self, tx: Transaction, verb: WriteVerb[T]) -> tuple[T, Moved]:
        """A verb may be run more than once; what it did in the run that is kept counts."""
        moved = Moved()
        return await verb.run(tx, msgspec.structs.replace(self._tools, moved=moved)), moved


class Verb(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A write of one queue's store. `moves`: its answer does not say all queues that it changes.
    `grows`: it is refused while little space is left, so that others can make some."""

    moves: ClassVar[bool] = False
    grows: ClassVar[bool] = False
    place: Place

    def rings(self, answer: Any, /) -> Sequence[Place]:
        """The queues in which, by its commit, messages may be available now, or sooner than known.

        `answer`: what `run` gave.
        """
        return ()
