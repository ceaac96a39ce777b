# SPDX-License-Identifier: Apache-2.0
"""Calls over `zmq://` and `memory://`, beside bare pyzmq sockets doing the same exchange.

    python bench/messaging/zmq_calls.py [--seconds 2] [--rounds 3] [--out FILE]

The calls are `messaging.Client` to `messaging.Server`: envelope, dispatch, deadline, receipts; over
ipc, and over tcp of the loopback, sealed under a bus key (CURVE). The bare peer is a DEALER and a
ROUTER that echo 200 bytes, blocking, without any of it: what the transport itself costs.
`memory://` has both ends in one process: what the calls themselves cost.
Rounds are interleaved; rates and CPU (client plus server, user plus system, zmq's own threads
included) are medians.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop
import zmq

from transom import messaging
from transom.messaging.drivers.zmq import RegistryServer
from transom.messaging.drivers.zmq.key import make_bus_key
from transom.messaging.drivers.zmq.tcp import TcpSeat
from transom.runtime.clock import SystemClock

TEXT = "x" * 200
Sample = tuple[float, float]


class Echo:
    async def echo(self, context: dict[str, Any], text: str) -> str:
        return text


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def serve_transom(url: str, pipe: Connection) -> None:
    async def main() -> None:
        target = messaging.Target(topic="bench", server="s")
        async with (
            messaging.connect(url) as transport,
            messaging.Server(transport, target, [Echo()]),
        ):
            await answer(pipe)

    uvloop.run(main())


async def answer(pipe: Connection) -> None:
    """Tells its CPU time when asked, until the pipe ends."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def asked() -> None:
        try:
            pipe.recv()
            pipe.send(cpu_s())
        except EOFError:
            loop.remove_reader(pipe.fileno())
            ended.set()

    loop.add_reader(pipe.fileno(), asked)
    pipe.send("ready")
    await ended.wait()


def serve_bare(folder: str, pipe: Connection) -> None:
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(f"ipc://{folder}/bare")
    poller = zmq.Poller()
    poller.register(router, zmq.POLLIN)
    poller.register(pipe.fileno(), zmq.POLLIN)
    pipe.send("ready")
    while True:
        ready = dict(poller.poll())
        if router in ready:
            router.send_multipart(router.recv_multipart())
        if pipe.fileno() in ready:
            try:
                pipe.recv()
                pipe.send(cpu_s())
            except EOFError:
                break
    context.destroy(linger=0)


class InMemory:
    """Client and server in this process; their CPU time is ours."""

    def __init__(self) -> None:
        self._transport = messaging.connect("memory://bench")
        target = messaging.Target(topic="bench", server="s")
        self._server = messaging.Server(self._transport, target, [Echo()])
        self.client = messaging.Client(self._transport, messaging.Target(topic="bench"))

    async def start(self) -> None:
        await self._transport.start()
        await self._server.start()

    async def stop(self) -> None:
        await self._transport.stop()

    def cpu_s(self) -> float:
        return 0.0


class Served:
    """A serving process and its CPU time."""

    def __init__(self, serve: Callable[[str, Connection], None], folder: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(folder, theirs))
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def cpu_s(self) -> float:
        self._pipe.send("cpu")
        return float(self._pipe.recv())

    def end(self) -> None:
        self._pipe.close()
        self._process.join(10)


def sampled(served: Served | InMemory, run: Callable[[], tuple[int, float]]) -> Sample:
    """Calls a second, and CPU microseconds a call on both sides."""
    before_s = cpu_s() + served.cpu_s()
    count, took_s = run()
    used_s = cpu_s() + served.cpu_s() - before_s
    return count / took_s, used_s / count * 1e6


def transom_calls(client: messaging.Client, runner: asyncio.Runner, callers: int, seconds: float):
    async def main() -> tuple[int, float]:
        count = 0
        until_s = time.perf_counter() + seconds

        async def caller() -> None:
            nonlocal count
            while time.perf_counter() < until_s:
                await client.call({}, "echo", text=TEXT)
                count += 1

        started_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(caller())
        return count, time.perf_counter() - started_s

    return lambda: runner.run(main())


