# SPDX-License-Identifier: Apache-2.0
"""The registry of a zmq bus without a supervisor: it tells who serves what, until Ctrl-C.

mkdir -m 700 /run/user/1000/lab
python examples/zmq_registry.py /run/user/1000/lab
python examples/rpc.py zmq:///run/user/1000/lab
"""

import asyncio
import signal
import sys
from pathlib import Path

from transom.messaging.drivers.zmq import RegistryServer
from transom.runtime.clock import SystemClock


async def main(folder: Path) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    registry = RegistryServer(folder, clock=SystemClock())
    await registry.start()
    try:
        print("ready", flush=True)
        await stopping.wait()
    finally:
        await registry.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).absolute()))
