# SPDX-License-Identifier: Apache-2.0
"""The queue's writes as values: each is one atomic step, and can be carried to who may do it.

A file of SQLite has one writing process. Whoever else wants something written sends the verb to it
(see `queue.bus`); on a database that all may write, the same verb runs where it was made.

Invariants:
1. A verb holds plain data alone; the time and what is random are those of where it runs.
2. `run` changes nothing but the database, and can be run again whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import msgspec

from transom.node.once import Key, once
from transom.queue.config import QueueConfig
from transom.queue.logic import attributes, patch
from transom.queue.logic.limits import ClaimTerms
from transom.queue.model import (
    Change,
    Claim,
    ClaimId,
    ClientId,
    Message,
    MessageId,
    NewMessage,
    Place,
)
from transom.queue.store import claims, messages, queues
from transom.queue.store.messages import Batch, Posted
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database, Transaction
from transom.runtime.ids import Randomness

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Tools:
    """What every verb finds where it runs."""

    config: QueueConfig
    clock: Clock
    random: Randomness


class WriteVerb(Protocol[T_co]):
    """One of the classes below."""

    async def run(self, tx: Transaction, tools: Tools) -> T_co:
        """Raises: what the step of the store raises."""


class Writer(Protocol):
    """Carries verbs out, here or in the process that may."""

    @property
    def problem(self) -> str:
        """What keeps it from writing now; "" if nothing."""

    async def write(self, verb: WriteVerb[T]) -> T:
        """Returns when the verb's effect is on disk. Raises: what the verb raises, Unavailable."""


class LocalWriter:
    """On a database that this process may write."""

    def __init__(self, database: Database, tools: Tools) -> None:
        self._database = database
        self._tools = tools

    @property
    def problem(self) -> str:
        return self._database.problem

    async def write(self, verb: WriteVerb[T]) -> T:
        return await self._database.write(lambda tx: verb.run(tx, self._tools))


class _Verb(msgspec.Struct, frozen=True, tag=True, array_like=True):
    place: Place


class CreateQueue(_Verb, frozen=True, tag=True, array_like=True):
    metadata: str

    async def run(self, tx: Transaction, tools: Tools) -> bool:
        return await queues.create(tx, tools.clock.now_ms(), self.place, self.metadata)


class ChangeQueue(_Verb, frozen=True, tag=True, array_like=True):
    """`changes`: JSON of a list of `Change`, since numbers in them may be of any size."""

    changes: bytes

    @classmethod
    def of(cls, place: Place, changes: Sequence[Change]) -> "ChangeQueue":
        return cls(place, msgspec.json.encode(changes))

    async def run(self, tx: Transaction, tools: Tools) -> tuple[str, bool]:
        """The metadata after all changes, and whether they are new."""
        changes = msgspec.json.decode(self.changes, type=list[Change])

        def change(before: str) -> str:
            after = patch.patched(msgspec.json.decode(before), changes)
            return attributes.checked_text(self.place.name, after, tools.config)

        return await queues.update(tx, self.place, change)


class DeleteQueue(_Verb, frozen=True, tag=True, array_like=True):
    async def run(self, tx: Transaction, tools: Tools) -> bool:
        return await queues.delete(tx, self.place)


class PurgeQueue(_Verb, frozen=True, tag=True, array_like=True):
    async def run(self, tx: Transaction, tools: Tools) -> None:
        await queues.purge(tx, self.place)


class Post(_Verb, frozen=True, tag=True, array_like=True):
    """`size_bytes`: of the request's whole body."""

    client_id: ClientId
    size_bytes: int
    messages: tuple[NewMessage, ...]

    async def run(self, tx: Transaction, tools: Tools) -> Posted:
        batch = Batch(self.messages, self.client_id, self.size_bytes)
        now_ms = tools.clock.now_ms()
        return await messages.post(tx, now_ms, self.place, batch, tools.config, tools.random)


class Delete(_Verb, frozen=True, tag=True, array_like=True):
    """`named`: None if no claim was named."""

    ids: tuple[MessageId, ...]
    named: tuple[ClaimId, ...] | None

    async def run(self, tx: Transaction, tools: Tools) -> int:
        now_ms = tools.clock.now_ms()
        return await messages.delete(tx, now_ms, self.place, self.ids, self.named)


class DeleteAnyway(_Verb, frozen=True, tag=True, array_like=True):
    ids: tuple[MessageId, ...]

    async def run(self, tx: Transaction, tools: Tools) -> int:
        return await messages.delete_anyway(tx, self.place, self.ids)


class Pop(_Verb, frozen=True, tag=True, array_like=True):
    limit: int

    async def run(self, tx: Transaction, tools: Tools) -> list[Message]:
        return await messages.pop(tx, tools.clock.now_ms(), self.place, self.limit)


class Take(_Verb, frozen=True, tag=True, array_like=True):
    claim_id: ClaimId
    terms: ClaimTerms
    limit: int

    async def run(self, tx: Transaction, tools: Tools) -> tuple[Claim | None, bool]:
        """The claim, and whether a queue for dead letters came to be."""
        now_ms = tools.clock.now_ms()
        return await claims.take(
            tx, now_ms, self.place, self.claim_id, self.terms, self.limit, tools.random
        )


class Renew(_Verb, frozen=True, tag=True, array_like=True):
    claim_id: ClaimId
    terms: ClaimTerms

    async def run(self, tx: Transaction, tools: Tools) -> None:
        await claims.renew(tx, tools.clock.now_ms(), self.place, self.claim_id, self.terms)


class Release(_Verb, frozen=True, tag=True, array_like=True):
    claim_id: ClaimId

    async def run(self, tx: Transaction, tools: Tools) -> None:
        await claims.release(tx, self.place, self.claim_id)


class Once(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Another verb, for a request that has an idempotency key."""

    key: Key
    verb: CreateQueue | Post | Take

    async def run(self, tx: Transaction, tools: Tools) -> tuple[bytes, bool]:
        """See `node.once`."""
        return await once(tx, tools.clock.now_ms(), self.key, lambda: self.verb.run(tx, tools))


AnyVerb = (
    CreateQueue
    | ChangeQueue
    | DeleteQueue
    | PurgeQueue
    | Post
    | Delete
    | DeleteAnyway
    | Pop
    | Take
    | Renew
    | Release
    | Once
)
