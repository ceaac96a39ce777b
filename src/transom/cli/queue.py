# SPDX-License-Identifier: Apache-2.0
"""`transom queue`: queues used from the shell, through their API, wherever they are.

Who asks: the cloud of `--os-cloud`, or of the data folder that `--data-dir` names, or what the OS_*
variables say, or the cloud of this machine's own data folder.

Invariants:
1. A drained message is deleted only after its line is written, and on disk if that is a file.
2. Data go to standard output, words about them to standard error.
3. Ctrl-C and SIGTERM end at once, giving back what is held.
"""

import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from transom.cli import default_data_folder
from transom.cli.progress import Progress
from transom.cli.queue_lines import (
    Batches,
    Drained,
    DrainedClaim,
    DrainedPage,
    Form,
    as_line,
    as_text,
    in_batches,
)
from transom.cli.settings import Settings
from transom.cli.table_text import in_columns
from transom.errors import BadRequest, ConfigError
from transom.queue.client import Queues, connect, verbs
from transom.queue.client.errors import Refused, Unavailable
from transom.queue.client.queues import end_of, followed
from transom.queue.client.shapes import Stats
from transom.queue.client.taking import give_back, taken

CLOUD = "transom"
OWN_VARIABLES = ("OS_CLOUD", "OS_AUTH_URL")
PATIENCE_S = 60.0
WAIT_S = 20
DRAIN_TTL_S = 300
DRAIN_LIMIT = 20
REDRIVE_LIMIT = 100
STATS_AT_ONCE = 8
LEAST_WATCH_S = 0.2


def tail(options: Namespace) -> int:
    return _run(options, lambda queues: _tail(queues, options))


def post(options: Namespace) -> int:
    """Raises: BadRequest for a line that is no message; those before it are posted."""
    if options.batch < 1:
        raise BadRequest("--batch is at least 1")
    return _run(options, lambda queues: _post(queues, options))


def drain(options: Namespace) -> int:
    return _run(options, lambda queues: _drain(queues, options))


def redrive(options: Namespace) -> int:
    """Exit status 0: none is left; 3: some are, which are held or were not asked for.

    What becomes a dead letter meanwhile is not moved: it may be one of those that just went back.
    """
    return _run(options, lambda queues: _redrive(queues, options))


def stats(options: Namespace) -> int:
    return _run(options, lambda queues: _stats(queues, options))


def _run(options: Namespace, work: Callable[[Queues], Coroutine[Any, Any, int]]) -> int:
    queues = _connect(options)

    async def run() -> int:
        task, terminated = asyncio.current_task(), False
        assert task is not None

        def terminate() -> None:
            nonlocal terminated
            terminated = True
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        try:
            async with queues:
                return await work(queues)
        except asyncio.CancelledError:
            if terminated:
                return 128 + signal.SIGTERM
            raise

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def _connect(options: Namespace) -> Queues:
    """Not entered. Raises: ConfigError."""
    chosen = options.data_dir != default_data_folder()
    if options.os_cloud and chosen:
        raise ConfigError(
            f"--os-cloud and --data-dir both say who signs in; leave one out ({options.data_dir} "
            f"has a cloud of its own, {CLOUD!r})"
        )
    named = options.os_cloud or any(os.environ.get(name) for name in OWN_VARIABLES)
    if options.os_cloud or (named and not chosen):
        return connect(options.os_cloud, patience_s=PATIENCE_S)
    file = Settings.of(options).data.clouds_file
    if not file.exists():
        raise ConfigError(
            "nobody is named to sign in; set OS_CLOUD, or OS_AUTH_URL and other OS_* variables, "
            f"or start Transom here (`transom up`), which makes {file}"
        )
    return connect(CLOUD, config_file=str(file), patience_s=PATIENCE_S)


