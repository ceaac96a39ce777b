# SPDX-License-Identifier: Apache-2.0
"""Messages: posted, read, deleted, popped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transom.queue.config import QueueConfig
from transom.queue.logic.attributes import Attributes, attributes_of
from transom.queue.logic.deletion import Standing, refusal
from transom.queue.logic.limits import check_post_size
from transom.queue.model import (
    ClaimId,
    ClientId,
    ContentId,
    Message,
    MessageFilter,
    MessageId,
    NewMessage,
    Place,
)
from transom.queue.store import queues
from transom.queue.store.rows import COLUMNS, FEWER, WAITING, content_of, message_of, wake
from transom.runtime.db.transaction import Transaction
from transom.runtime.ids import Randomness

TOKEN_BYTES = 8

RESERVE = """
update queue set next_sequence = next_sequence + ?, total = total + ?
where project_id = ? and name = ?
returning content_id, next_sequence, metadata
"""

INSERT = """
insert into message (content_id, sequence, token, created_ms, expires_ms, ttl_s,
  available_ms, claim_id, deliveries, client_id, source_id, body)
values (?, ?, ?, ?, ?, ?, ?, null, 0, ?, ?, ?)
"""

NEXT = """
select sequence from message where content_id = ? and sequence > ? order by sequence limit 1
"""

SCAN = f"""
select {COLUMNS} from message
where content_id = ? and sequence >= ? and sequence < ? and expires_ms > ?
"""
UNCLAIMED = "and (claim_id is null or available_ms <= ?)\n"
UNDELAYED = "and (claim_id is not null or available_ms is null or available_ms <= ?)\n"
OF_OTHERS = "and client_id <> ?\n"
IN_ORDER = "order by sequence limit ?"

ONE = f"""
select {COLUMNS} from message
where content_id = ? and sequence = ? and token = ? and expires_ms > ?
"""

DELETE_UNCLAIMED = """
delete from message
where content_id = ? and sequence = ? and token = ? and (claim_id is null or available_ms <= ?)
"""

DELETE_CLAIMED = """
delete from message
where content_id = ? and sequence = ? and token = ? and claim_id = ? and available_ms > ?
"""

DELETE_ANY = "delete from message where content_id = ? and sequence = ? and token = ?"

CLAIM_ALIVE = """
select 1 from claim where content_id = ? and claim_id = ? and expires_ms > ?
"""

POP = f"""
delete from message where content_id = ? and sequence in ({WAITING}) returning {COLUMNS}
"""


@dataclass(frozen=True, slots=True)
class Reserved:
    """Numbers from `first` on, in a queue with these attributes; `created`: it was made for it."""

    content_id: ContentId
    first: int
    attributes: Attributes
    created: bool


@dataclass(frozen=True, slots=True)
class Posted:
    """The ids, in the order of the messages; `created`: the queue came to be with them."""

    ids: tuple[MessageId, ...]
    created: bool


@dataclass(frozen=True, slots=True)
class Scanned:
    """A part of a page. `position`: the last number looked at, None at the end of the queue."""

    messages: tuple[Message, ...]
    position: int | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request posts. `size_bytes`: of its whole body."""

    messages: Sequence[NewMessage]
    client_id: ClientId
    size_bytes: int


async def reserve(tx: Transaction, now_ms: int, place: Place, number: int) -> Reserved:
    """Takes the next numbers of the queue, which is made if there is none."""
    parameters = (number, number, place.project_id, place.name)
    row = await tx.fetch_one(RESERVE, parameters)
    created = False
    if row is None:
        created = await queues.create(tx, now_ms, place, "{}")
        row = await tx.fetch_one(RESERVE, parameters)
        assert row is not None  # made in this transaction
    content_id, next_sequence, metadata = row
    return Reserved(ContentId(content_id), next_sequence - number, attributes_of(metadata), created)


async def post(
    tx: Transaction,
    now_ms: int,
    place: Place,
    batch: Batch,
    config: QueueConfig,
    random: Randomness,
) -> Posted:
    """Stores the messages, all or none. Raises: PostTooLarge."""
    reserved = await reserve(tx, now_ms, place, len(batch.messages))
    attributes = reserved.attributes
    check_post_size(batch.size_bytes, attributes, config)
    ttl_default_s = attributes.message_ttl_s or config.default_message_ttl_s
    delay_default_s = attributes.message_delay_s
    if delay_default_s is None:
        delay_default_s = config.default_message_delay_s
    ids, rows = [], []
    fresh = new_ids(reserved.first, len(batch.messages), random)
    for message_id, message in zip(fresh, batch.messages, strict=True):
        ttl_s = ttl_default_s if message.ttl_s is None else message.ttl_s
        delay_s = delay_default_s if message.delay_s is None else message.delay_s
        ids.append(message_id)
        rows.append(
            (
                reserved.content_id,
                message_id.sequence,
                message_id.token,
                now_ms,
                now_ms + ttl_s * 1000,
                ttl_s,
                now_ms + delay_s * 1000 if delay_s else None,
                batch.client_id,
                None,
                message.body,
            )
        )
    await tx.execute_many(INSERT, rows)
    return Posted(tuple(ids), reserved.created)


