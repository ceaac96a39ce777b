# SPDX-License-Identifier: Apache-2.0
"""The queue on its node: rows of its live table, and writes on their way to the one that may write.

A worker that may not write the queue's file hands its verbs to the owner of the file: all of one
turn of the loop in one frame, `base64(msgpack([verb, ...]))`, answered by
`base64(msgpack([outcome, ...]))` once each is on disk or has failed.

Invariants:
1. A frame is sent again only if it surely never reached the owner, and only until its deadline.
   What may have been carried out though no answer came is told so (503), and never sent again.
2. A verb is believed as it comes, its project too: it may only travel where none but our own
   processes can be heard, in the private folder of the embedded bus (see `is_private`).
3. An error raised at the owner is raised at the worker as itself.
4. The answer to a frame fits into one message of the bus, with messages of the usual size at most:
   what was popped, and cannot be handed over, is lost.
"""

import asyncio
import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from transom import errors
from transom.errors import (
    InternalError,
    MessageUndeliverable,
    MethodNotAllowed,
    TransomError,
    Unavailable,
)
from transom.messaging.client import Client
from transom.messaging.proto.feed import Key, Row
from transom.messaging.target import Target
from transom.messaging.transport import Transport
from transom.queue import model
from transom.queue.contract import QUEUES
from transom.queue.model import Place
from transom.queue.store import queues
from transom.queue.store.verbs import AnyVerb, Once, Pop, Take, Writer, WriteVerb
from transom.runtime.db.transaction import Transaction

log = logging.getLogger(__name__)
T = TypeVar("T")

TOPIC = "queue.writes"
TARGET = Target(namespace="queue.writes", version="1.0")
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
PRIVATE_DRIVERS = frozenset({"zmq"})
"""The embedded bus: sockets in a folder that nobody else may enter."""


async def read_row(tx: Transaction, table: str, key: Key) -> Row | None:
    """The row as it is now; None if there is none any more."""
    if table != QUEUES.name:
        raise LookupError(f"the queue has no table {table!r}")
    project_id, name = key
    found = await queues.row_of(tx, Place(project_id, name))
    if found is None:
        return None
    metadata, created_ms = found
    return {
        "project_id": project_id,
        "name": name,
        "metadata": msgspec.json.decode(metadata),
        "created": created_ms,
    }


def is_private(transport: Transport) -> bool:
    """Whether nobody but our own processes can be heard on this bus."""
    return transport.url.driver in PRIVATE_DRIVERS


class Failed(msgspec.Struct, frozen=True, tag="failed", array_like=True):
    """What a verb raised."""

    kind: str
    text: str
    detail: str
    retry_after_s: int


class Done(msgspec.Struct, frozen=True, tag="done", array_like=True):
    """What a verb answered, by the type that its class declares."""

    value: msgspec.Raw


_encode = msgspec.msgpack.Encoder().encode
_decode_verbs = msgspec.msgpack.Decoder(list[AnyVerb]).decode
_decode_outcomes = msgspec.msgpack.Decoder(list[Failed | Done]).decode
_results: Mapping[type[Any], Callable[[msgspec.Raw], Any]] = {
    kind: msgspec.msgpack.Decoder(get_type_hints(kind.run)["return"]).decode
    for kind in get_args(AnyVerb)
}
_KINDS: Mapping[str, type[TransomError]] = {
    kind.__name__: kind
    for module in (errors, model)
    for kind in vars(module).values()
    if isinstance(kind, type)
    and issubclass(kind, errors.CallerError | errors.InternalError | Unavailable)
    and not issubclass(kind, MethodNotAllowed)  # it has more to say, and no verb says it
}


