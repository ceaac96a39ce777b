# SPDX-License-Identifier: Apache-2.0
"""`transom tables watch`: a replica in this process, printed."""

import asyncio
import json
import logging
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Any

import uvloop

from transom.cli.settings import BusConfig, Settings
from transom.errors import BadRequest
from transom.identity.contract import TABLES as IDENTITY_TABLES
from transom.messaging import connect
from transom.messaging.proto.feed import ChangeSet, Live, Row, Stale
from transom.messaging.replica import TableReplica
from transom.node import remote
from transom.queue.contract import TABLES as QUEUE_TABLES

Item = ChangeSet | Live | Stale
Show = Callable[[Item], Iterator[str]]

KNOWN = {table.name: table for table in (*IDENTITY_TABLES, *QUEUE_TABLES)}
PATIENCE_S = 5.0


def watch(options: Namespace) -> int:
    if options.table not in KNOWN:
        raise BadRequest(f"no table is called {options.table!r}; there are {', '.join(KNOWN)}")
    settings = Settings.of(options)
    if not settings.config.section(BusConfig).url:
        remote.state_of(settings.data)  # says so if nothing runs there
    show = _as_json if options.json else _as_text
    # What the bus would log, the lines say: it is live, it is stale.
    logging.getLogger("transom").addHandler(logging.NullHandler())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_watch(settings.bus_url, options.table, show))
    return 0


async def _watch(url: str, table: str, show: Show) -> None:
    """Until SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    source = table.partition(":")[0]
    async with connect(url) as transport, TableReplica(transport, source, [table]) as replica:
        printing = asyncio.ensure_future(_print(replica, table, show))
        stopped = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait({printing, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if printing.done():
                await printing
        finally:
            printing.cancel()
            stopped.cancel()
            await asyncio.wait({printing, stopped})


async def _print(replica: TableReplica, table: str, show: Show) -> None:
    loop = asyncio.get_running_loop()
    waiting = loop.call_later(PATIENCE_S, _say_waiting, table)
    try:
        async for item in replica:
            waiting.cancel()
            for line in show(item):
                print(line, flush=True)
    finally:
        waiting.cancel()


def _say_waiting(table: str) -> None:
    print(f"nobody has published {table} yet; waiting ...", file=sys.stderr, flush=True)


def _as_json(item: Item) -> Iterator[str]:
    if isinstance(item, ChangeSet):
        place = {"epoch": item.epoch, "n": item.n}
        for change in item.changes:
            row = None if change.row is None else dict(_cells(change.table, change.row))
            yield json.dumps({"table": change.table, "key": change.key, "row": row, **place})
    else:
        yield json.dumps({"state": _state(item)})


def _as_text(item: Item) -> Iterator[str]:
    if isinstance(item, ChangeSet):
        for change in item.changes:
            if change.row is None:
                yield f"- {' '.join(change.key)}"
            else:
                cells = _cells(change.table, change.row)
                yield f"+ {'  '.join(f'{name}={value}' for name, value in cells)}"
    else:
        yield f"({_state(item)})"


def _cells(table: str, row: Row) -> Iterator[tuple[str, Any]]:
    """In the order of the contract; last what a newer publisher has added."""
    columns = [column.name for column in KNOWN[table].columns] if table in KNOWN else []
    for name in dict.fromkeys([*columns, *row]):
        yield name, row.get(name)


def _state(item: Live | Stale) -> str:
    return "live" if isinstance(item, Live) else "stale"
