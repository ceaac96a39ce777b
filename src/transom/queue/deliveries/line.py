# SPDX-License-Identifier: Apache-2.0
"""One subscription's notices, in order: read, sent, and written down how far it is."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from transom.queue.app.access import Access
from transom.queue.deliveries.parcel import Carrier, Parcel
from transom.queue.logic import delivery, notification, retries
from transom.queue.logic.delivery import Again, Delivered, Step, Undeliverable
from transom.queue.logic.subscriptions import Destination, destination
from transom.queue.model import Notice
from transom.queue.store.notices import Line
from transom.queue.store.undeliverable import Fate
from transom.queue.store.verbs.deliveries import Advance, GiveUp, Postpone
from transom.runtime.clock import Clock

log = logging.getLogger(__name__)

COMMITTED_EACH = 8
COMMITTED_S = 0.2
"""A notice may be sent again, after a crash, if fewer than so many, or less time, went by since."""


@dataclass(frozen=True, slots=True)
class Given:
    """What every line works with."""

    access: Access
    carrier: Carrier
    clock: Clock


class LineWorker:
    """Works off what waits in one line. `secret`: opened; None if nothing is signed.

    Its state is the position that is on disk, and what was delivered since.

    Invariant: what is not under way yet when a subscription is changed, or told of nothing any
    more, is not sent as it was before, but for `COMMITTED_EACH` notices or `COMMITTED_S`.
    """

    def __init__(self, line: Line, given: Given, secret: bytes | None) -> None:
        self._line = line
        self._given = given
        self._secret = secret
        self._options: Mapping[str, Any] = msgspec.json.decode(line.subscription.options)
        self._where: Destination = destination(line.subscription.subscriber)
        metadata: Mapping[str, Any] = msgspec.json.decode(line.queue_metadata)
        self._policy = retries.policy_of(self._options.get(retries.KEY), metadata.get(retries.KEY))
        self._position = self._reached = line.position
        self._delivered = 0
        self._tries = line.subscription.state.tries
        self._failing = self._tries > 0
        self._error = line.subscription.state.last_error
        self._committed_s = given.clock.monotonic_s()

    async def work(self, read: Sequence[Notice]) -> bool:
        """Sends these, which follow the position. True: all are dealt with, there may be more."""
        try:
            for notice in read:
                if not await self._deal_with(notice):
                    return False
        finally:
            kept = await self._commit()
        return kept

    @property
    def position(self) -> int:
        """What is on disk."""
        return self._position

    async def _deal_with(self, notice: Notice) -> bool:
        """False: this one has to wait, or the line is no longer ours."""
        clock, place = self._given.clock, self._line.place
        while True:
            step: Step | None = delivery.ended(notice.expires_ms, clock.now_ms(), self._error)
            if step is None:
                outcome = await self._given.carrier.carry(await self._parcel(notice))
                step = delivery.next_step(self._policy, self._tries, outcome, clock.now_ms())
            match step:
                case Delivered():
                    self._reached = notice.id.sequence
                    self._delivered += 1
                    self._tries, self._error = 0, ""
                    return await self._commit_now_and_then()
                case Undeliverable(error):
                    return await self._commit() and await self._give_up(notice, error)
                case Again(tries, at_ms, error):
                    self._tries, self._error, self._failing = tries, error, True
                    subscription = self._line.subscription
                    about = (subscription.id, self._reached, subscription.expires_ms)
                    verb = Postpone(place, *about, tries, at_ms, error)
                    if not await self._commit() or not await self._given.access.write(verb):
                        return False
                    if at_ms > clock.now_ms():
                        return False

    async def _parcel(self, notice: Notice) -> Parcel:
        """Raises: BodyLocked."""
        place = self._line.place
        plain = await self._given.access.opened_notice(place, notice)
        return Parcel(
            self._where,
            self._options,
            notification.document(place.name, plain),
            self._secret,
            {
                notification.MESSAGE_HEADER: str(notice.id),
                notification.SUBSCRIPTION_HEADER: str(self._line.subscription.id),
            },
        )

    async def _commit_now_and_then(self) -> bool:
        since_s = self._given.clock.monotonic_s() - self._committed_s
        if self._delivered >= COMMITTED_EACH or since_s >= COMMITTED_S or self._failing:
            return await self._commit()
        return True

    async def _commit(self) -> bool:
        """Writes down how far it is. False: somebody else went on with it, or it has ended, or it
        was changed; then a new look at it is needed."""
        self._committed_s = self._given.clock.monotonic_s()
        if not self._delivered:
            return True
        verb = Advance(
            self._line.place,
            self._line.subscription.id,
            self._position,
            self._reached,
            self._delivered,
            self._failing,
        )
        self._delivered, self._failing = 0, False
        expires_ms = await self._given.access.write(verb)
        if expires_ms is None:
            return False
        self._position = self._reached
        return expires_ms == self._line.subscription.expires_ms

    async def _give_up(self, notice: Notice, error: str) -> bool:
        subscription, expires_ms = self._line.subscription.id, self._line.subscription.expires_ms
        about = (subscription, self._position, expires_ms, notice.id.sequence)
        verb = GiveUp(self._line.place, *about, error)
        given_up = await self._given.access.write(verb)
        if given_up.fate is Fate.STALE:
            return False
        if given_up.created:
            self._given.access.on_change()
        log.warning(
            "notice undeliverable",
            extra={
                "project_id": self._line.place.project_id,
                "queue": self._line.place.name,
                "subscription": str(subscription),
                "message_id": str(notice.id),
                "fate": given_up.fate.value,
                "detail": error,
            },
        )
        self._position = self._reached = notice.id.sequence
        self._tries, self._error, self._failing = 0, "", False
        return True