class Owner:
    """The endpoint of the process that may write. `writer`: its own."""

    target = TARGET

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def write(self, context: Mapping[str, Any], frame: str) -> str:
        """Carries out every verb of the frame, each by itself."""
        verbs = _decode_verbs(base64.b64decode(frame))
        outcomes = await asyncio.gather(*map(self._outcome, verbs))
        return base64.b64encode(_encode(outcomes)).decode()

    async def problem(self, context: Mapping[str, Any]) -> str:
        """What keeps it from writing; "" if nothing."""
        return self._writer.problem

    async def _outcome(self, verb: AnyVerb) -> Done | Failed:
        try:
            value: Any = await self._writer.write(verb)
            return Done(msgspec.Raw(_encode(value)))
        except TransomError as error:
            return _failed(error)
        except Exception as error:  # Safety: told to who asked, as an error of ours
            log.exception("verb failed", extra={"verb": type(verb).__name__})
            return _failed(InternalError(detail=repr(error)))


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

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        target = TARGET.to(topic=TOPIC)
        self._client = Client(transport, target, timeout_s=WRITE_S)
        self._turn: list[_Job] = []
        self._under_way: dict[asyncio.Task[None], Sequence[_Job]] = {}
        self._waiting = 0
        self._giving_up = False
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
        """The process drains: an owner that is away is waited for no longer."""
        if not self._giving_up:
            self._giving_up = True
            self._loop.call_later(GIVE_UP_S, self._fail_under_way)

    async def write(self, verb: WriteVerb[T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise Unavailable("Too many writes wait for the process that writes; try again.")
        future: asyncio.Future[T] = self._loop.create_future()
        self._turn.append(_Job(verb, _encode(verb), future))
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
            messages += _messages(job.verb)
            over = size_bytes > FRAME_BYTES or messages > FRAME_MESSAGES
            if frame and (over or len(frame) == FRAME_VERBS):
                self._begin(frame)
                frame, size_bytes, messages = [], len(job.encoded), _messages(job.verb)
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
            outcomes = _decode_outcomes(base64.b64decode(answer))
            for job, outcome in zip(jobs, outcomes, strict=True):
                _settle(job, outcome)
        except Unavailable as error:
            self._fail(jobs, error.text, error.detail)
        except Exception as error:  # noqa: BLE001  Safety: the frame's callers are told
            self._problem = "the process that writes queue.db does not answer"
            self._fail(
                jobs,
                "The process that writes did not answer; the write may or may not have been kept.",
                repr(error),
            )

    async def _answer(self, encoded: Sequence[msgspec.Raw]) -> str:
        """Raises: Unavailable if the frame surely never reached the owner, else what happened."""
        frame = base64.b64encode(_encode(encoded)).decode()
        client, deadline_s = self._client, self._loop.time() + WRITE_S
        while True:
            try:
                answer: str = await client.call({}, "write", frame=frame)
                self._problem = ""
                return answer
            except MessageUndeliverable as error:
                self._problem = "the process that writes queue.db is away"
                left_s = deadline_s - self._loop.time() - PAUSE_S
                if left_s <= 0 or self._giving_up:
                    raise Unavailable(
                        "The process that writes is away; nothing was written, try again.",
                        detail=error.detail,
                    ) from error
            await asyncio.sleep(PAUSE_S)
            client = self._client.to(timeout_s=left_s)

    def _fail_under_way(self) -> None:
        for task, jobs in list(self._under_way.items()):
            text = "The server is stopping; the write may or may not have been kept."
            self._fail(jobs, text, "the owner did not answer")
            task.cancel()

    def _fail(self, jobs: Sequence[_Job], text: str, detail: str) -> None:
        log.warning("writes not answered", extra={"writes": len(jobs), "detail": detail})
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(Unavailable(text, detail=detail))

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EACH_S)
            await self._look()

    async def _look(self) -> None:
        try:
            self._problem = await self._client.to(timeout_s=LOOK_S).call({}, "problem")
        except TransomError as error:
            self._problem = "the process that writes queue.db is away"
            log.info("owner of the queue's file is away", extra={"detail": str(error)})


def _messages(verb: Any) -> int:
    """How many messages come with its answer, at most."""
    inner = verb.verb if isinstance(verb, Once) else verb
    return inner.limit if isinstance(inner, Pop | Take) else 0


def _failed(error: TransomError) -> Failed:
    known = (cls.__name__ for cls in type(error).__mro__ if _KINDS.get(cls.__name__) is cls)
    kind = next(known, InternalError.__name__)
    return Failed(kind, error.text, error.detail, getattr(error, "retry_after_s", 0))


def _settle(job: _Job, outcome: Done | Failed) -> None:
    if job.future.done():
        return
    if isinstance(outcome, Done):
        job.future.set_result(_results[type(job.verb)](outcome.value))
        return
    kind = _KINDS.get(outcome.kind, InternalError)
    if issubclass(kind, Unavailable):
        retry_after_s = max(1, outcome.retry_after_s)
        error: TransomError = kind(outcome.text, retry_after_s=retry_after_s, detail=outcome.detail)
    else:
        error = kind(outcome.text, detail=outcome.detail)
    job.future.set_exception(error)
