# SPDX-License-Identifier: Apache-2.0
"""How much a store holds, of all projects together."""

from dataclasses import dataclass

from transom.queue.store.stats import count
from transom.runtime.db.transaction import Transaction

TOTAL = "select coalesce(sum(total), 0) from queue where project_id <> ?"

ENDED = """
select count(*) from message join queue on queue.content_id = message.content_id
where message.expires_ms <= ? and queue.project_id <> ?
"""

# By the index of each claim's end, so that it costs what is claimed and not what waits.
CLAIMED = """
select count(*) from (
  select content_id, claim_id, expires_ms from claim where expires_ms > ?
  union select content_id, claim_id, expires_ms from strand where expires_ms > ?
) as held
join message on message.content_id = held.content_id
  and message.available_ms = held.expires_ms and message.claim_id = held.claim_id
join queue on queue.content_id = held.content_id
where message.expires_ms > ? and queue.project_id <> ?
"""

LEFT = "select name from queue where project_id = ? and created_ms < ? order by name limit ?"


@dataclass(frozen=True, slots=True)
class Volume:
    """Messages that have not ended."""

    total: int
    claimed: int

    @property
    def free(self) -> int:
        return self.total - self.claimed


async def volume(tx: Transaction, now_ms: int, without: str) -> Volume:
    """Of all projects but one."""
    total = await count(tx, TOTAL, (without,))
    ended = await count(tx, ENDED, (now_ms, without))
    claimed = await count(tx, CLAIMED, (now_ms, now_ms, now_ms, without))
    return Volume(max(claimed, total - ended), claimed)


async def left(tx: Transaction, project_id: str, before_ms: int, limit: int) -> list[str]:
    """Names of queues of the project that were made before a moment."""
    return [row[0] for row in await tx.fetch(LEFT, (project_id, before_ms, limit))]
