# SPDX-License-Identifier: Apache-2.0
"""Watching a queue: where it ends now, and when it may have gone on.

A watcher reads on from a place in the queue's order, so it misses nothing and sees nothing twice,
whoever posts and wherever; being woken only says that a look may be worth it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from transom.queue.app.access import Access
from transom.queue.app.bell import Waiter
from transom.queue.model import MessageId, uuid_text
from transom.queue.store import stats
from transom.runtime.auth.context import Context


class Watching:
    """The use cases."""

    def __init__(self, access: Access) -> None:
        self._access = access

    @property
    def keeps_order(self) -> bool:
        """Whether writes that are begun in order are carried out in order, also unawaited."""
        stores = self._access.stores
        home = stores.home
        return stores.alone and home.database.in_order and not home.writer.leaves

    def new_id(self) -> str:
        """Of a subscription that is kept nowhere."""
        return uuid_text(self._access.random(16))

    async def end(self, context: Context, name: str) -> MessageId:
        """A marker after all messages that are there now. What is posted later comes after it."""
        self._access.enforce(context, "subscription:create")
        place = self._access.place(context, "messages:get_all", name)
        found = await self._access.read(place, lambda tx, now_ms: stats.stats(tx, now_ms, place))
        return MessageId(0 if found.newest is None else found.newest.id.sequence, 0)

    @contextmanager
    def waiter(self, context: Context, name: str) -> Iterator[Waiter]:
        """One who is told of posts until it leaves. Raises: TooManyRequests, Unavailable."""
        place = self._access.place(context, "messages:get_all", name)
        bell = self._access.waiting.bell
        waiter = bell.enter([place], takes=False)
        try:
            yield waiter
        finally:
            bell.leave(waiter, served=True)
