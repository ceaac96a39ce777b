# SPDX-License-Identifier: Apache-2.0
"""What a caller may do with messages."""

from collections.abc import Sequence

from transom.errors import BadRequest
from transom.queue.app.access import Access, let_others_go_on
from transom.queue.app.waiting import Gone
from transom.queue.logic import limits
from transom.queue.model import (
    ClaimId,
    ClientId,
    Message,
    MessageFilter,
    MessageId,
    MessageNotFound,
    NewMessage,
    Place,
)
from transom.queue.store import messages
from transom.queue.store.posts import Posted
from transom.queue.store.verbs.messages import Delete, DeleteAnyway, Pop, Post
from transom.runtime.auth.context import Context
from transom.runtime.idempotency import Repeat

SCANNED_AT_ONCE = 2000


class Messages:
    """The use cases."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def post(
        self,
        context: Context,
        name: str,
        client_id: ClientId,
        new: Sequence[NewMessage],
        size_bytes: int,
        repeat: Repeat | None = None,
    ) -> Posted:
        """Stores the messages, all or none; the queue comes to be if it is not there.

        One whose key the queue has seen within its window is not stored again.
        """
        place = self._access.place(context, "messages:create", name)
        limits.check_messages(new, self._access.config)
        verb = Post(place, client_id, size_bytes, tuple(new))
        posted = await self._access.write_once(context, repeat, verb, Posted)
        if posted.created:
            self._access.on_change()
        return posted

    async def page(
        self,
        context: Context,
        name: str,
        wanted: MessageFilter,
        marker: MessageId | None,
        limit: int | None,
        *,
        wait_s: int | None = None,
        gone: Gone | None = None,
    ) -> tuple[Message, ...]:
        """The messages after the marker that the filter admits: `limit`, or all to the end.

        If there are none it waits for the first, at most `wait_s`.

        A page over very many rows that the filter passes over is read in several steps, each of
        one moment; between them other requests go on.
        """
        place = self._access.place(context, "messages:get_all", name)
        limit = self._access.page_size(limit, self._access.config.max_messages_per_page)
        after = marker.sequence if marker else 0

        async def attempt() -> tuple[Message, ...]:
            return await self._found(place, wanted, after, limit)

        return await self._access.waiting.observe(place, wait_s, attempt, gone)

    async def _found(
        self, place: Place, wanted: MessageFilter, after: int | None, limit: int
    ) -> tuple[Message, ...]:
        found: list[Message] = []
        while after is not None and len(found) < limit:
            scanned = await self._scan(place, after, limit - len(found), wanted)
            found += scanned.messages
            after = scanned.position
            if after is not None and len(found) < limit:
                await let_others_go_on()
        return await self._access.opened(place, found)

    async def get(self, context: Context, name: str, message_id: str) -> Message:
        """Raises: MessageNotFound, also for a text that can be no id."""
        place = self._access.place(context, "messages:get", name)
        wanted = MessageId.parse(message_id)
        found = []
        if wanted is not None:
            found = await self._access.read(
                place, lambda tx, now_ms: messages.get_many(tx, now_ms, place, [wanted])
            )
        if not found:
            raise MessageNotFound(f"There is no message {message_id!r} in this queue.")
        return (await self._access.opened(place, found))[0]

    async def get_many(
        self, context: Context, name: str, ids: Sequence[str]
    ) -> tuple[Message, ...]:
        """Those of the messages that exist. Raises: MessageNotFound if none does."""
        place = self._access.place(context, "messages:get_all", name)
        wanted = self._ids(ids)
        found = await self._access.read(
            place, lambda tx, now_ms: messages.get_many(tx, now_ms, place, wanted)
        )
        if not found:
            raise MessageNotFound("None of these messages is in this queue.")
        return await self._access.opened(place, found)

    async def delete(
        self, context: Context, name: str, message_id: str, claims_named: Sequence[ClaimId] | None
    ) -> None:
        """Nothing to delete is no error; what a live claim holds needs that claim.

        Raises: MessageClaimed, NotClaimed, ClaimUnknown.
        """
        place = self._access.place(context, "messages:delete", name)
        wanted = MessageId.parse(message_id)
        if wanted is not None:
            await self._access.write(Delete(place, (wanted,), _named(claims_named)))

    async def delete_many(
        self,
        context: Context,
        name: str,
        ids: Sequence[str],
        claims_named: Sequence[ClaimId] | None,
    ) -> None:
        """With claims named: only what they hold, all or none. Without: whoever holds them.

        Raises: BadRequest, MessageClaimed, NotClaimed, ClaimUnknown.
        """
        place = self._access.place(context, "messages:delete_all", name)
        wanted = self._ids(ids)
        if claims_named is not None:
            await self._access.write(Delete(place, wanted, _named(claims_named)))
        elif self._access.config.delete_needs_claim_ids:
            raise BadRequest("This server deletes messages by ids only with claim_ids.")
        else:
            await self._access.write(DeleteAnyway(place, wanted))

    async def pop(self, context: Context, name: str, limit: int) -> tuple[Message, ...]:
        place = self._access.place(context, "messages:delete_all", name)
        limits.within("The number to pop", limit, 1, self._access.config.max_messages_per_claim)
        popped = await self._access.write(Pop(place, limit))
        return await self._access.opened(place, popped)

    def _ids(self, ids: Sequence[str]) -> tuple[MessageId, ...]:
        limits.within("The number of ids", len(ids), 1, self._access.config.max_messages_per_page)
        parsed = [MessageId.parse(text) for text in ids]
        return tuple(message_id for message_id in parsed if message_id is not None)

    async def _scan(
        self, place: Place, after: int, limit: int, wanted: MessageFilter
    ) -> messages.Scanned:
        return await self._access.read(
            place,
            lambda tx, now_ms: messages.scan(
                tx, now_ms, place, after, limit, wanted, SCANNED_AT_ONCE
            ),
        )


def _named(claims_named: Sequence[ClaimId] | None) -> tuple[ClaimId, ...] | None:
    return None if claims_named is None else tuple(claims_named)
