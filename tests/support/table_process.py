"""Processes that publish and follow a table, to be killed and paused; spoken to by lines.

    python -m support.table_process publish URL SOURCE EPOCH
    python -m support.table_process follow URL SOURCE

Each answers a line from standard input with a line of JSON. A publisher changes its rows all the
time: `freeze` stops that and answers {key: n}, `go` goes on. A follower answers `rows` with
{"rows": {key: n}, "state", "age_s", "sets"}.
"""

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any, Self

from transom import messaging
from transom.errors import MessagingError
from transom.messaging.proto.feed import Change, ChangeSet
from transom.messaging.tables import MemoryFeed, TablePublisher, TableReplica

TABLE = "a"
KEYS = 60
TESTS = Path(__file__).parents[1]


class Process:
    """One of them."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls, *words: str, module: str = "support.table_process", host: str = ""
    ) -> Self:
        """`host`: the network namespace that it runs in; ours if there is none."""
        process = await asyncio.create_subprocess_exec(
            *(("ip", "netns", "exec", host) if host else ()),
            sys.executable,
            "-m",
            module,
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
        )
        made = cls(process)
        assert await made._line() == "ready"
        return made

    async def ask(self, word: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        return await self._line()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def end(self) -> None:
        """Kills it, if it lives."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def _line(self) -> Any:
        assert self._process.stdout is not None
        async with asyncio.timeout(20):
            return json.loads(await self._process.stdout.readline())


class Truth:
    """A feed whose rows change all the time, and its publisher."""

    def __init__(self, transport: messaging.Transport, source: str, epoch: int) -> None:
        self.rows: dict[str, int] = {}
        self._feed = MemoryFeed(epoch, [TABLE])
        self._publisher = TablePublisher(transport, source, self._feed)
        self._draws = random.Random(epoch)
        self._changing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._change(KEYS)
        await self._publisher.start()

    async def stop(self) -> None:
        self.freeze()
        await self._publisher.stop()

    def go(self) -> None:
        self._changing = asyncio.ensure_future(self._keep_changing())

    def freeze(self) -> dict[str, int]:
        if self._changing is not None:
            self._changing.cancel()
        return self.rows

    def _change(self, count: int) -> ChangeSet | None:
        changes = []
        for _ in range(count):
            name = f"k{self._draws.randrange(KEYS)}"
            if self._draws.random() < 0.2:
                self.rows.pop(name, None)
                changes.append(Change(TABLE, (name,), None))
            else:
                self.rows[name] = self._draws.randrange(1000)
                changes.append(Change(TABLE, (name,), {"n": self.rows[name]}))
        return self._feed.change(changes)

    async def _keep_changing(self) -> None:
        while True:
            made = self._change(self._draws.choice([1, 3, 20]))
            if made is not None:
                try:
                    await self._publisher.send(made)
                except MessagingError:
                    continue
            await asyncio.sleep(0.01)


class Copy:
    """A replica and its consumer's rows."""

    def __init__(self, transport: messaging.Transport, source: str) -> None:
        self.rows: dict[str, int] = {}
        self.replica = TableReplica(transport, source, [TABLE])
        self.states: list[str] = []
        self.sets = 0
        self._consuming: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.replica.start()
        self._consuming = asyncio.ensure_future(self._consume())

    async def stop(self) -> None:
        await self.replica.stop()
        assert self._consuming is not None
        await self._consuming

    def said(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "state": type(self.replica.state).__name__,
            "age_s": self.replica.age_s,
            "sets": self.sets,
        }

    async def until(self, rows: dict[str, int], within_s: float = 20.0) -> None:
        """Live, told so, and equal."""
        async with asyncio.timeout(within_s):
            live = ["Live"]
            while [self.rows, self.states[-1:], [self.said()["state"]]] != [rows, live, live]:
                await asyncio.sleep(0.02)

    async def until_state(self, state: str, within_s: float = 20.0) -> None:
        async with asyncio.timeout(within_s):
            while self.said()["state"] != state:
                await asyncio.sleep(0.02)

    async def _consume(self) -> None:
        async for item in self.replica:
            if not isinstance(item, ChangeSet):
                self.states.append(type(item).__name__)
                continue
            self.sets += 1
            for change in item.changes:
                if change.row is None:
                    self.rows.pop(change.key[0], None)
                else:
                    self.rows[change.key[0]] = change.row["n"]


def say(what: Any) -> None:
    print(json.dumps(what), flush=True)


async def answering(transport: messaging.Transport, verb: str, source: str, epoch: int = 0) -> None:
    """Until its standard input ends."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    if verb == "publish":
        truth = Truth(transport, source, epoch)
        await truth.start()
        truth.go()
        answers = {"freeze": truth.freeze, "go": truth.go}
    else:
        copy = Copy(transport, source)
        await copy.start()
        answers = {"rows": copy.said}
    say("ready")
    while word := (await lines.readline()).decode().strip():
        say(answers[word]())


async def main(verb: str, url: str, source: str, *words: str) -> None:
    async with messaging.connect(url) as transport:
        await answering(transport, verb, source, *map(int, words))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
