# SPDX-License-Identifier: Apache-2.0
"""Says who blocks the event loop: the stack, taken while it is blocked.

A thread wakes a few times a second and looks when the loop last came round. The loop pays one timer
callback each `BEAT_S`; nothing is paid per request.

Invariants:
1. One stall is logged once, while it lasts, and counted.
2. Where the thread itself came late and nothing of the process ran meanwhile, the whole process was
   suspended (SIGSTOP, a machine asleep or overcommitted): that is said, and is no stall.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback

log = logging.getLogger(__name__)

BEAT_S = 0.1
STALL_S = 0.25


class LoopWatchdog:
    """A `lifecycle.Service` that watches the loop which starts it. `stalls`: how many so far."""

    def __init__(self, stall_s: float = STALL_S) -> None:
        self.stalls = 0
        self._stall_s = stall_s
        self._beat_s = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        self._stopping.clear()
        self._beat()
        watched = threading.get_ident()
        self._thread = threading.Thread(
            target=self._watch, args=(watched,), name="loop-watchdog", daemon=True
        )
        self._thread.start()

    async def stop(self) -> None:
        self._stopping.set()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._thread is not None:
            self._thread.join(timeout=1.0)
            self._thread = None

    def _beat(self) -> None:
        self._beat_s = time.monotonic()
        self._handle = asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def _watch(self, watched: int) -> None:
        told_of_s = 0.0
        looked_s, used_s = time.monotonic(), time.process_time()
        while not self._stopping.wait(BEAT_S):
            beat_s = self._beat_s
            before_s, looked_s = looked_s, time.monotonic()
            used_before_s, used_s = used_s, time.process_time()
            gap_s = looked_s - before_s - BEAT_S
            if gap_s > self._stall_s and used_s - used_before_s < gap_s / 2:
                told_of_s = beat_s
                log.info("process was suspended", extra={"for_ms": round(gap_s * 1000)})
                continue
            late_s = looked_s - beat_s - BEAT_S
            if late_s > self._stall_s and beat_s != told_of_s:
                told_of_s = beat_s
                self.stalls += 1
                frame = sys._current_frames().get(watched)
                stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
                fields = {"late_ms": round(late_s * 1000), "stack": stack}
                log.warning("event loop is blocked", extra=fields)
