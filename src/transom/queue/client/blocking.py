# SPDX-License-Identifier: Apache-2.0
"""The client for callers that are not on asyncio.

    with blocking.connect() as queues:
        jobs = queues.queue("jobs")
        jobs.post({"photo": 1}, key="photo-1")
        jobs.work(handle)  # `def handle(message)`, called in threads of the worker's own

Each class stands for the one of the same name in `transom.queue.client`, with the same verbs, the
same arguments and the same errors. All may be used from many threads at once.

Invariants:
1. Everything runs on one loop in one thread of the process (`loop_thread`).
2. Ctrl-C in a verb leaves nothing running behind it; in `work` it ends after what is in hand.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial, wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from transom.messaging import loop_thread
from transom.queue.client import queues as on_loop
from transom.queue.client.errors import Ended
from transom.queue.client.shapes import Message
from transom.queue.client.work import Handler, Terms, Work

P = ParamSpec("P")
T = TypeVar("T")

LOOK_S = 0.5


def connect(cloud: str | None = None, **options: Any) -> "Queues":
    """See `transom.queue.client.connect`. Raises: ConfigError."""
    return Queues(on_loop.connect(cloud, **options))


class _Loop:
    """The thread that a client runs in while it is entered."""

    def __init__(self) -> None:
        self.thread: loop_thread.LoopThread | None = None

    def run(self, begin: Callable[[], Awaitable[T]]) -> T:
        """Raises: QueueError; its waits end by themselves."""
        if self.thread is None:
            raise Ended("the client is not open; enter it with `with` before using it")
        try:
            return self.thread.run(begin, None)
        except loop_thread.Ended as error:
            raise Ended(
                "the client has ended, or was opened before this process forked; connect again"
            ) from error


class _Wraps:
    """Stands for `inner`, which is on the loop."""

    def __init__(self, loop: _Loop, inner: Any) -> None:
        self.loop = loop
        self.inner = inner


def _blocks(
    verb: Callable[Concatenate[Any, P], Awaitable[T]],
) -> Callable[Concatenate[_Wraps, P], T]:
    @wraps(verb)
    def ask(this: _Wraps, /, *args: P.args, **given: P.kwargs) -> T:
        return this.loop.run(partial(verb, this.inner, *args, **given))

    return ask


def _iterates(
    verb: Callable[Concatenate[Any, P], AsyncIterator[T]],
) -> Callable[Concatenate[_Wraps, P], Iterator[T]]:
    @wraps(verb)
    def ask(this: _Wraps, /, *args: P.args, **given: P.kwargs) -> Iterator[T]:
        items = verb(this.inner, *args, **given)
        while True:
            found = this.loop.run(partial(_next, items))
            if not found:
                return
            yield found[0]

    return ask


async def _next(items: AsyncIterator[T]) -> tuple[()] | tuple[T]:
    try:
        return (await anext(items),)
    except StopAsyncIteration:
        return ()


class Queues(_Wraps):
    """The queues of a project. Entered by `with`, or started and stopped."""

    def __init__(self, inner: on_loop.Queues) -> None:
        super().__init__(_Loop(), inner)

    list = _iterates(on_loop.Queues.list)

    def queue(self, name: str) -> "Queue":
        """Nothing is asked: whether it is there, its verbs find out."""
        return Queue(self.loop, self.inner.queue(name))

    @wraps(on_loop.Queues.claim)
    def claim(self, names: Sequence[str], *args: Any, **given: Any) -> "Claim":
        return Claim(self.loop, self.inner.claim(names, *args, **given))

    def work(
        self, names: Sequence[str], handler: Handler, *, stop: threading.Event | None = None,
        **terms: Any,
    ) -> int:  # fmt: skip
        """See `Queue.work`: messages of several queues, the first one's first."""
        work = Work(self.inner.sender, names, handler, Terms(**terms))
        return _worked(self.loop, work, stop)

    def start(self) -> None:
        """Raises: ConfigError."""
        if self.loop.thread is None:
            self.loop.thread = loop_thread.acquire()
            try:
                self.loop.run(self.inner.start)
            except BaseException:  # Safety: lets go of what it has, and goes on
                self._let_go()
                raise

    def stop(self) -> None:
        """Idempotent."""
        if self.loop.thread is None:
            return
        try:
            self.loop.run(self.inner.stop)
        except Ended:
            pass  # of another process, or ended with its loop
        finally:
            self._let_go()

    def _let_go(self) -> None:
        thread, self.loop.thread = self.loop.thread, None
        if thread is not None:
            loop_thread.release(thread)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class Queue(_Wraps):
    """One queue. It comes to be with its first message, or by `create`."""

    inner: on_loop.Queue

    create = _blocks(on_loop.Queue.create)
    exists = _blocks(on_loop.Queue.exists)
    metadata = _blocks(on_loop.Queue.metadata)
    update = _blocks(on_loop.Queue.update)
    remove = _blocks(on_loop.Queue.remove)
    purge = _blocks(on_loop.Queue.purge)
    stats = _blocks(on_loop.Queue.stats)
    redrive = _blocks(on_loop.Queue.redrive)
    post = _blocks(on_loop.Queue.post)
    post_many = _blocks(on_loop.Queue.post_many)
    get = _blocks(on_loop.Queue.get)
    delete = _blocks(on_loop.Queue.delete)
    delete_many = _blocks(on_loop.Queue.delete_many)
    pop = _blocks(on_loop.Queue.pop)
    messages = _iterates(on_loop.Queue.messages)
    follow = _iterates(on_loop.Queue.follow)
    subscribe = _blocks(on_loop.Queue.subscribe)
    resubscribe = _blocks(on_loop.Queue.resubscribe)
    unsubscribe = _blocks(on_loop.Queue.unsubscribe)
    subscriptions = _iterates(on_loop.Queue.subscriptions)

    @property
    def name(self) -> str:
        return self.inner.name

    @wraps(on_loop.Queue.claim)
    def claim(self, *args: Any, **given: Any) -> "Claim":
        return Claim(self.loop, self.inner.claim(*args, **given))

    def work(self, handler: Handler, *, stop: threading.Event | None = None, **terms: Any) -> int:
        """Hands message after message to `handler`, until `stop` or Ctrl-C; see `work.Terms`.

        The handler is called in threads of the worker's own, `at_once` of them. Each message is
        deleted when it returns, and held as long as it runs; if it raises, the message comes again
        after a growing delay. Gives how many were handled.
        """
        work = Work(self.inner.sender, [self.name], handler, Terms(**terms))
        return _worked(self.loop, work, stop)


