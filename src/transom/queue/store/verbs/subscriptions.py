# SPDX-License-Identifier: Apache-2.0
"""Subscriptions made, changed, confirmed and ended, as values."""

from transom.queue.model import MessageId, Subscription
from transom.queue.store import queues, subscriptions, usage
from transom.queue.store.subscriptions import Bounds, Terms
from transom.queue.store.verbs.verb import Tools, Verb
from transom.runtime.db.transaction import Transaction


class Subscribe(Verb, frozen=True, tag=True, array_like=True):
    """`token`: what makes its id one that nobody guesses."""

    grows = True
    token: int
    terms: Terms
    bounds: Bounds

    async def run(self, tx: Transaction, tools: Tools) -> tuple[MessageId, bool]:
        """The id, and whether it is new. The queue comes to be if it is not there."""
        now_ms = tools.clock.now_ms()
        if await queues.create(tx, now_ms, self.place, "{}"):
            await usage.check_queues(tx, self.place, tools)
        return await subscriptions.create(
            tx, now_ms, self.place, self.token, self.terms, self.bounds
        )


class ChangeSubscription(Verb, frozen=True, tag=True, array_like=True):
    """`before`: as it was when the change was decided."""

    before: Subscription
    terms: Terms

    async def run(self, tx: Transaction, tools: Tools) -> None:
        now_ms = tools.clock.now_ms()
        await subscriptions.change(tx, now_ms, self.place, self.before, self.terms)


class Confirm(Verb, frozen=True, tag=True, array_like=True):
    """`needed`: only who is confirmed is told of anything."""

    subscription: MessageId
    confirmed: bool
    needed: bool

    async def run(self, tx: Transaction, tools: Tools) -> None:
        await subscriptions.confirm(
            tx,
            tools.clock.now_ms(),
            self.place,
            self.subscription,
            confirmed=self.confirmed,
            needed=self.needed,
        )


class Unsubscribe(Verb, frozen=True, tag=True, array_like=True):
    subscription: MessageId

    async def run(self, tx: Transaction, tools: Tools) -> bool:
        return await subscriptions.end(tx, self.place, self.subscription)


class UnsubscribeAll(Verb, frozen=True, tag=True, array_like=True):
    async def run(self, tx: Transaction, tools: Tools) -> bool:
        return await subscriptions.end_all(tx, self.place)
