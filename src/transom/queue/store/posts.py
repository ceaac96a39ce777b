# SPDX-License-Identifier: Apache-2.0
"""Posting: numbers reserved, messages stored under them, or known by their keys.

Measured: bench/queue/verbs.py.
"""

import struct
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import structs

from transom.queue.logic.attributes import Attributes, attributes_of
from transom.queue.logic.keys import sort_out
from transom.queue.logic.limits import check_post_size
from transom.queue.model import ClientId, ContentId, MessageId, NewMessage, Place
from transom.queue.store import keys, notices, project_keys, queues, usage
from transom.queue.store.verbs.verb import Tools
from transom.runtime.db.transaction import Transaction
from transom.runtime.ids import Randomness

TOKEN_BYTES = 8
RESERVE = """
update queue set next_sequence = next_sequence + ?, total = total + ?,
  posted = posted + ?, body_bytes = body_bytes + ?
where project_id = ? and name = ?
returning content_id, next_sequence, metadata, coalesce(keys_id, content_id), subscribers
"""

GIVE_BACK = """
update queue set next_sequence = next_sequence - ?, total = total - ?,
  posted = posted - ?, body_bytes = body_bytes - ?
where project_id = ? and name = ?
"""

GROW = "update queue set body_bytes = body_bytes + ? where project_id = ? and name = ?"

INSERT = """
insert into message (content_id, sequence, token, created_ms, expires_ms, ttl_s,
  available_ms, claim_id, deliveries, client_id, source_id, body, key, deaths,
  key_generation)
values (?, ?, ?, ?, ?, ?, ?, null, 0, ?, null, ?, ?, null, ?)
"""


class Reserved(msgspec.Struct, frozen=True):
    """Numbers from `first` on, in a queue with these attributes; `created`: it was made for it.

    `keys_id`: what its keys hang on. `subscribers`: how many have to be told of it.
    """

    content_id: ContentId
    first: int
    attributes: Attributes
    created: bool
    keys_id: int
    subscribers: int


class Posted(msgspec.Struct, frozen=True):
    """The ids, in the order of the messages; `created`: the queue came to be with them.

    `duplicates`: the places of those that were not stored, since their keys had been.
    """

    ids: tuple[MessageId, ...]
    created: bool
    duplicates: tuple[int, ...] = ()


class Batch(msgspec.Struct, frozen=True):
    """What one request posts. `size_bytes`: of its whole body."""

    messages: Sequence[NewMessage]
    client_id: ClientId
    size_bytes: int


async def reserve(
    tx: Transaction, now_ms: int, place: Place, number: int, body_bytes: int
) -> Reserved:
    """Takes the next numbers of the queue, which is made if there is none.

    `body_bytes`: of what will lie there.
    """
    parameters = (number, number, number, body_bytes, place.project_id, place.name)
    row = await tx.fetch_one(RESERVE, parameters)
    created = False
    if row is None:
        created = await queues.create(tx, now_ms, place, "{}")
        row = await tx.fetch_one(RESERVE, parameters)
        assert row is not None  # made in this transaction
    content_id, next_sequence, metadata, keys_id, subscribers = row
    first, attributes = next_sequence - number, attributes_of(metadata)
    return Reserved(ContentId(content_id), first, attributes, created, keys_id, subscribers)


async def give_back(tx: Transaction, place: Place, number: int, body_bytes: int) -> None:
    """The last of the numbers that this transaction reserved are not needed."""
    parameters = (number, number, number, body_bytes, place.project_id, place.name)
    await tx.execute(GIVE_BACK, parameters)


async def grow(tx: Transaction, place: Place, body_bytes: int) -> None:
    """What lies there, by this transaction, is larger than was said when it was reserved."""
    await tx.execute(GROW, (body_bytes, place.project_id, place.name))


