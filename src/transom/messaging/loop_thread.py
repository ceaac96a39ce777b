# SPDX-License-Identifier: Apache-2.0
"""An asyncio loop in a thread of its own, for callers that block.

Invariants:
1. A process has at most one such thread: it begins with the first user and ends with the last.
2. Whoever waits is told: by the result, by its timeout, or by `Ended` when the thread is no more.
3. A child process never touches what its parent's loop watches: after a fork the parent's thread
   is gone for the child, its descriptors there lead nowhere, and a new thread is begun on demand.

What is posted in one turn of the loop costs one wake-up for all.
"""

import asyncio
import logging
import os
import selectors
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from transom.errors import MessageDeliveryFailure, MessagingTimeout

log = logging.getLogger(__name__)
T = TypeVar("T")

END_S = 5.0
LOOK_S = 5.0  # how often who waits without an end looks whether the thread lives
CANCEL_S = 1.0


class Ended(MessageDeliveryFailure):
    """The thread that carries the bus has ended, or belongs to the process that forked us."""


class Slot(Generic[T]):
    """Where one thread waits, once, for what another one sets."""

    __slots__ = ("_lock", "_told", "error", "value")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._told = False
        self.value: T | None = None
        self.error: BaseException | None = None

    def set(self, value: T | None = None, error: BaseException | None = None) -> None:
        """Only the first counts."""
        if not self._told:
            self._told = True
            self.value, self.error = value, error
            self._lock.release()

    def wait(self, timeout_s: float | None) -> bool:
        """False if nothing was set in time; None waits without an end."""
        return self._lock.acquire(timeout=-1 if timeout_s is None else max(timeout_s, 0.0))


class LoopThread:
    """`acquire` gives the process's own one; each user gives it back by `release`."""

    def __init__(self) -> None:
        self._selector = self._new_selector()
        self.loop = self._new_loop(self._selector)
        self._posted: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._waking = False
        self._tasks: set[asyncio.Future[Any]] = set()
        self._why_ended = ""
        self.users = 0

    def _new_selector(self) -> selectors.BaseSelector:
        return selectors.DefaultSelector()

    def _new_loop(self, selector: selectors.BaseSelector) -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(selector)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._main, name="transom-bus", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Stopped, or of the process that forked us."""
        return bool(self._why_ended)

    def new_slot(self) -> Slot[Any]:
        """Where a caller of `post` waits."""
        return Slot()

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Runs it on the loop, in the order of posting. From any thread. Raises: Ended."""
        if self._why_ended:
            raise Ended(self._why_ended)
        self._posted.append((callback, args))
        # First appended, then looked: whoever clears the mark takes what was appended before.
        if not self._waking:
            self._waking = True
            try:
                self.loop.call_soon_threadsafe(self._carry_out)
            except RuntimeError as error:
                raise Ended("the bus was stopped") from error

    def run(self, begin: Callable[[], Awaitable[T]], timeout_s: float | None) -> T:
        """What `begin()`, awaited on the loop, gives or raises.

        Raises: MessagingTimeout after `timeout_s` (None: no end), and it is cancelled; Ended.
        """
        if self._is_ours():
            raise RuntimeError("a blocking call on the bus's own thread would wait for itself")
        slot: Slot[T] = self.new_slot()
        job = _Job(self, begin, slot)
        try:
            self.post(job.begin)
            if not self.wait(slot, timeout_s):
                self.post(job.cancel)
                if not slot.wait(CANCEL_S):
                    raise MessagingTimeout("what was asked of the bus took too long")
        except BaseException:  # Safety: an interrupted caller leaves nothing running, and goes on
            if not self._why_ended:
                self._waking = False  # it may have been interrupted before it woke the loop
                self.post(job.cancel)
            raise
        if isinstance(slot.error, asyncio.CancelledError):
            raise (Ended(self._why_ended) if self._why_ended else MessagingTimeout())
        if slot.error is not None:
            raise slot.error
        return slot.value  # type: ignore[return-value]

    def wait(self, slot: Slot[Any], timeout_s: float | None) -> bool:
        """Whether the slot was set in time; None: no end but the thread's. Raises: Ended."""
        if timeout_s is not None and timeout_s < threading.TIMEOUT_MAX:
            return slot.wait(timeout_s)
        while not slot.wait(LOOK_S):
            self._looked()
            if self._why_ended and not slot.wait(0):
                raise Ended(self._why_ended)
        return True

    def _looked(self) -> None:
        """Every now and then while somebody waits without an end."""

    def _is_ours(self) -> bool:
        return threading.get_ident() == self._thread.ident

    def own(self, task: "asyncio.Future[Any]") -> None:
        """Keeps it until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Ends what runs on it, and the thread. Idempotent."""
        if not self._why_ended:
            self.post(self.loop.stop)
            self._why_ended = "the bus was stopped"
        self._thread.join(END_S)

    def orphan(self) -> None:
        """In a child after a fork: lets go of the parent's descriptors without a word to anybody.

        They stay valid numbers that lead nowhere, so that nothing closed later hits another's; the
        poll set above all, which parent and child would share.
        """
        self._why_ended = "the bus was connected before this process forked; connect in the child"
        watched = [key.fd for key in self._selector.get_map().values()]
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in [*watched, *_number_of(self._selector)]:
            os.dup2(nowhere, number)
        os.close(nowhere)

    def _carry_out(self) -> None:
        self._waking = False
        posted = self._posted
        while posted:
            callback, args = posted.popleft()
            try:
                callback(*args)
            except Exception:  # Safety: one caller's fault must not keep the others waiting
                log.exception("what was posted to the bus failed")

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self._why_ended = self._why_ended or "the bus was stopped"
            self._carry_out()
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            if left:
                self.loop.run_until_complete(asyncio.wait(left, timeout=CANCEL_S))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()


