# SPDX-License-Identifier: Apache-2.0
"""The lane of what may have closed another lane: one message at a time, so that a refusal hits
only the message that it is about.

A broker that refuses a message closes the channel and does not say over which of those in flight.
The routes under suspicion move here, with all that follows on them; the others go on as before.

Invariants:
1. Messages of one route are on one lane at a time, and keep their order.
2. A route goes home once a message of it was taken and none that is suspect is left. One whose
   messages are refused stays, so that it never closes the lane of others again.
"""

from collections.abc import Callable
from typing import Protocol

from transom.errors import MessageDeliveryFailure, MessagingError
from transom.messaging.drivers.rabbit.channel import NOT_FOUND, ChannelLost
from transom.messaging.drivers.rabbit.lane import Lane
from transom.messaging.drivers.rabbit.outgoing import Labels, Outgoing, Route

TRIES_MAX = 5


class Owner(Protocol):
    """Who is told what became of the messages."""

    def finish(self, message: Outgoing, error: MessagingError | None) -> None: ...

    def unroutable(self, message: Outgoing) -> None: ...


class Doubts:
    """`again`: given what is to be sent again when the lane closes, and whether the broker closed
    it over a message."""

    def __init__(
        self,
        owner: Owner,
        labels: Labels,
        again: Callable[[Lane, ChannelLost, list[Outgoing]], None],
    ) -> None:
        self.lane = Lane(self, labels, window=1)
        self._owner = owner
        self._again = again
        self._homes: dict[Route, Lane] = {}
        self._suspects: dict[Route, int] = {}

    def suspect(self, lost: ChannelLost, pending: list[Outgoing]) -> list[Outgoing]:
        """Moves the routes of those that the close may be about; gives these messages."""
        suspects = pointed_at(str(lost.detail), pending)
        for message in suspects:
            route = message.route
            if route not in self._homes:
                self._homes[route], route.lane = route.lane, self.lane
            self._suspects[route] = self._suspects.get(route, 0) + 1
        return suspects

    def forgive(self) -> None:
        """The link is gone: all go home."""
        for route in list(self._homes):
            self._go_home(route)

    def finish(self, message: Outgoing, error: MessagingError | None) -> None:
        """The broker has taken the message, or told of it on its own."""
        self._owner.finish(message, error)
        self._passed(message.route)

    def unroutable(self, message: Outgoing) -> None:
        """Nobody is there; as far as the lane goes, it was taken."""
        self._owner.unroutable(message)
        self._passed(message.route)

    def lane_lost(self, lane: Lane, lost: ChannelLost, pending: list[Outgoing]) -> None:
        """There is at most one pending: it is the guilty one."""
        again = []
        for message in pending:
            message.tries += bool(lost.code)
            if not lost.code or (lost.code == NOT_FOUND and message.tries < TRIES_MAX):
                again.append(message)
            else:
                self._refused(message, lost)
        self._again(lane, lost, again)

    def _refused(self, message: Outgoing, lost: ChannelLost) -> None:
        left = self._suspects.get(message.route, 0) - 1
        # What follows it will be refused too, until one is taken.
        self._suspects[message.route] = max(left, 1)
        self._owner.finish(message, MessageDeliveryFailure(detail=str(lost.detail)))

    def _passed(self, route: Route) -> None:
        left = self._suspects.get(route, 0) - 1
        if left > 0:
            self._suspects[route] = left
        elif route in self._homes:
            self._go_home(route)

    def _go_home(self, route: Route) -> None:
        home = route.lane = self._homes.pop(route)
        self._suspects.pop(route, None)
        waiting = self.lane.waiting
        following = [message for message in waiting if message.route is route]
        if following:
            staying = [message for message in waiting if message.route is not route]
            waiting.clear()
            waiting.extend(staying)
        for message in following:
            home.send(message)


def pointed_at(text: str, pending: list[Outgoing]) -> list[Outgoing]:
    """The messages that the broker's text may be about: it names an exchange, or a size. All, if it
    names none of them.

    Only a hint: whom it points at is tried alone before it is refused.
    """
    suspects = [
        message
        for message in pending
        if f"exchange '{message.route.exchange or 'amq.default'}'" in text
        or f"size {message.size_bytes} " in text
    ]
    return suspects or pending
