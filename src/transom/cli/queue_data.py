# SPDX-License-Identifier: Apache-2.0
"""The queue's data, for a command: all of its databases, whether Transom runs on them or not.

Where it runs on files, what is written goes to the files' owners, as it does from a worker that has
none; else the command is the owner itself.
"""

import asyncio
import os
import socket
from argparse import Namespace
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from transom.cli import parts
from transom.cli.connecting import connect_bus
from transom.cli.family import MEMORY_BUS, api_names
from transom.cli.settings import Settings
from transom.errors import ConfigError, TransomError
from transom.messaging import connect
from transom.node.folder import DataFolder
from transom.queue.bus.writer import RemoteWriter
from transom.queue.model import Place
from transom.queue.service import QueueService
from transom.queue.store import seals
from transom.queue.store.stores import Store
from transom.queue.store.verbs.project_keys import SealAgain
from transom.runtime.clock import SystemClock
from transom.runtime.sealing import Sealer


def rotate_keys(options: Namespace) -> int:
    """`transom queue rotate-keys`: says which key of each project seals from now on."""
    settings = Settings.of(options)
    settings.data.require()
    renewed, missed = asyncio.run(_rotate_keys(settings, options.project))
    for project, generation in renewed:
        print(f"{project}: what is posted to encrypted queues is sealed under key {generation} now")
    if missed:
        raise ConfigError(
            f"not done in {_listed(missed)}; what is posted there is sealed under the keys of "
            "before: see to it, then run `transom queue rotate-keys` again"
        )
    if not renewed:
        whose = f"the project {options.project}" if options.project else "no project"
        print(f"nothing to do: {whose} has a key; one is made with the first encrypted message")
    return 0


async def seal_again(settings: Settings, sealer: Sealer) -> int:
    """Seals all that is sealed in the queue's databases under the first master key; how many.

    Raises: ConfigError where that was not possible everywhere, with nothing lost.
    """
    total = 0
    async with opened(settings, sealer) as service:
        missed = service.stores.reasons()
        for store in service.stores.every():
            try:
                total += await _seal_again(store, sealer)
            except ConfigError:
                raise
            except TransomError as error:
                missed[store.name] = error.text
    if missed:
        raise ConfigError(
            f"not done in {_listed(missed)}; keys there are sealed under the master key of before, "
            "so keep that: see to it, then run `transom secrets rotate` again"
        )
    return total


async def _seal_again(store: Store, sealer: Sealer) -> int:
    total = 0
    while count := await store.writer.write(SealAgain(Place("", ""))):
        total += count
    if await store.database.read(lambda tx: seals.any_left(tx, sealer)):
        raise ConfigError(
            "what runs on this folder seals under another master key; start it anew with the keys "
            "that you gave here, then rotate again"
        )
    return total


def _listed(missed: Mapping[str, str]) -> str:
    """Stores, the home being the queue's, and why nothing was done in them."""
    return ", ".join(f"{name or parts.QUEUE.part} ({why})" for name, why in missed.items())


@asynccontextmanager
async def opened(settings: Settings, sealer: Sealer) -> AsyncIterator[QueueService]:
    """Started; it serves nobody. Raises: ConfigError, and of storage."""
    clock, holder = SystemClock(), f"command-{socket.gethostname()}-{os.getpid()}"
    async with AsyncExitStack() as stack:
        beside = DataFolder(settings.data.path).taken()
        by_owner = beside and parts.QUEUE.has_owner(settings)
        # Else there is nobody to talk to, and perhaps no folder to do it in.
        bus = connect_bus(settings, clock) if by_owner else connect(MEMORY_BUS, clock=clock)
        transport = await stack.enter_async_context(bus)
        writer = None
        if by_owner:
            writer = RemoteWriter(transport)
            await writer.start()
            stack.push_async_callback(writer.stop)
        owns = not (beside or settings.database_url)
        neighbours = parts.neighbours(
            settings, clock, holder, transport, api_names(settings), owns=owns
        )
        service = parts.queue(settings, clock, _tell_nobody, writer, neighbours, holder, sealer)
        stack.push_async_callback(service.stop)
        await service.start()
        yield service


async def _rotate_keys(
    settings: Settings, project_id: str
) -> tuple[list[tuple[str, int]], dict[str, str]]:
    """See `QueueApp.rotate_keys`; with the stores that are away."""
    async with opened(settings, parts.sealer(settings)) as service:
        renewed, failed = await service.app.rotate_keys(project_id)
        return renewed, service.stores.reasons() | failed


def _tell_nobody() -> None:
    """No row of a live table changes."""
