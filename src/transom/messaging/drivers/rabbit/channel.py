# SPDX-License-Identifier: Apache-2.0
"""One channel of a link: requests and their answers, and the callbacks of what arrives on it.

Invariants:
1. Every request ends: with its answer, or with ChannelLost when the channel or its link goes.
2. Acknowledgements of one turn of the loop leave as few frames as say the same: one that covers
   all tags up to the first that is still out, then one each.
3. Nothing is written for a channel that is lost or closing: its tags mean nothing any more, and
   the broker puts back what was out. Settling is a no-op then.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from transom.errors import MessageDeliveryFailure
from transom.messaging.proto.amqp import (
    Answered,
    ChannelClosed,
    Confirmed,
    ConsumerCancelled,
    Delivered,
    Flow,
    Method,
    NotOpen,
    Oversized,
    Returned,
)

if TYPE_CHECKING:
    from transom.messaging.drivers.rabbit.link import Link

log = logging.getLogger(__name__)

REQUEST_S = 15.0
PATIENT_MAX = 128
NOT_FOUND = 404
INEQUIVALENT = 406


class ChannelLost(MessageDeliveryFailure):
    """The channel is gone. `code` is the broker's; 0: the link went, or we closed it."""

    def __init__(self, text: str, *, code: int = 0) -> None:
        super().__init__("the connection to the broker was lost", detail=text)
        self.code = code


def ignore(event: object) -> None:
    """The callback of what is not waited for."""


class Channel:
    """Set the callbacks before the request that makes them possible.

    `patient`: acknowledgements may wait a little for others; a crash meanwhile harms nobody.
    """

    def __init__(self, link: "Link", number: int, *, patient: bool = False) -> None:
        self.link = link
        self.number = number
        self._patient = patient
        self.lost: ChannelLost | None = None
        self.on_delivered: Callable[[Delivered], None] = ignore
        self.on_confirmed: Callable[[Confirmed], None] = ignore
        self.on_returned: Callable[[Returned], None] = ignore
        self.on_cancelled: Callable[[ConsumerCancelled], None] = ignore
        self.on_flow: Callable[[Flow], None] = ignore
        self.on_lost: Callable[[ChannelLost], None] = ignore
        self._waiting: dict[int, tuple[Method, asyncio.Future[Method]]] = {}
        self._out: dict[int, None] = {}
        self._settled: list[int] = []

    async def ask(self, method: Method) -> Method:
        """The answer to a synchronous method. Raises: ChannelLost (also if none comes in time)."""
        answer = self.request(method)
        try:
            async with asyncio.timeout(REQUEST_S):
                return await answer
        except TimeoutError:
            # A broker that answers nothing is no broker: the link is given up, and another made.
            lost = ChannelLost(f"no answer to {type(method).__name__} in {REQUEST_S:g} s")
            self.link.give_up(str(lost.detail))
            raise lost from None

    def request(self, method: Method) -> "asyncio.Future[Method]":
        """As `ask`, without the wait."""
        answer: asyncio.Future[Method] = self.link.loop.create_future()
        if self.lost is not None:
            answer.set_exception(self.lost)
            return answer
        try:
            self.link.machine.request(self.number, method)
        except NotOpen as error:
            # It is closing, or the close was read already and is told after this.
            answer.set_exception(ChannelLost(str(error)))
            return answer
        self._waiting[id(method)] = (method, answer)
        self.link.flush_soon()
        return answer

    def delivered(self, event: Delivered) -> None:
        """A message came."""
        self._out[event.delivery_tag] = None
        self.on_delivered(event)

    def acknowledge(self, tag: int) -> None:
        """Leaves with the next flush. Tags that are not out are passed over."""
        if self._out.pop(tag, self) is None and self.lost is None:
            self._settled.append(tag)
            now = not self._patient or len(self._settled) >= PATIENT_MAX
            self.link.acknowledgements_due(self, now=now)

    def reject(self, tag: int, *, requeue: bool) -> None:
        """Gives a message back, or drops it."""
        if self._out.pop(tag, self) is None and self.lost is None:
            self._reject(tag, requeue)

    def oversized(self, event: Oversized) -> None:
        """A message that was skipped: dropped at the broker too, else it would come again."""
        log.warning("oversized message dropped", extra={"bytes": event.body_bytes})
        if event.delivery_tag:
            self._reject(event.delivery_tag, requeue=False)

    def write_acknowledgements(self) -> None:
        """Hands the machine what was settled since the last time."""
        settled, self._settled = self._settled, []
        if self.lost is not None or not settled:
            return
        with suppress(NotOpen):
            self._acknowledge(settled)

    def _reject(self, tag: int, requeue: bool) -> None:
        with suppress(NotOpen):
            self.link.machine.reject(self.number, tag, requeue)
            self.link.flush_soon()

    def _acknowledge(self, settled: list[int]) -> None:
        machine, number = self.link.machine, self.number
        if len(settled) == 1:
            machine.acknowledge(number, settled[0])
            return
        settled.sort()
        lowest_out = next(iter(self._out)) if self._out else settled[-1] + 1
        covered = 0
        for tag in settled:
            if tag > lowest_out:
                break
            covered += 1
        if covered:
            machine.acknowledge(number, settled[covered - 1], multiple=covered > 1)
        for tag in settled[covered:]:
            machine.acknowledge(number, tag)

    def answered(self, event: Answered) -> None:
        """One of our requests; the machine gives back the very object."""
        _, answer = self._waiting.pop(id(event.request), (None, None))
        if answer is not None and not answer.done():
            answer.set_result(event.method)

    def closed(self, event: ChannelClosed) -> None:
        """By the broker, or as we asked."""
        self.lose(ChannelLost(event.text, code=event.code if event.by_peer else 0))

    def lose(self, lost: ChannelLost) -> None:
        """Whatever waited ends. Idempotent."""
        if self.lost is not None:
            return
        self.lost = lost
        self._out.clear()
        self._settled.clear()
        waiting, self._waiting = self._waiting, {}
        for _, answer in waiting.values():
            if not answer.done():
                answer.set_exception(lost)
                # Nobody may be waiting for it any more.
                answer.exception()
        self.on_lost(lost)
