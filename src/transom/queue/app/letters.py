# SPDX-License-Identifier: Apache-2.0
"""What a caller may do with dead letters, and how messages come from one database to another."""

from collections.abc import Sequence
from contextlib import suppress

from transom.errors import TransomError
from transom.queue.app import sealed
from transom.queue.app.access import Access
from transom.queue.logic import limits
from transom.queue.logic.letters import MOST_REDRIVEN, REDRIVEN
from transom.queue.model import (
    NO_PLACE,
    ContentId,
    InvalidQueueName,
    MessageId,
    Place,
    check_queue_name,
)
from transom.queue.store import letters
from transom.queue.store.letters import Redriven
from transom.queue.store.stores import Store
from transom.queue.store.verbs.letters import Arrive, Departed, Redrive
from transom.runtime.auth.context import Context
from transom.runtime.idempotency import Repeat

BROUGHT_AT_ONCE = 20
"""Each may be as large as a whole request to post."""
WAYS_AT_ONCE = 100


class Letters:
    """The use cases."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._after: dict[str, Place] = {}  # by the store: the last way that was looked at

    async def redrive(
        self,
        context: Context,
        name: str,
        limit: int | None,
        ids: Sequence[str] | None,
        to: str | None,
        repeat: Repeat | None = None,
    ) -> Redriven:
        """Moves dead letters back to the queues they came from, or to `to`; in order.

        The first `limit` of the queue, or these. What a live claim holds stays.
        """
        place = self._access.place(context, "queues:redrive", name)
        limit = REDRIVEN if limit is None else limit
        limits.within("The limit", limit, 1, MOST_REDRIVEN)
        wanted = None
        if ids is not None:
            limits.within("The number of ids", len(ids), 1, MOST_REDRIVEN)
            parsed = [MessageId.parse(text) for text in ids]
            wanted = tuple(one for one in parsed if one is not None)
        if to is not None and check_queue_name(to) == name:
            raise InvalidQueueName("The messages are in this queue; name another one in `to`.")
        verb = Redrive(place, wanted, to, limit)
        redriven = await self._access.write_once(context, repeat, verb, Redriven)
        if redriven.created:
            self._access.on_change()
        if redriven.departed:
            with suppress(TransomError):  # they are on their way; who calls `deliver` goes on
                await self.deliver()
        return redriven

    async def deliver(self) -> None:
        """Brings messages that departed to other databases over, each once and in order.

        Of each store, those on the next `WAYS_AT_ONCE` ways; the next call goes on with others.
        Raises: Unavailable and the like where a database is away; then it is to be called again.
        """
        failed: TransomError | None = None
        for store in [one for one in self._access.stores.every() if one.owned]:
            try:
                ways = await self._ways(store)
            except TransomError as error:
                failed, ways = error, []
            while ways:
                again = []
                for place, content_id in ways:
                    try:
                        if await self._bring(store, place, content_id):
                            again.append((place, content_id))
                    except TransomError as error:  # one that is away keeps nobody else waiting
                        failed = error
                ways = again
        if failed is not None:
            raise failed

    async def _ways(self, store: Store) -> list[tuple[Place, ContentId]]:
        after = self._after.pop(store.name, NO_PLACE)
        ways = await store.database.read(lambda tx: letters.ways(tx, after, WAYS_AT_ONCE))
        if len(ways) == WAYS_AT_ONCE:
            self._after[store.name] = ways[-1][0]
        return ways

    async def _bring(self, store: Store, place: Place, content_id: ContentId) -> bool:
        """The first of a way. True: there may be more."""
        leaving = await store.database.read(
            lambda tx: letters.on_their_way(tx, content_id, BROUGHT_AT_ONCE)
        )
        coming = await sealed.arriving(store, place.project_id, leaving)
        created = False
        if coming:
            created = await self._access.write(Arrive(place, coming))
        if created:
            self._access.on_change()
        ids = tuple(one.id for one in leaving)
        await store.writer.write(Departed(place, content_id, ids))
        return len(leaving) == BROUGHT_AT_ONCE