def bare_calls(dealer: "zmq.Socket[bytes]", callers: int, seconds: float):
    body = TEXT.encode()

    def main() -> tuple[int, float]:
        count = 0
        started_s = time.perf_counter()
        until_s = started_s + seconds
        for _ in range(callers):
            dealer.send(body)
        while time.perf_counter() < until_s:
            dealer.recv()
            dealer.send(body)
            count += 1
        for _ in range(callers):
            dealer.recv()
        return count + callers, time.perf_counter() - started_s

    return main


def measure(folder: str, seconds: float, rounds: int) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        key_file = f"{folder}/bus.key"
        make_bus_key(Path(key_file))
        registry = RegistryServer(Path(folder), clock=SystemClock())
        sealed_registry = RegistryServer(TcpSeat("127.0.0.1:0", key_file), clock=SystemClock())
        runner.run(registry.start())
        runner.run(sealed_registry.start())
        sealed_url = f"zmq://{sealed_registry.address}/?key_file={key_file}"
        transom, sealed, bare = _started(runner, folder, sealed_url)
        transport = messaging.connect(f"zmq://{folder}")
        sealed_transport = messaging.connect(sealed_url)
        runner.run(transport.start())
        runner.run(sealed_transport.start())
        client = messaging.Client(transport, messaging.Target(topic="bench"))
        sealed_client = messaging.Client(sealed_transport, messaging.Target(topic="bench"))
        memory = InMemory()
        runner.run(memory.start())
        context = zmq.Context()
        dealer = context.socket(zmq.DEALER)
        dealer.connect(f"ipc://{folder}/bare")
        for _ in range(rounds):
            for callers in (1, 64):
                run = transom_calls(client, runner, callers, seconds)
                samples.setdefault(f"transom, {callers}", []).append(sampled(transom, run))
                run = transom_calls(sealed_client, runner, callers, seconds)
                name = f"transom over sealed tcp, {callers}"
                samples.setdefault(name, []).append(sampled(sealed, run))
                run = transom_calls(memory.client, runner, callers, seconds)
                name = f"transom over memory, {callers}"
                samples.setdefault(name, []).append(sampled(memory, run))
                run = bare_calls(dealer, callers, seconds)
                samples.setdefault(f"bare pyzmq, {callers}", []).append(sampled(bare, run))
        context.destroy(linger=0)
        runner.run(memory.stop())
        runner.run(sealed_transport.stop())
        runner.run(_stopped(transport, registry, transom, bare, sealed))
        runner.run(sealed_registry.stop())
    return samples


async def _stopped(
    transport: messaging.Transport, registry: RegistryServer, *served: Served
) -> None:
    await transport.stop()
    for one in served:
        await asyncio.to_thread(one.end)
    await registry.stop()


def _started(runner: asyncio.Runner, folder: str, sealed_url: str) -> tuple[Served, Served, Served]:
    async def main() -> tuple[Served, Served, Served]:
        # In threads: the serving processes register with the registries of this loop.
        return (
            await asyncio.to_thread(Served, serve_transom, f"zmq://{folder}"),
            await asyncio.to_thread(Served, serve_transom, sealed_url),
            await asyncio.to_thread(Served, serve_bare, folder),
        )

    return runner.run(main())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench/results/zmq_calls.json"))
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="tz")
    try:
        samples = measure(folder, options.seconds, options.rounds)
    finally:
        shutil.rmtree(folder)
    result: dict[str, Any] = {
        "python": platform.python_version(),
        "pyzmq": zmq.__version__,
        "cores": os.cpu_count(),
        "callers": {},
    }
    for name, taken in samples.items():
        peer, callers = name.split(", ")
        result["callers"].setdefault(callers, {})[peer] = {
            "calls_per_s": round(statistics.median(rate for rate, _ in taken)),
            "cpu_us_per_call": round(statistics.median(cpu for _, cpu in taken), 1),
        }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