def new_ids(first: int, number: int, random: Randomness) -> list[MessageId]:
    tokens = random(TOKEN_BYTES * number)
    return [
        MessageId(
            first + index,
            int.from_bytes(
                tokens[TOKEN_BYTES * index : TOKEN_BYTES * (index + 1)], "big", signed=True
            ),
        )
        for index in range(number)
    ]


async def scan(
    tx: Transaction,
    now_ms: int,
    place: Place,
    after: int,
    limit: int,
    wanted: MessageFilter,
    most_rows: int,
) -> Scanned:
    """Messages after a number, in order, from looking at no more than `most_rows` of them."""
    content_id = await content_of(tx, place)
    first = None if content_id is None else await tx.fetch_one(NEXT, (content_id, after))
    if first is None:
        return Scanned((), None)
    end = first[0] + most_rows
    sql, parameters = SCAN, [content_id, first[0], end, now_ms]
    if not wanted.include_claimed:
        sql, parameters = sql + UNCLAIMED, [*parameters, now_ms]
    if not wanted.include_delayed:
        sql, parameters = sql + UNDELAYED, [*parameters, now_ms]
    if wanted.not_from is not None:
        sql, parameters = sql + OF_OTHERS, [*parameters, wanted.not_from]
    rows = await tx.fetch(sql + IN_ORDER, [*parameters, limit])
    messages = tuple(message_of(row, now_ms) for row in rows)
    if len(messages) == limit:
        return Scanned(messages, messages[-1].id.sequence)
    more = await tx.fetch_one(NEXT, (content_id, end - 1))
    return Scanned(messages, None if more is None else end - 1)


async def get_many(
    tx: Transaction, now_ms: int, place: Place, ids: Iterable[MessageId]
) -> list[Message]:
    """Those of the messages that exist, claimed or not, in the order asked for."""
    content_id = await content_of(tx, place)
    if content_id is None:
        return []
    found = []
    for wanted in ids:
        row = await tx.fetch_one(ONE, (content_id, wanted.sequence, wanted.token, now_ms))
        if row is not None:
            found.append(message_of(row, now_ms))
    return found


async def delete(
    tx: Transaction,
    now_ms: int,
    place: Place,
    ids: Iterable[MessageId],
    named: Sequence[ClaimId] | None,
) -> int:
    """Deletes the messages, or none of them if one is held against the request.

    Without `named` only what no live claim holds, else only what one of these claims holds (an
    empty sequence: a claim was named that cannot be one).
    Answers how many there were.
    Raises: MessageClaimed, NotClaimed, ClaimUnknown.
    """
    content_id = await content_of(tx, place)
    if content_id is None:
        return 0
    deleted = 0
    for message_id in ids:
        key = (content_id, message_id.sequence, message_id.token)
        touched = 0
        if named is None:
            touched = await tx.execute(DELETE_UNCLAIMED, (*key, now_ms))
        else:
            for claim_id in named:
                touched = touched or await tx.execute(DELETE_CLAIMED, (*key, claim_id, now_ms))
        if not touched:
            why = refusal(await _standing(tx, now_ms, content_id, message_id, named))
            if why is not None:
                raise why
        deleted += touched
    if deleted:
        await tx.execute(FEWER, (deleted, place.project_id, place.name))
    return deleted


async def delete_anyway(tx: Transaction, place: Place, ids: Iterable[MessageId]) -> int:
    """Deletes the messages, whoever holds them; answers how many there were."""
    content_id = await content_of(tx, place)
    if content_id is None:
        return 0
    deleted = 0
    for wanted in ids:
        deleted += await tx.execute(DELETE_ANY, (content_id, wanted.sequence, wanted.token))
    if deleted:
        await tx.execute(FEWER, (deleted, place.project_id, place.name))
    return deleted


async def pop(tx: Transaction, now_ms: int, place: Place, limit: int) -> list[Message]:
    """Takes the first waiting messages out of the queue, in order."""
    content_id = await content_of(tx, place)
    if content_id is None:
        return []
    await wake(tx, content_id, now_ms)
    rows = await tx.fetch(POP, (content_id, content_id, now_ms, limit))
    if rows:
        await tx.execute(FEWER, (len(rows), place.project_id, place.name))
    return [message_of(row, now_ms) for row in sorted(rows, key=lambda row: row[0])]


async def _standing(
    tx: Transaction,
    now_ms: int,
    content_id: ContentId,
    message_id: MessageId,
    named: Sequence[ClaimId] | None,
) -> Standing:
    key = (content_id, message_id.sequence, message_id.token, now_ms)
    row = await tx.fetch_one(ONE, key)
    alive = False
    for claim_id in named or ():
        found = await tx.fetch_one(CLAIM_ALIVE, (content_id, claim_id, now_ms))
        alive = alive or found is not None
    return Standing(
        exists=row is not None,
        held=row is not None and message_of(row, now_ms).claim_id is not None,
        claim_named=named is not None,
        claim_alive=alive,
    )
