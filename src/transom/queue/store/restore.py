# SPDX-License-Identifier: Apache-2.0
"""What the queue owes to its users after its database was put back to an earlier moment.

Messages that were posted after the backup are lost, and their ids are still known to their users,
as markers ("after this one"). So no number is given out twice: every queue goes on far above.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from transom.node.feed import decoded_key, point
from transom.queue.contract import QUEUES as QUEUES_TABLE
from transom.queue.contract import SOURCE
from transom.queue.contract import SUBSCRIPTIONS as SUBSCRIPTIONS_TABLE
from transom.queue.model import MessageId, Place
from transom.queue.store import placing
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

PLACES = "select project_id, name, generation from queue order by project_id, name"

SUBSCRIPTIONS = "select project_id, queue_name, number, token from subscription"

RELAYED = "select table_name, key from directory"

FORGET_RELAYED = "delete from directory"

FORGET_RELAYERS = "delete from relay"

GO_ON = "update counter set value = ? where name = 'placing' and value < ?"

ADOPT = """
insert into placed (project_id, name, store, generation) values (?, ?, ?, ?)
on conflict (project_id, name) do update
set store = excluded.store, generation = excluded.generation
"""


async def restored(tx: Transaction) -> None:
    await tx.execute(QUEUES, (SKIPPED,))
    await tx.execute(FLOORS, (SKIPPED,))
    await tx.execute(FLOOR_OF_ALL, (SKIPPED,))
    await _relay_all(tx)


class Held(msgspec.Struct, frozen=True):
    """What a store has, for home to take over. `latest`: none up to it makes a queue there."""

    store: str
    latest: int
    queues: list[tuple[str, str, int]]


async def held(tx: Transaction) -> Held:
    """Of another store than the home."""
    found = await placing.member(tx)
    queues = [(row[0], row[1], row[2]) for row in await tx.fetch(PLACES)]
    row = await tx.fetch_one(placing.REFUSED)
    latest = max([0 if row is None else row[0], *(generation for _, _, generation in queues)])
    return Held("" if found is None else found[0], latest, queues)


async def take_over(tx: Transaction, stores: Sequence[Held]) -> None:
    """At home, whose moment is another than theirs: what they have is placed there, unless it is in
    the store, too, that home knows of."""
    held = {one.store: {(project_id, name) for project_id, name, _ in one.queues} for one in stores}
    for one in stores:
        await tx.execute(GO_ON, (one.latest, one.latest))
        for project_id, name, generation in one.queues:
            known = await placing.find(tx, Place(project_id, name))
            if known is None or not await _holds(tx, known.store, Place(project_id, name), held):
                await tx.execute(ADOPT, (project_id, name, one.store, generation))


async def _holds(
    tx: Transaction, store: str, place: Place, held: Mapping[str, AbstractSet[tuple[str, str]]]
) -> bool:
    """Whether the queue is in the store; of one that is unknown, home is believed."""
    if store == placing.HOME:
        return await placing.is_here(tx, place)
    return store not in held or (place.project_id, place.name) in held[store]


async def _relay_all(tx: Transaction) -> None:
    """Home forgets the rows of others, which they all bring again."""
    for table, key in await tx.fetch(RELAYED):
        await point(tx, SOURCE, table, decoded_key(key))
    await tx.execute(FORGET_RELAYED)
    await tx.execute(FORGET_RELAYERS)
    found = await placing.member(tx)
    if found is not None and found[0] != placing.HOME:
        for project_id, name, _ in await tx.fetch(PLACES):
            await point(tx, SOURCE, QUEUES_TABLE.name, (project_id, name))
        for project_id, name, sequence, token in await tx.fetch(SUBSCRIPTIONS):
            key = (project_id, name, str(MessageId(sequence, token)))
            await point(tx, SOURCE, SUBSCRIPTIONS_TABLE.name, key)
