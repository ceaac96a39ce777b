# SPDX-License-Identifier: Apache-2.0
"""Events that arrive at least once: a numbered log in a part's database, and its pools of readers.

An event is appended in the transaction of what it tells of. The leased publisher numbers what was
appended, in one fenced transaction, and drops what is past its retention. Listeners of a pool take
events in turn; what one has taken is its own until it acknowledges it or its claim ends.

Invariants:
1. An appended event gets one number. There is no cursor over ids, so none that commits late is
   passed over; a restart goes on where the numbers end.
2. A pool gets every event that was numbered since it was registered, until it acknowledges it; or
   is told, as often, how many it lost (`Lost`), because they were dropped before it took them.
3. Of one pool, an event is out at one listener at a time, until its claim ends.
4. The log is bounded by `keep_events` and `keep_s`, whatever the pools do; pools by `POOLS_MAX`.
   A pool that nobody read for `pool_idle_s` is dropped: only its position stays, so that it can be
   told what it lost.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from transom.errors import BadRequest, TooLarge, TooManyRequests
from transom.messaging.events import Begin, Event, Item, Lost
from transom.node.lease import STEP_MS, fence, shared_ms
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database, Transaction

EVENT_BYTES = 64 * 1024
PAGE_BYTES = 1024 * 1024
TAKE_MOST = 100
NAME_MOST = 255
POOLS_MAX = 1000
NUMBERED_EACH_TIME = 500
PRUNED_EACH_TIME = 1000

_APPEND = "insert into event_new (source, at_ms, kind, payload) values (?, ?, ?, ?)"
_NEW = "select id, at_ms, kind, payload from event_new where source = ? order by id limit ?"
_WAITING = "select 1 from event_new where source = ? limit 1"
_DROP_NEW = "delete from event_new where id = ?"
_HEAD = "select n from event_head where source = ?"
_MOVE = """
insert into event_head (source, n) values (?, ?)
on conflict (source) do update set n = excluded.n
"""
_STORE = "insert into event_log (source, n, at_ms, kind, payload) values (?, ?, ?, ?, ?)"
_OLDEST = "select n, at_ms from event_log where source = ? order by n limit 1"
_PRUNE = """
delete from event_log where source = ? and n in (
  select n from event_log where source = ? and (n <= ? or at_ms < ?) order by n limit ?)
"""
_IDLE = """
select pool, min(n) from event_out where source = ? and pool in (
  select pool from event_pool where source = ? and seen_ms < ?) group by pool
"""
_PUT_BACK = "update event_pool set next_n = ? where source = ? and pool = ?"
_DROP_POOL_OUT = "delete from event_out where source = ? and pool = ?"
_DROP_POOL = "delete from event_pool where source = ? and pool = ?"
_POOL = "select next_n from event_pool where source = ? and pool = ?"
_POOLS = """
select pool, next_n, seen_ms, (select count(*) from event_out as o
  where o.source = p.source and o.pool = p.pool) from event_pool as p where source = ? order by pool
