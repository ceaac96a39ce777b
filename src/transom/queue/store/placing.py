# SPDX-License-Identifier: Apache-2.0
"""Where each queue is: remembered at home, and checked by the database that it is in.

A queue is *placed* at home before it is made elsewhere. The placing has a generation, and making
the queue needs it (a `Ticket`). A deleted queue leaves a row behind until home has forgotten its
place.

Invariants:
1. A queue is made only where home has placed it: at home the placing is looked at in the same
   transaction; elsewhere a ticket is refused once the database has seen the queue of that or of a
   later generation deleted (`counter.vacated`), and home forgets a placing only after that.
2. Home forgets no placing of a later generation than the one whose queue was deleted.
3. What was in the only database before others came stays there, and needs no row.
4. Numbers of messages go on, also where a deleted queue is made again elsewhere.
"""

from collections.abc import Iterable, Sequence

import msgspec

from transom.queue.logic.placing import Candidate
from transom.queue.model import NotHere, NotPlaced, Place
from transom.runtime.db.transaction import Transaction

HOME = ""
SHARD = "shard-"
POOL = "pool-"

MEMBER = "select store, identity from member"
JOIN = "insert into member (store, identity) values (?, ?) on conflict (store) do nothing"
LEAVE = "delete from member"
ANY_QUEUE = "select 1 from queue limit 1"

HERE = "select 1 from queue where project_id = ? and name = ?"
PLACED = "select store, generation from placed where project_id = ? and name = ?"
PLACE = "insert into placed (project_id, name, store, generation) values (?, ?, ?, ?)"
REPLACE = "update placed set generation = ? where project_id = ? and name = ?"
NEXT = "update counter set value = value + 1 where name = 'placing' returning value"
FLOOR = "select coalesce(max(next_sequence), 1) from project where project_id in (?, '')"
RAISE_FLOOR = """
insert into project (project_id, next_sequence) values (?, ?)
on conflict (project_id) do update set next_sequence = excluded.next_sequence
where excluded.next_sequence > project.next_sequence
"""
FORGET = """
delete from placed where project_id = ? and name = ? and store = ? and generation <= ?
"""
OF_STORE = """
select project_id, name, generation from placed
where store = ? and (project_id > ? or (project_id = ? and name > ?))
order by project_id, name limit ?
"""

REFUSED = "select value from counter where name = 'vacated'"
REFUSE = "update counter set value = ? where name = 'vacated' and value < ?"
ADMIT = """
insert into admitted (project_id, name, generation, next_sequence) values (?, ?, ?, ?)
on conflict (project_id, name) do update
set generation = excluded.generation, next_sequence = excluded.next_sequence
"""
USE = """
delete from admitted where project_id = ? and name = ? returning generation, next_sequence
"""
VACATE = """
insert into vacated (project_id, name, generation, next_sequence) values (?, ?, ?, ?)
on conflict (project_id, name) do update
set generation = excluded.generation, next_sequence = excluded.next_sequence
"""
VACATED = "select project_id, name, generation, next_sequence from vacated limit ?"
OCCUPY = "delete from vacated where project_id = ? and name = ?"
TOLD = "delete from vacated where project_id = ? and name = ? and generation = ?"


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """That a queue is placed in a store, and may be made there from `next_sequence` on."""

    store: str
    generation: int
    next_sequence: int


class Vacated(msgspec.Struct, frozen=True, array_like=True):
    """A queue that was deleted, as its store remembers it."""

    place: Place
    generation: int
    next_sequence: int


async def member(tx: Transaction) -> tuple[str, str] | None:
    """(what this database is called, its identity); None if it is the only one."""
    row = await tx.fetch_one(MEMBER)
    return None if row is None else (str(row[0]), str(row[1]))


async def join(tx: Transaction, store: str, identity: str = "") -> bool:
    """Makes the database one of several. False if it is another one already, which holds queues."""
    found = await member(tx)
    if found == (store, identity):
        return True
    if (found is not None or store) and await tx.fetch_one(ANY_QUEUE) is not None:
        return False
    await tx.execute(LEAVE)
    await tx.execute(JOIN, (store, identity))
    return True


async def is_here(tx: Transaction, place: Place) -> bool:
    """Whether this database has the queue."""
    return await tx.fetch_one(HERE, (place.project_id, place.name)) is not None


async def may_be_made(tx: Transaction) -> bool:
    """Whether a queue that is not here may be made by any verb: this is the only store."""
    return await tx.fetch_one(MEMBER) is None


async def find(tx: Transaction, place: Place) -> Ticket | None:
    """At home: where the queue is; None if it is nowhere."""
    row = await tx.fetch_one(PLACED, (place.project_id, place.name))
    if row is None:
        return Ticket(HOME, 0, 0) if await is_here(tx, place) else None
    return Ticket(str(row[0]), int(row[1]), await _floor(tx, place))


