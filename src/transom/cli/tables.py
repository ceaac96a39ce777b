# SPDX-License-Identifier: Apache-2.0
"""`transom tables`: any table on the bus, listed, shown once or watched.

Invariant: no table is known here. What there is, the heartbeats say; columns, the publisher.
"""

import asyncio
import json
import logging
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from transom.cli.connecting import connect_bus
from transom.cli.settings import BusConfig, Settings
from transom.cli.table_text import Show, as_json, as_text, columns_of, in_columns
from transom.errors import MessagingError, NotFound, Unavailable
from transom.messaging.proto.feed import Change, ChangeSet, Key, Live, Row
from transom.messaging.replica import TableReplica
from transom.messaging.sources import Source, describe, heard
from transom.messaging.transport import Transport
from transom.node import remote

PATIENCE_S = 5.0
SHOW_S = 15.0
RETRY_S = 0.5


def list_(options: Namespace) -> int:
    """Exit status 0: there is a table; 3: there is none."""
    rows = _run(options, lambda transport: _list(transport, options.wait))
    if options.json:
        print(json.dumps(rows))
    elif rows:
        print("\n".join(in_columns([list(rows[0]), *(list(row.values()) for row in rows)])))
    else:
        print("nothing publishes a table on this bus", file=sys.stderr)
    return 0 if rows else 3


def show(options: Namespace) -> int:
    """Raises: NotFound; Unavailable if its rows were not to be had."""
    source, rows = _run(options, lambda transport: _show(transport, options.table))
    columns = columns_of(source.table(options.table), [row for _, row in rows])
    if options.json:
        for key, row in rows:
            print(json.dumps({"key": key, "row": {name: row.get(name) for name in columns}}))
    else:
        cells = [[row.get(name) for name in columns] for _, row in rows]
        print("\n".join(in_columns([columns, *cells])))
    return 0


def watch(options: Namespace) -> int:
    show_item = as_json if options.json else as_text
    _run(options, lambda transport: _watch(transport, options.table, show_item))
    return 0


def _run(options: Namespace, work: Callable[[Transport], Coroutine[Any, Any, Any]]) -> Any:
    """On the bus, in a loop of its own."""
    settings = Settings.of(options)
    if not settings.config.section(BusConfig).url:
        remote.state_of(settings.data)  # says so if nothing runs there
    # What the bus would log, the lines say: it is live, it is stale.
    logging.getLogger("transom").addHandler(logging.NullHandler())

    async def run() -> Any:
        async with connect_bus(settings) as transport:
            return await work(transport)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


async def _list(transport: Transport, wait_s: float) -> list[dict[str, Any]]:
    loop = asyncio.get_running_loop()
    found = await heard(transport, wait_s)
    sources = await asyncio.gather(*(_described(transport, name) for name in sorted(found)))
    return [
        _listed(source, name, loop.time() - found[source.name])
        for source in sources
        if source is not None
        for name in source.names()
    ]


async def _described(transport: Transport, name: str) -> Source | None:
    try:
        return await describe(transport, name)
    except MessagingError as error:
        print(f"{name} did not say what it is: {error.text}", file=sys.stderr)
        return None


def _listed(source: Source, name: str, age_s: float) -> dict[str, Any]:
    table, head = source.table(name), source.head
    return {
        "table": name,
        "source": source.name,
        "rows": source.rows.get(name),
        "position": f"{head.epoch}/{head.n}",
        "age_s": round(age_s, 1),
        "state": "idle" if name in head.idle else "kept",
        "replicas": source.wanted.get(name, 0),
        "version": None if table is None else table.version,
        "publisher": source.publisher or None,
    }


async def _show(transport: Transport, table: str) -> tuple[Source, list[tuple[Key, Row]]]:
    source = await _source_of(transport, table)
    rows: dict[Key, Row] = {}
    try:
        async with (
            asyncio.timeout(SHOW_S),
            TableReplica(transport, source.name, [table]) as replica,
        ):
            async for item in replica:
                if isinstance(item, ChangeSet):
                    _apply(rows, item.changes)
                elif isinstance(item, Live):
                    break
    except TimeoutError as error:
        raise Unavailable(f"The rows of {table} were not to be had in {SHOW_S:g} s.") from error
    return source, sorted(rows.items())


def _apply(rows: dict[Key, Row], changes: tuple[Change, ...]) -> None:
    for change in changes:
        if change.row is None:
            rows.pop(change.key, None)
        else:
            rows[change.key] = change.row


async def _source_of(transport: Transport, table: str) -> Source:
    """Whose it is: of the source in its name, or of any other that has it. Raises: NotFound."""
    known: dict[str, None] = {}
    for name in (table.partition(":")[0], ""):
        names = [name] if name else sorted(await heard(transport, PATIENCE_S / 2))
        for source in await asyncio.gather(*(_tried(transport, name) for name in names)):
            if source is not None:
                known |= dict.fromkeys(source.names())
                if table in source.names():
                    return source
    there = f"there are {', '.join(sorted(known))}" if known else "none is published"
    raise NotFound(f"no table is called {table!r}; {there}")


async def _tried(transport: Transport, name: str) -> Source | None:
    try:
        return await describe(transport, name)
    except MessagingError:
        return None


async def _watch(transport: Transport, table: str, show_item: Show) -> None:
    """Until SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    printing = asyncio.ensure_future(_print(transport, table, show_item))
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({printing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if printing.done():
            await printing
    finally:
        printing.cancel()
        stopped.cancel()
        await asyncio.wait({printing, stopped})


async def _print(transport: Transport, table: str, show_item: Show) -> None:
    loop = asyncio.get_running_loop()
    waiting = loop.call_later(PATIENCE_S, _say_waiting, table)
    try:
        source = await _awaited(transport, table)
        async with TableReplica(transport, source.name, [table]) as replica:
            async for item in replica:
                waiting.cancel()
                for line in show_item(source.table(table), item):
                    print(line, flush=True)
    finally:
        waiting.cancel()


async def _awaited(transport: Transport, table: str) -> Source:
    """As soon as somebody publishes its source. Raises: NotFound if that has no such table."""
    while True:
        name = table.partition(":")[0]
        source = await _tried(transport, name)
        if source is None:
            await asyncio.sleep(RETRY_S)
        elif table in source.names():
            return source
        else:
            return await _source_of(transport, table)


def _say_waiting(table: str) -> None:
    print(f"nobody has published {table} yet; waiting ...", file=sys.stderr, flush=True)
