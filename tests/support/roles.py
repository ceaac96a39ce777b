"""Small roles for tests of the supervisor. The payload is JSON; each entry says what it reads."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from transom.errors import ConfigError
from transom.node.channel import Channel


def _note(payload: bytes, line: str) -> dict[str, Any]:
    """Appends one line to the file `log`, if there is one."""
    options: dict[str, Any] = json.loads(payload or b"{}")
    if "log" in options:
        with Path(options["log"]).open("a") as file:
            file.write(line + "\n")
    return options


def steady(name: str, payload: bytes, channel: Channel) -> None:
    """Ready at once; drains for `drain_s`; `ignore_stop` makes it never drain.

    It complains of what stands in the file `ailment`, if there is one.
    """

    async def run() -> None:
        async with channel.attend() as stopping:
            options = _note(payload, f"ready {name}")
            ailment = Path(options.get("ailment", "/nonexistent"))
            channel.complain = lambda: ailment.read_text() if ailment.exists() else ""
            channel.ready({"listeners": sorted(channel.listeners), "payload": len(payload)})
            await stopping.wait()
            _note(payload, f"stopping {name}")
            if options.get("ignore_stop"):
                await asyncio.sleep(3600)
            await asyncio.sleep(options.get("drain_s", 0))
            _note(payload, f"stopped {name}")

    asyncio.run(run())


def stuck_at_stop(name: str, payload: bytes, channel: Channel) -> None:
    """Ready, then its loop stands still for ever; only a kill ends it."""
    channel.ready()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(3600)


def crash(name: str, payload: bytes, channel: Channel) -> None:
    """Ends with an error before it is ready."""
    _note(payload, f"crash {name}")
    raise RuntimeError("no such luck")


def crash_until(name: str, payload: bytes, channel: Channel) -> None:
    """Ends early until the file `log` has `times` lines, then is steady."""
    options = _note(payload, "try")
    if len(Path(options["log"]).read_text().splitlines()) <= options["times"]:
        os._exit(3)
    steady(name, b"{}", channel)


def misconfigured(name: str, payload: bytes, channel: Channel) -> None:
    _note(payload, f"misconfigured {name}")
    raise ConfigError("port 1 is taken; choose another with --port")


def never_ready(name: str, payload: bytes, channel: Channel) -> None:
    _note(payload, f"waiting {name}")
    time.sleep(3600)


def babbler(name: str, payload: bytes, channel: Channel) -> None:
    """Writes what is no line of ours, then waits."""
    channel.ready()
    channel._line.sendall(b"\xff\xfe" + b"x" * 100 + b"\n")
    time.sleep(3600)


def server(name: str, payload: bytes, channel: Channel) -> None:
    """Answers each connection on the inherited socket `door` with its pid."""

    async def run() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(str(os.getpid()).encode())
            await writer.drain()
            writer.close()

        listening = await asyncio.start_server(answer, sock=channel.listeners["door"])
        async with channel.attend() as stopping, listening:
            channel.ready()
            await stopping.wait()

    asyncio.run(run())
