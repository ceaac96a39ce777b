# SPDX-License-Identifier: Apache-2.0
"""What arrives, opened; what does not hold is dropped, logged and counted.

Invariants:
1. What is handed over is authentic, new, of this time and meant for this listen; or its sender is
   "" and security is optional.
2. A message counts as seen once it is acknowledged, not before: what goes back to the bus may come
   again. Of two copies that are out at once the second waits for what becomes of the first.
3. Messages that wait for one key are handed over in their order; all others go on. Half of a
   listen's places are for those that need not wait: what waits beyond gives up after a second.
4. A durable message that waits for a key goes back to the bus, unless the key server denies the key
   again and again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence

from transom.errors import Downgraded, KeyUnavailable, SecurityError
from transom.messaging.drivers.base import Address, Delivery, Kind, Subscription
from transom.messaging.secured.awaiting import PAUSE_S, Awaiting
from transom.messaging.secured.callers import Asked
from transom.messaging.secured.fetching import Fetching
from transom.messaging.secured.obtaining import Obtainer
from transom.messaging.secured.settings import Security
from transom.messaging.security.certificates import Certificate
from transom.messaging.security.freshness import Bounds, check_time
from transom.messaging.security.message import Metadata, Mode
from transom.messaging.security.opening import KeyNeeded, Opener
from transom.messaging.security.reading import Opened, Reader, Replayed, claimed
from transom.messaging.security.sessions import Place
from transom.runtime.clock import Clock

log = logging.getLogger(__name__)

KEY_WAIT_S = 30.0
OVER_WAIT_S = 1.0
OLDER_WAIT_S = 0.1
"""Nobody sends what is not durable under a generation that is not the newest, but for a moment."""
Key = tuple[bytes, int]
"""A stream and a counter in it: one message at one place."""


class SecuredDelivery:
    """One message, opened; or, where `opened` is None, one that nobody vouches for."""

    __slots__ = ("_incoming", "_inner", "body", "copies", "key", "listening", "opened", "until_ms")

    def __init__(
        self,
        incoming: "Incoming",
        listening: "Listening",
        inner: Delivery,
        opened: Opened | None = None,
        key: Key | None = None,
        until_ms: int = 0,
    ) -> None:
        self._incoming = incoming
        self._inner = inner
        self.listening = listening
        self.body = inner.body if opened is None else opened.body
        self.opened = opened
        self.key = key
        self.until_ms = until_ms
        self.copies: list[SecuredDelivery] | None = None

    @property
    def deadline_s(self) -> float:
        return self._inner.deadline_s

    @property
    def sender(self) -> str:
        return "" if self.opened is None else self.opened.track.metadata.source

    @property
    def asked(self) -> Asked | None:
        """What its answers are sealed for, and where they go; None: nobody vouches for it."""
        if self.opened is None:
            return None
        metadata = self.opened.metadata
        encrypted = metadata.mode is Mode.ENCRYPT
        return Asked(self.opened.session, metadata.reply_to, encrypted)

    @property
    def certificate(self) -> Certificate | None:
        return None if self.opened is None else self.opened.track.session.certificate

    def acknowledge(self) -> None:
        if self.opened is not None:
            self._incoming.taken(self, self.opened)
        self._inner.acknowledge()

    def requeue(self) -> None:
        self._inner.requeue()
        if self.opened is not None:
            self._incoming.returned(self)


class Listening:
    """One listen. `ordinals`: whose copies of the messages at an address come here."""

    def __init__(
        self,
        incoming: "Incoming",
        opener: Opener,
        addresses: Sequence[Address],
        ordinals: dict[Address, int],
        deliver: Callable[[Delivery], None],
        prefetch: int,
    ) -> None:
        self._incoming = incoming
        self.deliver = deliver
        self.waiting = 0
        self.waiting_max = max(1, prefetch // 2)
        self.ordinals = ordinals
        self.closed = False
        self.inner: Subscription | None = None
        places = {
            Place(str(one.kind), one.name, one.part, one.exchange): (one.pool, str(ordinals[one]))
            for one in addresses
        }
        self.reader = Reader(opener, places, known=incoming.known)
        self.durable = all(one.kind is Kind.NOTIFICATION for one in addresses)

    async def cancel(self) -> None:
        if not self.closed:
            self.closed = True
            self._incoming.left(self)
            if self.inner is not None:
                await self.inner.cancel()


class Incoming:
    """Opens what comes to the listens of one driver. `refused` counts by reason."""

    def __init__(
        self,
        security: Security,
        obtainer: Obtainer,
        fetching: Fetching,
        clock: Clock,
    ) -> None:
        self.refused: Counter[str] = Counter()
        self._required = security.required
        self._encrypted = security.required and Mode(security.mode) is Mode.ENCRYPT
        self._seen = security.seen
        self._bounds = Bounds(int(security.skew_s * 1000), int(security.retention_s * 1000), 0)
        self._awaiting = Awaiting(fetching, obtainer.opener)
        self._clock = clock
        self._opener = obtainer.opener
        self._listening: list[Listening] = []
        self._out: dict[Key, SecuredDelivery] = {}

    def start(self) -> None:
        """From now on messages are remembered, unless they have been all along."""
        self._seen.open(self._clock.now_ms())
        self._bounds = self._bounds._replace(start_ms=self._seen.start_ms)

    async def stop(self) -> None:
        """Nothing waits for a key any more."""
        await self._awaiting.stop()

    def known(self, stream: bytes, counter: int, sent_ms: int) -> bool:
        """Whether the message was taken before."""
        return self._seen.has(stream, counter, sent_ms)

    def listening(
        self, addresses: Sequence[Address], deliver: Callable[[Delivery], None], prefetch: int
    ) -> Listening:
        """Of a fan-out every listen has copies of its own, all else is shared out among listens."""
        ordinals = {}
        for address in addresses:
            taken = {one.ordinals.get(address) for one in self._listening}
            free = next(at for at in range(len(taken) + 1) if at not in taken)
            ordinals[address] = free if address.kind is Kind.FANOUT else 0
        listening = Listening(self, self._opener, addresses, ordinals, deliver, prefetch)
        self._listening.append(listening)
        return listening

    def left(self, listening: Listening) -> None:
        """What it has out goes back to the bus, and may come again."""
        self._listening.remove(listening)
        for key, delivery in list(self._out.items()):
            if delivery.listening is listening:
                del self._out[key]
        # Copies of others' that it holds go back too; those are no longer waited with.
        for delivery in self._out.values():
            if delivery.copies:
                delivery.copies = [one for one in delivery.copies if one.listening is not listening]

    def arrived(self, listening: Listening, delivery: Delivery, asks: int = 0) -> None:
        """`asks`: for how many keys it has waited."""
        if listening.closed:
            return
        now_ms = self._clock.now_ms()
        try:
            opened = listening.reader.decode(delivery.body, now_ms)
            if opened is not None:
                self._accept(listening, delivery, opened, now_ms)
            elif self._required:
                raise Downgraded("the message is not signed")
            else:
                listening.deliver(SecuredDelivery(self, listening, delivery))
        except KeyNeeded as needed:
            try:
                self._wait(listening, delivery, needed, now_ms, asks)
            except SecurityError as error:
                self._refuse(delivery, error)
        except Replayed as replayed:
            self._duplicate(delivery, replayed.metadata)
        except SecurityError as error:
            self._refuse(delivery, error)

    def taken(self, delivery: SecuredDelivery, opened: Opened) -> None:
        """It is done with: a copy of it is a duplicate from now on."""
        key = delivery.key
        if key is None or self._out.get(key) is not delivery:
            return
        del self._out[key]
        self._seen.record(*key, opened.sent_ms, delivery.until_ms)
        for copy in delivery.copies or ():
            self._duplicate(copy._inner, opened.metadata)

    def returned(self, delivery: SecuredDelivery) -> None:
        """It went back to the bus; a copy that waits takes its turn."""
        key = delivery.key
        if key is None or self._out.get(key) is not delivery:
            return
        del self._out[key]
        if delivery.copies:
            copy, *others = delivery.copies
            copy.copies = others
            self._out[key] = copy
            copy.listening.deliver(copy)

    def _accept(self, listening: Listening, inner: Delivery, opened: Opened, now_ms: int) -> None:
        track = opened.track
        if self._encrypted and track.metadata.mode is not Mode.ENCRYPT:
            raise Downgraded("the message is signed, but not encrypted")
        until_ms = check_time(opened, self._bounds, now_ms)
        key = (track.stream, opened.counter)
        delivery = SecuredDelivery(self, listening, inner, opened, key, until_ms)
        if self._seen.has(track.stream, opened.counter, opened.sent_ms):
            self._duplicate(inner, track.metadata)
            return
        first = self._out.get(key)
        if first is not None:
            first.copies = [*(first.copies or ()), delivery]
            return
        self._out[key] = delivery
        listening.deliver(delivery)

    def _duplicate(self, delivery: Delivery, metadata: Metadata) -> None:
        """Drivers send again what was not confirmed: no reason for an alarm."""
        self.refused["duplicate"] += 1
        about = {"source": metadata.source, "kind": metadata.kind, "name": metadata.name}
        log.info("duplicate message dropped", extra=about)
        delivery.acknowledge()

    def _refuse(self, delivery: Delivery, error: SecurityError) -> None:
        self.refused[type(error).__name__] += 1
        about = {"kind": type(error).__name__, "reason": error.text}
        log.warning("insecure message dropped", extra={**about, "claimed": claimed(delivery.body)})
        delivery.acknowledge()

    def _wait(
        self,
        listening: Listening,
        delivery: Delivery,
        needed: KeyNeeded,
        now_ms: int,
        asks: int,
    ) -> None:
        """Raises: SecurityError where there is no such key."""
        awaiting, durable = self._awaiting, listening.durable
        need = awaiting.need(needed, self._bounds, now_ms, asks=asks, durable=durable)
        loop = asyncio.get_running_loop()
        wait_s = OLDER_WAIT_S if need.generation and not durable else OVER_WAIT_S
        if listening.waiting < listening.waiting_max:
            wait_s = KEY_WAIT_S
        listening.waiting += 1

        def told(error: KeyUnavailable | None) -> None:
            listening.waiting -= 1
            if listening.closed:
                return
            if error is None:
                self.arrived(listening, delivery, asks + 1)
                return
            believed = error.lasting and awaiting.denied(need)
            if believed or not durable:
                self._refuse(delivery, error)
            elif error.lasting:
                loop.call_later(PAUSE_S, self._back, listening, delivery)
            else:
                delivery.requeue()

        until_s = min(delivery.deadline_s, loop.time() + wait_s)
        awaiting.wait(need, told, until_s=until_s, size=len(delivery.body))

    def _back(self, listening: Listening, delivery: Delivery) -> None:
        if not listening.closed:
            delivery.requeue()
