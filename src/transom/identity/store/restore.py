# SPDX-License-Identifier: Apache-2.0
"""What identity owes to its users after its database was put back to an earlier moment.

Tokens that were revoked after the backup would be good again, since nobody remembers that. So all
tokens are void: the epochs go on above every one that was reached since.
"""

from transom.runtime.db.transaction import Transaction

USERS = "update users set epoch = epoch + ?"

PROJECTS = "update projects set epoch = epoch + ?"


async def restored(tx: Transaction, now_ms: int) -> None:
    await tx.execute(USERS, (now_ms // 1000,))
    await tx.execute(PROJECTS, (now_ms // 1000,))
