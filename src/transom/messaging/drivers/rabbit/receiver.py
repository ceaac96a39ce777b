# SPDX-License-Identifier: Apache-2.0
"""Receives: every listen on the receiving link, served again whenever it is not.

Invariants:
1. A listen that is not served has one task that serves it, as long as there is a link.
2. A queue of our own that is gone is declared again under the same name: at once when the broker
   says so, and within VERIFY_S when it did not.
3. Who listens is told: by an error if it was never served, and by a Gap when what was served before
   is refused, and again when it is served.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from transom.errors import InvalidTarget, MessageDeliveryFailure, MessagingTimeout
from transom.messaging.drivers.base import Address, Delivery, Refused
from transom.messaging.drivers.rabbit.channel import ChannelLost
from transom.messaging.drivers.rabbit.consumer import Consumer
from transom.messaging.drivers.rabbit.declarer import Declarer
from transom.messaging.drivers.rabbit.link import Link
from transom.messaging.drivers.rabbit.options import Options
from transom.messaging.drivers.rabbit.session import Session
from transom.runtime.ids import Randomness, new_hex

log = logging.getLogger(__name__)

SERVED_WITHIN_S = 30.0
REFUSED_WITHIN_S = 3.0
RECOVER_S = 10.0
VERIFY_S = 20.0
PAUSE_S = 0.05
PAUSE_MAX_S = 5.0
TRIES_MAX = 3


class Receiver:
    """`session`: makes the links. `gap`: told when messages may have been lost. `verify_s`: how
    often own queues are looked for."""

    def __init__(
        self,
        options: Options,
        random: Randomness,
        *,
        session: Callable[[], Session],
        gap: Callable[[], None],
        verify_s: float = VERIFY_S,
    ) -> None:
        self._options = options
        self._random = random
        self._verify_s = verify_s
        self._loop = asyncio.get_running_loop()
        self._consumers: dict[Consumer, None] = {}
        self._serving: dict[Consumer, asyncio.Task[None]] = {}
        self._refused: dict[Consumer, ChannelLost] = {}
        self._accepted: set[Consumer] = set()
        self._session = session
        self._gap = gap
        self._declarer: Declarer | None = None
        self._verifier: asyncio.Task[None] | None = None

    async def up(self, link: Link) -> None:
        """A new link: what was listened to is served again. Returns after RECOVER_S at the
        latest; what is not served by then is tried further."""
        self._declarer = Declarer(link)
        for consumer in self._consumers:
            self._broken(consumer)
        waits = [self._loop.create_task(one.served.wait()) for one in self._serving]
        if waits:
            # Also over once the broker has refused it.
            await asyncio.wait(waits, timeout=RECOVER_S)
            for wait in waits:
                wait.cancel()
        if self._verifier is None:
            self._verifier = self._loop.create_task(self._verify(), name="rabbit-verify")

    def down(self) -> None:
        """The link is lost."""
        self._declarer = None

    async def listen(
        self, addresses: Sequence[Address], deliver: Callable[[Delivery], None], prefetch: int
    ) -> Consumer:
        """Returns when served.

        Raises: MessagingTimeout (no broker within 30 s), Refused (it refuses the address),
        MessageDeliveryFailure (it refuses us), InvalidTarget.
        """
        if prefetch < 1:
            raise ValueError(f"prefetch is at least 1, not {prefetch}")
        unique = new_hex(self._random)
        try:
            consumer = Consumer(addresses, deliver, prefetch, self._options, unique, self._broken)
        except ValueError as error:
            raise InvalidTarget(str(error)) from error
        self._consumers[consumer] = None
        self._broken(consumer)
        try:
            await self._served(consumer)
            if consumer in self._refused:
                reason = str(self._refused[consumer].detail)
                raise Refused(f"the broker refuses to serve this address: {reason}", detail=reason)
            self._accepted.add(consumer)
        except BaseException:  # Safety: lets go of what it has, and goes on
            await self.unlisten(consumer)
            raise
        return consumer

    async def unlisten(self, consumer: Consumer) -> None:
        """Ends a listen. Idempotent."""
        self._consumers.pop(consumer, None)
        self._refused.pop(consumer, None)
        self._accepted.discard(consumer)
        task = self._serving.pop(consumer, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await consumer.close(self._declarer)

    async def stop(self) -> None:
        """Ends all. Idempotent."""
        if self._verifier is not None:
            self._verifier.cancel()
            self._verifier = None
        for consumer in list(self._consumers):
            await self.unlisten(consumer)

    async def _served(self, consumer: Consumer) -> None:
        """Until it is served or refused. Raises: as `listen`."""
        until_s = self._loop.time() + SERVED_WITHIN_S
        while not consumer.served.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(REFUSED_WITHIN_S):
                    await consumer.served.wait()
                    return
            session = self._session()
            if session.refusal:
                raise MessageDeliveryFailure(session.refusal, detail=session.reason)
            if self._loop.time() >= until_s:
                reason = session.reason if session.link is None else "it did not answer"
                text = f"the broker did not serve the address in time: {reason}"
                raise MessagingTimeout(text, detail=reason)

    def _broken(self, consumer: Consumer) -> None:
        if consumer in self._consumers and consumer not in self._serving and self._declarer:
            task = self._loop.create_task(self._serve(consumer), name="rabbit-serve")
            self._serving[consumer] = task

    async def _serve(self, consumer: Consumer) -> None:
        pause_s = PAUSE_S
        refusals = 0
        try:
            while not consumer.whole and self._declarer is not None:
                declarer = self._declarer
                try:
                    await consumer.serve(declarer)
                    if self._refused.pop(consumer, None) and consumer in self._accepted:
                        self._gap()
                except ChannelLost as lost:
                    if declarer is not self._declarer:
                        continue
                    log.warning("address is not served yet", extra={"reason": lost.detail})
                    refusals += bool(lost.code)
                    if refusals == TRIES_MAX:
                        if consumer in self._accepted and consumer not in self._refused:
                            log.error("address is refused", extra={"reason": lost.detail})
                            self._gap()
                        self._refused[consumer] = lost
                        consumer.served.set()
                    await asyncio.sleep(pause_s * (0.5 + self._random(1)[0] / 510))
                    pause_s = min(pause_s * 2, PAUSE_MAX_S)
        finally:
            self._serving.pop(consumer, None)
        if consumer in self._consumers and not consumer.whole:
            self._broken(consumer)

    async def _verify(self) -> None:
        """Looks for own queues now and then: the broker's word that one is gone may be lost."""
        while True:
            await asyncio.sleep(self._verify_s * (0.75 + self._random(1)[0] / 510))
            for consumer in list(self._consumers):
                declarer = self._declarer
                if declarer is None or not consumer.whole:
                    continue
                for queue in consumer.own_queues():
                    try:
                        found = await declarer.consumers(queue.name)
                    except ChannelLost:
                        break
                    if not found and consumer.whole and not consumer.closed:
                        log.warning("own queue was gone", extra={"queue": queue.name})
                        consumer.missing(queue)
