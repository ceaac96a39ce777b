"""A process that wants a lease and, while it holds it, writes fenced rows as fast as it can.

Run as `python -m support.leasechild NAME FOLDER URL`: on the file in the folder, or, with a URL, on
the schema that stands for it. Each row has the number of rows before it and the generation of its
writer. Says {"gain": generation, "at": s} and {"loss": generation, "at": s}, s on the host's clock.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from transom.errors import TransomError
from transom.node.lease import Lease, Leased, LeaseLost, fence
from transom.runtime.clock import SystemClock
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.db.transaction import Database, Transaction

from support.postgres import Server
from support.thingfeed import NODE_AND_THINGS

TTL_MS = 1000
STATEMENT_S = 0.5


def database_at(folder: Path, url: str) -> Database:
    path, clock = folder / "lease.db", SystemClock()
    if url:
        server = Server(url)
        return server.database(path, NODE_AND_THINGS, clock=clock, statement_s=STATEMENT_S)
    return SqliteDatabase(path, NODE_AND_THINGS, clock=clock, exclusive=False)


class Holder:
    def __init__(self, name: str, database: Database) -> None:
        self._database = database
        self._task: asyncio.Task[None] | None = None
        self._generation = 0
        self.leased = Leased(
            database,
            Lease("one", name, TTL_MS),
            clock=SystemClock(),
            on_gain=self.gain,
            on_loss=self.lose,
        )

    async def gain(self, generation: int) -> None:
        self._generation = generation
        say(gain=generation)
        self._task = asyncio.create_task(self.write(generation))

    async def lose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        say(loss=self._generation)

    async def write(self, generation: int) -> None:
        async def verb(transaction: Transaction) -> None:
            row = await transaction.fetch_one("select count(*) from thing")
            assert row is not None
            await transaction.execute(
                "insert into thing (name, size) values (?, ?)", (f"{row[0]:09d}", generation)
            )
            await fence(transaction, "one", generation)

        while True:
            try:
                await self._database.write(verb)
            except LeaseLost:
                self.leased.lost()
                return
            except TransomError:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.01)


def say(**what: int) -> None:
    print(json.dumps({**what, "at": time.monotonic()}), flush=True)


async def main(name: str, folder: Path, url: str) -> None:
    database = database_at(folder, url)
    await database.start()
    holder = Holder(name, database)
    await holder.leased.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
