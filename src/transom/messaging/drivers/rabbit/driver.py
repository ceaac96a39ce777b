# SPDX-License-Identifier: Apache-2.0
"""The driver: two sessions with the broker, one to send and one to receive."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from transom.errors import MessageDeliveryFailure
from transom.messaging.drivers.base import Address, Delivery, Gap, Kind, Sent, TransportEvent
from transom.messaging.drivers.rabbit.consumer import Consumer
from transom.messaging.drivers.rabbit.options import Options, hosts_of
from transom.messaging.drivers.rabbit.publisher import Publisher
from transom.messaging.drivers.rabbit.receiver import VERIFY_S, Receiver
from transom.messaging.drivers.rabbit.session import Recover, Session
from transom.messaging.url import TransportURL
from transom.runtime.clock import Clock
from transom.runtime.ids import Randomness, new_hex

log = logging.getLogger(__name__)

DRAIN_S = 5.0


class RabbitSubscription:
    """See `base.Subscription`."""

    def __init__(self, receiver: Receiver, consumer: Consumer) -> None:
        self._receiver = receiver
        self._consumer = consumer

    async def cancel(self) -> None:
        await self._receiver.unlisten(self._consumer)


class RabbitDriver:
    """See `base.Driver`. `verify_s`: how often own queues are looked for.

    Raises: InvalidTransportURL for an option that is not known or has a wrong value, and from
    `start` for TLS files that cannot be used.
    """

    def __init__(
        self,
        url: TransportURL,
        *,
        clock: Clock,
        random: Randomness,
        verify_s: float = VERIFY_S,
    ) -> None:
        self._options = Options.of(url)
        self._hosts = hosts_of(url, self._options)
        self._vhost = url.vhost
        self._random = random
        self._verify_s = verify_s
        self._running = False
        self._reply_address = Address(Kind.REPLY, "")

    async def start(self, report: Callable[[TransportEvent], None]) -> None:
        self._report = report
        self._reply_address = Address(Kind.REPLY, f"reply_{new_hex(self._random)}")
        self._publisher = Publisher(self._options, self._gap, lambda: self._sending)
        self._receiver = Receiver(
            self._options,
            self._random,
            session=lambda: self._receiving,
            gap=lambda: report(Gap(self._receiving.last_peer)),
            verify_s=self._verify_s,
        )
        publisher, receiver = self._publisher, self._receiver
        self._sending = self._session("send", publisher.up, publisher.room, publisher.down)
        self._receiving = self._session("receive", receiver.up, _nothing, receiver.down)
        self._sending.start(report)
        self._receiving.start(report)
        self._running = True

    async def stop(self) -> None:
        if not self._running:
            return
        self._running = False
        await self._receiver.stop()
        await self._publisher.drain(DRAIN_S)
        await asyncio.gather(self._receiving.stop(), self._sending.stop())

    def reply_address(self) -> Address:
        return self._reply_address

    def send(
        self,
        address: Address,
        body: bytes,
        sent: Sent,
        *,
        deadline_s: float,
        mandatory: bool = False,
    ) -> None:
        if not self._running:
            sent(MessageDeliveryFailure("the driver does not run"))
            return
        try:
            self._publisher.send(address, body, sent, deadline_s=deadline_s, mandatory=mandatory)
        except ValueError as error:
            sent(MessageDeliveryFailure(detail=str(error)))

    async def listen(
        self, addresses: Sequence[Address], deliver: Callable[[Delivery], None], *, prefetch: int
    ) -> RabbitSubscription:
        """See `base.Driver`. Raises: MessagingTimeout (not served within 30 s),
        Refused, MessageDeliveryFailure (no host takes our credentials), InvalidTarget."""
        if not self._running:
            raise MessageDeliveryFailure("the driver does not run")
        consumer = await self._receiver.listen(addresses, deliver, prefetch)
        return RabbitSubscription(self._receiver, consumer)

    def _session(
        self,
        name: str,
        recover: Recover,
        room: Callable[[], None],
        down: Callable[[], None],
    ) -> Session:
        return Session(
            name,
            self._hosts,
            self._vhost,
            self._options,
            self._random,
            recover=recover,
            room=room,
            down=down,
            gaps=name == "receive",
        )

    def _gap(self) -> None:
        self._report(Gap(self._sending.last_peer))


def _nothing() -> None:
    return None
