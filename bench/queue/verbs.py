# SPDX-License-Identifier: Apache-2.0
"""CPU of the queue's verbs on a SQLite file, beside those of an earlier release, by turns.

Both run in processes of their own, each a writer on the loop: no door, no thread, groups of 64
verbs to a commit. A turn of one follows a turn of the other; what is told is the median of the
turns, and the median of what a turn of ours cost for one of theirs. Bodies have 140 bytes.

    python -m bench.queue.verbs [--before WHEEL] [--turns 20] [--json FILE]
"""

import argparse
import asyncio
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from transom.queue.config import QueueConfig
from transom.queue.logic.limits import ClaimTerms
from transom.queue.model import ClaimId, ClientId, NewMessage, Place
from transom.queue.service import MIGRATIONS
from transom.runtime.clock import SystemClock
from transom.runtime.db.sqlite import SqliteDatabase

ROOT = Path(__file__).parents[2]
PREVIOUS = next((ROOT / "tests/upgrade/previous").glob("*.whl"))
PLACE, CLIENT = Place("p", "q"), ClientId(b"c" * 16)
BODY = b'"' + b"x" * 138 + b'"'
TERMS = ClaimTerms(300, 60)
GROUP, GROUPS = 64, 2
BATCH = 20
MEMORY = Path("/dev/shm")
"""No disk is measured."""


def _verbs(noun: str) -> Any:
    """The module of a noun's verbs; a single one in the releases before they were parted."""
    package = importlib.import_module("transom.queue.store.verbs")
    if hasattr(package, "Post"):
        return package
    return importlib.import_module(f"transom.queue.store.verbs.{noun}")


class Verbs:
    """What is measured; each gives seconds of CPU a verb."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._messages, self._claims = _verbs("messages"), _verbs("claims")

    async def post_one(self) -> float:
        return await self._emptied(self._post(1))

    async def post_twenty(self) -> float:
        return await self._emptied(self._post(BATCH))

    async def claim_and_delete_by_ids(self) -> float:
        await self._stocked()
        return await self._timed(self._taken_and_deleted)

    async def claim_and_delete_each(self) -> float:
        await self._stocked()
        return await self._timed(self._taken_and_deleted_each)

    async def claim_and_release(self) -> float:
        await self._stocked()
        return await self._emptied(self._taken_and_released)

    def _post(self, number: int) -> Callable[[], Awaitable[Any]]:
        new = (NewMessage(BODY),) * number

        async def post() -> None:
            await self._writer.write(self._messages.Post(PLACE, CLIENT, 160 * number, new))

        return post

    async def _taken(self) -> Any:
        take = self._claims.Take(PLACE, ClaimId(os.urandom(16)), TERMS, BATCH)
        claim, _ = await self._writer.write(take)
        assert len(claim.messages) == BATCH
        return claim

    async def _taken_and_deleted(self) -> None:
        claim = await self._taken()
        ids = tuple(message.id for message in claim.messages)
        assert await self._writer.write(self._messages.DeleteAnyway(PLACE, ids)) == BATCH

    async def _taken_and_deleted_each(self) -> None:
        claim = await self._taken()
        for message in claim.messages:
            await self._writer.write(self._messages.Delete(PLACE, (message.id,), (claim.id,)))

    async def _taken_and_released(self) -> None:
        claim = await self._taken()
        await self._writer.write(self._claims.Release(PLACE, claim.id))

    async def _timed(self, call: Callable[[], Awaitable[Any]]) -> float:
        began_s = time.process_time()
        for _ in range(GROUPS):
            await asyncio.gather(*(call() for _ in range(GROUP)))
        return (time.process_time() - began_s) / (GROUP * GROUPS)

    async def _emptied(self, call: Callable[[], Awaitable[Any]]) -> float:
        """So that no turn finds more than the one before it."""
        took_s = await self._timed(call)
        while await self._writer.write(self._messages.Pop(PLACE, 1000)):
            pass
        return took_s

    async def _stocked(self) -> None:
        post = self._post(BATCH)
        for _ in range(GROUPS):
            await asyncio.gather(*(post() for _ in range(GROUP)))


MEASURED = (
    "post_one",
    "post_twenty",
    "claim_and_delete_by_ids",
    "claim_and_delete_each",
    "claim_and_release",
)


async def contender(folder: Path) -> None:
    """Measures what each line of its input names."""
    clock = SystemClock()
    database = SqliteDatabase(folder / "queue.db", MIGRATIONS, clock=clock, inline_writer=True)
    await database.start()
    queues = _verbs("verb")
    writer = queues.LocalWriter(database, queues.Tools(QueueConfig(), clock, os.urandom))
    verbs = Verbs(writer)
    for line in iter(sys.stdin.readline, ""):
        print(await getattr(verbs, line.strip())(), flush=True)
    await database.stop()


class Contender:
    """A process with one of the two versions."""

    def __init__(self, source: Path, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--contender", str(folder)],
            env={**os.environ, "PYTHONPATH": str(source), "PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measured_us(self, what: str) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(what, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline()) * 1e6

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compared(before: Path, turns: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        folder = Path(name)
        with zipfile.ZipFile(before) as wheel:
            wheel.extractall(folder / "src")
        for one in ("now", "before"):
            (folder / one).mkdir()
        now = Contender(ROOT / "src", folder / "now")
        then = Contender(folder / "src", folder / "before")
        try:
            return {what: _compared(now, then, what, turns) for what in MEASURED}
        finally:
            now.stop()
            then.stop()


def _compared(now: Contender, then: Contender, what: str, turns: int) -> dict[str, float]:
    pairs = []
    for turn in range(turns + 1):
        if turn % 2:
            ours, theirs = now.measured_us(what), then.measured_us(what)
        else:
            theirs, ours = then.measured_us(what), now.measured_us(what)
        if turn:  # the first warms both up
            pairs.append((ours, theirs))
    return {
        "now_us": round(statistics.median(ours for ours, _ in pairs), 1),
        "before_us": round(statistics.median(theirs for _, theirs in pairs), 1),
        "ratio": round(statistics.median(ours / theirs for ours, theirs in pairs), 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, default=PREVIOUS, help="its wheel")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--contender", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.contender is not None:
        asyncio.run(contender(asked.contender))
        return 0
    found = {"before": asked.before.name, "verbs": compared(asked.before, asked.turns)}
    print(json.dumps(found, indent=2))
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
