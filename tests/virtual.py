"""Virtual time: an asyncio loop whose clock jumps to the next timer, in an order drawn by a seed.

    def test_it() -> None:
        async def main() -> int: ...
        assert run_virtual(main, seed=1) == 3

Invariants:
1. Time moves only when nothing is ready; then it jumps to the next timer. An hour costs nothing.
2. The same seed gives the same run, if the code under test takes clock and randomness as
   arguments (`VirtualClock`, `seeded_randomness`).
3. Only what real loops leave open is drawn: in which order tasks that are ready take their steps,
   and whether a step waits for one more turn. Plain callbacks keep their order, as asyncio says.
4. Nothing ready and no timer: `Deadlock`, naming each task and the line at which it waits.
5. No sockets, no threads: both raise.

Subclasses a private part of asyncio (`BaseEventLoop._run_once`, `_ready`, `_selector`); pinned by
`tests/sim/test_virtual.py`.
"""

import asyncio
import random
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from transom.runtime.ids import Randomness

T = TypeVar("T")
START_S = 1_000.0
START_MS = 1_767_225_600_000  # 2026-01-01 UTC


class Deadlock(RuntimeError):
    """Every task waits, and no timer is set that could wake one."""


class Overtime(RuntimeError):
    """The run took more virtual time than it may."""


class _Jump:
    """Stands where the loop expects its selector: instead of sleeping, moves the clock."""

    def __init__(self, limit_s: float) -> None:
        self.now_s = START_S
        self._limit_s = START_S + limit_s

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock("nothing is scheduled:\n" + _waiting())
        if timeout > 0:
            self.now_s += timeout
            if self.now_s > self._limit_s:
                raise Overtime(f"not done at {self.now_s:.0f} virtual seconds:\n" + _waiting())
        return []

    def close(self) -> None:
        """Holds nothing."""


class VirtualLoop(BaseEventLoop):
    """The loop. `delay_chance`: how likely a ready task's step waits for one more turn."""

    def __init__(self, seed: int, *, limit_s: float = 100_000.0, delay_chance: float = 0.1) -> None:
        super().__init__()
        self._selector = _Jump(limit_s)
        self._clock_resolution = 1e-9
        self._random = random.Random(seed)
        self._delay_chance = delay_chance

    def time(self) -> float:
        return self._selector.now_s

    def _run_once(self) -> None:
        held = self._shuffle() if len(self._ready) > 1 else []
        try:
            super()._run_once()
        finally:
            self._ready.extendleft(reversed(held))

    def _shuffle(self) -> list[asyncio.Handle]:
        """Draws the order of the task steps among what is ready; answers those held back."""
        callbacks: list[asyncio.Handle] = []
        steps: list[asyncio.Handle] = []
        held: list[asyncio.Handle] = []
        chance = self._random.random
        for handle in self._ready:
            if not isinstance(getattr(handle._callback, "__self__", None), asyncio.Task):
                callbacks.append(handle)
            elif chance() < self._delay_chance and len(held) + 1 < len(self._ready):
                held.append(handle)
            else:
                steps.append(handle)
        self._random.shuffle(steps)
        self._ready.clear()
        while steps or callbacks:
            take = steps if chance() * (len(steps) + len(callbacks)) < len(steps) else callbacks
            self._ready.append(take.pop(0))
        return held

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps, so nobody need be woken; only this thread may call."""
        self._check_thread()

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        raise RuntimeError("no threads under virtual time: run it inline")


def run_virtual(
    main: Callable[[], Coroutine[Any, Any, T]], seed: int, *, limit_s: float = 100_000.0
) -> T:
    """Runs `main()` on a loop of its own and answers its result.

    To be called where no loop runs. What fails carries the seed as a note.
    Raises: Deadlock, Overtime (after `limit_s` virtual seconds).
    """
    try:
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed, limit_s=limit_s)) as runner:
            return runner.run(main())
    except BaseException as error:
        error.add_note(f"virtual time, seed {seed}")
        raise


class VirtualClock:
    """A `transom.runtime.clock.Clock` on the running loop; `shift_ms` moves its wall clock."""

    def __init__(self) -> None:
        self.shift_ms = 0

    def now_ms(self) -> int:
        passed_s = asyncio.get_running_loop().time() - START_S
        return START_MS + int(passed_s * 1000) + self.shift_ms

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()


def seeded_randomness(seed: int) -> Randomness:
    """Bytes that are the same for the same seed."""
    return random.Random(seed).randbytes


def _waiting() -> str:
    """Each task of the loop, and the line of its outermost and innermost wait."""
    lines = []
    for task in sorted(asyncio.all_tasks(), key=lambda task: task.get_name()):
        frames = task.get_stack()
        where = " ... ".join(f"{f.f_code.co_qualname}:{f.f_lineno}" for f in frames)
        lines.append(f"  {task.get_name()} at {where or '?'}")
    return "\n".join(lines)
