# SPDX-License-Identifier: Apache-2.0
"""Serves endpoints at a topic: to the pool of its servers, to this one, and to all by fan-out.

Invariants:
1. At most once: a request is acknowledged before it is carried out, one sending of it is carried
   out once here, and none after its deadline.
2. `stop` takes no new request, carries out what was acknowledged, sends the answers, then returns;
   what was not acknowledged goes back to the bus.
3. A reply goes to who asked: a request that names another's reply address is refused.
4. At most `concurrency` requests are carried out at a time, and answers that are on their way never
   hold a place.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Sequence
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from transom.errors import (
    CallerError,
    InvalidEnvelope,
    InvalidTarget,
    MessageUndeliverable,
    MessagingError,
    NoSuchMethod,
    Unavailable,
    UnsupportedVersion,
)
from transom.messaging.answering import Answer
from transom.messaging.authenticated import DELIVERY
from transom.messaging.dispatch import Dispatcher, Method
from transom.messaging.drivers.base import Address, Delivery, Kind, Subscription
from transom.messaging.envelope import Reply, Request, decode_request, encode_reply
from transom.messaging.failure import failure_of
from transom.messaging.proto.delivery import DuplicateWindow
from transom.messaging.target import Target
from transom.messaging.transport import Transport
from transom.runtime.ids import new_hex
from transom.runtime.lifecycle import Entered

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

log = logging.getLogger(__name__)

REPLY_S = 30.0
ANSWERING_FACTOR = 8
EXPECTED = (CallerError, NoSuchMethod, UnsupportedVersion)


class Server(Entered):
    """An async context manager; or `start` and `stop`, again and again."""

    def __init__(
        self,
        transport: Transport,
        target: Target,
        endpoints: Sequence[object],
        *,
        concurrency: int = 64,
        executor: Literal["loop", "thread"] = "loop",
        drain_s: float = 30.0,
    ) -> None:
        """`executor`: where methods that are not `async def` run. `drain_s`: the longest `stop`.

        A target with `fanout` and no server hears only what is cast to all servers of the topic.

        Raises: InvalidTarget, TypeError, ValueError.
        """
        if not target.topic or not (target.server or target.fanout):
            raise InvalidTarget("a server needs a target with a topic, and a server or fanout")
        if concurrency < 1:
            raise ValueError("concurrency is at least 1")
        self._transport = transport
        self._target = target
        self._dispatcher = Dispatcher(endpoints, server=target.server or "")
        self._concurrency = concurrency
        self._executor = executor
        self._drain_s = drain_s
        self._threads: ThreadPoolExecutor | None = None
        self._subscription: Subscription | None = None
        self._accepting = False
        self._inbox: deque[Delivery] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._answering = 0
        self._answered = asyncio.Event()
        self._window = DuplicateWindow()
        self._counts = transport.counters.served[target.topic]

    @property
    def topic(self) -> str:
        return self._target.topic or ""

    def endpoints(self) -> list[dict[str, Any]]:
        """What is served: namespace, version, methods."""
        return self._dispatcher.endpoints()

    def addresses(self) -> list[Address]:
        """Where it is served."""
        topic, exchange = self._target.topic or "", self._target.exchange or ""
        everyone = Address(Kind.FANOUT, topic)
        if not self._target.server:
            return [everyone]
        return [
            Address(Kind.TOPIC, topic, exchange=exchange),
            Address(Kind.SERVER, topic, self._target.server, exchange),
            everyone,
        ]

    async def start(self) -> None:
        """Returns when served."""
        if self._accepting:
            return
        if self._executor == "thread":
            from concurrent.futures import ThreadPoolExecutor

            self._threads = ThreadPoolExecutor(self._concurrency, "transom-endpoint")
        self._loop = asyncio.get_running_loop()
        self._accepting = True
        try:
            self._subscription = await self._transport.listen(
                self.addresses(), self._arrived, prefetch=self._concurrency
            )
        except BaseException:  # Safety: lets go of what it has, and goes on
            await self.stop()
            raise
        self._transport.adopt(self)

    async def stop(self) -> None:
        """Drains. Idempotent."""
        self._accepting = False
        self._transport.release(self)
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            await subscription.cancel()
        self._inbox.clear()
        if self._tasks:
            _, late = await asyncio.wait(list(self._tasks), timeout=self._drain_s)
            for task in late:
                log.error("request given up at stop", extra={"request": task.get_name()})
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=self._drain_s)
        await self._until_answered()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    async def _until_answered(self) -> None:
        """Answers that are on their way get there, or come to their end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._drain_s):
                while self._answering:
                    self._answered.clear()
                    await self._answered.wait()

    def _arrived(self, delivery: Delivery) -> None:
        if self._inbox or not self._has_place():
            self._inbox.append(delivery)
        else:
            self._begin(delivery)

    def _has_place(self) -> bool:
        return (
            self._accepting
            and len(self._tasks) < self._concurrency
            and self._answering < self._concurrency * ANSWERING_FACTOR
        )

    def _admit(self) -> None:
        """Begins what there is a place for."""
        while self._inbox and self._has_place():
            self._begin(self._inbox.popleft())

    def _begin(self, delivery: Delivery) -> None:
        delivery.acknowledge()
        accepted = self._accepted(delivery)
        if accepted is not None:
            token = DELIVERY.set(delivery)  # the task takes a copy of it along
            task = self._loop.create_task(self._carry_out(*accepted))
            DELIVERY.reset(token)
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("request failed outside its endpoint", exc_info=task.exception())
        self._admit()

    def _accepted(self, delivery: Delivery) -> tuple[Request, Answer | None] | None:
        """The request, if it is one to be carried out, and how a call is answered."""
        try:
            request = decode_request(delivery.body)
        except InvalidEnvelope as error:
            log.warning("unreadable request dropped", extra={"reason": str(error)})
            self._counts.became("unreadable")
            return None
        now_s, until_s = self._loop.time(), delivery.deadline_s
        if now_s >= until_s:
            log.info("request past its deadline dropped", extra={"method": request.method[:80]})
            self._counts.became("late")
            return None
        answer = None
        if request.msg_id is not None and request.reply_q is not None:
            answer = self._transport.answering(delivery, request.reply_q)
            if answer is None:
                about = {"method": request.method[:80], "sender": delivery.sender}
                log.warning("request with another's reply address refused", extra=about)
                self._counts.became("misdirected")
                return None
        # Names of parties have no spaces: nobody uses up another's ids.
        whose_id = f"{delivery.sender} {request.unique_id}"
        if request.unique_id and not self._window.first(whose_id, now_s, until_s):
            log.info("duplicate request dropped", extra={"method": request.method[:80]})
            self._counts.became("duplicate")
            return None
        return request, answer

    async def _carry_out(self, request: Request, answer: Answer | None) -> None:
        if request.msg_id is None or answer is None:
            await self._outcome(request, "")
        elif request.monitor_s is None or request.monitor_s < 2:
            self._answer(answer, await self._outcome(request, request.msg_id))
        else:
            beats = self._beat(answer, request.msg_id, request.monitor_s / 2)
            beating = self._loop.create_task(beats)
            try:
                reply = await self._outcome(request, request.msg_id)
            finally:
                beating.cancel()
            self._answer(answer, reply)

    async def _outcome(self, request: Request, msg_id: str) -> Reply:
        counts, began_s, outcome = self._counts, self._loop.time(), "failed"
        counts.in_flight += 1
        try:
            reply = await self._reply_to(request, msg_id)
            outcome = "answered" if reply.failure is None else "failed"
            return reply
        finally:
            counts.in_flight -= 1
            counts.ended(outcome, self._loop.time() - began_s)

    async def _reply_to(self, request: Request, msg_id: str) -> Reply:
        method: Method | None = None
        unique_id = new_hex(self._transport.random)
        try:
            method = self._dispatcher.find(request.namespace, request.version, request.method)
            result = await self._call(method, request)
            return Reply(msg_id=msg_id, result=result, unique_id=unique_id)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Not we were cancelled, but what the endpoint waited for: an answer like any other.
            log.exception("endpoint failed", extra={"method": request.method[:80]})
            return Reply(msg_id=msg_id, failure=failure_of(error), unique_id=unique_id)
        except Exception as error:  # Safety: whatever an endpoint raises is the caller's answer
            expected = method.expected if method is not None else ()
            if isinstance(error, Unavailable):  # where it lies, whoever found it away has logged
                about = {"method": request.method[:80], "detail": error.detail or error.text}
                log.warning("endpoint refused", extra=about)
            elif not isinstance(error, EXPECTED + expected):
                log.exception("endpoint failed", extra={"method": request.method[:80]})
            return Reply(msg_id=msg_id, failure=failure_of(error), unique_id=unique_id)

    async def _call(self, method: Method, request: Request) -> Any:
        if method.is_async:
            return await method.function(request.context, **request.args)
        call = partial(method.function, request.context, **request.args)
        if self._threads is not None:
            result = await self._loop.run_in_executor(self._threads, copy_context().run, call)
        else:
            result = call()
        return await result if isinstance(result, Awaitable) else result

    async def _beat(self, answer: Answer, msg_id: str, every_s: float) -> None:
        """Tells the caller that its call is being carried out."""
        while True:
            await asyncio.sleep(every_s)
            unique_id = new_hex(self._transport.random)
            beat = Reply(msg_id=msg_id, ending=False, unique_id=unique_id)
            self._answer(answer, beat, wait_s=every_s)

    def _answer(self, answer: Answer, reply: Reply, *, wait_s: float = REPLY_S) -> None:
        try:
            body = encode_reply(reply)
        except InvalidEnvelope as error:
            log.exception("an endpoint's answer cannot be sent")
            failure = failure_of(error)
            body = encode_reply(
                Reply(msg_id=reply.msg_id, failure=failure, unique_id=reply.unique_id)
            )
        self._answering += 1
        answer(body, self._sent, self._loop.time() + wait_s)

    def _sent(self, error: MessagingError | None) -> None:
        self._answering -= 1
        self._answered.set()
        if isinstance(error, MessageUndeliverable):
            log.info("caller is gone, its answer is dropped", extra={"reason": error.detail})
        elif error is not None:
            log.warning("answer was not taken in time", extra={"reason": error.detail})
        self._admit()
