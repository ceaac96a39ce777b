"""A supervisor with its control socket, in this process or in one of its own that may be killed.

Run as `python -m support.family DATA_FOLDER ROLES_JSON` (with tests/ on the path) it is a small
`transom up`: it prints `{"ready": bool}` when its roles are settled, and drains at SIGTERM.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from transom.node.control import ControlServer
from transom.node.folder import DataFolder, RuntimeFolder, State
from transom.node.logic.life import Limits
from transom.node.processes import RoleSpec
from transom.node.supervisor import Supervisor

QUICK = Limits(
    beat_s=0.05,
    ready_beats=200,
    silent_beats=4,
    kill_beats=12,
    drain_beats=20,
    early_deaths_most=4,
    delay_first_s=0.02,
)
"""Ready within 10 s, silent after 0.2 s, killed after 0.6 s, drained within 1 s."""


def role(name: str, entry: str, order: int = 1, count: int = 1, **options: Any) -> RoleSpec:
    return RoleSpec(name, f"support.roles:{entry}", order, json.dumps(options).encode(), count)


def supervisor(
    *specs: RoleSpec,
    limits: Limits = QUICK,
    preload: tuple[str, ...] = ("support.roles",),
    **arguments: Any,
) -> Supervisor:
    return Supervisor(
        specs, preload=preload, random=random.Random(1).random, limits=limits, **arguments
    )


async def until(true: Callable[[], bool], within_s: float = 20.0) -> float:
    """Seconds until it was true."""
    begun_s = time.monotonic()
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.002)
    return time.monotonic() - begun_s


def alive(pid: int) -> bool:
    """Whether the process lives (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def run_until_sigterm(folder: DataFolder, specs: list[RoleSpec]) -> None:
    runtime = RuntimeFolder(folder.path)
    runtime.make()
    family = supervisor(*specs, keep=[folder.lock_descriptor])
    stopping = asyncio.Event()

    async def stop() -> None:
        stopping.set()
        await family.stop()

    control = ControlServer(runtime.control_socket, family.status, stop)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await control.start()
    folder.write_state(State(os.getpid(), 1, "http://127.0.0.1:1", str(runtime.path)))
    await family.start()
    print(json.dumps({"ready": family.ready, **family.status()}), flush=True)
    await stopping.wait()
    await family.stop()
    await control.stop()
    runtime.remove()
    folder.clear_state()


def main(run: Callable[..., Awaitable[None]] = run_until_sigterm) -> None:
    folder = DataFolder(Path(sys.argv[1]))
    folder.take()
    specs = [role(**fields) for fields in json.loads(sys.argv[2])]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(folder, specs))
    folder.release()


if __name__ == "__main__":
    main()
