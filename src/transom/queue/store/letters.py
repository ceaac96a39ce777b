# SPDX-License-Identifier: Apache-2.0
"""Messages moved from one queue to another: to the dead letters, and back.

A moved message is a new one where it comes to: a new id, a new life, claimed never. Its body, key
and poster go along, and what is known of its moves. A dead letter has the id that it had before
in `source_id`; what came back from there has none.

A queue that is in another database cannot be written in the same step. Then the message departs:
it is moved, in that step, to a hidden queue of its own database (`departing`), from where it
is brought over by `arrive` there and `departed` here, each as often as need be.

Invariants:
1. A message is in one queue, hidden ones among them, before and after each step.
2. `arrive` stores each message once: it has a key made of the id that it departed with, remembered
   for longer than anybody goes on trying, and whatever becomes of its queue meanwhile.
3. Messages for one queue depart and arrive in order: always the first ones are brought over, in
   one step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from transom.queue.logic.attributes import DeadLetters
from transom.queue.logic.keys import sort_out
from transom.queue.logic.letters import addressee, died, sent_back, way_back
from transom.queue.model import ClientId, ContentId, Death, MessageId, Place, Reason
from transom.queue.store import keys, notices, placing, project_keys, returning
from transom.queue.store.posts import grow, new_ids, reserve
from transom.queue.store.queues import new_content
from transom.queue.store.rows import REMOVE, bytes_of, content_of, deaths_of, fewer
from transom.queue.store.verbs.verb import Tools
from transom.runtime.db.dialect import sql
from transom.runtime.db.transaction import Row, Transaction

CARRIED = "client_id, body, key, key_generation"
"""What a move leaves as it is. One who adds such a column adds it to `ARRIVE` and `Arriving`."""

COPY = f"""
insert into message (content_id, sequence, token, created_ms, expires_ms, ttl_s,
  available_ms, claim_id, deliveries, source_id, deaths, {CARRIED})
select ?, ?, ?, ?, ?, ?, null, null, 0, ?, ?, {CARRIED}
from message where content_id = ? and sequence = ?
"""

# Without its name SQLite would rather look at all messages of the queue.
_BY_INDEX = "message indexed by message_dead"

_FIRST_DEAD = """
select sequence, token, ttl_s, created_ms, source_id, deaths from {message}
where content_id = ? and source_id is not null and expires_ms > ?
  and (claim_id is null or available_ms <= ?) and (deaths is not null or ? = 1)
order by sequence limit ?
"""
FIRST_DEAD = sql(
    _FIRST_DEAD.format(message=_BY_INDEX), postgres=_FIRST_DEAD.format(message="message")
)

ONE_DEAD = """
select sequence, token, ttl_s, created_ms, source_id, deaths from message
where content_id = ? and sequence = ? and token = ? and source_id is not null and expires_ms > ?
  and (claim_id is null or available_ms <= ?) and (deaths is not null or ? = 1)
"""

_LEFT = """
select count(*) from {message} where content_id = ? and source_id is not null and expires_ms > ?
"""
LEFT = sql(_LEFT.format(message=_BY_INDEX), postgres=_LEFT.format(message="message"))

DEPART = """
update departing set next_sequence = next_sequence + ? where project_id = ? and name = ?
returning content_id, next_sequence
"""

WAY = "select 1 from departing where project_id = ? and name = ?"

OPEN_WAY = """
insert into departing (project_id, name, content_id, next_sequence) values (?, ?, ?, 1)
"""

WAYS = """
select project_id, name, content_id from departing
where (project_id, name) > (?, ?) order by project_id, name limit ?
"""

ON_THEIR_WAY = f"""
select sequence, token, ttl_s, source_id, deaths, {CARRIED} from message
where content_id = ? order by sequence limit ?
"""

ANY_ON_ITS_WAY = "select 1 from message where content_id = ? limit 1"

CLOSE_WAY = "delete from departing where content_id = ?"

ARRIVE = f"""
insert into message (content_id, sequence, token, created_ms, expires_ms, ttl_s,
  available_ms, claim_id, deliveries, source_id, deaths, {CARRIED})
