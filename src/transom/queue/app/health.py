# SPDX-License-Identifier: Apache-2.0
"""Whether each store does what it is for: tried, in a queue that is nobody's, and timed.

Invariants:
1. What is tried is tried in the project `PROBES`, whose name no project can have, so no user ever
   sees it; it is removed whatever came of it, by the next try at the latest.
2. Every operation has an end; what fails is logged under the `ref` that the answer shows.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeVar

import msgspec

from transom.errors import TransomError
from transom.queue.app.access import Access
from transom.queue.logic.limits import ClaimTerms
from transom.queue.model import Claim, ClaimId, ClientId, MessageFilter, NewMessage, Place
from transom.queue.store import messages, volume
from transom.queue.store.stores import Store
from transom.queue.store.verbs.claims import Release, Take
from transom.queue.store.verbs.messages import Delete, DeleteAnyway, Post
from transom.queue.store.verbs.probes import CreateProbe
from transom.queue.store.verbs.queues import DeleteQueue
from transom.queue.store.volume import Volume
from transom.runtime.auth.context import Context
from transom.runtime.clock import Clock

log = logging.getLogger(__name__)
T = TypeVar("T")

PROBES = ":health"
MESSAGES = 100
CLAIMED = 10
TTL_S = 600
TERMS = ClaimTerms(60, 300)
OPERATION_S = 10.0
LEFT_MS = 60_000
LEFT_AT_ONCE = 20
ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one operation. `ref`: what the log calls its failure; None if it succeeded."""

    succeeded: bool
    seconds: float
    ref: str | None


@dataclass(slots=True)
class StoreHealth:
    """What came of one store's trial, operations in their order. `volume`: None if unknown."""

    name: str
    reachable: bool = False
    operations: dict[str, Tried] = field(default_factory=dict)
    volume: Volume | None = None


class Health:
    """The use case."""

    def __init__(self, access: Access, clock: Clock) -> None:
        self._access = access
        self._clock = clock

    async def check(self, context: Context) -> list[StoreHealth]:
        """Of every store, the home first. Raises: Forbidden."""
        self._access.enforce(context, "health:get")
        trials = [_Trial(self._access, self._clock, one) for one in self._access.stores.every()]
        return list(await asyncio.gather(*(trial.run() for trial in trials)))


class _Trial:
    """All operations on one store. Verbs go to it alone, wherever other queues are put."""

    def __init__(self, access: Access, clock: Clock, store: Store) -> None:
        self._random = access.random
        self._clock = clock
        self._store = store
        self._place = Place(PROBES, access.random(ID_BYTES).hex())
        self.health = StoreHealth(store.name)

    async def run(self) -> StoreHealth:
        self.health.volume = await self._try("", self._volume)
        self.health.reachable = self.health.volume is not None
        if self.health.reachable:
            await self._try("", self._clear)
            created = await self._try("create_queue", self._write(CreateProbe(self._place)))
            if created is not None:
                await self._use()
                await self._try("delete_queue", self._write(DeleteQueue(self._place)))
        return self.health

    async def _use(self) -> None:
        new = tuple(
            NewMessage(msgspec.json.encode({"probe": number}), TTL_S) for number in range(MESSAGES)
        )
        client_id = ClientId(self._random(ID_BYTES))
        post = Post(self._place, client_id, sum(len(one.body) for one in new), new)
        posted = await self._try("post_messages", self._write(post))
        if posted is None:
            return
        claim_id = ClaimId(self._random(ID_BYTES))
        take = Take(self._place, claim_id, TERMS, CLAIMED)
        taken = await self._try("claim_messages", self._write(take))
        await self._try("list_messages", self._list)
        claim = taken[0] if taken else None
        if claim is not None:
            await self._try("delete_messages", lambda: self._delete(claim))
            await self._try("delete_claim", self._write(Release(self._place, claim_id)))
        rest = DeleteAnyway(self._place, posted.ids)
        await self._try("bulk_delete_messages", self._write(rest))

    def _write(self, verb: Any) -> Callable[[], Awaitable[Any]]:
        return lambda: self._store.writer.write(verb)

    async def _delete(self, claim: Claim) -> int:
        """One by one, as workers do."""
        deleted = 0
        for message in claim.messages:
            verb = Delete(self._place, (message.id,), (claim.id,))
            deleted += await self._store.writer.write(verb)
        return deleted

    async def _list(self) -> messages.Scanned:
        now_ms, wanted = self._clock.now_ms(), MessageFilter(include_claimed=True)
        return await self._store.database.read(
            lambda tx: messages.scan(tx, now_ms, self._place, 0, MESSAGES, wanted, MESSAGES)
        )

    async def _volume(self) -> Volume:
        now_ms = self._clock.now_ms()
        return await self._store.database.read(lambda tx: volume.volume(tx, now_ms, PROBES))

    async def _clear(self) -> int:
        """Removes what trials left that were cut off."""
        before_ms = self._clock.now_ms() - LEFT_MS
        names = await self._store.database.read(
            lambda tx: volume.left(tx, PROBES, before_ms, LEFT_AT_ONCE)
        )
        for name in names:
            await self._store.writer.write(DeleteQueue(Place(PROBES, name)))
        return len(names)

    async def _try(self, name: str, operation: Callable[[], Awaitable[T]]) -> T | None:
        """What the operation gave, None if it failed; told under its name, if it has one."""
        began_s, ref, answer = perf_counter(), None, None
        try:
            async with asyncio.timeout(OPERATION_S):
                answer = await operation()
        except (TransomError, TimeoutError) as error:
            ref = str(uuid.UUID(bytes=self._random(ID_BYTES)))
            detail = getattr(error, "detail", "") or str(error) or "no answer in time"
            log.warning(
                "store fails its trial",
                extra={"store": self._store.name, "operation": name, "ref": ref, "detail": detail},
            )
        if name:
            self.health.operations[name] = Tried(ref is None, perf_counter() - began_s, ref)
        return answer
