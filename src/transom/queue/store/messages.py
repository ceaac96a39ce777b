# SPDX-License-Identifier: Apache-2.0
"""Messages: posted, read, deleted, popped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from transom.queue.logic.deletion import Standing, refusal
from transom.queue.model import (
    ClaimId,
    ContentId,
    Message,
    MessageFilter,
    MessageId,
    Place,
)
from transom.queue.store.rows import COLUMNS, WAITING, content_of, fewer, message_of, wake
from transom.runtime.db.transaction import Transaction

BODY = 2
"""Its place among `COLUMNS`."""

NEXT = """
select sequence from message where content_id = ? and sequence > ? order by sequence limit 1
"""

SCAN = f"""
select {COLUMNS} from message
where content_id = ? and sequence >= ? and sequence < ? and expires_ms > ?
"""
UNCLAIMED = "and (claim_id is null or available_ms <= ?)\n"
UNDELAYED = "and (claim_id is not null or available_ms is null or available_ms <= ?)\n"
OF_OTHERS = "and client_id <> ?\n"
IN_ORDER = "order by sequence limit ?"

ONE = f"""
select {COLUMNS} from message
where content_id = ? and sequence = ? and token = ? and expires_ms > ?
"""

FOUND = """
select queue.content_id, length(message.body) from queue left join message
  on message.content_id = queue.content_id and message.sequence = ? and message.token = ?
