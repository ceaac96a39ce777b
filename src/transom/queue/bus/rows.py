# SPDX-License-Identifier: Apache-2.0
"""Rows of the queue's live tables.

A row of a store of its own stands in that store; those of others are relayed to the home's
`directory` (see `store.relay`), so one feed with one numbering covers all.
"""

import msgspec

from transom.messaging.proto.feed import Key, Row
from transom.queue.contract import QUEUES, SUBSCRIPTIONS
from transom.queue.logic.subscriptions import shown_subscriber
from transom.queue.model import MessageId, Place
from transom.queue.store import queues, relay, subscriptions
from transom.runtime.db.transaction import Transaction


async def read_row(tx: Transaction, table: str, key: Key) -> Row | None:
    """The row as it is now, in whichever store; None if there is none any more. At home."""
    found = await read_own_row(tx, table, key)
    return await relay.relayed_row(tx, table, key) if found is None else found


async def read_own_row(tx: Transaction, table: str, key: Key) -> Row | None:
    """As `read_row`, of this store alone."""
    if table == SUBSCRIPTIONS.name:
        return await _subscription_row(tx, key)
    if table != QUEUES.name:
        raise LookupError(f"the queue has no table {table!r}")
    project_id, name = key
    found = await queues.row_of(tx, Place(project_id, name))
    if found is None:
        return None
    metadata, created_ms = found
    return {
        "project_id": project_id,
        "name": name,
        "metadata": msgspec.json.decode(metadata),
        "created": created_ms,
    }


async def _subscription_row(tx: Transaction, key: Key) -> Row | None:
    """One of `queue:subscriptions`; of the subscriber's address no more than anybody may see."""
    project_id, queue_name, text = key
    wanted = MessageId.parse(text)
    if wanted is None:
        return None
    found = await subscriptions.row_of(tx, 0, Place(project_id, queue_name), wanted)
    if found is None:
        return None
    return {
        "project_id": project_id,
        "queue": queue_name,
        "id": text,
        "subscriber": shown_subscriber(found.subscriber),
        "confirmed": found.confirmed,
        "state": found.state.word,
        "last_error": found.state.last_error,
        "created": found.created_ms,
        "expires": found.expires_ms,
    }
