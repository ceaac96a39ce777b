# SPDX-License-Identifier: Apache-2.0
"""The queue on its node: the rows of its live table, for the feed that publishes them."""

import msgspec

from transom.messaging.proto.feed import Key, Row
from transom.queue.contract import QUEUES
from transom.queue.model import Place
from transom.queue.store import queues
from transom.runtime.db.transaction import Transaction


async def read_row(tx: Transaction, table: str, key: Key) -> Row | None:
    """The row as it is now; None if there is none any more."""
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
