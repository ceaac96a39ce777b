# SPDX-License-Identifier: Apache-2.0
"""Pools and flavors made, changed and deleted at home, as values."""

import msgspec

from transom.queue.store import pools
from transom.queue.store.pools import Pool
from transom.queue.store.verbs.verb import Tools, Verb
from transom.runtime.db.transaction import Transaction


class PutPool(Verb, frozen=True, tag=True, array_like=True):
    """`settle_ms`: until every process knows of it."""

    pool: Pool
    settle_ms: int

    async def run(self, tx: Transaction, tools: Tools) -> None:
        joined_ms = tools.clock.now_ms() + self.settle_ms
        await pools.put(tx, msgspec.structs.replace(self.pool, joined_ms=joined_ms))


class ChangePool(Verb, frozen=True, tag=True, array_like=True):
    before: Pool
    after: Pool

    async def run(self, tx: Transaction, tools: Tools) -> None:
        await pools.change(tx, self.before, self.after)


class DeletePool(Verb, frozen=True, tag=True, array_like=True):
    name: str

    async def run(self, tx: Transaction, tools: Tools) -> bool:
        return await pools.delete(tx, self.name)


class PutFlavor(Verb, frozen=True, tag=True, array_like=True):
    name: str
    pools: tuple[str, ...]

    async def run(self, tx: Transaction, tools: Tools) -> None:
        await pools.put_flavor(tx, self.name, self.pools)


class DeleteFlavor(Verb, frozen=True, tag=True, array_like=True):
    name: str

    async def run(self, tx: Transaction, tools: Tools) -> bool:
        return await pools.delete_flavor(tx, self.name)
