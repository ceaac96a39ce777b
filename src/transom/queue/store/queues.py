# SPDX-License-Identifier: Apache-2.0
"""Queues: made, changed, listed, given up."""

from collections.abc import Callable

from transom.errors import Conflict
from transom.node.feed import point
from transom.queue.contract import QUEUES, SOURCE
from transom.queue.model import ContentId, Place, QueueNotFound
from transom.queue.store import placing, subscriptions
from transom.queue.store.rows import CONTENT
from transom.runtime.db.transaction import Transaction

NEW_CONTENT = "update counter set value = value + 1 where name = 'content' returning value"

INSERT = """
insert into queue
  (project_id, name, content_id, metadata, created_ms, next_sequence, generation, total)
values (?, ?, ?, ?, ?, ?, ?, 0)
on conflict (project_id, name) do nothing
"""

SET_METADATA = """
update queue set metadata = ?
where project_id = ? and name = ? and metadata = ?
"""

DELETE = """
delete from queue where project_id = ? and name = ?
returning content_id, next_sequence, generation
"""

FORSAKE = "insert into forsaken (content_id) values (?)"

EMPTY = """
update queue set content_id = ?, total = 0, body_bytes = 0, keys_id = coalesce(keys_id, content_id)
where project_id = ? and name = ? and content_id = ?
"""

LIST = """
select name, metadata from queue
where project_id = ? and name > ?
order by name limit ?
"""

COUNT = "select count(*) from queue where project_id = ?"

ROW = "select metadata, created_ms from queue where project_id = ? and name = ?"


async def create(tx: Transaction, now_ms: int, place: Place, metadata: str) -> bool:
    """Makes the queue; False, and nothing changed, if there is one.

    Raises: NotPlaced where the queues are in several databases, and it has no place in this one.
    """
    if await tx.fetch_one(CONTENT, (place.project_id, place.name)) is not None:
        return False
    generation, first = await placing.admission(tx, place)
    floor = await tx.fetch_one(placing.FLOOR, (place.project_id,))
    touched = await tx.execute(
        INSERT,
        (
            place.project_id,
            place.name,
            await new_content(tx),
            metadata,
            now_ms,
            max(first, 1 if floor is None else floor[0]),
            generation,
        ),
    )
    if touched:
        await _changed(tx, place)
    return touched == 1


async def metadata_of(tx: Transaction, place: Place) -> str | None:
    row = await tx.fetch_one(CONTENT, (place.project_id, place.name))
    return None if row is None else str(row[1])


async def update(tx: Transaction, place: Place, change: Callable[[str], str]) -> tuple[str, bool]:
    """Replaces the metadata by what `change` makes of them; answers that, and if it is new.

    Raises: QueueNotFound, Conflict, and what `change` raises.
    """
    before = await metadata_of(tx, place)
    if before is None:
        raise QueueNotFound(f"There is no queue {place.name!r}.")
    after = change(before)
    if after != before:
        if not await tx.execute(SET_METADATA, (after, place.project_id, place.name, before)):
            raise Conflict("The metadata were changed by somebody else at the same time.")
        await _changed(tx, place)
    return after, after != before


async def delete(tx: Transaction, place: Place) -> bool:
    """Gives the queue up with all it holds; False if there is none."""
    row = await tx.fetch_one(DELETE, (place.project_id, place.name))
    if row is None:
        return False
    content_id, next_sequence, generation = row
    await subscriptions.end_all(tx, place)
    await tx.execute(placing.RAISE_FLOOR, (place.project_id, next_sequence))
    if generation:
        await placing.vacate(tx, place, generation, next_sequence)
    await tx.execute(FORSAKE, (content_id,))
    await _changed(tx, place)
    return True


async def purge(tx: Transaction, place: Place) -> None:
    """Gives up all that the queue holds: its messages, claimed ones too, and its claims."""
    row = await tx.fetch_one(CONTENT, (place.project_id, place.name))
    if row is None:
        return
    emptied = (await new_content(tx), place.project_id, place.name, row[0])
    if await tx.execute(EMPTY, emptied):
        await tx.execute(FORSAKE, (row[0],))


async def page(tx: Transaction, project_id: str, after: str, limit: int) -> list[tuple[str, str]]:
    """(name, metadata) of the project's queues after the name, by name."""
    return [(row[0], row[1]) for row in await tx.fetch(LIST, (project_id, after, limit))]


async def count(tx: Transaction, project_id: str) -> int:
    row = await tx.fetch_one(COUNT, (project_id,))
    return 0 if row is None else int(row[0])


async def row_of(tx: Transaction, place: Place) -> tuple[str, int] | None:
    """(metadata, time of making) of the queue."""
    row = await tx.fetch_one(ROW, (place.project_id, place.name))
    return None if row is None else (row[0], row[1])


async def new_content(tx: Transaction) -> ContentId:
    row = await tx.fetch_one(NEW_CONTENT)
    assert row is not None  # the migration made it
    return ContentId(row[0])


async def _changed(tx: Transaction, place: Place) -> None:
    await point(tx, SOURCE, QUEUES.name, (place.project_id, place.name))
