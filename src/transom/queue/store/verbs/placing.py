# SPDX-License-Identifier: Apache-2.0
"""Queues given places and forgotten, as values."""

from transom.errors import Unavailable
from transom.queue.logic.placing import Candidate, choose
from transom.queue.model import InvalidAttribute
from transom.queue.store import placing, pools
from transom.queue.store.placing import HOME, SHARD, Ticket, Vacated
from transom.queue.store.verbs.verb import Tools, Verb
from transom.runtime.db.transaction import Transaction


class PlaceQueue(Verb, frozen=True, tag=True, array_like=True):
    """At home. `refused`: the generation of a ticket that was; `away`: what takes none now."""

    flavor: str
    refused: int
    away: tuple[str, ...]

    async def run(self, tx: Transaction, tools: Tools) -> Ticket:
        """Where the queue is from now on. Raises: InvalidAttribute, Unavailable."""
        found = await placing.place_at(tx, self.place, None, self.refused)
        if found is None:
            chosen = await self._chosen(tx, tools)
            found = await placing.place_at(tx, self.place, chosen, self.refused)
        if found is None:
            raise Unavailable(
                "No pool takes new queues now; give one a weight, or ask the operator to."
            )
        return found

    async def _chosen(self, tx: Transaction, tools: Tools) -> Candidate | None:
        if self.flavor and not await pools.has_flavor(tx, self.flavor):
            raise InvalidAttribute(f"There is no flavor {self.flavor!r}.")
        config = tools.config
        built_in = [
            Candidate(shard_name(index), config.shard_weight) for index in range(config.shards)
        ]
        joined = await pools.candidates(tx, tools.clock.now_ms())
        candidates = [one for one in (*built_in, *joined) if one.store not in self.away]
        return choose(self.place.project_id, self.place.name, self.flavor, candidates)


class ForgetPlaces(Verb, frozen=True, tag=True, array_like=True):
    """At home: queues that were deleted in the store."""

    store: str
    vacated: tuple[Vacated, ...]

    async def run(self, tx: Transaction, tools: Tools) -> list[int]:
        """For each the later generation that still has the place, or 0."""
        return await placing.forget(tx, self.store, self.vacated)


class Join(Verb, frozen=True, tag=True, array_like=True):
    """The database is one of several, called so."""

    store: str
    identity: str

    async def run(self, tx: Transaction, tools: Tools) -> bool:
        """False if it is another one already, which holds queues."""
        return await placing.join(tx, self.store, self.identity)


class VoidTicket(Verb, frozen=True, tag=True, array_like=True):
    """At the store: the queue of the ticket was not made, and will not be."""

    generation: int

    async def run(self, tx: Transaction, tools: Tools) -> bool:
        """False if it is there."""
        return await placing.void(tx, self.place, self.generation)


def shard_name(index: int) -> str:
    return f"{SHARD}{index}" if index else HOME
