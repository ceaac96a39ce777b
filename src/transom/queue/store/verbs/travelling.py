# SPDX-License-Identifier: Apache-2.0
"""A verb for the database that has its queue, and all that may travel to a database's owner."""

from collections.abc import Sequence
from typing import Any

import msgspec

from transom.queue.model import NotHere, Place
from transom.queue.store import placing
from transom.queue.store.placing import Ticket
from transom.queue.store.verbs.catalogue import AnyVerb
from transom.queue.store.verbs.placing import ForgetPlaces, Join, PlaceQueue, VoidTicket
from transom.queue.store.verbs.pools import (
    ChangePool,
    DeleteFlavor,
    DeletePool,
    PutFlavor,
    PutPool,
)
from transom.queue.store.verbs.relay import TakeRows
from transom.queue.store.verbs.verb import Tools
from transom.runtime.db.transaction import Transaction


class Here(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Another verb, if its queue is in this database, or may be made in it by the ticket."""

    ticket: Ticket | None
    verb: AnyVerb

    @property
    def place(self) -> Place:
        return self.verb.place

    @property
    def moves(self) -> bool:
        return self.verb.moves

    @property
    def grows(self) -> bool:
        return self.verb.grows

    def rings(self, answer: Any, /) -> Sequence[Place]:
        return self.verb.rings(answer)

    async def run(self, tx: Transaction, tools: Tools) -> Any:
        """Raises: NotHere, and what the verb raises."""
        if await placing.is_here(tx, self.place):
            return await self.verb.run(tx, tools)
        if self.ticket is None:
            raise NotHere(detail="the queue is not in this database")
        await placing.admit(tx, self.place, self.ticket)
        answer = await self.verb.run(tx, tools)
        await placing.admit_no_more(tx, self.place)
        return answer


Travelling = (
    AnyVerb
    | Here
    | PlaceQueue
    | ForgetPlaces
    | Join
    | VoidTicket
    | TakeRows
    | PutPool
    | ChangePool
    | DeletePool
    | PutFlavor
    | DeleteFlavor
)
