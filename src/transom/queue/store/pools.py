# SPDX-License-Identifier: Apache-2.0
"""Pools and flavors, as the home remembers them.

A pool is a database that queues may be in beside our own; a flavor is a name for some pools, of
which queues choose one by it. A pool is of one flavor at most.

Invariant: the address of a pool is sealed; `shown` is what people see of it.
"""

from collections.abc import Sequence

import msgspec

from transom.errors import Conflict
from transom.queue.logic.placing import Candidate
from transom.queue.model import FlavorNotFound, PoolInUse, PoolNotFound
from transom.queue.store import relay
from transom.queue.store.placing import HOME, POOL, join
from transom.runtime.db.transaction import Row, Transaction
from transom.runtime.sealing import Sealer

FILE_SCHEME = "sqlite"

VERSION = "select value from counter where name = 'pools'"
CHANGED = "update counter set value = value + 1 where name = 'pools'"

COLUMNS = "name, uri, shown, identity, weight, flavor, options, joined_ms"
INSERT = f"""
insert into pool ({COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (name) do nothing
"""
ONE = f"select {COLUMNS} from pool where name = ?"
PAGE = f"select {COLUMNS} from pool where name > ? order by name limit ?"
ALL = f"select {COLUMNS} from pool order by name"
UPDATE = """
update pool set uri = ?, shown = ?, identity = ?, weight = ?, flavor = ?, options = ?
where name = ?
"""
AT_FILE = "select name from pool where shown = ? and name <> ?"
DELETE = "delete from pool where name = ?"
HAS_QUEUES = "select 1 from placed where store = ? limit 1"
RESEALED = "update pool set uri = ? where name = ? and uri = ?"

PUT_FLAVOR = "insert into flavor (name) values (?) on conflict (name) do nothing"
FLAVOR = "select 1 from flavor where name = ?"
FLAVORS = "select name from flavor where name > ? order by name limit ?"
OF_FLAVOR = "select name from pool where flavor = ? order by name"
LEAVE_FLAVOR = "update pool set flavor = '' where flavor = ?"
JOIN_FLAVOR = "update pool set flavor = ? where name = ?"
DELETE_FLAVOR = "delete from flavor where name = ?"


class Pool(msgspec.Struct, frozen=True, array_like=True):
    """`options`: JSON, kept for its owner. It takes new queues from `joined_ms` on."""

    name: str
    uri: bytes
    shown: str
    identity: str
    weight: int
    flavor: str
    options: str
    joined_ms: int

    @property
    def store(self) -> str:
        return store_name(self.name)


class Flavor(msgspec.Struct, frozen=True, array_like=True):
    name: str
    pools: tuple[str, ...]


def store_name(pool: str) -> str:
    return POOL + pool


def purpose(pool: str) -> str:
    """That the pool's address is sealed for."""
    return f"queue pool {pool}"


async def version(tx: Transaction) -> int:
    """Grows with each change of the pools."""
    row = await tx.fetch_one(VERSION)
    return 0 if row is None else int(row[0])


async def put(tx: Transaction, pool: Pool) -> None:
    """Raises: Conflict if there is one of the name."""
    await _have_flavor(tx, pool.flavor)
    if not await tx.execute(INSERT, _fields(pool)):
        raise Conflict(f"There is a pool {pool.name!r} already; change it with PATCH.")
    await join(tx, HOME)
    await tx.execute(CHANGED)


async def change(tx: Transaction, before: Pool, after: Pool) -> None:
    """Raises: PoolNotFound, Conflict if it is not as `before` any more."""
    if await one(tx, before.name) != before:
        raise Conflict("The pool was changed by somebody else at the same time; try again.")
    await _have_flavor(tx, after.flavor)
    if after.identity != before.identity:
        await _refuse_with_queues(tx, before, "moved to another database")
    await tx.execute(UPDATE, (*_fields(after)[1:-1], after.name))
    await tx.execute(CHANGED)


async def move(tx: Transaction, pool: Pool, uri: bytes, shown: str) -> None:
    """The pool's database was put elsewhere."""
    after = msgspec.structs.replace(pool, uri=uri, shown=shown)
    await tx.execute(UPDATE, (*_fields(after)[1:-1], after.name))
    await tx.execute(CHANGED)


async def delete(tx: Transaction, name: str) -> bool:
    """False if there is none. Raises: PoolInUse."""
    pool = await _found(tx, name)
    if pool is None:
        return False
    if pool.flavor:
        raise PoolInUse(
            f"The pool {name!r} is of the flavor {pool.flavor!r}; take it out of that one first, "
            "or delete the flavor."
        )
    await _refuse_with_queues(tx, pool, "deleted")
    await relay.forget(tx, pool.store)
    await tx.execute(DELETE, (name,))
    await tx.execute(CHANGED)
    return True


