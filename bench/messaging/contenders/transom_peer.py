# SPDX-License-Identifier: Apache-2.0
"""Ours as contender, on the loop of asyncio: `transom_peer.py serve|call URL [TOPIC SERVER]`.

In the environment: with TRANSOM_BENCH_UVLOOP it runs on uvloop, as our own processes do; with
TRANSOM_BENCH_SECURITY, "<mode> <folder>", under a certificate that lies in the folder, as the party
`<topic>.<server>`, or `caller.one`.
"""

import asyncio
import base64
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from lines import Counter, serve_async, summary

from transom import messaging
from transom.messaging import Target

CONTEXT = {"request_id": "req-1", "user": "u"}
Json = dict[str, Any]


class Endpoint:
    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    async def echo(self, context: Json, x: Any) -> Any:
        return x

    async def count(self, context: Json, x: Any) -> None:
        self._counter.add()

    async def sleep(self, context: Json, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def start_server(transport: messaging.Transport, topic: str, name: str) -> Json:
    """Commands of a started server."""
    counter = Counter()
    target = Target(topic=topic, server=name)
    await messaging.Server(transport, target, [Endpoint(counter)]).start()
    listening: list[asyncio.Task[None]] = []

    async def told() -> Json:
        return counter.told()

    async def reset() -> None:
        counter.reset()

    async def listen(listen_topic: str) -> None:
        listener = messaging.Listener(transport, [Target(topic=listen_topic)], priorities=["info"])
        await listener.start()

        async def take() -> None:
            async for message in listener:
                counter.add()
                await message.acknowledge()

        listening.append(asyncio.ensure_future(take()))

    return {"told": told, "reset": reset, "listen": listen}


class Caller:
    """Commands of a client."""

    def __init__(self, transport: messaging.Transport) -> None:
        self._transport = transport
        self._sleeping: list[asyncio.Task[Any]] = []

    def _client(
        self, topic: str, *, fanout: bool = False, server: str | None = None, timeout: float = 60.0
    ) -> messaging.Client:
        target = Target(topic=topic, fanout=fanout, server=server)
        return messaging.Client(self._transport, target, timeout_s=timeout)

    async def calls(
        self, topic: str, callers: int, seconds: float, x: Any, server: str | None = None
    ) -> Json:
        client = self._client(topic, server=server)
        return await timed(callers, seconds, lambda: client.call(CONTEXT, "echo", x=x))

    async def casts(
        self, topic: str, callers: int, seconds: float, x: Any, fanout: bool = False
    ) -> Json:
        client = self._client(topic, fanout=fanout)
        return await timed(callers, seconds, lambda: client.cast(CONTEXT, "count", x=x))

    async def notify(self, topic: str, callers: int, seconds: float, x: Any) -> Json:
        notifier = messaging.Notifier(self._transport, "bench", topics=[topic])
        payload = {"x": x}
        return await timed(
            callers, seconds, lambda: notifier.info({}, "bench.event", payload, confirm=True)
        )

    async def once(self, topic: str, timeout: float, method: str = "echo", **args: Any) -> Json:
        started_s = time.monotonic()
        try:
            client = self._client(topic, timeout=timeout)
            await client.call(CONTEXT, method, **(args or {"x": "once"}))
            error = None
        except Exception as failure:
            error = type(failure).__name__
        return {"ms": (time.monotonic() - started_s) * 1000, "error": error}

    async def sleepers(self, topic: str, callers: int, seconds: float) -> None:
        client = self._client(topic)
        for _ in range(callers):
            call = client.call(CONTEXT, "sleep", seconds=seconds)
            self._sleeping.append(asyncio.ensure_future(call))

    async def load(self, topic: str, callers: int, seconds: float, timeout: float) -> Json:
        client = self._client(topic, timeout=timeout)
        until_s = time.monotonic() + seconds
        lives: list[Any] = []

        async def run() -> None:
            while (begun_s := time.monotonic()) < until_s:
                error = None
                try:
                    await client.call(CONTEXT, "echo", x="load")
                except Exception as failure:
                    error = type(failure).__name__
                    await asyncio.sleep(0.01)
                lives.append([begun_s, time.monotonic(), error])

        running = [asyncio.ensure_future(run()) for _ in range(callers)]
        _, late = await asyncio.wait(running, timeout=seconds + 3 * timeout)
        for task in late:
            task.cancel()
        return {"lives": lives, "unended": len(late)}


async def timed(callers: int, seconds: float, call: Callable[[], Awaitable[Any]]) -> Json:
    latencies_s: list[float] = []
    began_s = time.monotonic()
    until_s = began_s + seconds

    async def run() -> None:
        while (now_s := time.monotonic()) < until_s:
            await call()
            latencies_s.append(time.monotonic() - now_s)

    await asyncio.gather(*(run() for _ in range(callers)))
    return summary(began_s, latencies_s)


def security(party: str) -> Any:
    """As the environment says; None: without."""
    told = os.environ.get("TRANSOM_BENCH_SECURITY")
    if told is None:
        return None
    from transom.messaging.secured import Security
    from transom.messaging.secured.folder import CertificateFolder
    from transom.messaging.security.certificates import Identity

    mode, name = told.split()
    folder = Path(name)
    certificate = base64.b64decode((folder / f"{party}.certificate").read_bytes())
    return Security(
        party,
        CertificateFolder(folder),
        mode=mode,  # type: ignore[arg-type]
        suite="public-key",
        identity=Identity.load((folder / f"{party}.identity").read_bytes()),
        certificate=certificate,
        authorities=((folder / "authority").read_bytes(),),
    )


async def main() -> None:
    role, url, *rest = sys.argv[1:]
    party = ".".join(rest) if role == "serve" else "caller.one"
    async with messaging.connect(url, security=security(party)) as transport:
        if role == "serve":
            await serve_async(await start_server(transport, *rest))
        else:
            caller = Caller(transport)
            names = ("calls", "casts", "notify", "once", "sleepers", "load")
            await serve_async({name: getattr(caller, name) for name in names})


if os.environ.get("TRANSOM_BENCH_UVLOOP"):
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
