# SPDX-License-Identifier: Apache-2.0
"""What a part's node owes to the world after its database was put back to an earlier moment."""

from transom.node.feed import new_epoch
from transom.runtime.db.transaction import Transaction

_SOURCES = "select source from feed order by source"
_LEASES = "update lease set generation = generation + ?, until_ms = 0"


async def restored(tx: Transaction, now_ms: int) -> None:
    """Begins new epochs, so that replicas that saw later change sets load anew; frees the leases,
    above every generation that a holder may have gained since the backup."""
    now_s = now_ms // 1000
    for (source,) in await tx.fetch(_SOURCES):
        await new_epoch(tx, source, at_least=now_s)
    await tx.execute(_LEASES, (now_s,))