async def post(tx: Transaction, now_ms: int, place: Place, batch: Batch, tools: Tools) -> Posted:
    """Stores the messages, all or none; not those whose keys the queue knows.

    Raises: PostTooLarge, BodyLocked, QuotaReached.
    """
    body_bytes, keyed = 0, False
    for message in batch.messages:
        body_bytes += len(message.body)
        keyed = keyed or message.key is not None
    reserved = await reserve(tx, now_ms, place, len(batch.messages), body_bytes)
    check_post_size(batch.size_bytes, reserved.attributes, tools.config)
    if reserved.attributes.encrypt:
        key = await project_keys.current(tx, now_ms, tools.keyring, place.project_id, tools.random)
        batch = structs.replace(batch, messages=key.sealed(batch.messages, tools.random))
        plain_bytes, body_bytes = body_bytes, _bytes(batch.messages)
        await grow(tx, place, body_bytes - plain_bytes)
    if reserved.created:
        await usage.check_queues(tx, place, tools)
    if keyed:
        return await _post_keyed(tx, now_ms, place, reserved, batch, tools)
    if tools.quotas.bound_messages:
        await usage.check_held(tx, place, len(batch.messages), body_bytes, tools)
    ids = await _insert(tx, now_ms, reserved, batch, tools)
    if reserved.subscribers:
        await notices.record(tx, place, reserved.first, len(ids))
    return Posted(ids, reserved.created)


async def _post_keyed(
    tx: Transaction, now_ms: int, place: Place, reserved: Reserved, batch: Batch, tools: Tools
) -> Posted:
    window_s = reserved.attributes.key_window_s
    if window_s is None:
        window_s = tools.config.message_key_window_s
    own = [message.key and keys.OF_USER + message.key for message in batch.messages]
    if window_s == 0:
        own = [None] * len(own)
    known = await keys.known(tx, now_ms, reserved.keys_id, (key for key in own if key))
    found = sort_out(own, known)
    if found.duplicates:
        doubled = [batch.messages[at] for at in found.duplicates]
        await give_back(tx, place, len(doubled), _bytes(doubled))
        batch = structs.replace(batch, messages=[batch.messages[at] for at in found.fresh])
    await usage.check_held(tx, place, len(batch.messages), _bytes(batch.messages), tools)
    fresh = await _insert(tx, now_ms, reserved, batch, tools)
    if reserved.subscribers and fresh:
        await notices.record(tx, place, reserved.first, len(fresh))
    posted = {key: one for at, one in zip(found.fresh, fresh, strict=True) if (key := own[at])}
    await keys.remember(tx, reserved.keys_id, posted, now_ms + window_s * 1000)
    return Posted(found.ids(fresh), reserved.created, found.duplicates)


async def _insert(
    tx: Transaction, now_ms: int, reserved: Reserved, batch: Batch, tools: Tools
) -> tuple[MessageId, ...]:
    """Stores the messages, and gives their ids."""
    attributes, config = reserved.attributes, tools.config
    ttl_default_s = attributes.message_ttl_s or config.default_message_ttl_s
    delay_default_s = attributes.message_delay_s
    if delay_default_s is None:
        delay_default_s = config.default_message_delay_s
    content_id, client_id = reserved.content_id, batch.client_id
    ids = new_ids(reserved.first, len(batch.messages), tools.random)
    rows = []
    for message_id, message in zip(ids, batch.messages, strict=True):
        ttl_s, delay_s = message.ttl_s, message.delay_s
        if ttl_s is None:
            ttl_s = ttl_default_s
        if delay_s is None:
            delay_s = delay_default_s
        rows.append(
            (
                content_id,
                message_id.sequence,
                message_id.token,
                now_ms,
                now_ms + ttl_s * 1000,
                ttl_s,
                now_ms + delay_s * 1000 if delay_s else None,
                client_id,
                message.body,
                message.key,
                message.key_generation,
            )
        )
    if len(rows) == 1:
        await tx.execute(INSERT, rows[0])
    else:
        await tx.execute_many(INSERT, rows)
    return ids


def new_ids(first: int, number: int, random: Randomness) -> tuple[MessageId, ...]:
    """Ids with the numbers from `first` on, that nobody guesses."""
    tokens = struct.unpack(f">{number}q", random(TOKEN_BYTES * number))
    return tuple(map(MessageId, range(first, first + number), tokens))


def _bytes(messages: Iterable[NewMessage]) -> int:
    return sum(len(message.body) for message in messages)
