# SPDX-License-Identifier: Apache-2.0
"""The driver: starts and stops the pieces, and gives what arrives to the listeners."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

import zmq

from transom.errors import (
    InvalidEnvelope,
    MessageDeliveryFailure,
    MessageUndeliverable,
    MessagingTimeout,
)
from transom.messaging.drivers.base import Address, Delivery, Gap, Kind, Sent, TransportEvent
from transom.messaging.drivers.zmq.inbox import Inbox, Listener, Message
from transom.messaging.drivers.zmq.ipc import IpcPlace
from transom.messaging.drivers.zmq.place import Place
from transom.messaging.drivers.zmq.receiver import Receiver
from transom.messaging.drivers.zmq.registries import Registries
from transom.messaging.drivers.zmq.sender import NO_ANSWER, Sender
from transom.messaging.drivers.zmq.wire import AddressCode, Record, Refusal
from transom.messaging.url import TransportURL
from transom.runtime.clock import Clock
from transom.runtime.ids import Randomness

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
SERVED_WITHIN_S = 30.0
DRAIN_S = 1.0
GOODBYE_S = 0.3
FORWARD_S = 5.0
FORWARD_EACH_S = 0.05
# Every link has a socket, and two more for its monitor.
MOST_SOCKETS = 16384


class ZmqSubscription:
    """See `base.Subscription`."""

    def __init__(self, driver: "ZmqDriver", listener: Listener) -> None:
        self._driver = driver
        self._listener = listener

    async def cancel(self) -> None:
        await self._driver.unlisten(self._listener)


class ZmqDriver:
    """See `base.Driver`. `heartbeat_s`: as the registry has it.

    Raises: InvalidTransportURL: neither folder nor hosts, no key for hosts; from `start`: a folder
    that others may enter or with too long a path, a key that others may read.
    """

    def __init__(
        self,
        url: TransportURL,
        *,
        clock: Clock,
        random: Randomness,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._place = _place_of(url, random, heartbeat_s)
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._inbox = Inbox()
        self._code = AddressCode()
        self._forwards: set[asyncio.Task[None]] = set()
        self._running = False
        self._process = ""

    async def start(self, report: Callable[[TransportEvent], None]) -> None:
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, MOST_SOCKETS)
        try:
            self._process, socket = await self._place.bind(self._context)
        except BaseException:  # Safety: lets go of what it has, and raised again
            self._place.unbind()
            self._context.destroy(0)
            self._place.release()
            raise
        self._registry = Registries(
            self._place, self._process, report, self._left, heartbeat_s=self._heartbeat_s
        )
        self._receiver = Receiver(
            self._place, self._accept, self._receipt, clock=self._clock, known=self._registry.knows
        )
        self._sender = Sender(
            self._context,
            self._place,
            self._process,
            self._registry,
            self._code,
            clock=self._clock,
            heartbeat_s=self._heartbeat_s,
            report=report,
            receipt_due=self._receiver.receipt_due,
        )
        self._receiver.open(self._process, socket)
        self._registry.open(self._context)
        self._timer = self._loop.call_later(self._heartbeat_s, self._beat)
        self._running = True

    async def stop(self) -> None:
        if not self._running:
            return
        self._running = False
        for listener in self._inbox.listeners():
            self._close(listener)
        # First nobody is sent to us any more, then what was sent is told its fate, then we go.
        await self._withdraw()
        await self._sender.drain(DRAIN_S)
        self._timer.cancel()
        for task in self._forwards:
            task.cancel()
        await self._receiver.say_goodbye(GOODBYE_S)
        self._sender.close()
        self._registry.close()
        await asyncio.to_thread(self._context.term)
        self._place.release()

    def reply_address(self) -> Address:
        return Address(Kind.REPLY, self._process)

    def send(
        self,
        address: Address,
        body: bytes,
        sent: Sent,
        *,
        deadline_s: float,
        mandatory: bool = False,
    ) -> None:
        if self._running:
            self._sender.send(address, body, sent, deadline_s=deadline_s, mandatory=mandatory)
        else:
            sent(MessageDeliveryFailure("the bus connection is not running"))

    async def listen(
        self, addresses: Sequence[Address], deliver: Callable[[Delivery], None], *, prefetch: int
    ) -> ZmqSubscription:
        """See `base.Driver`.

        Raises: MessagingTimeout (no registry within 30 s); MessageDeliveryFailure (they refuse us).
        """
        if not self._running:
            raise MessageDeliveryFailure("the bus connection is not running")
        if prefetch < 1:
            raise ValueError(f"prefetch is at least 1, not {prefetch}")
        listener = Listener(addresses, deliver, prefetch, self._give_back, self._loop.time)
        self._inbox.add(listener)
        served = False
        try:
            served = await self._serve(timeout_s=SERVED_WITHIN_S)
        finally:
            if not served:
                self._close(listener)
        if not served:
            raise MessagingTimeout(NO_ANSWER)
        return ZmqSubscription(self, listener)

    async def unlisten(self, listener: Listener) -> None:
        """Ends a listen. Idempotent."""
        if self._close(listener):
            await self._withdraw()

    async def _serve(self, timeout_s: float) -> bool:
        """Tells the registry what we serve now; false if it could not be told in time."""
        try:
            await self._registry.register(self._inbox.addresses(), timeout_s=timeout_s)
        except TimeoutError:
            log.warning("the bus registry is away; it will hear of what we serve later")
            return False
        return True

    async def _withdraw(self) -> None:
        """Tells the registry that we serve less. One that is away is not waited for: it hears of
        it when it is back, and who still sends to us gets a refusal.
        """
        if self._registry.up:
            with contextlib.suppress(MessageDeliveryFailure):
                await self._serve(timeout_s=self._heartbeat_s)
        else:
            self._registry.declare(self._inbox.addresses())

    def _close(self, listener: Listener) -> bool:
        """False if it was closed before."""
        if not self._inbox.remove(listener):
            return False
        for message in listener.close():
            self._give_back(message)
        return True

    def _receipt(self, peer: str, identity: bytes, frame: bytes) -> None:
        self._sender.receipt(peer, identity, frame)

    def _accept(self, record: Record, freed: Callable[[], None]) -> bool | Refusal:
        left_s = record.deadline_s - self._clock.monotonic_s()
        if left_s <= 0:
            return Refusal.LATE
        try:
            address = self._code.decode(record.address)
        except InvalidEnvelope:
            log.warning("record with an address that cannot be read")
            return Refusal.NOBODY
        deadline_s = self._loop.time() + left_s
        verdict = self._inbox.offer(Message(address, record.body, deadline_s, freed))
        return Refusal.NOBODY if verdict is None else verdict

    def _give_back(self, message: Message) -> None:
        """Somebody else should take what a listener here did not finish; perhaps we again."""
        message.freed = _nothing
        self._loop.call_soon(self._offer_again, message)

    def _offer_again(self, message: Message) -> None:
        if self._inbox.offer(message) is not None:
            return
        if message.address.kind not in (Kind.TOPIC, Kind.NOTIFICATION):
            self._given_up(message)
            return
        task = self._loop.create_task(self._forward(message), name="zmq-forward")
        self._forwards.add(task)
        task.add_done_callback(self._forwards.discard)

    async def _forward(self, message: Message) -> None:
        """Until somebody takes it, or its deadline."""
        deadline_s = message.deadline_s
        if message.address.kind is Kind.NOTIFICATION:
            deadline_s = self._loop.time() + FORWARD_S
        while self._loop.time() < deadline_s:
            try:
                await self._sender.forward(message.address, message.body, deadline_s=deadline_s)
            except MessageUndeliverable:
                await asyncio.sleep(FORWARD_EACH_S)
            except MessageDeliveryFailure:
                break
            else:
                return
        self._given_up(message)

    def _given_up(self, message: Message) -> None:
        log.warning("message not finished here lost", extra={"topic": message.address.name})
        self._report(Gap(self._process))

    def _beat(self) -> None:
        self._timer = self._loop.call_later(self._heartbeat_s, self._beat)
        self._registry.beat()
        self._receiver.forget_the_dead()

    def _left(self, process: str) -> None:
        self._sender.drop(process)


def _place_of(url: TransportURL, random: Randomness, heartbeat_s: float) -> Place:
    if not url.hosts:
        return IpcPlace.of(url, random)
    # Only here: the seal loads a library of ciphers, which no bus of one machine needs.
    from transom.messaging.drivers.zmq.tcp import TcpPlace

    return TcpPlace.of(url, random, heartbeat_s)


def _nothing() -> None:
    return None