async def _tail(queues: Queues, options: Namespace) -> int:
    marker = options.after or ""
    if not await queues.queue(options.queue).exists():
        said = f"there is no queue {options.queue!r} yet; its first message will be shown"
        print(f"transom: {said}", file=sys.stderr, flush=True)
    elif not options.from_start and not options.after:
        marker = await end_of(queues.sender, options.queue)
    shown = 0
    async for message in _follow(queues, options.queue, marker):
        if options.json:
            sys.stdout.buffer.write(as_line(message))
        else:
            print(as_text(message))
        sys.stdout.flush()
        shown += 1
        if options.count is not None and shown >= options.count:
            break
    return 0


async def _follow(queues: Queues, name: str, marker: str) -> AsyncIterator[Drained]:
    """Through outages, of which it tells once."""
    told = False
    while True:
        try:
            async for page in followed(queues.sender, name, marker, WAIT_S, DrainedPage):
                told = False
                for message in page.messages:
                    yield message
                    marker = message.id
        except Unavailable as error:
            if not told:
                print(f"transom: {error.text}; still trying", file=sys.stderr, flush=True)
            told = True


async def _post(queues: Queues, options: Namespace) -> int:
    queue = queues.queue(options.queue)
    called = "message" if options.body else "line"
    form = Form(
        options.json, options.drained, options.key_field, options.ttl, options.delay, called
    )
    posted = duplicates = 0
    with _input(options) as descriptor, Progress("posted", _size(descriptor)) as progress:
        lines = Batches(descriptor, options.batch)
        async for batch in in_batches(options.body, options.batch) if options.body else lines:
            messages = [form.message(text, number) for number, text in batch]
            try:
                answer = await queue.post_many(messages)
            except Refused as error:
                before = f"; the {posted} before them are posted" if posted else ""
                raise BadRequest(f"{_which(batch, called)}{error.text}{before}") from error
            posted += len(batch)
            duplicates += len(answer.duplicates)
            progress.show(posted, lines.read_bytes)
        known = f", {duplicates} of them known by their keys" if duplicates else ""
        progress.end(f"{posted} posted to {options.queue}{known}")
    return 0


def _which(batch: list[tuple[int, bytes]], called: str) -> str:
    first, last = batch[0][0], batch[-1][0]
    return f"{called} {first}: " if first == last else f"one of {called}s {first} to {last}: "


@contextmanager
def _input(options: Namespace) -> Iterator[int]:
    """What lines are read from, if they are."""
    if options.body or options.file == "-":
        yield sys.stdin.fileno()
    else:
        with Path(options.file).open("rb") as file:
            yield file.fileno()


def _size(descriptor: int) -> int | None:
    """How many bytes there are to read, if that is known."""
    found = os.fstat(descriptor)
    return found.st_size if stat.S_ISREG(found.st_mode) else None


async def _drain(queues: Queues, options: Namespace) -> int:
    queue = queues.queue(options.queue)
    await _require(queues, [options.queue])
    counts = await queue.stats()
    total = counts.free if options.count is None else min(counts.free, options.count)
    drained = 0
    with _output(options.out) as descriptor, Progress("drained", total) as progress:
        while options.count is None or drained < options.count:
            some = DRAIN_LIMIT if options.count is None else options.count - drained
            taken = await _drain_some(queues, options.queue, descriptor, min(DRAIN_LIMIT, some))
            if not taken:
                break
            drained += taken
            progress.show(drained)
        left = await queue.stats()
        held = f"; {left.total} are left there" if left.total else ""
        progress.end(f"{drained} drained from {options.queue}{held}")
    return 0


