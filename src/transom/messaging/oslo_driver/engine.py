# SPDX-License-Identifier: Apache-2.0
"""One connection to one bus for one oslo transport, on the loop thread of the process.

Invariants:
1. Making one does no work; `start` returns at once, and what is asked before the bus is connected
   waits with its own timeout.
2. A call ends with its answer, its timeout or what became of its sending. It costs one wake-up of
   the loop and one of the caller, no task and no future.
3. After a fork `ended` is true in the child: whoever uses it there makes another one.

Its methods without an underscore are for any thread, the others run on the loop.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import inf

from transom.errors import (
    InvalidEnvelope,
    MessageDeliveryFailure,
    MessagingError,
    MessagingTimeout,
    TransomError,
)
from transom.messaging.drivers.base import Address, Delivery, Driver, Kind, Refused, Subscription
from transom.messaging.loop_thread import Ended, LoopThread, Slot, acquire, release
from transom.messaging.oslo_driver.sending import Outgoing, Sending
from transom.messaging.oslo_driver.wire import Json, Reply, pack, read_reply, seal
from transom.messaging.transport import connect
from transom.messaging.url import TransportURL

log = logging.getLogger(__name__)

REPLIES_MAX = 1024
ANSWERS_MAX = 2000
LISTEN_S = 60.0
STOP_S = 15.0
FLUSH_S = 5.0


class Call:
    """One caller that waits."""

    __slots__ = ("_final", "heard_s", "slot")

    def __init__(self, slot: Slot[Reply]) -> None:
        self.slot = slot
        self.heard_s = time.monotonic()
        self._final: Reply | None = None

    def hear(self, reply: Reply) -> None:
        """Peers of old send the result first, and that it was the last in a second message."""
        if not reply.empty:
            self._final = reply
        self.heard_s = time.monotonic()
        if reply.ending:
            self.slot.set(self._final or reply)

    def sent(self, error: MessagingError | None) -> None:
        if error is not None:
            self.slot.set(error=error)


class Engine:
    """Started once, stopped once."""

    def __init__(self, url: TransportURL) -> None:
        self._url = url
        self._sending = Sending(url.driver)
        self._driver: Driver | None = None
        self._failure: MessagingError | None = None
        self._calls: dict[str, Call] = {}
        self._reply_q = ""
        self._replies: Subscription | None = None
        self._answering = 0
        self._none_left = asyncio.Event()

    def start(self, make: Callable[[], LoopThread]) -> None:
        """Begins to connect. `make`: see `loop_thread.acquire`."""
        self._ready = asyncio.Event()
        self._opening = asyncio.Lock()
        self.thread = acquire(make)
        self.thread.post(self._begin)

    @property
    def ended(self) -> bool:
        """Of no use any more: stopped, never connected, or our parent's."""
        return self._failure is not None or self.thread.ended

    def stop(self) -> None:
        """Hands over what was accepted, then disconnects."""
        try:
            self.thread.run(self._stop, STOP_S)
        except (Ended, MessagingTimeout):
            log.warning("bus connection not closed in order")
        finally:
            self._failure = self._failure or Ended("the transport was stopped")
            release(self.thread)

    def call(
        self,
        address: Address,
        message: Json,
        context: object,
        *,
        timeout_s: float | None,
        monitor_s: float | None,
        until_s: float,
        mandatory: bool,
    ) -> Reply:
        """The answer. `until_s`: when to give up if no bus takes it.

        Raises: MessagingTimeout, MessageUndeliverable, MessageDeliveryFailure.
        """
        deadline_s = inf if timeout_s is None else time.monotonic() + timeout_s
        if not self._reply_q:
            self._be_answerable(min(until_s, deadline_s), given_up=until_s < deadline_s)
        msg_id = os.urandom(16).hex()
        message["_msg_id"] = msg_id
        message["_reply_q"] = self._reply_q
        message["_timeout"] = monitor_s
        message["_unique_id"] = os.urandom(16).hex()
        body = seal(pack(message, context))
        call = self._calls[msg_id] = Call(self.thread.new_slot())
        try:
            outgoing = Outgoing(address, body, call.sent, deadline_s, until_s, mandatory)
            self.thread.post(self._sending.send, outgoing)
            if not self._answered(call, deadline_s, monitor_s):
                raise MessagingTimeout(f"Timed out waiting for a reply to message ID {msg_id}")
        finally:
            del self._calls[msg_id]
        error, reply = call.slot.error, call.slot.value
        if isinstance(error, MessageDeliveryFailure) and time.monotonic() >= deadline_s:
            raise MessagingTimeout(f"Timed out waiting for a reply to message ID {msg_id}")
        if error is not None or reply is None:
            raise error or MessagingTimeout()
        return reply

    def _be_answerable(self, until_s: float, *, given_up: bool) -> None:
        left_s = until_s - time.monotonic()
        try:
            self.thread.run(self._open_replies, None if left_s == inf else left_s)
        except MessagingTimeout as error:
            if given_up:
                raise MessageDeliveryFailure("the bus could not be reached in time") from error
            raise

    def _answered(self, call: Call, deadline_s: float, monitor_s: float | None) -> bool:
        silence_s = monitor_s or inf
        while True:
            wake_s = min(deadline_s, call.heard_s + silence_s)
            left_s = wake_s - time.monotonic()
            if self.thread.wait(call.slot, None if left_s == inf else left_s):
                return True
            if time.monotonic() >= min(deadline_s, call.heard_s + silence_s):
                return False

    def hand_over(
        self, address: Address, body: bytes, *, until_s: float = inf, mandatory: bool = False
    ) -> None:
        """Returns when the bus has it. Raises: MessageUndeliverable, MessageDeliveryFailure."""
        slot: Slot[None] = self.thread.new_slot()

        def told(error: MessagingError | None) -> None:
            slot.set(error=error)

        self.thread.post(self._sending.send, Outgoing(address, body, told, inf, until_s, mandatory))
        left_s = until_s - time.monotonic()
        if not self.thread.wait(slot, None if left_s == inf else left_s):
            raise MessageDeliveryFailure("the bus did not take the message in time")
        if slot.error is not None:
            raise slot.error

    def answer(self, reply_q: str, body: bytes) -> None:
        """Hands an answer to the loop; waits only where very many are on their way.

        One whose caller is away is the driver's to keep for a while; no worker waits for that.
        """
        slot: Slot[None] = self.thread.new_slot()
        self.thread.post(self._answer, Address(Kind.REPLY, reply_q), body, slot)
        if self._answering > ANSWERS_MAX:
            self.thread.wait(slot, FLUSH_S)

    def listen(
        self, addresses: Sequence[Address], deliver: Callable[[Delivery], None], *, prefetch: int
    ) -> Subscription:
        """Returns when served; a bus that is away is waited for, as the stock driver does.

        Raises: Refused, other MessagingErrors if the bus can never be connected.
        """
        while True:
            try:
                return self.thread.run(
                    partial(self._listen, addresses, deliver, prefetch), LISTEN_S
                )
            except Refused:
                raise  # the bus is there
            except (MessagingTimeout, MessageDeliveryFailure) as error:
                if self.ended:
                    raise
                log.warning("the bus is away, listening waits", extra={"reason": str(error)})

    def flush(self) -> None:
        """Until the answers given so far have left, within reason."""
        try:
            self.thread.run(self._flush, FLUSH_S)
        except MessagingError:
            log.warning("answers may not have left")

    def _begin(self) -> None:
        self.thread.own(asyncio.ensure_future(self._connect()))

    async def _connect(self) -> None:
        try:
            driver = connect(self._url).driver
            await driver.start(self._sending.report)
        except Exception as error:  # Safety: told to all who wait, and to who asks next
            log.exception("the bus connection cannot be made")
            self._failure = error if isinstance(error, MessagingError) else _failure_of(error)
            self._sending.end(self._failure)
        else:
            self._driver = driver
            self._sending.begin(driver)
        self._ready.set()

    async def _running(self) -> Driver:
        await self._ready.wait()
        if self._failure is not None or self._driver is None:
            raise self._failure or Ended("the transport was stopped")
        return self._driver

    async def _stop(self) -> None:
        driver = await self._running()
        self._failure = Ended("the transport was stopped")
        self._sending.end(self._failure)
        if self._replies is not None:
            await self._replies.cancel()
        await driver.stop()
        for call in list(self._calls.values()):
            call.sent(self._failure)

    async def _open_replies(self) -> None:
        async with self._opening:
            if self._reply_q:
                return
            driver = await self._running()
            address = driver.reply_address()
            self._replies = await driver.listen([address], self._replied, prefetch=REPLIES_MAX)
            self._reply_q = address.name

    async def _listen(
        self, addresses: Sequence[Address], deliver: Callable[[Delivery], None], prefetch: int
    ) -> Subscription:
        driver = await self._running()
        return await driver.listen(addresses, deliver, prefetch=prefetch)

    async def _flush(self) -> None:
        while self._answering:
            self._none_left.clear()
            await self._none_left.wait()

    def _answer(self, address: Address, body: bytes, slot: Slot[None]) -> None:
        def sent(error: MessagingError | None) -> None:
            self._answering -= 1
            if not self._answering:
                self._none_left.set()
            if error is not None:
                reason = error.detail or error.text
                log.info("answer dropped", extra={"queue": address.name, "reason": reason})
            slot.set()

        self._answering += 1
        self._sending.send(Outgoing(address, body, sent, mandatory=True))

    def _replied(self, delivery: Delivery) -> None:
        delivery.acknowledge()
        try:
            reply = read_reply(delivery.body)
        except InvalidEnvelope as error:
            log.warning("unreadable reply dropped", extra={"reason": str(error)})
            return
        call = self._calls.get(reply.msg_id)
        if call is None:
            log.info("late reply dropped", extra={"msg_id": reply.msg_id[:64]})
        else:
            call.hear(reply)


def _failure_of(error: Exception) -> MessagingError:
    text = error.text if isinstance(error, TransomError) else str(error)
    return MessageDeliveryFailure(text, detail=repr(error))
