# SPDX-License-Identifier: Apache-2.0
"""The outbox: what was posted to queues with subscribers, and how far each subscriber is.

A message is noted once for all subscribers of its queue, in the transaction that posts it. Each
subscription has a position, the last one dealt with; what none has before it is trimmed.

Invariants:
1. A position only grows, and only to a notice that was delivered or given up: each step names the
   position that it was decided on, and changes nothing if that is no longer so, or if the
   subscription is told of nothing any more. One that was changed meanwhile, and so has another end,
   is given up for nothing that its former subscriber has answered.
2. A notice is trimmed when every active subscription has dealt with it; one that is for a single
   one (see `returning`), when that has.
3. `noticed` holds every queue that has notices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from transom.queue.model import ClientId, MessageId, Notice, Place, Subscription
from transom.queue.store import subscriptions
from transom.queue.store.subscriptions import subscription_of
from transom.runtime.db.dialect import sql
from transom.runtime.db.transaction import Row, Transaction

RECORD = """
insert into notice (project_id, queue_name, sequence, token, created_ms, expires_ms, ttl_s,
  client_id, body, key_generation)
select q.project_id, q.name, m.sequence, m.token, m.created_ms, m.expires_ms, m.ttl_s,
  m.client_id, m.body, m.key_generation
from queue as q join message as m on m.content_id = q.content_id
where q.project_id = ? and q.name = ? and m.sequence >= ? and m.sequence < ?
"""

RECORD_FOR = """
insert into notice (project_id, queue_name, sequence, token, created_ms, expires_ms, ttl_s,
  client_id, body, key_generation, subscription_number)
select q.project_id, q.name, m.sequence, m.token, m.created_ms, m.expires_ms, m.ttl_s,
  m.client_id, m.body, m.key_generation, ?
from queue as q join message as m on m.content_id = q.content_id
where q.project_id = ? and q.name = ? and m.sequence = ?
"""

NOTE = """
insert into noticed (project_id, queue_name) values (?, ?)
on conflict (project_id, queue_name) do nothing
"""

NOTICED = """
select project_id, queue_name from noticed
where (project_id, queue_name) > (?, ?) order by project_id, queue_name limit ?
"""

_OWN = ", ".join(f"s.{column}" for column in subscriptions.COLUMNS.split(", "))
DUE = f"""
select {_OWN}, s.project_id, s.position, s.secret, s.asked, s.asked_attempts, q.metadata
from subscription as s join queue as q on q.project_id = s.project_id and q.name = s.queue_name
where s.project_id = ? and s.queue_name = ? and s.number > ?
  and s.active = 1 and s.expires_ms > ? and s.next_ms <= ?
  and exists (select 1 from notice as n where n.project_id = s.project_id
    and n.queue_name = s.queue_name and n.sequence > s.position
    and coalesce(n.subscription_number, s.number) = s.number)
order by s.number limit ?
"""

ASKED = f"""
select {_OWN}, s.project_id, s.position, s.secret, s.asked, s.asked_attempts, q.metadata
from subscription as s join queue as q on q.project_id = s.project_id and q.name = s.queue_name
where s.asked_ms <= ? and s.expires_ms > ?
order by s.asked_ms limit ?
"""

_COLUMNS = "sequence, token, created_ms, expires_ms, ttl_s, client_id, body, key_generation"
_FOLLOWING = """
from notice
where project_id = ? and queue_name = ? and sequence > ?
  and coalesce(subscription_number, ?) = ?
order by sequence limit ?
"""
NEXT = f"select {_COLUMNS} {_FOLLOWING}"
NEXT_SIZES = f"select length(body) {_FOLLOWING}"

ONE = f"""
select {_COLUMNS} from notice where project_id = ? and queue_name = ? and sequence = ?
"""

ADVANCE = """
update subscription
set position = ?, delivered = delivered + ?, undeliverable = undeliverable + ?, attempts = 0,
  next_ms = 0, last_error = ?
where project_id = ? and queue_name = ? and number = ? and token = ? and position = ?
  and active = 1 and expires_ms = coalesce(?, expires_ms)
