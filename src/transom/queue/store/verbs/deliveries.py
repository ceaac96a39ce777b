# SPDX-License-Identifier: Apache-2.0
"""Steps of subscriptions through their notices, as values.

Each names the position that it was decided on, and changes nothing where that is no longer so.
`expires_ms`: the subscription's end when that was decided; one that was changed has another.
"""

from collections.abc import Sequence

from transom.queue.model import MessageId, Place
from transom.queue.store import notices, undeliverable
from transom.queue.store.undeliverable import Fate, GivenUp
from transom.queue.store.verbs.verb import Tools, Verb
from transom.runtime.db.transaction import Transaction


class Advance(Verb, frozen=True, tag=True, array_like=True):
    """So many were delivered, up to a notice. `recovered`: the tries before had failed."""

    subscription: MessageId
    position: int
    to: int
    delivered: int
    recovered: bool

    async def run(self, tx: Transaction, tools: Tools) -> int | None:
        """Its end as it is now; None if it stood elsewhere by then."""
        return await notices.advance(
            tx,
            self.place,
            self.subscription,
            self.position,
            self.to,
            self.delivered,
            recovered=self.recovered,
        )


class Postpone(Verb, frozen=True, tag=True, array_like=True):
    """The next notice is tried again. `tries`: those it has had."""

    subscription: MessageId
    position: int
    expires_ms: int
    tries: int
    next_ms: int
    error: str

    async def run(self, tx: Transaction, tools: Tools) -> bool:
        """False if it stood elsewhere or was changed by then."""
        return await notices.postpone(
            tx,
            self.place,
            self.subscription,
            self.position,
            self.expires_ms,
            self.tries,
            self.next_ms,
            self.error,
        )


class GiveUp(Verb, frozen=True, tag=True, array_like=True):
    """The notice cannot be delivered: `sequence`, the next one after the position."""

    subscription: MessageId
    position: int
    expires_ms: int
    sequence: int
    error: str

    async def run(self, tx: Transaction, tools: Tools) -> GivenUp:
        return await undeliverable.give_up(
            tx,
            tools.clock.now_ms(),
            self.place,
            self.subscription,
            self.position,
            self.expires_ms,
            self.sequence,
            self.error,
            tools,
        )

    def rings(self, answer: GivenUp, /) -> Sequence[Place]:
        if answer.fate is not Fate.BURIED:
            return ()
        return (Place(self.place.project_id, answer.letters),)


class SettleAsked(Verb, frozen=True, tag=True, array_like=True):
    """The subscriber was asked; or is asked again, at `again_ms`."""

    subscription: MessageId
    expires_ms: int
    asked: str
    again_ms: int | None
    tries: int
    error: str

    async def run(self, tx: Transaction, tools: Tools) -> None:
        await notices.settle_asked(
            tx,
            self.place,
            self.subscription,
            self.expires_ms,
            self.asked,
            self.again_ms,
            self.tries,
            self.error,
        )


class Trim(Verb, frozen=True, tag=True, array_like=True):
    """What every subscription of the queue has dealt with goes, so many at most."""

    batch: int

    async def run(self, tx: Transaction, tools: Tools) -> bool:
        """Whether there may be more."""
        return await notices.trim(tx, tools.clock.now_ms(), self.place, self.batch)