"""
_COUNT_POOLS = "select count(*) from event_pool where source = ?"
_REGISTER = "insert into event_pool (source, pool, next_n, seen_ms) values (?, ?, ?, ?)"
_SEEN = "update event_pool set seen_ms = ? where source = ? and pool = ?"
_EXPIRED = """
select n, lost from event_out
where source = ? and pool = ? and (until_ms <= ? or until_ms > ? or holder = ?) order by n limit ?
"""
_ONE = "select at_ms, kind, payload from event_log where source = ? and n = ?"
_NEXT = """
select n, at_ms, kind, payload from event_log where source = ? and n >= ? order by n limit ?
"""
_CLAIM = """
insert into event_out (source, pool, n, lost, holder, until_ms) values (?, ?, ?, ?, ?, ?)
on conflict (source, pool, n) do update
set lost = excluded.lost, holder = excluded.holder, until_ms = excluded.until_ms
"""
_SETTLE = "delete from event_out where source = ? and pool = ? and n = ? and holder = ?"
_FORGET_OUT = "delete from event_out where source = ? and pool = ? and n = ?"
_HOLD = "update event_out set until_ms = ? where source = ? and pool = ? and holder = ? and n = ?"
_RELEASE = "update event_out set until_ms = 0 where source = ? and pool = ? and holder = ?"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


async def append(
    transaction: Transaction, source: str, at_ms: int, kind: str, payload: Any
) -> None:
    """Says, in the transaction of what it tells of, that something happened.

    `payload`: a JSON value. Raises: TooLarge.
    """
    encoded = _encode(payload)
    if len(encoded) + len(kind) > EVENT_BYTES:
        raise TooLarge(f"An event has at most {EVENT_BYTES} bytes; this one has {len(encoded)}.")
    await transaction.execute(_APPEND, (source, at_ms, kind, encoded))


class EventLog:
    """One source's events; what `DurablePublisher` publishes and an `EventPublisher` serves.

    `claim_s`: how long a listener that fell silent keeps what it has taken.
    """

    def __init__(
        self,
        database: Database,
        source: str,
        *,
        clock: Clock,
        keep_events: int = 100_000,
        keep_s: float = 7 * 86_400.0,
        pool_idle_s: float = 7 * 86_400.0,
        claim_s: float = 30.0,
    ) -> None:
        self.database = database
        self.source = source
        self.lease_name = f"events:{source}"
        self.claim_s = claim_s
        self._clock = clock
        self._keep_events = keep_events
        self._keep_ms = int(keep_s * 1000)
        self._pool_idle_ms = int(pool_idle_s * 1000)
        self._claim_ms = int(claim_s * 1000)

    async def waiting(self) -> bool:
        """Whether there is something to number, or to drop."""
        now_ms = self._clock.now_ms()

        async def verb(transaction: Transaction) -> bool:
            if await transaction.fetch_one(_WAITING, (self.source,)) is not None:
                return True
            oldest = await transaction.fetch_one(_OLDEST, (self.source,))
            return oldest is not None and bool(oldest[1] < now_ms - self._keep_ms)

        return await self.database.read(verb)

    async def publish_once(self, generation: int) -> int | None:
        """Numbers some of what was appended, drops some of what is too old.

        The last number; None if none was given. Raises: LeaseLost.
        """
        now_ms = self._clock.now_ms()

        async def verb(transaction: Transaction) -> int | None:
            await fence(transaction, self.lease_name, generation)
            n = await self._head(transaction)
            new = await transaction.fetch(_NEW, (self.source, NUMBERED_EACH_TIME))
            stored = [(self.source, n + at, *row[1:]) for at, row in enumerate(new, 1)]
            await transaction.execute_many(_STORE, stored)
            await transaction.execute_many(_DROP_NEW, [(row[0],) for row in new])
            if new:
                n += len(new)
                await transaction.execute(_MOVE, (self.source, n))
            await self._prune(transaction, n, now_ms)
            return n if new else None

        return await self.database.write(verb)

    async def take(
        self,
        pool: str,
        holder: str,
        limit: int,
        have: Collection[int] = (),
        begin: Begin = "new",
    ) -> list[Item]:
        """The next of the pool, claimed for the holder: at most `limit`, and some `PAGE_BYTES`.

        Before what is new comes what others had and did not acknowledge in time, and what the
        holder was given but does not `have`: an answer was lost. A pool that is not known is
        registered, and begins with what is `new` or with the `oldest` that is kept.

        Raises: BadRequest for a name; TooManyRequests where there are too many pools.
        """
        if not 0 < len(pool) <= NAME_MOST or not 0 < len(holder) <= NAME_MOST:
            raise BadRequest(f"A pool and a listener have names of 1 to {NAME_MOST} characters.")
        if len(have) > TAKE_MOST:
            raise BadRequest(f"A listener has at most {TAKE_MOST} events.")
        limit = max(1, min(limit, TAKE_MOST))
        times_ms = self._clock.now_ms(), int(self._clock.monotonic_s() * 1000)

        async def verb(transaction: Transaction) -> list[Item]:
            next_n = await self._registered(transaction, pool, begin, times_ms[0])
            now_ms = await shared_ms(transaction, times_ms[1])
            hand = _Hand(transaction, self.source, pool, holder, now_ms + self._claim_ms)
            over = (now_ms, now_ms + self._claim_ms + STEP_MS)
            free = (self.source, pool, *over, holder, limit + len(have))
            free_again = await transaction.fetch(_EXPIRED, free)
            await hand.give_again([row for row in free_again if row[0] not in have][:limit])
            if len(hand.items) < limit and hand.size_bytes < PAGE_BYTES:
                oldest = await self._oldest(transaction)
                if next_n < oldest:
                    await hand.tell_lost(next_n, oldest - next_n)
                    next_n = oldest
                await hand.give_next(next_n, limit - len(hand.items))
            return sorted(hand.items, key=lambda item: item.n)

        return await self.database.write(verb)

    async def acknowledge(self, pool: str, holder: str, ns: Sequence[int]) -> int:
        """Done with these; answers how many of them the holder had. Idempotent."""

        async def verb(transaction: Transaction) -> int:
            count = 0
            for n in ns:
                count += await transaction.execute(_SETTLE, (self.source, pool, n, holder))
            return count

        return await self.database.write(verb)

    async def hold(self, pool: str, holder: str, ns: Sequence[int]) -> list[int]:
        """The holder lives, and needs longer for these; answers which of them are its own."""
        monotonic_ms, now_ms = int(self._clock.monotonic_s() * 1000), self._clock.now_ms()

        async def verb(transaction: Transaction) -> list[int]:
            until_ms = await shared_ms(transaction, monotonic_ms) + self._claim_ms
            await transaction.execute(_SEEN, (now_ms, self.source, pool))
            place = (until_ms, self.source, pool, holder)
            return [n for n in ns if await transaction.execute(_HOLD, (*place, n))]

        return await self.database.write(verb)

    async def release(self, pool: str, holder: str) -> None:
        """Others may have at once what the holder has not acknowledged."""
        await self.database.write(
            lambda transaction: transaction.execute(_RELEASE, (self.source, pool, holder))
        )

    async def forget(self, pool: str) -> None:
        """The pool is no more. One of this name that comes later is a new one."""

        async def verb(transaction: Transaction) -> None:
            await transaction.execute(_DROP_POOL_OUT, (self.source, pool))
            await transaction.execute(_DROP_POOL, (self.source, pool))

        await self.database.write(verb)

    async def pools(self) -> list[dict[str, Any]]:
        """Each pool: how many events it has not been given yet, how many are out, when it read."""

        async def verb(transaction: Transaction) -> list[dict[str, Any]]:
            head = await self._head(transaction)
            return [
                {"pool": pool, "waiting": head + 1 - next_n, "out": out, "seen_ms": seen_ms}
                for pool, next_n, seen_ms, out in await transaction.fetch(_POOLS, (self.source,))
            ]

        return await self.database.read(verb)

    async def _registered(
        self, transaction: Transaction, pool: str, begin: Begin, now_ms: int
    ) -> int:
        row = await transaction.fetch_one(_POOL, (self.source, pool))
        if row is not None:
            await transaction.execute(_SEEN, (now_ms, self.source, pool))
            return int(row[0])
        count = await transaction.fetch_one(_COUNT_POOLS, (self.source,))
        if count is not None and count[0] >= POOLS_MAX:
            raise TooManyRequests(f"There are {POOLS_MAX} pools of {self.source}; forget one.")
        oldest, head = await self._oldest(transaction), await self._head(transaction)
        next_n = oldest if begin == "oldest" else head + 1
        await transaction.execute(_REGISTER, (self.source, pool, next_n, now_ms))
        return next_n

    async def _head(self, transaction: Transaction) -> int:
        row = await transaction.fetch_one(_HEAD, (self.source,))
        return 0 if row is None else int(row[0])

    async def _oldest(self, transaction: Transaction) -> int:
        """The number of the oldest event that is kept; where none is, of the next one."""
        row = await transaction.fetch_one(_OLDEST, (self.source,))
        return await self._head(transaction) + 1 if row is None else int(row[0])

    async def _prune(self, transaction: Transaction, n: int, now_ms: int) -> None:
        bounds = (n - self._keep_events, now_ms - self._keep_ms)
        await transaction.execute(_PRUNE, (self.source, self.source, *bounds, PRUNED_EACH_TIME))
        idle_ms = now_ms - self._pool_idle_ms
        for pool, first in await transaction.fetch(_IDLE, (self.source, self.source, idle_ms)):
            await transaction.execute(_PUT_BACK, (first, self.source, pool))
            await transaction.execute(_DROP_POOL_OUT, (self.source, pool))


class _Hand:
    """What one `take` gives: `items`, each claimed until `until_ms`."""

    def __init__(
        self, transaction: Transaction, source: str, pool: str, holder: str, until_ms: int
    ) -> None:
        self.items: list[Item] = []
        self.size_bytes = 0
        self._transaction = transaction
        self._of = (source, pool)
        self._claim = (holder, until_ms)

    async def give_again(self, expired: Sequence[tuple[Any, ...]]) -> None:
        """What is not kept any more is lost: all of it is told as one."""
        first, lost = 0, 0
        for n, lost_there in expired:
            if self.size_bytes >= PAGE_BYTES:
                break
            row = None
            if not lost_there:
                row = await self._transaction.fetch_one(_ONE, (self._of[0], n))
            if row is None:
                await self._transaction.execute(_FORGET_OUT, (*self._of, n))
                first, lost = first or n, lost + (lost_there or 1)
            else:
                await self._give(n, *row, redelivered=True)
        if lost:
            await self.tell_lost(first, lost)

    async def give_next(self, next_n: int, limit: int) -> None:
        """Moves the pool on."""
        for n, *event in await self._transaction.fetch(_NEXT, (self._of[0], next_n, limit)):
            if self.size_bytes >= PAGE_BYTES:
                break
            await self._give(n, *event, redelivered=False)
            next_n = n + 1
        await self._transaction.execute(_PUT_BACK, (next_n, *self._of))

    async def tell_lost(self, first: int, lost: int) -> None:
        await self._transaction.execute(_CLAIM, (*self._of, first, lost, *self._claim))
        self.items.append(Lost(first, lost))

    async def _give(
        self, n: int, at_ms: int, kind: str, payload: bytes, *, redelivered: bool
    ) -> None:
        await self._transaction.execute(_CLAIM, (*self._of, n, 0, *self._claim))
        self.items.append(Event(n, at_ms, kind, _decode(payload), redelivered))
        self.size_bytes += len(payload)
