# SPDX-License-Identifier: Apache-2.0
"""Power cuts in a first `transom up`: started again, it works, and signs in by what the files say.

`python -m support.powerstart ROOT` starts a whole Transom with all its processes, says `ready` when
it does, and stops it.

1. A start that was cut is started again without any help, and `admin` and the service sign in by
   the passwords in their files.
2. Once it was ready, the keys of the tokens and the service's password stay what they were, and the
   password in `clouds.yaml` still signs in.
"""

import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Hashable, Mapping
from pathlib import Path
from typing import TypeAlias

from transom.errors import TransomError
from transom.identity.contract import SERVICE_PROJECT, SERVICE_USER
from transom.node.folder import DataFolder

from support.diskreplay import Disk, Recording, State, lay_out
from support.identity import by_password, cloud, on_project, password_of, service_password
from support.powercut import STATES, Table
from support.powerload import queue_at

Start: TypeAlias = Callable[[DataFolder, Path, State], Awaitable[None]]


def replay(
    recording: Recording,
    seed: int,
    *,
    drawn_every: int,
    deaf_folders: bool = False,
    faults_most: int = 10,
) -> Table:
    """Cuts the power at every prefix of a recorded start and stop. Ends at `faults_most`."""
    disk = Disk(recording.root, deaf_folders=deaf_folders)
    return asyncio.run(_replay(recording, disk, random.Random(seed), drawn_every, faults_most))


async def _replay(
    recording: Recording, disk: Disk, draw: random.Random, drawn_every: int, faults_most: int
) -> Table:
    table = Table()
    known: set[Hashable] = set()
    kept: State = {}
    for number, write in enumerate(recording.writes):
        if not disk.take(write):
            continue
        if disk.is_of(write, "told") and write.what == "W":
            kept = _secrets(disk.kept())
            table.steps += 1
        table.prefixes += 1
        for kind, state_of in STATES.items():
            if kind == "drawn" and number % drawn_every:
                continue
            state = {p: data for p, data in state_of(disk, draw).items() if "/logs/" not in p}
            for without, start in _STARTS.items():
                part = {path: data for path, data in state.items() if without not in path}
                key = (without, bool(kept), *((path, hash(data)) for path, data in part.items()))
                if key in known:
                    continue
                known.add(key)
                table.states[kind] += 1
                fault = await _restart(part, kept, recording.root.parent, start)
                table.faults += [f"prefix {number}, {kind}: {fault}"] if fault else []
        if len(table.faults) >= faults_most:
            break
    return table


def _secrets(state: State) -> State:
    return {path: content for path, content in state.items() if content and "/keys/" in path}


async def _restart(state: State, kept: State, folder: Path, start: Start) -> str:
    """What is wrong with a start on this state; "" if nothing."""
    place = Path(tempfile.mkdtemp(prefix="cut-", dir=folder))
    lay_out(state, place)
    data = DataFolder(place / "data")
    try:
        data.take(orphans_wait_s=0.0)
        try:
            await start(data, place, kept)
        finally:
            data.release()
    except (TransomError, AssertionError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(place)
    return ""


async def _start_queue(data: DataFolder, place: Path, kept: State) -> None:
    queue = queue_at(data.path, 1, inline_writer=True)
    await queue.start()
    await queue.stop()


async def _start_identity(data: DataFolder, place: Path, kept: State) -> None:
    async with cloud(data.path) as identity:
        password = password_of(data.path)
        await identity.token(by_password("admin", password, on_project("admin")))
        secret = service_password(data.path)
        await identity.token(by_password(SERVICE_USER, secret, on_project(SERVICE_PROJECT)))
    now = {path: (place / path).read_bytes() for path in kept if (place / path).exists()}
    assert now == kept, f"only {sorted(now)} are what they were"


_STARTS: Mapping[str, Start] = {"identity.": _start_queue, "queue.db": _start_identity}
"""What a start does not look at -> how it starts; so each is tried only where its part changed."""


def main() -> None:
    root = Path(sys.argv[1])
    told = os.open(root / "told", os.O_WRONLY | os.O_CREAT, 0o600)
    command = ["-m", "transom.cli", "up", "--port", "0", "--data-dir", str(root / "data")]
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) as family:
        assert family.stdout is not None
        ready = next((line for line in family.stdout if "is ready" in line), "")
        os.write(told, ready.encode())
        family.terminate()
        family.stdout.read()
    assert ready, "it did not start"
    assert family.returncode == 0


if __name__ == "__main__":
    main()
