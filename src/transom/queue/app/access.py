# SPDX-License-Identifier: Apache-2.0
"""What every use case goes through: access rule, store of the queue, limits of a page."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from msgspec import structs

from transom.errors import Forbidden
from transom.node.once import Key, decoded
from transom.queue.app import sealed
from transom.queue.app.figures import QueueFigures
from transom.queue.app.waiting import Waiting
from transom.queue.config import QueueConfig
from transom.queue.logic import limits
from transom.queue.logic.checksum import checksum_of
from transom.queue.logic.quota import Quotas
from transom.queue.model import (
    Message,
    Notice,
    NotPlaced,
    Place,
    ProjectMissing,
    check_queue_name,
)
from transom.queue.store.stores import Store, Stores
from transom.queue.store.verbs.catalogue import Once
from transom.queue.store.verbs.verb import WriteVerb
from transom.runtime.auth.context import Context
from transom.runtime.auth.rules import Rules
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Transaction
from transom.runtime.idempotency import Repeat
from transom.runtime.ids import Randomness

T = TypeVar("T")
DEFAULT_PAGE = 10


class Access:
    """`on_change` is called after each commit that changed the table of queues."""

    def __init__(
        self,
        stores: Stores,
        config: QueueConfig,
        rules: Rules,
        clock: Clock,
        random: Randomness,
        on_change: Callable[[], None],
        waiting: Waiting,
        quotas: Quotas,
    ) -> None:
        self.stores = stores
        self.waiting = waiting
        self.quotas = quotas
        self.figures = QueueFigures(config.stats_queues)
        self.config = config
        self.random = random
        self.on_change = on_change
        self._rules = rules
        self._clock = clock

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def enforce(self, context: Context, rule: str) -> None:
        """Raises: ProjectMissing, Forbidden."""
        if not context.project_id:
            raise ProjectMissing("The token is for no project; ask for one that is.")
        if context.signed:
            return  # the signature is for this call, and who signed it was asked
        self._rules.enforce(rule, context, {"project_id": context.project_id})

    def enforce_for_all(self, context: Context, rule: str) -> None:
        """As `enforce`, for what is of no project. Raises: Forbidden."""
        if context.signed:
            raise Forbidden("A signed address is for what is in a queue.")
        self._rules.enforce(rule, context, {})

    def place(self, context: Context, rule: str, name: str) -> Place:
        """The caller's queue of this name. Raises: also InvalidQueueName."""
        self.enforce(context, rule)
        return Place(context.project_id, check_queue_name(name))

    def page_size(self, limit: int | None, most: int) -> int:
        """Raises: OutOfRange."""
        if limit is None:
            return min(DEFAULT_PAGE, most)
        return limits.within("The limit", limit, 1, most)

    async def read(self, place: Place, verb: Callable[[Transaction, int], Awaitable[T]]) -> T:
        """Runs the verb, of the time in ms, on the queue's store."""
        if self.stores.alone:
            database = self.stores.home.database
            return await database.read(lambda tx: verb(tx, self._clock.now_ms()))
        return await self.stores.read(place, lambda tx: verb(tx, self._clock.now_ms()))

    async def write(self, verb: WriteVerb[T]) -> T:
        """Returns when it is on disk. Raises: what the verb raises, Unavailable."""
        answer = await self._written(verb)
        self.figures.wrote(verb, answer)
        return answer

    async def _written(self, verb: WriteVerb[T]) -> T:
        if self.stores.alone:
            home = self.stores.home
            try:
                return await home.writer.write(await self._fitted(home, verb))
            except NotPlaced:  # another process has added a pool
                pass
        return await self.stores.write(verb, self._fitted)

    async def _fitted(self, store: Store, verb: WriteVerb[T]) -> WriteVerb[T]:
        if store.writer.leaves:
            return await sealed.fit_to_leave(store, self._clock.now_ms(), verb, self.random)
        return verb

    async def opened(self, place: Place, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Messages that were read of this queue, as its users may see them. Raises: BodyLocked."""
        if any(message.key_generation is not None for message in messages):
            store = await self.stores.of(place)
            messages = await sealed.opened(store, place.project_id, messages)
        if self.config.enable_checksum:
            return tuple(structs.replace(one, checksum=checksum_of(one.body)) for one in messages)
        return tuple(messages)

    async def opened_notice(self, place: Place, notice: Notice) -> Notice:
        """As `opened`, of a notice."""
        if notice.key_generation is None:
            return notice
        kept = Message(notice.id, notice.body, 0, 0, None, 0, key_generation=notice.key_generation)
        body = (await self.opened(place, [kept]))[0].body
        return replace(notice, body=body, key_generation=None)

    async def write_once(
        self,
        context: Context,
        repeat: Repeat | None,
        verb: WriteVerb[T],
        kind: type[T],
        *,
        keep_nothing: bool = True,
        kept_ms: int | None = None,
    ) -> T:
        """`verb`: one that `Once` takes; `kind`: what it gives. `keep_nothing`: see `Once`.
        `kept_ms`: how long what it gives means anything, if that has an end."""
        if repeat is None:
            return await self.write(verb)
        once = Once(Key.of(repeat, context, kept_ms), cast(Any, verb), keep_nothing)
        encoded, repeat.replayed = await self.write(once)
        answer = decoded(encoded, kind)
        if not repeat.replayed:
            self.figures.wrote(verb, answer)
        return answer


async def let_others_go_on() -> None:
    """A read is carried out inline and suspends nobody, so many in a row would block the loop."""
    await asyncio.sleep(0)