async def place_at(
    tx: Transaction, place: Place, chosen: Candidate | None, refused: int
) -> Ticket | None:
    """At home: gives the queue a place, unless it has one; None if `chosen` is needed and None.

    `refused`: the generation of a ticket that its store takes no more.
    """
    found = await find(tx, place)
    if found is None:
        if chosen is None:
            return None
        generation = await _next(tx)
        await tx.execute(PLACE, (place.project_id, place.name, chosen.store, generation))
        return Ticket(chosen.store, generation, await _floor(tx, place))
    if found.store == HOME or found.generation > refused:
        return found
    generation = await _next(tx)
    await tx.execute(REPLACE, (generation, place.project_id, place.name))
    return Ticket(found.store, generation, found.next_sequence)


async def admit(tx: Transaction, place: Place, ticket: Ticket) -> None:
    """Lets the queue be made in this transaction. Raises: NotHere."""
    found = await member(tx)
    if found is None:
        return
    if found[0] != ticket.store:
        raise NotHere(detail=f"a ticket for {ticket.store!r} came to {found[0]!r}")
    if ticket.store == HOME:
        row = await tx.fetch_one(PLACED, (place.project_id, place.name))
        if row is None or (row[0], row[1]) != (HOME, ticket.generation):
            raise NotHere(detail="the queue is not placed at home any more")
    elif ticket.generation <= await _refused(tx):
        raise NotHere(detail="the ticket is older than a deletion")
    fields = (place.project_id, place.name, ticket.generation, ticket.next_sequence)
    await tx.execute(ADMIT, fields)


async def admit_no_more(tx: Transaction, place: Place) -> None:
    """The queue was not made: nobody may, after this transaction."""
    await tx.fetch(USE, (place.project_id, place.name))


async def admit_probe(tx: Transaction, place: Place) -> None:
    """Lets a queue be made in this transaction that no home has placed, of generation 0."""
    if await tx.fetch_one(MEMBER) is not None:
        await tx.execute(ADMIT, (place.project_id, place.name, 0, 1))


async def admission(tx: Transaction, place: Place) -> tuple[int, int]:
    """(generation, first number) of a queue that is being made. Raises: NotPlaced."""
    if await tx.fetch_one(MEMBER) is None:
        return 0, 1
    row = await tx.fetch_one(USE, (place.project_id, place.name))
    if row is None:
        raise NotPlaced(detail=f"{place.name} has no place yet")
    await tx.execute(OCCUPY, (place.project_id, place.name))
    return int(row[0]), int(row[1])


async def vacate(tx: Transaction, place: Place, generation: int, next_sequence: int) -> None:
    """The queue of this generation was deleted."""
    found = await member(tx)
    if found is None or found[0] == HOME:
        await tx.execute(FORGET, (place.project_id, place.name, HOME, generation))
        return
    await tx.execute(REFUSE, (generation, generation))
    await tx.execute(VACATE, (place.project_id, place.name, generation, next_sequence))


async def void(tx: Transaction, place: Place, generation: int) -> bool:
    """Refuses a ticket whose queue was never made; False if the queue is here."""
    if await is_here(tx, place):
        return False
    await vacate(tx, place, generation, await _floor(tx, place))
    return True


async def vacated(tx: Transaction, limit: int) -> list[Vacated]:
    return [
        Vacated(Place(row[0], row[1]), row[2], row[3]) for row in await tx.fetch(VACATED, (limit,))
    ]


async def told(tx: Transaction, ones: Iterable[Vacated]) -> None:
    """Home has forgotten them."""
    for one in ones:
        await tx.execute(TOLD, (one.place.project_id, one.place.name, one.generation))


async def forget(tx: Transaction, store: str, ones: Sequence[Vacated]) -> list[int]:
    """At home: their places are free; for each the later generation that still has it, or 0."""
    later = []
    for one in ones:
        key = (one.place.project_id, one.place.name)
        await tx.execute(RAISE_FLOOR, (one.place.project_id, one.next_sequence))
        await tx.execute(FORGET, (*key, store, one.generation))
        row = await tx.fetch_one(PLACED, key)
        later.append(int(row[1]) if row is not None and row[0] == store else 0)
    return later


async def placed_in(
    tx: Transaction, store: str, after: Place, limit: int
) -> list[tuple[Place, int]]:
    """At home: (queue, generation) of those in the store, after one of them."""
    key = (store, after.project_id, after.project_id, after.name, limit)
    return [(Place(row[0], row[1]), int(row[2])) for row in await tx.fetch(OF_STORE, key)]


async def _next(tx: Transaction) -> int:
    row = await tx.fetch_one(NEXT)
    assert row is not None  # the migration made it
    return int(row[0])


async def _floor(tx: Transaction, place: Place) -> int:
    row = await tx.fetch_one(FLOOR, (place.project_id,))
    return 1 if row is None else int(row[0])


async def _refused(tx: Transaction) -> int:
    row = await tx.fetch_one(REFUSED)
    return 0 if row is None else int(row[0])
