# SPDX-License-Identifier: Apache-2.0
"""A driver around a driver that seals what is sent and opens what arrives.

Invariants:
1. What the inner driver carries for this one is sealed for its address, or, where security is
   optional, a reply to a request that came without it.
2. Nothing on a message's way waits for input or output, unless its key has to be fetched first.
3. While the key server is away the party goes on with the keys it has, as long as they hold.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from transom.errors import MessageDeliveryFailure
from transom.messaging.answering import Answer
from transom.messaging.drivers.base import (
    Address,
    Delivery,
    Driver,
    Kind,
    Sent,
    Subscription,
    TransportEvent,
)
from transom.messaging.secured.callers import Callers
from transom.messaging.secured.fetching import Fetching
from transom.messaging.secured.incoming import Incoming, SecuredDelivery
from transom.messaging.secured.obtaining import ENROLMENT, Need, Obtainer
from transom.messaging.secured.outgoing import RENEW_AT, Outgoing
from transom.messaging.secured.settings import Security
from transom.messaging.security.certificates import Identity
from transom.messaging.security.sessions import SHARED_KEY
from transom.messaging.security.tickets import Purpose
from transom.runtime.clock import Clock
from transom.runtime.ids import Randomness

log = logging.getLogger(__name__)

TICK_S = 1.0
FORGET_TICKS = 60
WARM_S = 60.0


class SecuredDriver:
    """See `drivers.base.Driver`. Where the suite is shared-key it draws new keys each time."""

    def __init__(
        self, inner: Driver, security: Security, *, clock: Clock, random: Randomness
    ) -> None:
        """Raises: ConfigError."""
        security.check()
        self.inner = inner
        self._security = security
        self._clock = clock
        self._obtainer = Obtainer(
            security, security.identity or Identity.make(random), clock, random
        )
        self._fetching = Fetching(self._fetch, random)
        callers = Callers()
        self._callers = callers
        self._outgoing = Outgoing(
            inner, security, self._obtainer, self._fetching, callers, clock=clock, random=random
        )
        self._incoming = Incoming(security, self._obtainer, self._fetching, clock)
        self._upkeep: asyncio.Task[None] | None = None
        self._enrol_ms = 0

    @property
    def refused(self) -> Counter[str]:
        """What was dropped on arrival, by reason."""
        return self._incoming.refused

    def may_answer(self, delivery: Delivery, address: Address) -> bool:
        """Whether who sent this reply is whom a call to the address was for.

        Any party that we ever called by its name has a session with us, and in sign mode it may
        read the ids of our other calls.
        """
        if not isinstance(delivery, SecuredDelivery) or not delivery.sender:
            return not self._security.required
        if address.kind is Kind.SERVER:
            return delivery.sender == self._outgoing.party(address.name, address.part)
        certificate = delivery.certificate
        return certificate is not None and certificate.belongs_to(address.name)

    def answering(self, delivery: Delivery, reply_q: str) -> Answer | None:
        """See `messaging.answering`. Plain only for what came plain.

        None where the envelope names another reply address than what its sender authenticated: the
        call's id may be a neighbour's.
        """
        asked = delivery.asked if isinstance(delivery, SecuredDelivery) else None
        if asked is not None and (asked.reply_to != reply_q or not reply_q):
            return None
        address = Address(Kind.REPLY, reply_q)

        def answer(body: bytes, sent: Sent, deadline_s: float) -> None:
            if asked is None or self._upkeep is None:
                self.send(address, body, sent, deadline_s=deadline_s, mandatory=True)
            else:
                self._outgoing.answer(asked, address, body, sent, deadline_s)

        return answer

    async def start(self, report: Callable[[TransportEvent], None]) -> None:
        self._incoming.start()
        try:
            await self.inner.start(report)
        except BaseException:  # Safety: lets go of the record of messages, and raised again
            self._security.seen.close()
            raise
        self._outgoing.start()
        self._upkeep = asyncio.get_running_loop().create_task(self._keep_up(), name="bus keys")

    async def stop(self) -> None:
        if self._upkeep is not None:
            upkeep, self._upkeep = self._upkeep, None
            upkeep.cancel()
            await asyncio.wait([upkeep], timeout=TICK_S)
        await self._fetching.stop()
        await self._incoming.stop()
        self._outgoing.flush()
        await self.inner.stop()
        self._security.seen.close()
        await self._security.source.close()

    def reply_address(self) -> Address:
        return self.inner.reply_address()

    def send(
        self,
        address: Address,
        body: bytes,
        sent: Sent,
        *,
        deadline_s: float,
        mandatory: bool = False,
    ) -> None:
        if self._upkeep is None:
            sent(MessageDeliveryFailure("the driver does not run"))
            return
        self._outgoing.send(address, body, sent, deadline_s=deadline_s, mandatory=mandatory)

    async def listen(
        self, addresses: Sequence[Address], deliver: Callable[[Delivery], None], *, prefetch: int
    ) -> Subscription:
        now_s = asyncio.get_running_loop().time()
        if self._security.suite == SHARED_KEY:
            for group in {
                one.name for one in addresses if one.kind not in {Kind.SERVER, Kind.REPLY}
            }:
                self._fetching.renew(Need(Purpose.GROUP_KEY, group), until_s=now_s + WARM_S)
        listening = self._incoming.listening(addresses, deliver, prefetch)
        try:
            arrived = partial(self._incoming.arrived, listening)
            listening.inner = await self.inner.listen(addresses, arrived, prefetch=prefetch)
        except BaseException:  # Safety: lets go of what it has, and goes on
            await listening.cancel()
            raise
        return listening

    async def _fetch(self, need: Need) -> None:
        session, until_ms = await self._obtainer.obtain(need)
        now_ms = self._clock.now_ms()
        if session is not None:
            self._outgoing.hold(need, session)
        if need == ENROLMENT:
            self._enrol_ms = now_ms + int((until_ms - now_ms) * RENEW_AT)

    async def _keep_up(self) -> None:
        """Renews what is in use before it ends, and forgets what has ended."""
        ticks = 0
        while True:
            ticks += 1
            try:
                self._tick(ticks)
            except Exception:  # Safety: without it no ticket is renewed any more; tried again
                log.exception("upkeep of keys failed")
            await asyncio.sleep(TICK_S)

    def _tick(self, ticks: int) -> None:
        now_ms, now_s = self._clock.now_ms(), asyncio.get_running_loop().time()
        if self._security.suite == SHARED_KEY and now_ms >= self._enrol_ms:
            self._fetching.renew(ENROLMENT, until_s=now_s + WARM_S)
        self._outgoing.renew(now_ms, now_s)
        if ticks % FORGET_TICKS == 0:
            self._security.seen.forget(now_ms)
            self._callers.forget(now_ms)