returning expires_ms
"""

POSTPONE = """
update subscription set attempts = ?, next_ms = ?, last_error = ?
where project_id = ? and queue_name = ? and number = ? and token = ? and position = ?
  and active = 1 and expires_ms = ?
"""

SETTLE_ASKED = """
update subscription set asked = ?, asked_ms = ?, asked_attempts = ?, last_error = ?
where project_id = ? and queue_name = ? and number = ? and token = ? and asked = ?
  and expires_ms = ?
"""

SLOWEST = """
select min(position) from subscription
where project_id = ? and queue_name = ? and active = 1 and expires_ms > ?
"""

TRIM = """
delete from notice where project_id = ? and queue_name = ? and sequence in (
  select sequence from notice
  where project_id = ? and queue_name = ? and sequence <= ? order by sequence limit ?)
"""

# Without its name SQLite would rather look at all notices of the queue.
_TRIM_DIRECTED = """
delete from {notice}
where project_id = ? and queue_name = ? and subscription_number is not null and not exists (
  select 1 from subscription as s
  where s.project_id = notice.project_id and s.queue_name = notice.queue_name
    and s.number = notice.subscription_number and s.active = 1 and s.expires_ms > ?
    and s.position < notice.sequence)
"""
TRIM_DIRECTED = sql(
    _TRIM_DIRECTED.format(notice="notice indexed by notice_directed"),
    postgres=_TRIM_DIRECTED.format(notice="notice"),
)

ANY = "select 1 from notice where project_id = ? and queue_name = ? limit 1"

UNNOTE = "delete from noticed where project_id = ? and queue_name = ?"

COUNT_UP = "update counter set value = value + ? where name = ?"

TOTALS = "select value from counter where name = ?"

_EVERYTHING = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Line:
    """A subscription that has something to be sent. `asked`: what its subscriber is to be asked;
    `queue_metadata`: of its queue."""

    place: Place
    subscription: Subscription
    position: int
    secret: bytes | None
    asked: str | None
    asked_tries: int
    queue_metadata: str


async def record(tx: Transaction, place: Place, first: int, number: int) -> None:
    """Notes the messages with these numbers, which this transaction has put into the queue."""
    await tx.execute(RECORD, (place.project_id, place.name, first, first + number))
    await tx.execute(NOTE, (place.project_id, place.name))


async def record_for(tx: Transaction, place: Place, sequence: int, subscription: MessageId) -> None:
    """The same with one of them, of which only this subscription is told."""
    key = (place.project_id, place.name)
    await tx.execute(RECORD_FOR, (subscription.sequence, *key, sequence))
    await tx.execute(NOTE, key)


async def places(tx: Transaction, after: Place, limit: int) -> list[Place]:
    """Queues that have notices, in the order of their names."""
    rows = await tx.fetch(NOTICED, (after.project_id, after.name, limit))
    return [Place(*row) for row in rows]


async def due(tx: Transaction, now_ms: int, place: Place, after: int, limit: int) -> list[Line]:
    """The queue's subscriptions, after a number, that have a notice whose time has come."""
    key = (place.project_id, place.name)
    return _lines(await tx.fetch(DUE, (*key, after, now_ms, now_ms, limit)), now_ms)


async def asked(tx: Transaction, now_ms: int, limit: int) -> list[Line]:
    """Subscriptions whose subscribers are to be asked now."""
    return _lines(await tx.fetch(ASKED, (now_ms, now_ms, limit)), now_ms)


async def following(
    tx: Transaction,
    place: Place,
    subscription: MessageId,
    position: int,
    limit: int,
    most_bytes: int,
) -> list[Notice]:
    """The subscription's notices after the position, in order; of bodies `most_bytes`, or one."""
    number = subscription.sequence
    after = (place.project_id, place.name, position, number, number)
    sizes = accumulate(row[0] for row in await tx.fetch(NEXT_SIZES, (*after, limit)))
    fitting = sum(size_bytes <= most_bytes for size_bytes in sizes)
    rows = await tx.fetch(NEXT, (*after, max(1, fitting)))
    return [_notice(row) for row in rows]


