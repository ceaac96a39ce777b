# SPDX-License-Identifier: Apache-2.0
"""A durable feed: a part's rows, numbered as they change, in the part's own database.

The transaction that changes a row writes a pointer to it. The publisher, in one transaction
fenced by its lease, reads the rows behind the pointers again, compares them with the rows as last
published, stores what is different as change set n, and deletes exactly those pointers.

Invariants:
1. No pointer is passed over: there is no cursor, a pointer goes only with what it pointed to.
2. At every commit the published rows are the sum of change sets 1 to n of the epoch, and the
   digests are theirs; a snapshot says the n at which it was read and is exact there.
3. A restart goes on at (epoch, n); only `new_epoch`, after a restore, begins another.
4. Rows that changed together are in one change set, as long as what waits fits into one
   (`pointers_max`, `SET_BYTES`); what goes over comes with the next one at once.
5. No row stops the feed: a key that is too large is refused where the row is written, and a row
   that is too large is published cut, with a mark (see `proto.feed.oversize`).
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from transom.errors import InternalError
from transom.messaging.proto.feed import (
    MODULUS,
    Change,
    ChangeSet,
    Chunk,
    Cursor,
    Head,
    Key,
    Row,
    hash_bytes,
)
from transom.messaging.proto.feed.oversize import carried, check_key
from transom.node.lease import fence
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database, Transaction

log = logging.getLogger(__name__)

SET_BYTES = 4 * 1024 * 1024
PAGE_BYTES = 1024 * 1024
PAGE_ROWS = 64
PRUNED_EACH_TIME = 16
HASH_BYTES = 16

ReadRow = Callable[[Transaction, str, Key], Awaitable[Row | None]]
"""(transaction, table, key) -> the row as it is now, of JSON values; None if it is no more."""

_POINT = "insert into pointer (source, table_name, key) values (?, ?, ?)"
_POINTERS = "select id, table_name, key from pointer where source = ? order by id limit ?"
_WAITING = "select 1 from pointer where source = ? limit 1"
_DROP_POINTER = "delete from pointer where id = ?"
_POSITION = "select epoch, n from feed where source = ?"
_MOVE = """
insert into feed (source, epoch, n) values (?, ?, ?)
on conflict (source) do update set epoch = excluded.epoch, n = excluded.n
"""
_DIGESTS = "select table_name, digest from feed_digest where source = ?"
_SET_DIGEST = """
insert into feed_digest (source, table_name, digest) values (?, ?, ?)
on conflict (source, table_name) do update set digest = excluded.digest
"""
_LOG = "insert into feed_log (source, epoch, n, at_ms, changes) values (?, ?, ?, ?, ?)"
_OLDEST = "select epoch, n, at_ms from feed_log where source = ? order by epoch, n limit ?"
_PRUNE = "delete from feed_log where source = ? and epoch = ? and n = ?"
_SIZES = """
select n, length(changes) from feed_log where source = ? and epoch = ? and n > ? order by n limit ?
"""
_CHANGES = """
select n, changes from feed_log where source = ? and epoch = ? and n > ? and n <= ? order by n
"""
_PUBLISHED = "select hash from feed_row where source = ? and table_name = ? and key = ?"
_PUBLISH = """
insert into feed_row (source, table_name, key, hash, content) values (?, ?, ?, ?, ?)
on conflict (source, table_name, key) do update
set hash = excluded.hash, content = excluded.content
"""
_UNPUBLISH = "delete from feed_row where source = ? and table_name = ? and key = ?"
_COUNTS = "select table_name, count(*) from feed_row where source = ? group by table_name"
_PAGE = """
select key, content from feed_row
where source = ? and table_name = ? and key > ? order by key limit ?
"""

_Coded = tuple[str, tuple[str, ...], dict[str, Any] | None]
_decode_row = msgspec.json.Decoder(_Coded).decode
_decode_changes = msgspec.json.Decoder(list[_Coded]).decode
_encode = msgspec.json.Encoder().encode


async def point(transaction: Transaction, source: str, table: str, key: Key) -> None:
    """Says, in the transaction that changes the row, that it changed (was made, is no more).

    Raises: KeyTooLarge.
    """
    check_key(table, key)
    await transaction.execute(_POINT, (source, table, encoded_key(key)))


async def new_epoch(transaction: Transaction, source: str, *, at_least: int = 0) -> int:
    """Begins another epoch, after a restore: replicas load anew. Answers it.

    `at_least`: for who may have restored the same backup before (the time in seconds serves).
    """
    epoch, _ = await _position(transaction, source)
    epoch = max(epoch + 1, at_least)
    await transaction.execute(_MOVE, (source, epoch, 0))
    return epoch


class DurableFeed:
    """One source's feed; a `Feed` for the sending shell, and the step that publishes.

    `keep_sets`, `keep_s`: change sets by number and age that `since` can still answer from.
    """

    def __init__(
        self,
        database: Database,
        source: str,
        tables: Sequence[str],
        read_row: ReadRow,
        *,
        clock: Clock,
        pointers_max: int = 1000,
        keep_sets: int = 4096,
        keep_s: float = 86_400.0,
    ) -> None:
        self.database = database
        self.source = source
        self.tables = tuple(sorted(tables))
        self.lease_name = f"feed:{source}"
        self._read_row = read_row
        self._clock = clock
        self._pointers_max = pointers_max
        self._keep_sets = keep_sets
        self._keep_ms = int(keep_s * 1000)

    async def publish_once(self, generation: int) -> ChangeSet | None:
        """One step of the feed; None if what was pointed to is as it was published.

        Raises: LeaseLost; what `read_row` raises. Nothing changed then.
        """
        now_ms = self._clock.now_ms()
        return await self.database.write(
            lambda transaction: self._publish(transaction, generation, now_ms)
        )

    async def waiting(self) -> bool:
        """Whether there are pointers."""

        async def verb(transaction: Transaction) -> bool:
            return await transaction.fetch_one(_WAITING, (self.source,)) is not None

        return await self.database.read(verb)

    async def head(self) -> Head:
        return await self.database.read(self._head)

    async def counts(self) -> dict[str, int]:
        """How many rows each table has, as published."""

        async def verb(transaction: Transaction) -> dict[str, int]:
            found = await transaction.fetch(_COUNTS, (self.source,))
            return dict.fromkeys(self.tables, 0) | {name: int(count) for name, count in found}

        return await self.database.read(verb)

    async def since(self, epoch: int, n: int, limit: int) -> list[ChangeSet] | None:
        """The next change sets after (epoch, n), at most `limit` and some `PAGE_BYTES`.

        None if they are not at hand; empty if there are none.
        """

        async def verb(transaction: Transaction) -> list[ChangeSet] | None:
            here, head_n = await _position(transaction, self.source)
            if epoch != here or not 0 <= n <= head_n:
                return None
            last = await self._last_of_page(transaction, epoch, n, limit)
            if last is None:
                return [] if n == head_n else None
            rows = await transaction.fetch(_CHANGES, (self.source, epoch, n, last))
            return [ChangeSet(epoch, at, _changes(changes)) for at, changes in rows]

        return await self.database.read(verb)

    async def snapshot(self, tables: Sequence[str], after: Cursor | None, limit: int) -> Chunk:
        """A page of the rows of `tables` (none: all) behind `after`: at most `limit` rows."""
        wanted = [name for name in self.tables if not tables or name in tables]

        async def verb(transaction: Transaction) -> Chunk:
            epoch, n = await _position(transaction, self.source)
            rows: list[Change] = []
            size_bytes = 0
            for name in wanted:
                if after is not None and name < after[0]:
                    continue
                behind = encoded_key(after[1]) if after is not None and name == after[0] else b""
                more = True
                while more:
                    room = min(PAGE_ROWS, limit - len(rows))
                    page = await transaction.fetch(_PAGE, (self.source, name, behind, room))
                    rows += [_change(content) for _, content in page]
                    size_bytes += sum(len(content) for _, content in page)
                    if page and (len(rows) >= limit or size_bytes >= PAGE_BYTES):
                        return Chunk(epoch, n, tuple(rows), (name, rows[-1].key))
                    more = len(page) == room
                    behind = page[-1][0] if page else behind
            return Chunk(epoch, n, tuple(rows), None)

        return await self.database.read(verb)

    async def _head(self, transaction: Transaction) -> Head:
        epoch, n = await _position(transaction, self.source)
        digests = await self._digests(transaction)
        return Head(epoch, n, sum(digests.values()) % MODULUS, digests)

    async def _digests(self, transaction: Transaction) -> dict[str, int]:
        digests = dict.fromkeys(self.tables, 0)
        for name, digest in await transaction.fetch(_DIGESTS, (self.source,)):
            digests[name] = int.from_bytes(digest, "little")
        return digests

    async def _last_of_page(
        self, transaction: Transaction, epoch: int, n: int, limit: int
    ) -> int | None:
        """The number of the last set that fits; None if the one after n is not there."""
        last = None
        size_bytes = 0
        for at, set_bytes in await transaction.fetch(_SIZES, (self.source, epoch, n, limit)):
            size_bytes += set_bytes
            if last is None and at != n + 1:
                return None
            if last is not None and size_bytes > PAGE_BYTES:
                break
            last = at
        return last

    async def _publish(
        self, transaction: Transaction, generation: int, now_ms: int
    ) -> ChangeSet | None:
        await fence(transaction, self.lease_name, generation)
        pointers = await transaction.fetch(_POINTERS, (self.source, self._pointers_max))
        if not pointers:
            return None
        step = _Step(self.source)
        seen: set[tuple[str, bytes]] = set()
        for _, table, key in pointers:
            if (table, key) in seen:
                continue
            if step.size_bytes >= SET_BYTES:
                break
            seen.add((table, key))
            if table in self.tables:
                row = await self._read_row(transaction, table, decoded_key(key))
                await step.take(transaction, table, key, row)
            else:
                log.error("pointer to an unknown table", extra={"feed": self.source, "of": table})
        done = [(at,) for at, table, key in pointers if (table, key) in seen]
        await transaction.execute_many(_DROP_POINTER, done)
        return await self._store(transaction, step, now_ms) if step.changes else None

    async def _store(self, transaction: Transaction, step: "_Step", now_ms: int) -> ChangeSet:
        epoch, n = await _position(transaction, self.source)
        n += 1
        await transaction.execute(_MOVE, (self.source, epoch, n))
        content = b"[" + b",".join(step.contents) + b"]"
        await transaction.execute(_LOG, (self.source, epoch, n, now_ms, content))
        digests = await self._digests(transaction)
        for table, moved in step.moved.items():
            digest = (digests[table] + moved) % MODULUS
            await transaction.execute(_SET_DIGEST, (self.source, table, _hash_blob(digest)))
        await self._prune(transaction, epoch, n, now_ms)
        return ChangeSet(epoch, n, tuple(step.changes))

    async def _prune(self, transaction: Transaction, epoch: int, n: int, now_ms: int) -> None:
        """A few each time: as one comes with each step, more than one going keeps the bound."""
        gone = [
            (self.source, at_epoch, at)
            for at_epoch, at, at_ms in await transaction.fetch(
                _OLDEST, (self.source, PRUNED_EACH_TIME)
            )
            if at_epoch != epoch or at <= n - self._keep_sets or at_ms < now_ms - self._keep_ms
        ]
        await transaction.execute_many(_PRUNE, gone)


class _Step:
    """What one change set will say. `moved`: by how much each table's digest moves."""

    def __init__(self, source: str) -> None:
        self.changes: list[Change] = []
        self.contents: list[bytes] = []
        self.moved: dict[str, int] = {}
        self.size_bytes = 0
        self._source = source

    async def take(self, transaction: Transaction, table: str, key: bytes, row: Row | None) -> None:
        """Publishes the row as it is now, unless it is published so already."""
        place = (self._source, table, key)
        found = await transaction.fetch_one(_PUBLISHED, place)
        before = int.from_bytes(found[0], "little") if found is not None else None
        parts = decoded_key(key)
        if row is None:
            if before is None:
                return
            content = _encode((table, parts, None))
            hashed = 0
            await transaction.execute(_UNPUBLISH, place)
        else:
            whole, (row, content) = row, carried(table, parts, row)
            if row is not whole:
                log.error("row published cut", extra={"feed": self._source, "of": table})
            hashed = hash_bytes(content)
            if hashed == before:
                return
            await transaction.execute(_PUBLISH, (*place, _hash_blob(hashed), content))
        self.changes.append(Change(table, parts, row))
        self.contents.append(content)
        self.size_bytes += len(content)
        self.moved[table] = self.moved.get(table, 0) + hashed - (before or 0)


def encoded_key(key: Key) -> bytes:
    """Bytes that sort as the keys do. A key of one text without NUL is its UTF-8."""
    encoded = b"\x00\x01".join(part.encode().replace(b"\x00", b"\x00\xff") for part in key)
    if not encoded:
        raise InternalError(detail="a key has at least one part, and one alone is not empty")
    return encoded


def decoded_key(encoded: bytes) -> Key:
    parts = encoded.split(b"\x00\x01")
    return tuple(part.replace(b"\x00\xff", b"\x00").decode() for part in parts)


async def _position(transaction: Transaction, source: str) -> tuple[int, int]:
    row = await transaction.fetch_one(_POSITION, (source,))
    return (1, 0) if row is None else (int(row[0]), int(row[1]))


def _hash_blob(value: int) -> bytes:
    return value.to_bytes(HASH_BYTES, "little")


def _change(content: bytes) -> Change:
    return Change(*_decode_row(content))


def _changes(content: bytes) -> tuple[Change, ...]:
    return tuple(Change(table, key, row) for table, key, row in _decode_changes(content))
