# SPDX-License-Identifier: Apache-2.0
"""The calls in flight of one transport: one reply address, one timer a call, `proto.call` decides.

Invariants:
1. `ask` returns or raises by the call's deadline.
2. Replies that nobody waits for are dropped, and logged.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from transom.errors import (
    InvalidEnvelope,
    MessageDeliveryFailure,
    MessagingError,
    MessagingTimeout,
)
from transom.messaging.counters import Counters
from transom.messaging.drivers.base import Address, Delivery, Driver, Sent, Subscription
from transom.messaging.envelope import Reply, decode_reply
from transom.messaging.proto.call import Call, Expired, SendAgain
from transom.runtime.ids import Randomness, new_hex

log = logging.getLogger(__name__)

REPLIES_MAX = 1024
GATHERED_MAX = 10_000
Send = Callable[[str, Sent], None]
"""(msg_id, told what became of it): sends the request, once more at each time."""
MayAnswer = Callable[[Delivery, Address], bool]
"""Whether who sent this reply is whom a call to the address was for."""


class CallsInFlight:
    """The conversations that wait, by `msg_id`."""

    def __init__(
        self, driver: Driver, random: Randomness, counters: Counters, may_answer: MayAnswer
    ) -> None:
        self.reply_q = ""
        self._counters = counters
        self._may_answer = may_answer
        self._driver = driver
        self._random = random
        self._waiting: dict[str, Conversation] = {}
        self._gathering: dict[str, tuple[Address, list[Reply]]] = {}
        self._subscription: Subscription | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def start(self) -> None:
        address = self._driver.reply_address()
        self.reply_q = address.name
        self._subscription = await self._driver.listen(
            [address], self._arrived, prefetch=REPLIES_MAX
        )

    async def stop(self) -> None:
        """Calls still in flight fail at once."""
        for conversation in list(self._waiting.values()):
            conversation.fail(MessageDeliveryFailure("the transport was stopped"))
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            await subscription.cancel()

    async def ask(
        self, address: Address, send: Send, call: Call[Reply], pauses: Iterator[float] | None
    ) -> Reply:
        """Sends, again when it is time for it, and waits for the answer of who serves `address`.

        `pauses`: what to wait where a sending failed before the next one; None: that ends the call.

        Raises: MessagingTimeout at the deadline or when the server has fallen silent; without
        `pauses`, or where no time is left for one, what became of the sending.
        """
        msg_id = new_hex(self._random)
        conversation = Conversation(msg_id, address, call, send, pauses)
        self._waiting[msg_id] = conversation
        try:
            conversation.send()
            return await conversation.answer
        finally:
            del self._waiting[msg_id]
            conversation.close()

    @contextmanager
    def gather(self, address: Address) -> Iterator[tuple[str, list[Reply]]]:
        """A new msg_id, and the replies to it as they come of who serves `address`; at most
        `GATHERED_MAX` of them.
        """
        msg_id = new_hex(self._random)
        replies: list[Reply] = []
        self._gathering[msg_id] = (address, replies)
        try:
            yield msg_id, replies
        finally:
            del self._gathering[msg_id]

    def _arrived(self, delivery: Delivery) -> None:
        delivery.acknowledge()
        try:
            reply = decode_reply(delivery.body)
        except InvalidEnvelope as error:
            log.warning("unreadable reply dropped", extra={"reason": str(error)})
            return
        conversation = self._waiting.get(reply.msg_id)
        gathering = self._gathering.get(reply.msg_id)
        if conversation is not None:
            if self._is_of_who_was_asked(delivery, conversation.address):
                conversation.hear(reply)
        elif gathering is not None:
            address, replies = gathering
            if not self._is_of_who_was_asked(delivery, address):
                return
            if reply.ending and len(replies) < GATHERED_MAX:
                replies.append(reply)
        else:
            self._counters.late_replies += 1
            log.info("late reply dropped", extra={"msg_id": reply.msg_id[:64]})

    def _is_of_who_was_asked(self, delivery: Delivery, address: Address) -> bool:
        if self._may_answer(delivery, address):
            return True
        about = {"sender": delivery.sender, "topic": address.name}
        log.warning("reply of somebody who was not asked dropped", extra=about)
        return False


class Conversation:
    """One call that waits for `answer`."""

    __slots__ = (
        "_again",
        "_call",
        "_loop",
        "_msg_id",
        "_pauses",
        "_send",
        "_timer",
        "address",
        "answer",
    )

    def __init__(
        self,
        msg_id: str,
        address: Address,
        call: Call[Reply],
        send: Send,
        pauses: Iterator[float] | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Reply] = self._loop.create_future()
        self._msg_id = msg_id
        self.address = address
        self._call = call
        self._send = send
        self._pauses = pauses
        self._timer = self._loop.call_at(call.wake_s(), self._wake)
        self._again: asyncio.TimerHandle | None = None

    def send(self) -> None:
        """Once more."""
        self._send(self._msg_id, self._sent)

    def hear(self, reply: Reply) -> None:
        answer = self._call.hear(reply, self._loop.time(), ending=reply.ending, empty=reply.empty)
        if answer is not None and not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: MessagingError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def close(self) -> None:
        """Nobody waits any more."""
        self._timer.cancel()
        if self._again is not None:
            self._again.cancel()

    def _sent(self, error: MessagingError | None) -> None:
        if error is None or self.answer.done():
            return
        now_s = self._loop.time()
        if isinstance(error, MessageDeliveryFailure) and now_s >= self._call.deadline_s:
            self.fail(MessagingTimeout("the bus did not take the call in time"))
            return
        pause_s = next(self._pauses) if self._pauses is not None else None
        if pause_s is None or now_s + pause_s >= self._call.deadline_s:
            self.fail(error)
            return
        if self._again is not None:
            self._again.cancel()
        self._again = self._loop.call_later(pause_s, self.send)

    def _wake(self) -> None:
        if self.answer.done():
            return
        match self._call.wake(self._loop.time()):
            case Expired(silent=True):
                self.fail(MessagingTimeout("the server fell silent while carrying out the call"))
            case Expired():
                self.fail(MessagingTimeout())
            case SendAgain(wake_s):
                self._timer = self._loop.call_at(wake_s, self._wake)
                self.send()
            case later:
                self._timer = self._loop.call_at(later.wake_s, self._wake)
