# SPDX-License-Identifier: Apache-2.0
"""The keys under which messages were posted, each remembered for its queue's window.

A user's key hangs on the queue and not on the message: it outlives deletion and purge of what was
posted with it, and ends with its window or with the queue.

Invariants:
1. A key is looked up and remembered in one transaction, and transactions are as if one came after
   the other: of two posts with one key, one finds that of the other.
2. Keys of users and keys of moved messages (see `letters`) never meet.
"""

from collections.abc import Iterable, Mapping

from transom.queue.model import MessageId
from transom.runtime.db.transaction import Transaction

OF_USER, OF_MOVE = "u:", "m:"
"""What a key begins with in its table."""
OF_NO_QUEUE = 0
"""What keys of moved messages hang on: they outlive the queue."""

KNOWN = """
select sequence, token from message_key where keys_id = ? and key = ? and expires_ms > ?
"""

REMEMBER = """
insert into message_key (keys_id, key, sequence, token, expires_ms) values (?, ?, ?, ?, ?)
on conflict (keys_id, key) do update set sequence = excluded.sequence, token = excluded.token,
  expires_ms = excluded.expires_ms
"""

FORGET = """
delete from message_key where (keys_id, key) in (
  select keys_id, key from message_key where expires_ms <= ? order by expires_ms limit ?)
"""


async def known(
    tx: Transaction, now_ms: int, keys_id: int, keys: Iterable[str]
) -> dict[str, MessageId]:
    """The messages that have these keys now."""
    found = {}
    for key in dict.fromkeys(keys):
        row = await tx.fetch_one(KNOWN, (keys_id, key, now_ms))
        if row is not None:
            found[key] = MessageId(*row)
    return found


async def remember(
    tx: Transaction, keys_id: int, posted: Mapping[str, MessageId], expires_ms: int
) -> None:
    rows = [(keys_id, key, one.sequence, one.token, expires_ms) for key, one in posted.items()]
    await tx.execute_many(REMEMBER, rows)


async def forget(tx: Transaction, now_ms: int, batch: int) -> bool:
    """Removes keys whose window has ended; True if there may be more."""
    return await tx.execute(FORGET, (now_ms, batch)) == batch
