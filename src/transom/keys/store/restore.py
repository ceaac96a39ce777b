# SPDX-License-Identifier: Apache-2.0
"""What the key server owes to its users after its database was put back to an earlier moment.

Nonces that came after the backup are lost, so a request from before the restore is refused by its
time. Numbers of generations follow time, so none of the lost ones is given out again.
"""

from transom.keys.store.requests import raise_floor
from transom.runtime.db.transaction import Transaction


async def restored(tx: Transaction, now_ms: int) -> None:
    await raise_floor(tx, now_ms)
