# SPDX-License-Identifier: Apache-2.0
"""Writes that another process carries out. See the package."""

import asyncio
import base64
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from transom import errors
from transom.errors import MessageUndeliverable, OutcomeUnknown, TransomError, Unavailable
from transom.messaging.client import Client
from transom.messaging.transport import Transport
from transom.queue.bus.frames import (
    TARGET,
    Done,
    Failed,
    decode_outcomes,
    encode,
    error_of,
    is_private,
    messages_of,
    topic_of,
    value_of,
)
from transom.queue.store.verbs.verb import WriteVerb

log = logging.getLogger(__name__)
T = TypeVar("T")

WRITE_S = 5.0
"""The longest that a write waits for the owner: to come back, and then to answer."""
PAUSE_S = 0.03
FRAME_VERBS = 256
FRAME_BYTES = 1 << 20
FRAME_MESSAGES = 80
"""That the answers to a frame may bring, or those to its only verb."""
WAITING_MAX = 4096
LOOK_EACH_S = 1.0
LOOK_S = 2.0
GIVE_UP_S = 1.0


@dataclass(slots=True)
class _Job:
    """A verb on its way, encoded, and who waits for it."""

    verb: Any
    encoded: bytes
    future: asyncio.Future[Any]


class RemoteWriter:
    """Hands verbs to the owner. A `Service` and a `verbs.Writer`.

    Raises from `start`: ConfigError where the bus is not private.
    """

    leaves = True

    def __init__(self, transport: Transport, store: str = "", file_name: str = "queue.db") -> None:
        self._transport = transport
        self._file = file_name
        target = TARGET.to(topic=topic_of(store))
        self._client = Client(transport, target, timeout_s=WRITE_S)
        self._turn: list[_Job] = []
        self._under_way: dict[asyncio.Task[None], Sequence[_Job]] = {}
        self._waiting = 0
        self._giving_up = self._given_up = False
        self._looking: asyncio.Task[None] | None = None
        self._problem = ""

    @property
    def problem(self) -> str:
        return self._problem

    async def start(self) -> None:
        if not is_private(self._transport):
            raise errors.ConfigError(
                "several processes can share the queue's file on the embedded bus only; "
                "leave [bus] url out, or set [api] workers = 1"
            )
        self._loop = asyncio.get_running_loop()
        await self._look()
        self._looking = self._loop.create_task(self._keep_looking(), name="queue-owner-look")

    async def stop(self) -> None:
        """What is under way is answered first. Idempotent."""
        if self._looking is None:
            return
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)
        self._looking = None
        self.give_up()
        if self._under_way:
            await asyncio.wait(list(self._under_way))

    def give_up(self) -> None:
        """The process drains: soon an owner that is away is waited for no longer."""
        if not self._giving_up:
            self._giving_up = True
            self._loop.call_later(GIVE_UP_S, self._fail_under_way)

    async def write(self, verb: WriteVerb[T]) -> T:
        if self._given_up:
            raise Unavailable("The server is stopping; nothing was written, try again.")
        if self._waiting >= WAITING_MAX:
            raise Unavailable("Too many writes wait for the process that writes; try again.")
        future: asyncio.Future[T] = self._loop.create_future()
        self._turn.append(_Job(verb, encode(verb), future))
        if len(self._turn) == 1:
            self._loop.call_soon(self._send)
        self._waiting += 1
        try:
            return await future
        finally:
            self._waiting -= 1

    def _send(self) -> None:
        """All of this turn, in frames of bounded size."""
        jobs, self._turn = self._turn, []
        frame: list[_Job] = []
        size_bytes = messages = 0
        for job in jobs:
            if job.future.done():  # its caller was cancelled
                continue
            size_bytes += len(job.encoded)
            messages += messages_of(job.verb)
            over = size_bytes > FRAME_BYTES or messages > FRAME_MESSAGES
            if frame and (over or len(frame) == FRAME_VERBS):
                self._begin(frame)
                frame, size_bytes, messages = [], len(job.encoded), messages_of(job.verb)
            frame.append(job)
        if frame:
            self._begin(frame)

    def _begin(self, jobs: Sequence[_Job]) -> None:
        task = self._loop.create_task(self._carry(jobs))
        self._under_way[task] = jobs
        task.add_done_callback(self._under_way.pop)

    async def _carry(self, jobs: Sequence[_Job]) -> None:
        try:
            answer = await self._answer([msgspec.Raw(job.encoded) for job in jobs])
            outcomes = decode_outcomes(base64.b64decode(answer))
            for job, outcome in zip(jobs, outcomes, strict=True):
                _settle(job, outcome)
        except Unavailable as error:
            self._fail(jobs, error)
        except Exception as error:  # noqa: BLE001  Safety: the frame's callers are told
            self._problem = f"the process that writes {self._file} does not answer"
            text = (
                "The process that writes did not answer; the write may or may not have been kept."
            )
            self._fail(jobs, OutcomeUnknown(text, detail=repr(error)))

    async def _answer(self, encoded: Sequence[msgspec.Raw]) -> str:
        """Raises: Unavailable if the frame surely never reached the owner, else what happened."""
        frame = base64.b64encode(encode(encoded)).decode()
        client, deadline_s = self._client, self._loop.time() + WRITE_S
        while True:
            try:
                answer: str = await client.call({}, "write", frame=frame)
                self._problem = ""
                return answer
            except MessageUndeliverable as error:
                self._problem = f"the process that writes {self._file} is away"
                left_s = deadline_s - self._loop.time() - PAUSE_S
                if left_s <= 0 or self._giving_up:
                    raise Unavailable(
                        "The process that writes is away; nothing was written, try again.",
                        detail=error.detail,
                    ) from error
            await asyncio.sleep(PAUSE_S)
            client = self._client.to(timeout_s=left_s)

    def _fail_under_way(self) -> None:
        self._given_up = True
        for task, jobs in list(self._under_way.items()):
            text = "The server is stopping; the write may or may not have been kept."
            self._fail(jobs, OutcomeUnknown(text, detail="the owner did not answer"))
            task.cancel()

    def _fail(self, jobs: Sequence[_Job], error: TransomError) -> None:
        log.warning("writes not answered", extra={"writes": len(jobs), "detail": error.detail})
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(type(error)(error.text, detail=error.detail))

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EACH_S)
            await self._look()

    async def _look(self) -> None:
        try:
            self._problem = await self._client.to(timeout_s=LOOK_S).call({}, "problem")
        except TransomError as error:
            self._problem = f"the process that writes {self._file} is away"
            log.info("owner of the queue's file is away", extra={"detail": str(error)})


def _settle(job: _Job, outcome: Done | Failed) -> None:
    if job.future.done():
        return
    if isinstance(outcome, Done):
        job.future.set_result(value_of(job.verb, outcome.value))
    else:
        job.future.set_exception(error_of(outcome))