async def _drain_some(queues: Queues, name: str, descriptor: int, limit: int) -> int:
    """How many were moved out. What was not written is given back."""
    request = verbs.read_as(verbs.claim(name, limit, DRAIN_TTL_S), _claim)
    claim = await taken(queues.sender, request)
    if claim is None:
        return 0
    ids = [message.id for message in claim.messages]
    try:
        _write(descriptor, b"".join(as_line(message) for message in claim.messages))
    except BaseException:  # Safety: it goes on after what is held was given back
        await give_back(queues.sender, request, claim.claim_id)
        raise
    # Not to be interrupted: what is written and not deleted would be drained again.
    deleting = asyncio.ensure_future(
        queues.sender.send(verbs.delete_many(name, ids, claim.claim_id))
    )
    try:
        await asyncio.shield(deleting)
    except asyncio.CancelledError:
        await deleting
        raise
    return len(ids)


def _claim(reply: verbs.Reply) -> DrainedClaim | None:
    return None if reply.status == 204 else msgspec.json.decode(reply.body, type=DrainedClaim)


@contextmanager
def _output(name: str | None) -> Iterator[int]:
    if name is None:
        sys.stdout.flush()
        yield sys.stdout.fileno()
        return
    with Path(name).open("a+b") as file:
        if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read())[1] != b"\n":
            raise BadRequest(
                f"{name} ends in the middle of a line, as of a killed command; remove that "
                "line, or write to another file"
            )
        _sync_folder(Path(name).absolute().parent)
        yield file.fileno()


def _sync_folder(folder: Path) -> None:
    """The new file's name is on disk, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    """All of it, and to the disk if that is where it goes; or nothing. Raises: OSError."""
    size = _size(descriptor)
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
        if size is not None:
            os.fsync(descriptor)
    except OSError:
        if size is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
        raise


async def _redrive(queues: Queues, options: Namespace) -> int:
    queue = queues.queue(options.queue)
    await _require(queues, [options.queue])
    counts = await queue.stats()
    total = counts.total if options.count is None else min(counts.total, options.count)
    moved = left = 0
    with Progress("moved", total) as progress:
        while moved < total:
            some = min(REDRIVE_LIMIT, total - moved)
            done = await queue.redrive(some, to=options.to)
            moved, left = moved + done.moved, done.left
            progress.show(moved)
            if not done.moved or not done.left:
                break
        where = f" to {options.to}" if options.to else ""
        rest = f"; {left} are left" if left else ""
        progress.end(f"{moved} moved from {options.queue}{where}{rest}")
    return 3 if left else 0


async def _stats(queues: Queues, options: Namespace) -> int:
    await _require(queues, options.queue)
    while True:
        names = options.queue or [found.name async for found in queues.list()]
        rows = await _counted(queues, names)
        _print_stats(rows, options)
        if options.watch is None:
            return 0
        await asyncio.sleep(max(options.watch, LEAST_WATCH_S))


async def _require(queues: Queues, names: list[str]) -> None:
    """Raises: BadRequest if one of them is not there: it would count as empty."""
    for name in names:
        if not await queues.queue(name).exists():
            raise BadRequest(
                f"there is no queue {name!r} in this project; `transom queue stats` lists those "
                "that there are"
            )


async def _counted(queues: Queues, names: list[str]) -> list[tuple[str, Stats]]:
    bound = asyncio.Semaphore(STATS_AT_ONCE)

    async def count(name: str) -> tuple[str, Stats]:
        async with bound:
            return name, await queues.queue(name).stats()

    return await asyncio.gather(*(count(name) for name in names))


def _print_stats(rows: list[tuple[str, Stats]], options: Namespace) -> None:
    cells = [
        {
            "queue": name,
            "free": found.free,
            "claimed": found.claimed,
            "total": found.total,
            "oldest_s": None if found.oldest is None else found.oldest.age,
        }
        for name, found in rows
    ]
    if options.watch is not None and sys.stdout.isatty() and not options.json:
        print("\x1b[H\x1b[2J", end="")
    if options.json:
        print("\n".join(json.dumps(row) for row in cells), end="\n" if cells else "")
    elif cells:
        print("\n".join(in_columns([list(cells[0]), *(list(row.values()) for row in cells)])))
    else:
        print("there are no queues in this project", file=sys.stderr)
    sys.stdout.flush()
