# SPDX-License-Identifier: Apache-2.0
"""A further process of the doors, alone: it hands its writes to the owner of the queue's file.

`python -m support.follower --data-dir FOLDER`: as `transom run` would, at a port of its own, by
whichever version is first on the path.
"""

import asyncio
import os
import signal
from argparse import ArgumentParser
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from transom.cli.family import LISTENER, door_url
from transom.cli.roles import FOLLOWER, Listeners, start_role
from transom.cli.settings import Settings
from transom.runtime.http.listen import bind
from transom.runtime.lifecycle import Lifecycle


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--data-dir", type=Path)
    parser.set_defaults(config=None)
    settings = Settings.of(parser.parse_args())
    with ExitStack() as taken:
        listener = taken.enter_context(bind("127.0.0.1", 0, force_plain=False))
        settings = replace(settings, public_url=door_url("http", "127.0.0.1", listener))
        asyncio.run(_serve(settings, {LISTENER: listener}))


async def _serve(settings: Settings, listeners: Listeners) -> None:
    async with Lifecycle() as lifecycle:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lifecycle.request_stop)
        await start_role(FOLLOWER, f"api-{os.getpid()}", settings, listeners, lifecycle)
        print(f"{FOLLOWER} is ready at {settings.public_url}", flush=True)
        await lifecycle.wait()


if __name__ == "__main__":
    main()