async def one(tx: Transaction, name: str) -> Pool:
    """Raises: PoolNotFound."""
    pool = await _found(tx, name)
    if pool is None:
        raise PoolNotFound(f"There is no pool {name!r}.")
    return pool


async def refuse_shared_file(tx: Transaction, name: str, uri: str) -> None:
    """Two pools cannot be in one file. Raises: Conflict."""
    row = await tx.fetch_one(AT_FILE, (uri, name))
    if row is not None:
        raise Conflict(f"The pool {row[0]!r} is in that file; name another one.")


async def page(tx: Transaction, after: str, limit: int) -> list[Pool]:
    return [_pool(row) for row in await tx.fetch(PAGE, (after, limit))]


async def every(tx: Transaction) -> tuple[int, list[Pool]]:
    """(version, all pools)."""
    return await version(tx), [_pool(row) for row in await tx.fetch(ALL)]


async def candidates(tx: Transaction, now_ms: int) -> list[Candidate]:
    """Those that new queues may be placed in."""
    pools = [_pool(row) for row in await tx.fetch(ALL)]
    return [Candidate(it.store, it.weight, it.flavor) for it in pools if it.joined_ms <= now_ms]


async def has_flavor(tx: Transaction, name: str) -> bool:
    return await tx.fetch_one(FLAVOR, (name,)) is not None


async def put_flavor(tx: Transaction, name: str, pools: Sequence[str]) -> None:
    """Makes the flavor, or gives it these pools instead. Raises: PoolNotFound, Conflict."""
    await tx.execute(PUT_FLAVOR, (name,))
    await tx.execute(LEAVE_FLAVOR, (name,))
    for pool_name in pools:
        pool = await one(tx, pool_name)
        if pool.flavor not in ("", name):
            raise Conflict(
                f"The pool {pool_name!r} is of the flavor {pool.flavor!r}; take it out of that one "
                "first."
            )
        await tx.execute(JOIN_FLAVOR, (name, pool_name))
    await tx.execute(CHANGED)


async def flavor(tx: Transaction, name: str) -> Flavor:
    """Raises: FlavorNotFound."""
    if not await has_flavor(tx, name):
        raise FlavorNotFound(f"There is no flavor {name!r}.")
    return Flavor(name, await _pools_of(tx, name))


async def flavors(tx: Transaction, after: str, limit: int) -> list[Flavor]:
    names = [row[0] for row in await tx.fetch(FLAVORS, (after, limit))]
    return [Flavor(name, await _pools_of(tx, name)) for name in names]


async def delete_flavor(tx: Transaction, name: str) -> bool:
    """Its pools take queues without flavor from now on, unless their weight is 0."""
    await tx.execute(LEAVE_FLAVOR, (name,))
    if not await tx.execute(DELETE_FLAVOR, (name,)):
        return False
    await tx.execute(CHANGED)
    return True


async def sealed_again(tx: Transaction, sealer: Sealer) -> int:
    """Seals addresses under the first master key; how many were not."""
    count = 0
    for row in await tx.fetch(ALL):
        pool = _pool(row)
        if not sealer.is_current(pool.uri):
            fresh = sealer.seal(sealer.open(pool.uri, purpose(pool.name)), purpose(pool.name))
            count += await tx.execute(RESEALED, (fresh, pool.name, pool.uri))
    return count


async def any_left(tx: Transaction, sealer: Sealer) -> bool:
    """Whether an address is sealed under another than the first master key."""
    return any(not sealer.is_current(_pool(row).uri) for row in await tx.fetch(ALL))


async def _found(tx: Transaction, name: str) -> Pool | None:
    row = await tx.fetch_one(ONE, (name,))
    return None if row is None else _pool(row)


async def _have_flavor(tx: Transaction, name: str) -> None:
    """A flavor comes to be with the first pool that names it, as clients of Zaqar expect."""
    if name:
        await tx.execute(PUT_FLAVOR, (name,))


async def _refuse_with_queues(tx: Transaction, pool: Pool, what: str) -> None:
    if await tx.fetch_one(HAS_QUEUES, (pool.store,)) is not None:
        raise PoolInUse(
            f"The pool {pool.name!r} holds queues, so it cannot be {what}; give it the weight 0, "
            "so that it gets no more, and delete its queues first."
        )


async def _pools_of(tx: Transaction, name: str) -> tuple[str, ...]:
    return tuple(row[0] for row in await tx.fetch(OF_FLAVOR, (name,)))


def _pool(row: Row) -> Pool:
    name, uri, *others = row
    return Pool(name, bytes(uri), *others)


def _fields(pool: Pool) -> tuple[str | bytes | int, ...]:
    return (
        pool.name,
        pool.uri,
        pool.shown,
        pool.identity,
        pool.weight,
        pool.flavor,
        pool.options,
        pool.joined_ms,
    )