async def one(tx: Transaction, place: Place, sequence: int) -> Notice | None:
    row = await tx.fetch_one(ONE, (place.project_id, place.name, sequence))
    return None if row is None else _notice(row)


async def advance(
    tx: Transaction,
    place: Place,
    subscription: MessageId,
    position: int,
    to: int,
    delivered: int,
    undeliverable: int = 0,
    error: str = "",
    *,
    recovered: bool = False,
    expires_ms: int | None = None,
) -> int | None:
    """When its life ends, as it stands now; None, and nothing changed, if it stands elsewhere by
    now, is told of nothing any more, or has ended.

    `recovered`: the live table says that it fails, or will have to. `expires_ms`: nothing is
    changed, either, if its life ends at another time by now.
    """
    key = (place.project_id, place.name, subscription.sequence, subscription.token)
    what = (to, delivered, undeliverable, error)
    row = await tx.fetch_one(ADVANCE, (*what, *key, position, expires_ms))
    if row is None:
        return None
    if delivered:
        await tx.execute(COUNT_UP, (delivered, "notices_delivered"))
    if recovered:
        await subscriptions.changed(tx, place, subscription)
    return int(row[0])


async def postpone(
    tx: Transaction,
    place: Place,
    subscription: MessageId,
    position: int,
    expires_ms: int,
    tries: int,
    next_ms: int,
    error: str,
) -> bool:
    """The next one is tried again. False if the subscription stands elsewhere by now, or was
    changed."""
    key = (place.project_id, place.name, subscription.sequence, subscription.token)
    if not await tx.execute(POSTPONE, (tries, next_ms, error, *key, position, expires_ms)):
        return False
    await tx.execute(COUNT_UP, (1, "notices_retried"))
    if tries == 1:
        await subscriptions.changed(tx, place, subscription)
    return True


async def settle_asked(
    tx: Transaction,
    place: Place,
    subscription: MessageId,
    expires_ms: int,
    asked: str,
    again_ms: int | None,
    tries: int,
    error: str,
) -> None:
    """The subscriber was asked, or will not be; or is asked again at a time. One that was changed
    meanwhile, and so has another end, is still to be asked."""
    key = (place.project_id, place.name, subscription.sequence, subscription.token)
    still = None if again_ms is None else asked
    await tx.execute(SETTLE_ASKED, (still, again_ms, tries, error, *key, asked, expires_ms))


async def trim(tx: Transaction, now_ms: int, place: Place, batch: int) -> bool:
    """Removes what every active subscription has dealt with; True if there may be more."""
    key = (place.project_id, place.name)
    row = await tx.fetch_one(SLOWEST, (*key, now_ms))
    upto = _EVERYTHING if row is None or row[0] is None else row[0]
    removed = await tx.execute(TRIM, (*key, *key, upto, batch))
    await tx.execute(TRIM_DIRECTED, (*key, now_ms))
    if await tx.fetch_one(ANY, key) is None:
        await tx.execute(UNNOTE, key)
    return removed == batch


async def count(tx: Transaction, number: int, name: str) -> None:
    await tx.execute(COUNT_UP, (number, name))


async def total(tx: Transaction, name: str) -> int:
    row = await tx.fetch_one(TOTALS, (name,))
    return 0 if row is None else int(row[0])


def _lines(rows: Sequence[Row], now_ms: int) -> list[Line]:
    lines = []
    for row in rows:
        project_id, position, secret, asked, asked_tries, metadata = row[15:]
        found = subscription_of(row[:15], now_ms)
        place = Place(project_id, found.queue_name)
        lines.append(Line(place, found, position, secret, asked, asked_tries, metadata))
    return lines


def _notice(row: Row) -> Notice:
    sequence, token, created_ms, expires_ms, ttl_s, client_id, body, key_generation = row
    return Notice(
        MessageId(sequence, token),
        created_ms,
        expires_ms,
        ttl_s,
        ClientId(client_id),
        body,
        key_generation,
    )
