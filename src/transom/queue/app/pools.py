# SPDX-License-Identifier: Apache-2.0
"""What an administrator may do with pools."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import msgspec

from transom.errors import BadRequest, TransomError
from transom.queue.app.access import Access
from transom.queue.logic import limits
from transom.queue.logic.placing import MOST_WEIGHT
from transom.queue.model import NO_PLACE, Place, PoolInUse, PoolNotFound, check_pool_name
from transom.queue.store import letters, placing, pools
from transom.queue.store.placing import Vacated
from transom.queue.store.pools import Pool
from transom.queue.store.stores import PoolOpener, Store
from transom.queue.store.verbs.placing import ForgetPlaces, Join, VoidTicket
from transom.queue.store.verbs.pools import ChangePool, DeletePool, PutPool
from transom.runtime.auth.context import Context
from transom.runtime.sealing import Sealer
from transom.runtime.secrets import Secret

IDENTITY_BYTES = 16
CHECKED_AT_ONCE = 200


class Pools:
    """The use cases. `opener`, `sealer`: without them no pools are offered."""

    def __init__(self, access: Access, opener: PoolOpener | None, sealer: Sealer | None) -> None:
        self._access = access
        self._stores = access.stores
        self._opener = opener
        self._sealer = sealer

    async def create(
        self, context: Context, name: str, uri: str, weight: int, flavor: str, options: bytes
    ) -> None:
        """Tests the address, makes the tables there, and returns when the pool takes queues.

        Raises: BadRequest, Conflict, FlavorNotFound.
        """
        self._access.enforce_for_all(context, "pools:create")
        check_pool_name(name)
        self._check_weight(weight)
        opener, sealer = self._offered()
        shown = opener.check(uri)
        with contextlib.suppress(PoolNotFound):
            await self._stores.home.database.read(lambda tx: pools.one(tx, name))
            uri = ""  # the verb refuses: the database is in use
        identity = self._access.random(IDENTITY_BYTES).hex()
        if uri:
            await self._claim(name, uri, identity)
        sealed = sealer.seal(uri.encode(), pools.purpose(name))
        pool = Pool(name, sealed, shown, identity, weight, flavor, options.decode(), 0)
        await self._stores.home.writer.write(PutPool(NO_PLACE, pool, int(opener.joins_s * 1000)))
        await self._stores.refresh()
        await asyncio.sleep(opener.joins_s)

    async def get(self, context: Context, name: str) -> Pool:
        """Raises: PoolNotFound."""
        self._access.enforce_for_all(context, "pools:get")
        return await self._stores.home.database.read(lambda tx: pools.one(tx, name))

    async def page(self, context: Context, marker: str, limit: int | None) -> list[Pool]:
        """Those whose names come after the marker."""
        self._access.enforce_for_all(context, "pools:get_all")
        most = self._access.page_size(limit, self._access.config.max_pools_per_page)
        return await self._stores.home.database.read(lambda tx: pools.page(tx, marker, most))

    async def change(
        self,
        context: Context,
        name: str,
        *,
        uri: str | None,
        weight: int | None,
        flavor: str | None,
        options: bytes | None,
    ) -> Pool:
        """What is None stays.

        Raises: BadRequest, Conflict, PoolNotFound, FlavorNotFound, PoolInUse.
        """
        self._access.enforce_for_all(context, "pools:update")
        if (uri, weight, flavor, options) == (None, None, None, None):
            raise BadRequest("Name at least one of uri, weight, flavor and options.")
        before = await self._stores.home.database.read(lambda tx: pools.one(tx, name))
        after = before
        if weight is not None:
            self._check_weight(weight)
            after = msgspec.structs.replace(after, weight=weight)
        if flavor is not None:
            after = msgspec.structs.replace(after, flavor=flavor)
        if options is not None:
            after = msgspec.structs.replace(after, options=options.decode())
        if uri is not None:
            after = await self._moved(after, uri)
        await self._stores.home.writer.write(ChangePool(NO_PLACE, before, after))
        await self._stores.refresh()
        return after

    async def delete(self, context: Context, name: str) -> None:
        """Nothing to delete is no error. Raises: PoolInUse."""
        self._access.enforce_for_all(context, "pools:delete")
        with contextlib.suppress(TransomError):  # what cannot be cleared keeps the pool
            await self._clear(pools.store_name(name))
        await self._refuse_while_leaving(name)
        if await self._stores.home.writer.write(DeletePool(NO_PLACE, name)):
            await self._stores.refresh()
            self._access.on_change()

    async def _claim(self, name: str, uri: str, identity: str) -> None:
        """Makes the database the pool's own. Raises: BadRequest."""
        async with self._tried(name, uri) as store:
            verb = Join(NO_PLACE, pools.store_name(name), identity)
            if not await store.writer.write(verb):
                raise BadRequest(
                    "The database at this uri holds the queues of another pool; name another one."
                )

    async def _moved(self, pool: Pool, uri: str) -> Pool:
        """The same pool at another address: where its queues are, or, without any, anew."""
        opener, sealer = self._offered()
        shown, identity, purpose = opener.check(uri), pool.identity, pools.purpose(pool.name)
        if sealer.open(pool.uri, purpose).decode() != uri:
            async with self._tried(pool.name, uri) as store:
                found = await store.database.read(placing.member)
                if found != (pool.store, identity):
                    identity = self._access.random(IDENTITY_BYTES).hex()
                    if not await store.writer.write(Join(NO_PLACE, pool.store, identity)):
                        raise BadRequest(
                            "The database at this uri holds the queues of another pool."
                        )
        sealed = sealer.seal(uri.encode(), purpose)
        return msgspec.structs.replace(pool, uri=sealed, shown=shown, identity=identity)

    @contextlib.asynccontextmanager
    async def _tried(self, name: str, uri: str) -> AsyncIterator[Store]:
        """Raises: BadRequest if it cannot be reached or used; Conflict if another pool is there."""
        opener, _ = self._offered()
        if uri.startswith(f"{pools.FILE_SCHEME}:"):
            home = self._stores.home.database
            await home.read(lambda tx: pools.refuse_shared_file(tx, name, uri))
        trial = opener.trial(name, Secret(uri))
        try:
            await trial.start()
        except TransomError as error:
            # Invariant: no text about an address repeats its password (see `db.address`).
            raise BadRequest(
                f"The pool cannot be reached: {error.text}", detail=error.detail
            ) from error
        try:
            yield trial.store
        finally:
            await trial.stop()

    async def _clear(self, store_name: str) -> None:
        """Frees places in the store whose queues were never made, or are gone."""
        after = NO_PLACE
        while found := await self._places(store_name, after):
            store = self._at_hand(store_name)
            if store is None:
                return
            gone: list[Vacated] = []
            for place, generation in found:
                if await store.writer.write(VoidTicket(place, generation)):
                    gone.append(Vacated(place, generation, 1))
            if gone:
                home = self._stores.home.writer
                await home.write(ForgetPlaces(NO_PLACE, store_name, tuple(gone)))
            after = found[-1][0]

    async def _refuse_while_leaving(self, name: str) -> None:
        """Raises: PoolInUse while messages are on their way from it, of queues that may be gone.

        One that does not answer may be deleted; once it is a pool again they go on.
        """
        store, ways = self._at_hand(pools.store_name(name)), None
        if store is not None:
            with contextlib.suppress(TransomError):
                ways = await store.database.read(lambda tx: letters.ways(tx, NO_PLACE, 1))
        if ways:
            raise PoolInUse(
                f"Messages from the pool {name!r} are on their way to queues in other databases; "
                "try again in a moment."
            )

    def _at_hand(self, store_name: str) -> Store | None:
        return next((it for it in self._stores.every() if it.name == store_name), None)

    async def _places(self, store_name: str, after: Place) -> Sequence[tuple[Place, int]]:
        return await self._stores.home.database.read(
            lambda tx: placing.placed_in(tx, store_name, after, CHECKED_AT_ONCE)
        )

    def _offered(self) -> tuple[PoolOpener, Sealer]:
        """Raises: BadRequest."""
        if self._opener is None or self._sealer is None:
            raise BadRequest("This server offers no pools.")
        return self._opener, self._sealer

    @staticmethod
    def _check_weight(weight: int) -> None:
        limits.within("The weight", weight, 0, MOST_WEIGHT)
