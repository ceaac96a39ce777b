# SPDX-License-Identifier: Apache-2.0
"""Dead letters moved back, and messages brought from one database to another, as values."""

from collections.abc import Sequence

from transom.queue.model import ContentId, MessageId, Place
from transom.queue.store import letters, usage
from transom.queue.store.letters import Arriving, Redriven
from transom.queue.store.verbs.verb import Tools, Verb
from transom.runtime.db.transaction import Transaction


class Redrive(Verb, frozen=True, tag=True, array_like=True):
    """`ids` None: the first ones; `to` None: each to where it came from."""

    moves = True
    ids: tuple[MessageId, ...] | None
    to: str | None
    limit: int

    async def run(self, tx: Transaction, tools: Tools) -> Redriven:
        now_ms = tools.clock.now_ms()
        redriven = await letters.redrive(
            tx, now_ms, self.place, self.ids, self.to, self.limit, tools
        )
        if redriven.created:
            await usage.check_queues(tx, self.place, tools)
        return redriven


class Arrive(Verb, frozen=True, tag=True, array_like=True):
    """`place`: where they go to."""

    arriving: tuple[Arriving, ...]

    async def run(self, tx: Transaction, tools: Tools) -> bool:
        """Whether the queue came to be with them."""
        now_ms = tools.clock.now_ms()
        return await letters.arrive(tx, now_ms, self.place, self.arriving, tools)

    def rings(self, answer: bool, /) -> Sequence[Place]:
        return (self.place,)


class Departed(Verb, frozen=True, tag=True, array_like=True):
    """`place`: where they went to; carried out in the store that they left."""

    content_id: ContentId
    ids: tuple[MessageId, ...]

    async def run(self, tx: Transaction, tools: Tools) -> None:
        await letters.departed(tx, self.content_id, self.ids)