def _worked(loop: _Loop, work: Work, stop: threading.Event | None) -> int:
    async def begin() -> asyncio.Task[int]:
        return asyncio.create_task(work.run())

    async def ended(task: asyncio.Task[int], within_s: float | None) -> bool:
        return bool((await asyncio.wait({task}, timeout=within_s))[0])

    async def end() -> None:
        work.stop()

    async def result(task: asyncio.Task[int]) -> int:
        return await task

    running = loop.run(begin)
    try:
        while not loop.run(partial(ended, running, LOOK_S)):
            if stop is not None and stop.is_set():
                break
    finally:
        loop.run(end)
        loop.run(partial(ended, running, None))
    return loop.run(partial(result, running))


class Claim(_Wraps):
    """Messages that are held; `with` takes them, and gives back what is left of them."""

    inner: on_loop.Claim

    delete = _blocks(on_loop.Claim.delete)
    touch = _blocks(on_loop.Claim.touch)
    release = _blocks(on_loop.Claim.release)
    reject = _blocks(on_loop.Claim.reject)

    @property
    def id(self) -> str:
        """Empty if there was nothing to take."""
        return self.inner.id

    @property
    def messages(self) -> "list[Message]":
        """Those that are still to be dealt with."""
        return self.inner.messages

    def __enter__(self) -> Self:
        self.loop.run(self.inner.__aenter__)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.loop.run(partial(self.inner.__aexit__, kind, value, traceback))
