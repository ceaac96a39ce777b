# SPDX-License-Identifier: Apache-2.0
"""What a caller may do with queues: authorised, within limits, one atomic step in the store each.

Invariants:
1. Every method begins with its access rule; the project is that of the caller's token. So an
   answer is given again, to a request that is repeated, only where the first would be given.
2. The time is read inside the transaction, so times never go back from one write to the next.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgspec

from transom.errors import BadRequest
from transom.node.once import Key, decoded
from transom.queue.config import QueueConfig
from transom.queue.logic import attributes, limits
from transom.queue.logic.selection import QueueFilter
from transom.queue.model import (
    Change,
    Claim,
    ClaimId,
    ClaimNotFound,
    ClientId,
    Message,
    MessageFilter,
    MessageId,
    MessageNotFound,
    NewMessage,
    Place,
    ProjectMissing,
    Stats,
    check_queue_name,
    claim_from,
)
from transom.queue.store import claims, messages, queues, stats, verbs
from transom.runtime.auth.context import Context
from transom.runtime.auth.rules import Rules
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database, Transaction
from transom.runtime.idempotency import Repeat
from transom.runtime.ids import Randomness

T = TypeVar("T")
DEFAULT_PAGE = 10
SCANNED_AT_ONCE = 2000
QUEUES_AT_ONCE = 100
"""Few, since each may have metadata of 64 KiB."""
CLAIM_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class QueuePage:
    """(name, metadata with defaults) by name; `count`: of all that the filter admits."""

    queues: tuple[tuple[str, attributes.Metadata], ...]
    count: int | None


class QueueApp:
    """The use cases. `on_change` is called after each commit that changed the table of queues.

    `database` is read; what is written goes through `writer`.
    """

    def __init__(
        self,
        database: Database,
        writer: verbs.Writer,
        config: QueueConfig,
        rules: Rules,
        clock: Clock,
        random: Randomness,
        on_change: Callable[[], None],
    ) -> None:
        self._database = database
        self._writer = writer
        self._config = config
        self._rules = rules
        self._clock = clock
        self._random = random
        self._on_change = on_change

    async def create_queue(
        self,
        context: Context,
        name: str,
        metadata: attributes.Metadata,
        repeat: Repeat | None = None,
    ) -> bool:
        """False if the queue was there; its metadata then stay as they are."""
        place = self._place(context, "queues:create", name)
        text = attributes.checked_text(name, metadata, self._config)
        verb = verbs.CreateQueue(place, text)
        created = await self._write(context, repeat, verb, bool)
        if created:
            self._on_change()
        return created

    async def show_queue(self, context: Context, name: str) -> attributes.Metadata:
        """The metadata with defaults; those of a queue that is not there are all defaults."""
        place = self._place(context, "queues:get", name)
        text = await self._database.read(lambda tx: queues.metadata_of(tx, place))
        return attributes.shown(_decoded(text or "{}"), self._config)

    async def queue_exists(self, context: Context, name: str) -> bool:
        place = self._place(context, "queues:get", name)
        return await self._database.read(lambda tx: queues.metadata_of(tx, place)) is not None

    async def update_queue(
        self, context: Context, name: str, changes: Sequence[Change]
    ) -> attributes.Metadata:
        """The metadata after all changes, with defaults."""
        place = self._place(context, "queues:update", name)
        text, changed = await self._writer.write(verbs.ChangeQueue.of(place, changes))
        if changed:
            self._on_change()
        return attributes.shown(_decoded(text), self._config)

    async def delete_queue(self, context: Context, name: str) -> None:
        place = self._place(context, "queues:delete", name)
        if await self._writer.write(verbs.DeleteQueue(place)):
            self._on_change()

    async def purge_queue(self, context: Context, name: str, *, messages_too: bool) -> None:
        place = self._place(context, "queues:purge", name)
        if messages_too:
            await self._writer.write(verbs.PurgeQueue(place))

    async def list_queues(
        self,
        context: Context,
        wanted: QueueFilter,
        marker: str,
        limit: int | None,
        *,
        with_count: bool,
    ) -> QueuePage:
        """The queues after the one called `marker`."""
        self._enforce(context, "queues:get_all")
        project_id = context.project_id
        limit = self._page_size(limit, self._config.max_queues_per_page)
        counting = with_count and not wanted.admits_all
        most = limit if wanted.admits_all else QUEUES_AT_ONCE
        found: list[tuple[str, attributes.Metadata]] = []
        seen, at = 0, "" if counting else marker
        while True:
            chunk = await self._queue_chunk(project_id, at, most)
            for name, text in chunk:
                metadata = _decoded(text)
                if wanted.admits(name, metadata):
                    seen += 1
                    if name > marker and len(found) < limit:
                        found.append((name, attributes.shown(metadata, self._config)))
            if len(chunk) < most or (len(found) == limit and not counting):
                break
            at = chunk[-1][0]
            await _let_others_go_on()
        count = None
        if with_count:
            count = seen if counting else await self._count(project_id)
        return QueuePage(tuple(found), count)

    async def queue_stats(self, context: Context, name: str) -> Stats:
        place = self._place(context, "queues:stats", name)
        return await self._read(lambda tx, now_ms: stats.stats(tx, now_ms, place))

    async def post(
        self,
        context: Context,
        name: str,
        client_id: ClientId,
        new: Sequence[NewMessage],
        size_bytes: int,
        repeat: Repeat | None = None,
    ) -> tuple[MessageId, ...]:
        """Stores the messages, all or none; the queue comes to be if it is not there."""
        place = self._place(context, "messages:create", name)
        limits.check_messages(new, self._config)
        verb = verbs.Post(place, client_id, size_bytes, tuple(new))
        posted = await self._write(context, repeat, verb, messages.Posted)
        if posted.created:
            self._on_change()
        return posted.ids

    async def list_messages(
        self,
        context: Context,
        name: str,
        wanted: MessageFilter,
        marker: MessageId | None,
        limit: int | None,
    ) -> tuple[Message, ...]:
        """The messages after the marker that the filter admits: `limit`, or all to the end.

        A page over very many rows that the filter passes over is read in several steps, each of
        one moment; between them other requests go on.
        """
        place = self._place(context, "messages:get_all", name)
        limit = self._page_size(limit, self._config.max_messages_per_page)
        found: list[Message] = []
        after: int | None = marker.sequence if marker else 0
        while after is not None and len(found) < limit:
            scanned = await self._scan(place, after, limit - len(found), wanted)
            found += scanned.messages
            after = scanned.position
            if after is not None and len(found) < limit:
                await _let_others_go_on()
        return tuple(found)

    async def get_message(self, context: Context, name: str, message_id: str) -> Message:
        """Raises: MessageNotFound, also for a text that can be no id."""
        place = self._place(context, "messages:get", name)
        wanted = MessageId.parse(message_id)
        found = []
        if wanted is not None:
            found = await self._read(
                lambda tx, now_ms: messages.get_many(tx, now_ms, place, [wanted])
            )
        if not found:
            raise MessageNotFound(f"There is no message {message_id!r} in this queue.")
        return found[0]

    async def get_messages(
        self, context: Context, name: str, ids: Sequence[str]
    ) -> tuple[Message, ...]:
        """Those of the messages that exist. Raises: MessageNotFound if none does."""
        place = self._place(context, "messages:get_all", name)
        wanted = self._ids(ids)
        found = await self._read(lambda tx, now_ms: messages.get_many(tx, now_ms, place, wanted))
        if not found:
            raise MessageNotFound("None of these messages is in this queue.")
        return tuple(found)

    async def delete_message(
        self, context: Context, name: str, message_id: str, claims_named: Sequence[ClaimId] | None
    ) -> None:
        """Nothing to delete is no error; what a live claim holds needs that claim.

        Raises: MessageClaimed, NotClaimed, ClaimUnknown.
        """
        place = self._place(context, "messages:delete", name)
        wanted = MessageId.parse(message_id)
        if wanted is not None:
            await self._writer.write(verbs.Delete(place, (wanted,), _named(claims_named)))

    async def delete_messages(
        self,
        context: Context,
        name: str,
        ids: Sequence[str],
        claims_named: Sequence[ClaimId] | None,
    ) -> None:
        """With claims named: only what they hold, all or none. Without: whoever holds them.

        Raises: BadRequest, MessageClaimed, NotClaimed, ClaimUnknown.
        """
        place = self._place(context, "messages:delete_all", name)
        wanted = self._ids(ids)
        if claims_named is not None:
            await self._writer.write(verbs.Delete(place, wanted, _named(claims_named)))
        elif self._config.delete_needs_claim_ids:
            raise BadRequest("This server deletes messages by ids only with claim_ids.")
        else:
            await self._writer.write(verbs.DeleteAnyway(place, wanted))

    async def pop(self, context: Context, name: str, limit: int) -> tuple[Message, ...]:
        place = self._place(context, "messages:delete_all", name)
        limits.within("The number to pop", limit, 1, self._config.max_messages_per_claim)
        return tuple(await self._writer.write(verbs.Pop(place, limit)))

    async def claim(
        self,
        context: Context,
        name: str,
        ttl_s: int | None,
        grace_s: int | None,
        limit: int | None,
        repeat: Repeat | None = None,
    ) -> Claim | None:
        """The first waiting messages, in order; None if there are none."""
        place = self._place(context, "claims:create", name)
        terms = limits.claim_terms(ttl_s, grace_s, self._config)
        most = self._page_size(limit, self._config.max_messages_per_claim)
        claim_id = ClaimId(self._random(CLAIM_ID_BYTES))
        verb = verbs.Take(place, claim_id, terms, most)
        taken, created = await self._write(context, repeat, verb, tuple[Claim | None, bool])
        if created:
            self._on_change()
        return taken

    async def get_claim(self, context: Context, name: str, claim: str) -> Claim:
        """Raises: ClaimNotFound."""
        place = self._place(context, "claims:get", name)
        claim_id = _claim_id(claim)
        return await self._read(lambda tx, now_ms: claims.get(tx, now_ms, place, claim_id))

    async def renew_claim(
        self, context: Context, name: str, claim: str, ttl_s: int | None, grace_s: int | None
    ) -> None:
        """Raises: ClaimNotFound, also for a claim that has expired."""
        place = self._place(context, "claims:update", name)
        terms = limits.claim_terms(ttl_s, grace_s, self._config)
        claim_id = _claim_id(claim)
        await self._writer.write(verbs.Renew(place, claim_id, terms))

    async def release_claim(self, context: Context, name: str, claim: str) -> None:
        """Nothing to release is no error."""
        place = self._place(context, "claims:delete", name)
        claim_id = claim_from(claim)
        if claim_id is not None:
            await self._writer.write(verbs.Release(place, claim_id))

    async def ping(self) -> None:
        """Raises: what keeps the store from being read."""
        await self._database.read(lambda tx: queues.count(tx, ""))

    def _enforce(self, context: Context, rule: str) -> None:
        if not context.project_id:
            raise ProjectMissing("The token is for no project; ask for one that is.")
        self._rules.enforce(rule, context, {"project_id": context.project_id})

    def _place(self, context: Context, rule: str, name: str) -> Place:
        self._enforce(context, rule)
        return Place(context.project_id, check_queue_name(name))

    def _page_size(self, limit: int | None, most: int) -> int:
        if limit is None:
            return min(DEFAULT_PAGE, most)
        return limits.within("The limit", limit, 1, most)

    def _ids(self, ids: Sequence[str]) -> tuple[MessageId, ...]:
        limits.within("The number of ids", len(ids), 1, self._config.max_messages_per_page)
        parsed = [MessageId.parse(text) for text in ids]
        return tuple(message_id for message_id in parsed if message_id is not None)

    async def _scan(
        self, place: Place, after: int, limit: int, wanted: MessageFilter
    ) -> messages.Scanned:
        return await self._read(
            lambda tx, now_ms: messages.scan(
                tx, now_ms, place, after, limit, wanted, SCANNED_AT_ONCE
            )
        )

    async def _queue_chunk(self, project_id: str, after: str, most: int) -> list[tuple[str, str]]:
        return await self._database.read(lambda tx: queues.page(tx, project_id, after, most))

    async def _count(self, project_id: str) -> int:
        return await self._database.read(lambda tx: queues.count(tx, project_id))

    async def _write(
        self,
        context: Context,
        repeat: Repeat | None,
        verb: verbs.WriteVerb[T],
        kind: type[T],
    ) -> T:
        """`verb`: one that `verbs.Once` takes; `kind`: what it gives."""
        if repeat is None:
            return await self._writer.write(verb)
        once = verbs.Once(Key.of(repeat, context), cast(Any, verb))
        answer, repeat.replayed = await self._writer.write(once)
        return decoded(answer, kind)

    async def _read(self, verb: Callable[[Transaction, int], Awaitable[T]]) -> T:
        return await self._database.read(lambda tx: verb(tx, self._clock.now_ms()))


async def _let_others_go_on() -> None:
    """A read is carried out inline and suspends nobody, so many in a row would block the loop."""
    await asyncio.sleep(0)


def _named(claims_named: Sequence[ClaimId] | None) -> tuple[ClaimId, ...] | None:
    return None if claims_named is None else tuple(claims_named)


def _decoded(text: str) -> attributes.Metadata:
    decoded: attributes.Metadata = msgspec.json.decode(text)
    return decoded


def _claim_id(text: str) -> ClaimId:
    claim_id = claim_from(text)
    if claim_id is None:
        raise ClaimNotFound("There is no such claim, or it has expired.")
    return claim_id
