# SPDX-License-Identifier: Apache-2.0
"""What a caller may do with queues as wholes."""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import merge

import msgspec

from transom.errors import StorageUnavailable, Unavailable
from transom.queue.app.access import Access, let_others_go_on
from transom.queue.logic import attributes
from transom.queue.logic.selection import QueueFilter
from transom.queue.model import Change, InvalidAttribute, Stats
from transom.queue.store import pools, queues, relay, stats
from transom.queue.store.placing import HOME
from transom.queue.store.verbs.queues import ChangeQueue, CreateQueue, DeleteQueue, PurgeQueue
from transom.queue.store.verbs.subscriptions import UnsubscribeAll
from transom.runtime.auth.context import Context
from transom.runtime.idempotency import Repeat

QUEUES_AT_ONCE = 100
"""Few, since each may have metadata of 64 KiB."""


@dataclass(frozen=True, slots=True)
class QueuePage:
    """(name, metadata with defaults) by name; `count`: of all that the filter admits."""

    queues: tuple[tuple[str, attributes.Metadata], ...]
    count: int | None


class Queues:
    """The use cases."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def create(
        self,
        context: Context,
        name: str,
        metadata: attributes.Metadata,
        repeat: Repeat | None = None,
    ) -> bool:
        """False if the queue was there; its metadata then stay as they are."""
        place = self._access.place(context, "queues:create", name)
        text = attributes.checked_text(name, metadata, self._access.config)
        await self._check_flavor(metadata.get(attributes.FLAVOR))
        verb = CreateQueue(place, text)
        created = await self._access.write_once(context, repeat, verb, bool)
        if created:
            self._access.on_change()
        return created

    async def show(self, context: Context, name: str) -> attributes.Metadata:
        """The metadata with defaults; those of a queue that is not there are all defaults."""
        place = self._access.place(context, "queues:get", name)
        text = await self._access.read(place, lambda tx, now_ms: queues.metadata_of(tx, place))
        return attributes.shown(_decoded(text or "{}"), self._access.config)

    async def exists(self, context: Context, name: str) -> bool:
        place = self._access.place(context, "queues:get", name)
        return (
            await self._access.read(place, lambda tx, now_ms: queues.metadata_of(tx, place))
            is not None
        )

    async def update(
        self, context: Context, name: str, changes: Sequence[Change]
    ) -> attributes.Metadata:
        """The metadata after all changes, with defaults."""
        place = self._access.place(context, "queues:update", name)
        text, changed = await self._access.write(ChangeQueue.of(place, changes))
        if changed:
            self._access.on_change()
        return attributes.shown(_decoded(text), self._access.config)

    async def delete(self, context: Context, name: str) -> None:
        place = self._access.place(context, "queues:delete", name)
        if await self._access.write(DeleteQueue(place)):
            self._access.on_change()

    async def purge(
        self, context: Context, name: str, *, messages_too: bool, subscriptions_too: bool = False
    ) -> None:
        place = self._access.place(context, "queues:purge", name)
        if messages_too:
            await self._access.write(PurgeQueue(place))
        if subscriptions_too and await self._access.write(UnsubscribeAll(place)):
            self._access.on_change()

    async def page(
        self,
        context: Context,
        wanted: QueueFilter,
        marker: str,
        limit: int | None,
        *,
        with_count: bool,
    ) -> QueuePage:
        """The queues after the one called `marker`."""
        self._access.enforce(context, "queues:get_all")
        project_id = context.project_id
        limit = self._access.page_size(limit, self._access.config.max_queues_per_page)
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
                        found.append((name, attributes.shown(metadata, self._access.config)))
            if len(chunk) < most or (len(found) == limit and not counting):
                break
            at = chunk[-1][0]
            await let_others_go_on()
        count = None
        if with_count:
            count = seen if counting else await self._count(project_id)
        return QueuePage(tuple(found), count)

    async def stats(self, context: Context, name: str) -> Stats:
        place = self._access.place(context, "queues:stats", name)
        return await self._access.read(place, lambda tx, now_ms: stats.stats(tx, now_ms, place))

    async def _queue_chunk(self, project_id: str, after: str, most: int) -> list[tuple[str, str]]:
        """The next ones of every store, by name."""
        away = list(self._access.stores.away())
        chunks = []
        for store in self._access.stores.every():
            try:
                chunks.append(
                    await store.database.read(lambda tx: queues.page(tx, project_id, after, most))
                )
            except (Unavailable, StorageUnavailable):
                if store.name == HOME:
                    raise
                away.append(store.name)
        chunks += [await self._last_known(name, project_id, after, most) for name in away]
        return list(merge(*chunks))[:most]

    async def _last_known(
        self, store_name: str, project_id: str, after: str, most: int
    ) -> list[tuple[str, str]]:
        """The same of a store that cannot be asked, as home knows of it."""
        return await self._access.stores.home.database.read(
            lambda tx: relay.queues_page(tx, store_name, project_id, after, most)
        )

    async def _check_flavor(self, name: str | None) -> None:
        """Raises: InvalidAttribute."""
        if name is None:
            return
        if not await self._access.stores.home.database.read(lambda tx: pools.has_flavor(tx, name)):
            raise InvalidAttribute(f"There is no flavor {name!r}.")

    async def _count(self, project_id: str) -> int:
        if self._access.stores.alone:
            home = self._access.stores.home.database
            return await home.read(lambda tx: queues.count(tx, project_id))
        seen, at = 0, ""
        while chunk := await self._queue_chunk(project_id, at, QUEUES_AT_ONCE):
            seen, at = seen + len(chunk), chunk[-1][0]
            await let_others_go_on()
        return seen


def _decoded(text: str) -> attributes.Metadata:
    decoded: attributes.Metadata = msgspec.json.decode(text)
    return decoded
