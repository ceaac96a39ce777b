# SPDX-License-Identifier: Apache-2.0
"""Dead letters of a subscription, which come back to it alone.

Such a letter is the copy of a message that others may have done with. So it does not stay in the
queue that it comes back to: in the same transaction it becomes a notice for that subscription,
which is told of it after what was posted before. Where the subscription is told of nothing any
more, it comes back as other letters do.
"""

from collections.abc import Sequence

from transom.queue.model import ContentId, MessageId, Place
from transom.queue.store import notices
from transom.queue.store.rows import REMOVE, bytes_of, fewer
from transom.runtime.db.transaction import Transaction

IS_TOLD = """
select 1 from subscription
where project_id = ? and queue_name = ? and number = ? and token = ? and active = 1
  and expires_ms > ?
"""


async def direct(
    tx: Transaction,
    now_ms: int,
    place: Place,
    content_id: ContentId,
    first: int,
    addressees: Sequence[MessageId | None],
) -> None:
    """Of messages that this transaction put into the queue, with numbers from `first` on, those
    that are for a subscription leave it again. `addressees`: of each of them."""
    directed = []
    for sequence, subscription in enumerate(addressees, first):
        if subscription is None:
            continue
        key = (place.project_id, place.name, subscription.sequence, subscription.token, now_ms)
        if await tx.fetch_one(IS_TOLD, key) is not None:
            await notices.record_for(tx, place, sequence, subscription)
            directed.append(sequence)
    if directed:
        body_bytes = await bytes_of(tx, content_id, directed)
        await tx.execute_many(REMOVE, [(content_id, sequence) for sequence in directed])
        await fewer(tx, place, len(directed), body_bytes)