class _Job:
    """One `run`: its task, once it is there."""

    __slots__ = ("_begin", "_slot", "_task", "_thread")

    def __init__(
        self, thread: LoopThread, begin: Callable[[], Awaitable[Any]], slot: Slot[Any]
    ) -> None:
        self._thread = thread
        self._begin = begin
        self._slot = slot
        self._task: asyncio.Future[Any] | None = None

    def begin(self) -> None:
        self._task = asyncio.ensure_future(self._begin(), loop=self._thread.loop)
        self._thread.own(self._task)
        self._task.add_done_callback(self._done)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _done(self, task: "asyncio.Future[Any]") -> None:
        if task.cancelled():
            self._slot.set(error=asyncio.CancelledError())
        else:
            self._slot.set(None if task.exception() else task.result(), task.exception())


def _number_of(selector: selectors.BaseSelector) -> list[int]:
    fileno = getattr(selector, "fileno", None)
    return [] if fileno is None else [fileno()]


_guard = threading.Lock()
_current: LoopThread | None = None
_orphans: list[LoopThread] = []


def acquire(make: Callable[[], LoopThread] = LoopThread) -> LoopThread:
    """The process's thread, running; `make`: how it is made if there is none yet."""
    global _current
    with _guard:
        if _current is None:
            _current = make()
            _current.start()
        _current.users += 1
        return _current


def release(thread: LoopThread) -> None:
    """Its user has done with it; the last one ends it."""
    global _current
    with _guard:
        thread.users -= 1
        if thread.users or thread is not _current:
            return
        _current = None
    thread.stop()


def _after_fork() -> None:
    global _guard, _current
    _guard = threading.Lock()  # another thread of the parent may have held it
    if _current is not None:
        # Kept: to finalise what is the parent's would close what the parent uses.
        _orphans.append(_current)
        _current.orphan()
        _current = None


os.register_at_fork(after_in_child=_after_fork)