values (?, ?, ?, ?, ?, ?, null, null, 0, ?, ?, ?, ?, ?, ?)
"""

OPENED = 0
"""As a generation: the body is plain now, and was sealed."""
YEAR_MS = 365 * 86_400_000
"""Nothing ends on its way, however long the other database is away."""
REMEMBERED_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class Going:
    """A message that is moved. `source_id`: what it is called there as a dead letter, else None."""

    sequence: int
    ttl_s: int
    source_id: str | None
    deaths: tuple[Death, ...]


class Arriving(msgspec.Struct, frozen=True, array_like=True):
    """A message that comes from another database, where it departed with this id.

    What follows `deaths` are the values of the columns `CARRIED`. Keys are their database's own, so
    a sealed body is opened there, and `OPENED` says that it has to be sealed again here.
    """

    id: MessageId
    ttl_s: int
    source_id: str | None
    deaths: str | None
    client_id: ClientId
    body: bytes
    key: str | None
    key_generation: int | None = None


@dataclass(frozen=True, slots=True)
class Redriven:
    """`moved`: how many; `left`: dead letters that are still there; `created`: a queue came to be
    for them; `departed`: some are on their way to another database."""

    moved: int
    left: int
    created: bool
    departed: bool


async def bury(
    tx: Transaction,
    now_ms: int,
    place: Place,
    content_id: ContentId,
    letters: DeadLetters,
    rows: Sequence[Row],
    reason: Reason,
    text: str,
    tools: Tools,
) -> bool:
    """Moves messages to the dead letters. True: that queue was made for them.

    `rows`: (sequence, token, ttl_s, deliveries, created_ms, source_id, deaths) of each, in order.
    """
    going = [dying(now_ms, place, letters, row, reason, text) for row in rows]
    target = Place(place.project_id, letters.queue_name)
    created, _ = await move(tx, now_ms, place, content_id, target, going, tools)
    return created


def dying(
    now_ms: int,
    place: Place,
    letters: DeadLetters,
    row: Row,
    reason: Reason,
    text: str,
    subscription: str = "",
) -> Going:
    """`row`: as for `bury`; `subscription`: whose notice it is."""
    sequence, token, ttl_s, deliveries, created_ms, source_id, deaths = row
    source = str(MessageId(sequence, token))
    last = Death(place.name, source, reason, text, deliveries, now_ms, ttl_s, subscription)
    before = deaths_of(source_id, deaths, created_ms, ttl_s)
    return Going(sequence, letters.ttl_s or ttl_s, source, died(before, last))


async def redrive(
    tx: Transaction,
    now_ms: int,
    place: Place,
    ids: Sequence[MessageId] | None,
    to: str | None,
    limit: int,
    tools: Tools,
) -> Redriven:
    """Moves dead letters back where they came from, or to the queue `to`: the first, or these.

    Those of a subscription go to it alone, unless `to` says otherwise (see `returning`).
    Those that a live claim holds stay, and those of which nobody knows where they came from.
    """
    content_id = await content_of(tx, place)
    if content_id is None:
        return Redriven(0, 0, created=False, departed=False)
    rows = await _dead(tx, now_ms, content_id, ids, to is not None, limit)
    going: dict[str, list[Going]] = {}
    for sequence, _, ttl_s, created_ms, source_id, text in rows:
        deaths = deaths_of(source_id, text, created_ms, ttl_s)
        name = way_back(deaths, to)
        if name is not None and name != place.name:
            back = Going(sequence, deaths[0].ttl_s, None, sent_back(deaths, to))
            going.setdefault(name, []).append(back)
    created = departed = False
    for name in sorted(going):  # one order for all, so that two redrives never wait crosswise
        target = Place(place.project_id, name)
        made, left = await move(tx, now_ms, place, content_id, target, going[name], tools)
        created, departed = created or made, departed or left
    remaining = await tx.fetch_one(LEFT, (content_id, now_ms))
    return Redriven(
        sum(len(some) for some in going.values()),
        0 if remaining is None else remaining[0],
        created,
        departed,
    )


async def move(
    tx: Transaction,
    now_ms: int,
    source: Place,
    content_id: ContentId,
    target: Place,
    going: Sequence[Going],
    tools: Tools,
) -> tuple[bool, bool]:
    """Moves the messages, in the order given. (the target was made for them, they departed)."""
    told = await copy(tx, now_ms, content_id, target, going, tools)
    body_bytes = await bytes_of(tx, content_id, (one.sequence for one in going))
    await tx.execute_many(REMOVE, [(content_id, one.sequence) for one in going])
    await fewer(tx, source, len(going), body_bytes)
    return told


async def copy(
    tx: Transaction,
    now_ms: int,
    content_id: ContentId,
    target: Place,
    going: Sequence[Going],
    tools: Tools,
) -> tuple[bool, bool]:
    """The same, and the messages stay where they are too."""
    departs = not await placing.may_be_made(tx) and await _is_away(tx, target)
    created = told = False
    if departs:
        into, first = await _way(tx, target, len(going))
    else:
        body_bytes = await bytes_of(tx, content_id, (one.sequence for one in going))
        reserved = await reserve(tx, now_ms, target, len(going), body_bytes)
        into, first, created = reserved.content_id, reserved.first, reserved.created
        told = reserved.subscribers > 0
    rows = []
    for new_id, one in zip(new_ids(first, len(going), tools.random), going, strict=True):
        life_ms = YEAR_MS if departs else one.ttl_s * 1000
        rows.append(
            (
                into,
                new_id.sequence,
                new_id.token,
                now_ms,
                now_ms + life_ms,
                one.ttl_s,
                one.source_id,
                _encoded(one.deaths),
                content_id,
                one.sequence,
            )
        )
    await tx.execute_many(COPY, rows)
    if tools.moved is not None:
        tools.moved.places.append(target)
    if told:
        addressees = [addressee(one.source_id, one.deaths) for one in going]
        await returning.direct(tx, now_ms, target, into, first, addressees)
        await notices.record(tx, target, first, len(going))
    return created, departs


async def ways(tx: Transaction, after: Place, limit: int) -> list[tuple[Place, ContentId]]:
    """Queues in other databases that messages are on their way to, after that one, by name."""
    rows = await tx.fetch(WAYS, (after.project_id, after.name, limit))
    return [(Place(row[0], row[1]), ContentId(row[2])) for row in rows]


async def on_their_way(tx: Transaction, content_id: ContentId, limit: int) -> tuple[Arriving, ...]:
    """The first messages of a way, in order."""
    rows = await tx.fetch(ON_THEIR_WAY, (content_id, limit))
    return tuple(Arriving(MessageId(row[0], row[1]), *row[2:]) for row in rows)


async def arrive(
    tx: Transaction, now_ms: int, target: Place, arriving: Sequence[Arriving], tools: Tools
) -> bool:
    """Stores those that have not arrived yet. True: the queue was made for them."""
    names = [f"{keys.OF_MOVE}{one.id}" for one in arriving]
    found = sort_out(names, await keys.known(tx, now_ms, keys.OF_NO_QUEUE, names))
    if not found.fresh:
        return False
    told_bytes = sum(len(arriving[at].body) for at in found.fresh)
    reserved = await reserve(tx, now_ms, target, len(found.fresh), told_bytes)
    fresh = new_ids(reserved.first, len(found.fresh), tools.random)
    seal = None
    if any(one.key_generation == OPENED for one in arriving):
        seal = await project_keys.current(
            tx, now_ms, tools.keyring, target.project_id, tools.random
        )
    rows, posted, addressees, grown_bytes = [], {}, [], 0
    for at, new_id in zip(found.fresh, fresh, strict=True):
        one = arriving[at]
        kept = one.body, one.key_generation
        if seal is not None and one.key_generation == OPENED:
            kept = seal.sealed_body(one.body, tools.random), seal.generation
        grown_bytes += len(kept[0]) - len(one.body)
        posted[names[at]] = new_id
        life = (now_ms, now_ms + one.ttl_s * 1000, one.ttl_s)
        carried = (one.client_id, kept[0], one.key, kept[1])
        whose = (reserved.content_id, new_id.sequence, new_id.token)
        rows.append((*whose, *life, one.source_id, one.deaths, *carried))
        addressees.append(addressee(one.source_id, deaths_of(one.source_id, one.deaths, 0, 0)))
    await tx.execute_many(ARRIVE, rows)
    if grown_bytes:
        await grow(tx, target, grown_bytes)
    if reserved.subscribers:
        content_id = reserved.content_id
        await returning.direct(tx, now_ms, target, content_id, reserved.first, addressees)
        await notices.record(tx, target, reserved.first, len(fresh))
    await keys.remember(tx, keys.OF_NO_QUEUE, posted, now_ms + REMEMBERED_MS)
    return reserved.created


async def departed(tx: Transaction, content_id: ContentId, ids: Sequence[MessageId]) -> None:
    """These have arrived. A way that nobody is on is closed."""
    await tx.execute_many(REMOVE, [(content_id, one.sequence) for one in ids])
    if await tx.fetch_one(ANY_ON_ITS_WAY, (content_id,)) is None:
        await tx.execute(CLOSE_WAY, (content_id,))


async def _dead(
    tx: Transaction,
    now_ms: int,
    content_id: ContentId,
    ids: Sequence[MessageId] | None,
    wherever: bool,
    limit: int,
) -> list[Row]:
    """`wherever`: also those of which nobody knows where they came from."""
    after = (now_ms, now_ms, int(wherever))
    if ids is None:
        return await tx.fetch(FIRST_DEAD, (content_id, *after, limit))
    rows: list[Row] = []
    for one in sorted(set(ids), key=lambda one: one.sequence):
        if len(rows) == limit:
            break
        row = await tx.fetch_one(ONE_DEAD, (content_id, one.sequence, one.token, *after))
        if row is not None:
            rows.append(row)
    return rows


async def _is_away(tx: Transaction, target: Place) -> bool:
    """Not in this database; or it has come to be here, and others are still on their way to it."""
    if await content_of(tx, target) is None:
        return True
    return await tx.fetch_one(WAY, (target.project_id, target.name)) is not None


async def _way(tx: Transaction, target: Place, number: int) -> tuple[ContentId, int]:
    """A hidden queue for messages to that place, and the first of its next numbers."""
    parameters = (number, target.project_id, target.name)
    row = await tx.fetch_one(DEPART, parameters)
    if row is None:
        content_id = await new_content(tx)
        await tx.execute(OPEN_WAY, (target.project_id, target.name, content_id))
        row = await tx.fetch_one(DEPART, parameters)
        assert row is not None  # opened in this transaction
    return ContentId(row[0]), row[1] - number


def _encoded(deaths: tuple[Death, ...]) -> str | None:
    return msgspec.json.encode(deaths).decode() if deaths else None
