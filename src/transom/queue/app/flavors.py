# SPDX-License-Identifier: Apache-2.0
"""What an administrator may do with flavors, and what everybody may see of them."""

from collections.abc import Sequence

from transom.errors import BadRequest
from transom.queue.app.access import Access
from transom.queue.model import NO_PLACE, PoolNotFound, check_pool_name
from transom.queue.store import pools
from transom.queue.store.pools import Flavor
from transom.queue.store.verbs.pools import DeleteFlavor, PutFlavor
from transom.runtime.auth.context import Context

POOLS_MOST = 100


class Flavors:
    """The use cases."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._home = access.stores.home

    async def put(self, context: Context, name: str, pool_names: Sequence[str]) -> None:
        """Makes the flavor, or gives it these pools instead. Raises: BadRequest, Conflict."""
        self._access.enforce_for_all(context, "flavors:create")
        await self._put(name, pool_names)

    async def change(self, context: Context, name: str, pool_names: Sequence[str]) -> Flavor:
        """Raises: FlavorNotFound, BadRequest, Conflict."""
        self._access.enforce_for_all(context, "flavors:update")
        await self._home.database.read(lambda tx: pools.flavor(tx, name))
        await self._put(name, pool_names)
        return await self._home.database.read(lambda tx: pools.flavor(tx, name))

    async def get(self, context: Context, name: str) -> Flavor:
        """Raises: FlavorNotFound."""
        self._access.enforce_for_all(context, "flavors:get")
        return await self._home.database.read(lambda tx: pools.flavor(tx, name))

    async def page(self, context: Context, marker: str, limit: int | None) -> list[Flavor]:
        """Those whose names come after the marker."""
        self._access.enforce_for_all(context, "flavors:get_all")
        most = self._access.page_size(limit, self._access.config.max_pools_per_page)
        return await self._home.database.read(lambda tx: pools.flavors(tx, marker, most))

    async def delete(self, context: Context, name: str) -> None:
        """Nothing to delete is no error. Its queues stay where they are."""
        self._access.enforce_for_all(context, "flavors:delete")
        await self._home.writer.write(DeleteFlavor(NO_PLACE, name))

    async def _put(self, name: str, pool_names: Sequence[str]) -> None:
        check_pool_name(name)
        wanted = tuple(dict.fromkeys(pool_names))
        if not 1 <= len(wanted) <= POOLS_MOST:
            raise BadRequest(f"A flavor has from 1 to {POOLS_MOST} pools, named in pool_list.")
        try:
            await self._home.writer.write(PutFlavor(NO_PLACE, name, wanted))
        except PoolNotFound as error:
            raise BadRequest(error.text) from error
