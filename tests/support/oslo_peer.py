# SPDX-License-Identifier: Apache-2.0
"""Programs of other environments that take commands by lines.

    async with program("oslo_client.py", url) as client:
        answer = await client.ask("call", target={"topic": "t"}, method="echo", args={"x": 1})

`ask` raises `Told` if the command failed. Several may be asked at once.
"""

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "compat" / "messaging"
OSLO = Path(os.environ.get("TRANSOM_OSLO", ROOT / ".cache/oslo")) / "bin" / "python"
START_S = 60
ANSWER_S = 100
LINE_BYTES_MAX = 64 * 1024 * 1024


class Told(Exception):
    """What a program said went wrong: a dictionary of `class`, `module`, `text`, `args`."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['class']}: {error['text']}")
        self.error = error


class Program:
    """A process that answers commands."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ready = asyncio.get_running_loop().create_future()
        self._reading = asyncio.ensure_future(self._read())

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, do: str, **arguments: Any) -> Any:
        """The command's result. Raises: Told, TimeoutError, ConnectionError if it has died."""
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        line = json.dumps({"id": number, "do": do, **arguments})
        self._process.stdin.write(line.encode() + b"\n")
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._process.stdin.drain()
                told = await answer
        finally:
            del self._asked[number]
        if "error" in told:
            raise Told(told["error"])
        return told["result"]

    async def until_ready(self) -> None:
        async with asyncio.timeout(START_S):
            await self._ready

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            if "ready" in told:
                self._ready.set_result(None)
            elif (answer := self._asked.get(told["id"])) is not None and not answer.done():
                answer.set_result(told)
        for waiting in (self._ready, *self._asked.values()):
            if not waiting.done():
                waiting.set_exception(ConnectionError("the program has ended"))

    async def end(self) -> None:
        """Its input ends; it is killed if it does not end then."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading
        if not self._ready.done():
            self._ready.cancel()

    def kill(self) -> None:
        """Dies at once, as by a power cut."""
        self._process.kill()


@contextlib.asynccontextmanager
async def program(name: str, url: str, log: Path | None = None) -> AsyncIterator[Program]:
    """A program of tests/compat/messaging in oslo's environment, ended at the exit."""
    with (log or Path(os.devnull)).open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            str(OSLO), "-W", "ignore", str(PROGRAMS / name), url,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=stderr,
            limit=LINE_BYTES_MAX, env=_bare(),
        )  # fmt: skip
    running = Program(process)
    try:
        await running.until_ready()
        yield running
    finally:
        await running.end()


def _bare() -> dict[str, str]:
    """The environment without what belongs to our own Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
