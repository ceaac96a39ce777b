# SPDX-License-Identifier: Apache-2.0
"""What the queue owes to its users after its database was put back to an earlier moment.

Messages that were posted after the backup are lost, and their ids are still known to their users,
as markers ("after this one"). So no number is given out twice: every queue goes on far above.
"""

from transom.runtime.db.transaction import Transaction

SKIPPED = 1 << 40
"""Numbers that a queue can have given out since the backup: a million a second for twelve days."""

QUEUES = "update queue set next_sequence = next_sequence + ?"

FLOORS = "update project set next_sequence = next_sequence + ?"

# Of every project, also of those that the backup does not know.
FLOOR_OF_ALL = """
insert into project (project_id, next_sequence) values ('', ?)
on conflict (project_id) do nothing
"""


async def restored(tx: Transaction) -> None:
    await tx.execute(QUEUES, (SKIPPED,))
    await tx.execute(FLOORS, (SKIPPED,))
    await tx.execute(FLOOR_OF_ALL, (SKIPPED,))
