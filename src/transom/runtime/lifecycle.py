# SPDX-License-Identifier: Apache-2.0
"""Start in order, stop in the reverse, and own every task in between.

Invariants:
1. What has started is stopped, in the reverse order, also when a later start fails.
2. A stop that takes longer than its grace is cancelled, logged, and the next one goes on.
3. A task given to `spawn` never dies in silence: a failure is logged and ends the lifecycle's
   `wait`, so the process stops and its supervisor starts a new one.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Protocol, Self

log = logging.getLogger(__name__)
STOP_GRACE_S = 12.0
"""Longer than the doors' longest drain, which else would be cut off before it lets go of its
connections; shorter than what a supervisor grants a role."""


class Service(Protocol):
    """What a lifecycle starts and stops. Constructors do no work; `start` does."""

    async def start(self) -> None:
        """Returns when ready."""

    async def stop(self) -> None:
        """Stops taking work, finishes what runs, lets go. Idempotent."""


class Entered(ABC):
    """A service that `async with` starts and stops."""

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def stop(self) -> None: ...

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


class Lifecycle:
    """Owner of a process's services and tasks; an async context manager."""

    def __init__(self, stop_grace_s: float = STOP_GRACE_S) -> None:
        self._stop_grace_s = stop_grace_s
        self._started: list[tuple[str, Service]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping: asyncio.Event = asyncio.Event()
        self._failure: BaseException | None = None

    async def start(self, name: str, service: Service) -> None:
        await service.start()
        self._started.append((name, service))

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs `work` until it ends or the lifecycle stops (it is then cancelled, first of all)."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def request_stop(self) -> None:
        self._stopping.set()

    async def wait(self) -> None:
        """Until a stop is requested; raises what made a task fail."""
        await self._stopping.wait()
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._stop_grace_s)
        while self._started:
            name, service = self._started.pop()
            try:
                async with asyncio.timeout(self._stop_grace_s):
                    await service.stop()
            except TimeoutError:
                log.error("service did not stop in time", extra={"service": name})
            except Exception:  # Safety: one service's failure keeps no other up
                log.exception("service failed to stop", extra={"service": name})

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        failure = task.exception()
        if failure is not None:
            log.error("task failed", exc_info=failure, extra={"task": task.get_name()})
            self._failure = self._failure or failure
            self._stopping.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
