# SPDX-License-Identifier: Apache-2.0
"""The loop's thread under eventlet: a real thread, for which green threads wait green.

A service that eventlet has patched has no real threads, locks and sockets under their names. Here:

1. The loop runs in a thread of the operating system on unpatched sockets and selectors: asyncio's
   modules get the originals back, as eventlet itself does for its asyncio hub.
2. A green thread that waits leaves the others running: its slot is an event of the kernel, for
   which the hub of its thread waits.
3. What that thread logs is written by green threads when they next wait here, since the locks of
   logging are green and must not be fought over by two real threads.
"""

import asyncio
import importlib.util
import logging
import os
import selectors
import sys
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

from transom.messaging.loop_thread import LoopThread, Slot

UNPATCHED = ("_thread", "queue", "select", "selectors", "socket", "threading", "time")
LOGGERS = ("transom", "asyncio")
RECORDS_MAX = 1000


def maker() -> Callable[[], LoopThread]:
    """How this process makes its thread: as it is, or for eventlet if that has patched threads."""
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.is_monkey_patched("thread"):
        return GreenLoopThread
    return LoopThread


class _Late(Exception):
    """Nothing was set in time."""


class GreenSlot(Slot[Any]):
    """See `Slot`. Its number is closed with the last who knows it, never under a late `set`."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._told = False
        self.value = None
        self.error = None
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        os.close(self._event)

    def set(self, value: Any = None, error: BaseException | None = None) -> None:
        if not self._told:
            self.value, self.error = value, error
            self._told = True
            os.eventfd_write(self._event, 1)

    def wait(self, timeout_s: float | None) -> bool:
        from eventlet import hubs

        if self._told:
            return True
        try:
            timeout_s = None if timeout_s is None else max(timeout_s, 0.0)
            hubs.trampoline(self._event, read=True, timeout=timeout_s, timeout_exc=_Late)
        except _Late:
            pass
        return self._told


class GreenLoopThread(LoopThread):
    """See `LoopThread`."""

    def _new_selector(self) -> selectors.BaseSelector:
        _give_back_to_asyncio()
        made: selectors.BaseSelector = _original("selectors").DefaultSelector()
        return made

    def _new_loop(self, selector: selectors.BaseSelector) -> asyncio.AbstractEventLoop:
        return _Loop(selector)

    def start(self) -> None:
        self._told = _Told(_original("threading").get_ident)
        threads = _original("threading")
        self._thread = threads.Thread(target=self._main, name="transom-bus", daemon=True)
        self._thread.start()
        self._told.begin(self._thread.ident)

    def new_slot(self) -> Slot[Any]:
        return GreenSlot()

    def wait(self, slot: Slot[Any], timeout_s: float | None) -> bool:
        try:
            return super().wait(slot, timeout_s)
        finally:
            self._told.write()

    def stop(self) -> None:
        super().stop()
        self._told.end()

    def orphan(self) -> None:
        super().orphan()
        self._told.end()

    def _looked(self) -> None:
        self._told.write()

    def _is_ours(self) -> bool:
        return bool(_original("threading").get_ident() == self._thread.ident)


class _Loop(asyncio.SelectorEventLoop):
    """Whose blocking work (names that are looked up, contexts that end) runs in real threads."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, function: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        done: asyncio.Future[Any] = self.create_future()

        def tell(value: Any, error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(value)
            else:
                done.set_exception(error)

        def work() -> None:
            try:
                value, error = function(*args), None
            except Exception as failed:  # noqa: BLE001 Safety: raised where the work was asked for
                value, error = None, failed
            if not self.is_closed():
                self.call_soon_threadsafe(tell, value, error)

        _original("threading").Thread(target=work, daemon=True).start()
        return done


class _Told(logging.Handler):
    """Keeps what one real thread logs until a green one writes it."""

    def __init__(self, get_ident: Callable[[], int]) -> None:
        super().__init__()
        self._get_ident = get_ident
        self._ident: int | None = None
        self._records: deque[logging.LogRecord] = deque(maxlen=RECORDS_MAX)

    def createLock(self) -> None:  # noqa: N802
        """None: a deque needs none, and a green one is what is to be avoided."""
        self.lock = None

    def begin(self, ident: int | None) -> None:
        self._ident = ident
        for name in LOGGERS:
            logger = logging.getLogger(name)
            logger.addHandler(self)
            logger.propagate = False

    def end(self) -> None:
        for name in LOGGERS:
            logger = logging.getLogger(name)
            logger.removeHandler(self)
            logger.propagate = True
        self._ident = None
        self.write()

    def emit(self, record: logging.LogRecord) -> None:
        if self._get_ident() == self._ident:
            self._records.append(record)
        else:
            logging.getLogger().callHandlers(record)

    def write(self) -> None:
        while self._records:
            logging.getLogger().callHandlers(self._records.popleft())


def _original(name: str) -> Any:
    """The module as it is without patches."""
    from eventlet import patcher

    return _selectors() if name == "selectors" else patcher.original(name)


@cache
def _selectors() -> Any:
    # A copy that is made while it sees the unpatched `select`: it chooses what it is made of then.
    spec = importlib.util.find_spec("selectors")
    if spec is None or spec.loader is None:
        raise ImportError("no selectors")
    made = importlib.util.module_from_spec(spec)
    patched = sys.modules["select"]
    sys.modules["select"] = _original("select")
    try:
        spec.loader.exec_module(made)
    finally:
        sys.modules["select"] = patched
    return made


def _give_back_to_asyncio() -> None:
    loaded = [
        module
        for name, module in list(sys.modules.items())
        if name == "asyncio" or name.startswith("asyncio.")
    ]
    for module in loaded:
        for name in UNPATCHED:
            if name in vars(module) and getattr(module, name) is sys.modules.get(name):
                setattr(module, name, _original(name))