where queue.project_id = ? and queue.name = ?
"""

DELETE_UNCLAIMED = """
delete from message
where content_id = ? and sequence = ? and token = ? and (claim_id is null or available_ms <= ?)
"""

DELETE_CLAIMED = """
delete from message
where content_id = ? and sequence = ? and token = ? and claim_id = ? and available_ms > ?
"""

SOME = "from message where content_id = ? and sequence in ({0}) and token in ({0})"
SIZES = "select count(*), sum(length(body)) " + SOME
DELETE_SOME = "delete " + SOME

AT_ONCE = 64
"""Ids in one statement."""

CLAIM_ALIVE = """
select 1 from claim where content_id = ? and claim_id = ? and expires_ms > ?
"""

POP = f"""
delete from message where content_id = ? and sequence in ({WAITING}) returning {COLUMNS}
"""


@dataclass(frozen=True, slots=True)
class Scanned:
    """A part of a page. `position`: the last number looked at, None at the end of the queue."""

    messages: tuple[Message, ...]
    position: int | None


async def scan(
    tx: Transaction,
    now_ms: int,
    place: Place,
    after: int,
    limit: int,
    wanted: MessageFilter,
    most_rows: int,
) -> Scanned:
    """Messages after a number, in order, from looking at no more than `most_rows` of them."""
    content_id = await content_of(tx, place)
    first = None if content_id is None else await tx.fetch_one(NEXT, (content_id, after))
    if first is None:
        return Scanned((), None)
    end = first[0] + most_rows
    sql, parameters = SCAN, [content_id, first[0], end, now_ms]
    if not wanted.include_claimed:
        sql, parameters = sql + UNCLAIMED, [*parameters, now_ms]
    if not wanted.include_delayed:
        sql, parameters = sql + UNDELAYED, [*parameters, now_ms]
    if wanted.not_from is not None:
        sql, parameters = sql + OF_OTHERS, [*parameters, wanted.not_from]
    rows = await tx.fetch(sql + IN_ORDER, [*parameters, limit])
    messages = tuple(message_of(row, now_ms) for row in rows)
    if len(messages) == limit:
        return Scanned(messages, messages[-1].id.sequence)
    more = await tx.fetch_one(NEXT, (content_id, end - 1))
    return Scanned(messages, None if more is None else end - 1)


async def get_many(
    tx: Transaction, now_ms: int, place: Place, ids: Iterable[MessageId]
) -> list[Message]:
    """Those of the messages that exist, claimed or not, in the order asked for."""
    content_id = await content_of(tx, place)
    if content_id is None:
        return []
    found = []
    for wanted in ids:
        row = await tx.fetch_one(ONE, (content_id, wanted.sequence, wanted.token, now_ms))
        if row is not None:
            found.append(message_of(row, now_ms))
    return found


async def delete(
    tx: Transaction,
    now_ms: int,
    place: Place,
    ids: Iterable[MessageId],
    named: Sequence[ClaimId] | None,
) -> int:
    """Deletes the messages, or none of them if one is held against the request.

    Without `named` only what no live claim holds, else only what one of these claims holds (an
    empty sequence: a claim was named that cannot be one).
    Answers how many there were.
    Raises: MessageClaimed, NotClaimed, ClaimUnknown.
    """
    deleted = deleted_bytes = 0
    for message_id in ids:
        whole_id = (message_id.sequence, message_id.token)
        found = await tx.fetch_one(FOUND, (*whole_id, place.project_id, place.name))
        if found is None or found[1] is None:
            continue  # nothing to delete
        content_id, body_bytes = found
        gone = 0
        if named is None:
            gone = await tx.execute(DELETE_UNCLAIMED, (content_id, *whole_id, now_ms))
        for claim_id in named or ():
            key = (content_id, *whole_id, claim_id, now_ms)
            gone = gone or await tx.execute(DELETE_CLAIMED, key)
        if not gone:
            why = refusal(await _standing(tx, now_ms, content_id, message_id, named))
            if why is not None:
                raise why
            continue
        deleted += 1
        deleted_bytes += body_bytes
    if deleted:
        await fewer(tx, place, deleted, deleted_bytes)
    return deleted


async def delete_anyway(tx: Transaction, place: Place, ids: Iterable[MessageId]) -> int:
    """Deletes the messages, whoever holds them; answers how many there were."""
    content_id = await content_of(tx, place)
    if content_id is None:
        return 0
    wanted = tuple(dict.fromkeys(ids))
    deleted = deleted_bytes = 0
    for at in range(0, len(wanted), AT_ONCE):
        several = wanted[at : at + AT_ONCE]
        # Who knows a message's number and its token knows its id.
        numbers = (*(one.sequence for one in several), *(one.token for one in several))
        sizes, delete_some = _of_some(len(several))
        found = await tx.fetch_one(sizes, (content_id, *numbers))
        if found is not None and found[0]:
            await tx.execute(delete_some, (content_id, *numbers))
            deleted, deleted_bytes = deleted + found[0], deleted_bytes + found[1]
    if deleted:
        await fewer(tx, place, deleted, deleted_bytes)
    return deleted


@cache
def _of_some(number: int) -> tuple[str, str]:
    """The statements for so many ids; compiled once for each number, and kept."""
    marks = ", ".join(["?"] * number)
    return SIZES.format(marks), DELETE_SOME.format(marks)


async def pop(tx: Transaction, now_ms: int, place: Place, limit: int) -> list[Message]:
    """Takes the first waiting messages out of the queue, in order."""
    content_id = await content_of(tx, place)
    if content_id is None:
        return []
    await wake(tx, content_id, now_ms)
    rows = await tx.fetch(POP, (content_id, content_id, now_ms, limit))
    if rows:
        await fewer(tx, place, len(rows), sum(len(row[BODY]) for row in rows))
    return [message_of(row, now_ms) for row in sorted(rows, key=lambda row: row[0])]


async def _standing(
    tx: Transaction,
    now_ms: int,
    content_id: ContentId,
    message_id: MessageId,
    named: Sequence[ClaimId] | None,
) -> Standing:
    key = (content_id, message_id.sequence, message_id.token, now_ms)
    row = await tx.fetch_one(ONE, key)
    alive = False
    for claim_id in named or ():
        found = await tx.fetch_one(CLAIM_ALIVE, (content_id, claim_id, now_ms))
        alive = alive or found is not None
    return Standing(
        exists=row is not None,
        held=row is not None and message_of(row, now_ms).claim_id is not None,
        claim_named=named is not None,
        claim_alive=alive,
    )
