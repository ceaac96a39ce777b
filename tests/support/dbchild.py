"""Programs that tests of databases run in their own process: `python -m support.dbchild ...`."""

import asyncio
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from transom.cli.parts import STORES
from transom.errors import TransomError
from transom.node.lease import Lease
from transom.runtime.clock import SystemClock
from transom.runtime.db import migrate
from transom.runtime.db.migrate import Migrations

from support.db import names, opened, put
from support.thingfeed import NODE_AND_THINGS, put_pointed, thing_feed


def say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


async def attempt(work: Callable[[], Awaitable[Any]]) -> dict[str, str]:
    try:
        await work()
    except TransomError as error:
        return {"error": type(error).__name__, "text": error.text}
    return {"error": ""}


async def write_some(folder: Path, count: int) -> None:
    """Writes one after another; says what came of each, and what can be read at the end."""
    outcomes = {}
    async with opened(folder) as database:
        for at in range(count):
            tried = await attempt(partial(database.write, put(f"n{at:03d}")))
            outcomes[f"n{at:03d}"] = tried["error"]
        say(outcomes=outcomes, read=await database.read(names), poisoned=bool(database.poisoned))


async def fill(folder: Path) -> None:
    """Writes until the disk is full, reads, frees space, writes again."""
    filler = folder / "filler"
    filler.write_bytes(bytes(300_000))
    written = 0
    async with opened(folder) as database:
        while written < 10_000:
            verb = put(f"{written:05d}" + "x" * 20_000)
            tried = await attempt(partial(database.write, verb))
            if tried["error"]:
                break
            written += 1
        full = [await attempt(lambda: database.write(put("y" * 20_000))) for _ in range(3)]
        read = len(await database.read(names))
        poisoned = bool(database.poisoned)
        filler.unlink()
        after = await attempt(lambda: database.write(put("after")))
    async with opened(folder) as database:
        kept = len(await database.read(names))
    say(
        written=written, tried=tried, full=full, read=read, poisoned=poisoned, after=after,
        kept=kept,
    )  # fmt: skip


async def open_it(folder: Path) -> None:
    async def work() -> None:
        async with opened(folder):
            pass

    say(**await attempt(work))


async def write_on(folder: Path) -> None:
    """Eight writers until killed; says each name once it is acknowledged."""
    async with opened(folder) as database:

        async def writer(number: int) -> None:
            for at in range(1_000_000):
                name = f"{number}-{at:06d}"
                await database.write(put(name))
                print(name, flush=True)

        await asyncio.gather(*(writer(number) for number in range(8)))


async def publish_on(folder: Path) -> None:
    """Writers and a publisher until killed; says each acknowledged name."""
    async with opened(folder, *NODE_AND_THINGS, exclusive=True) as database:
        feed = thing_feed(database)
        lease = Lease(feed.lease_name, f"child-{os.getpid()}", 1)  # the next child need not wait
        now_ms = int(SystemClock().monotonic_s() * 1000)
        generation = await database.write(lambda tx: lease.acquire(tx, now_ms))
        assert generation is not None

        async def writer(number: int) -> None:
            for at in range(1_000_000):
                name = f"{number}-{at % 50}"
                await database.write(put_pointed(name, at))
                print(name, at, flush=True)

        async def publisher() -> None:
            while True:
                await feed.publish_once(generation)

        await asyncio.gather(publisher(), *(writer(number) for number in range(4)))


def upgrade_killed(folder: Path, at: int) -> None:
    """An upgrade that is killed when it is about to run its statement number `at`."""
    kill_at(at)
    rooms = [Migrations("test", folder / "things")]
    say(applied=migrate.upgrade(folder / "test.db", rooms, clock=SystemClock()))


def folder_upgrades_killed(folder: Path) -> None:
    """Upgrades copies of a data folder, each killed before another statement; says their number.

    Each copy is called by its statement, and brought to its end by another process.
    """
    for at in count(1):
        copy = folder.with_name(f"at{at}")
        shutil.copytree(folder, copy)
        if waited(partial(_upgrade_folder, copy, at)) == 0:
            break  # there are no so many
        waited(partial(_upgrade_folder, copy, 0))
    say(statements=at - 1)


def waited(work: Callable[[], None]) -> int:
    """Runs it in a process of its own; its status."""
    process = os.fork()
    if process == 0:
        work()
        os._exit(0)
    return os.waitpid(process, 0)[1]


def _upgrade_folder(folder: Path, at: int) -> None:
    """Statements are counted over all its databases; none is the 0th."""
    kill_at(at)
    for store in STORES.values():
        migrate.upgrade(folder / store.file_name, store.migrations, clock=SystemClock())


def kill_at(at: int) -> None:
    """From here on, before the migrations' statement of this number."""
    whole = migrate.statements
    count = 0

    def killing(script: str) -> Any:
        nonlocal count
        for statement in whole(script):
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
            yield statement

    migrate.statements = killing


async def limited(folder: Path, count: int) -> None:
    """As `write_some`, but no file may grow beyond 100 kB: writes fail as on a broken disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    await write_some(folder, count)


def main() -> None:
    what, folder, *rest = sys.argv[1:]
    if what in ("upgrade_killed", "folder_upgrades_killed"):
        globals()[what](Path(folder), *map(int, rest))
    else:
        asyncio.run(globals()[what](Path(folder), *map(int, rest)))


if __name__ == "__main__":
    main()
