# SPDX-License-Identifier: Apache-2.0
"""`transom secrets rotate`: another master key, and everything sealed again under it."""

import asyncio
import os
from argparse import Namespace

from transom.cli import queue_data
from transom.cli.parts import QUEUE, STORES, Store
from transom.cli.settings import Settings
from transom.runtime.clock import SystemClock
from transom.runtime.sealing import Sealer
from transom.runtime.sealing import rotate as rotate_folder


def rotate(options: Namespace) -> int:
    """While Transom runs, too: its processes look for a key that they lack."""
    settings = Settings.of(options)
    settings.data.require()

    def elsewhere(sealer: Sealer) -> list[str]:
        return asyncio.run(_databases(settings, sealer))

    rotate_folder(settings.data.keys, settings.master_keys, os.urandom, print, elsewhere)
    return 0


async def _databases(settings: Settings, sealer: Sealer) -> list[str]:
    """What was sealed again in those that are there. Raises: ConfigError, and of storage."""
    counts = {
        store.part: await _sealed_again(store, settings, sealer)
        for store in STORES.values()
        if store.sealed_again is not None and store.may_be_there(settings)
    }
    if QUEUE.may_be_there(settings):
        counts[QUEUE.part] = await queue_data.seal_again(settings, sealer)
    return [f"{part} ({count})" for part, count in counts.items() if count]


async def _sealed_again(store: Store, settings: Settings, sealer: Sealer) -> int:
    seal_again = store.sealed_again
    assert seal_again is not None  # of those that were chosen
    database = store.database(settings, SystemClock())
    await database.start()
    total = 0
    try:
        while count := await database.write(lambda tx: seal_again(tx, sealer)):
            total += count
    finally:
        await database.stop()
    return total
