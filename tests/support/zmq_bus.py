"""A zmq bus for tests: a short folder, drivers that end with it, servers that can be killed."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from transom.messaging.drivers.base import Address, Kind, TransportEvent
from transom.messaging.drivers.zmq import RegistryServer, ZmqDriver
from transom.messaging.drivers.zmq.key import make_bus_key
from transom.messaging.drivers.zmq.tcp import TcpSeat
from transom.messaging.url import TransportURL
from transom.runtime.clock import SystemClock

from support.driver_peer import DriverPeer, until

BEAT_S = 0.2
TOPIC = Address(Kind.TOPIC, "work")
COPY = Address(Kind.FANOUT, "work")


@contextlib.contextmanager
def short_folder():
    folder = Path(tempfile.mkdtemp(prefix="tz"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def bus_url(where: Path | str) -> str:
    """Of a folder, or an address as it is."""
    return str(where) if str(where).startswith("zmq:") else f"zmq://{where}"


class Peer(DriverPeer):
    """A driver of this process, what it received and what it was told."""

    def __init__(self, where: Path | str) -> None:
        url = TransportURL.parse(bus_url(where))
        super().__init__(ZmqDriver(url, clock=SystemClock(), random=os.urandom, heartbeat_s=BEAT_S))

    @property
    def name(self) -> str:
        return self.driver.reply_address().name

    def told(self, kind: type[TransportEvent], peer: str) -> bool:
        return any(isinstance(event, kind) and event.peer == peer for event in self.events)


class Bus:
    """A folder, what was started in it, and a registry in this process if there is one.

    `where`: the folder, or the address of a bus over tcp.
    """

    def __init__(self, folder: Path, beat_s: float) -> None:
        self.folder = folder
        self.where: Path | str = folder
        self._beat_s = beat_s
        self.registry: RegistryServer | None = None
        self.registries: list[RegistryServer] = []
        self._stops: list[Callable[[], Awaitable[None]]] = []

    async def start_registry(self) -> RegistryServer:
        self.registry = RegistryServer(self.folder, clock=SystemClock(), heartbeat_s=self._beat_s)
        await self.registry.start()
        self._stops.append(self.registry.stop)
        return self.registry

    async def serve_registry(self, address: str) -> RegistryServer:
        """Over tcp."""
        seat = TcpSeat(address, str(self.folder / "bus.key"), heartbeat_s=self._beat_s)
        registry = RegistryServer(seat, clock=SystemClock(), heartbeat_s=self._beat_s)
        await registry.start()
        self.registries.append(registry)
        self._stops.append(registry.stop)
        return registry

    async def peer(self) -> Peer:
        peer = Peer(self.where)
        await peer.driver.start(peer.events.append)
        self._stops.append(peer.driver.stop)
        return peer

    async def process(self, *words: str) -> "Process":
        process = await Process.start(str(self.where), *words)
        self._stops.append(process.end)
        return process

    async def stop(self) -> None:
        for stop in reversed(self._stops):
            await stop()


@asynccontextmanager
async def zmq_bus(*, registry: bool = True, beat_s: float = BEAT_S) -> AsyncIterator[Bus]:
    with short_folder() as folder:
        bus = Bus(folder, beat_s)
        try:
            if registry:
                await bus.start_registry()
            yield bus
        finally:
            await bus.stop()


@asynccontextmanager
async def tcp_bus(*, registries: int = 1, beat_s: float = BEAT_S) -> AsyncIterator[Bus]:
    """On the loopback, its registries in this process, and sure of who is there."""
    with short_folder() as folder:
        key_file = folder / "bus.key"
        make_bus_key(key_file)
        bus = Bus(folder, beat_s)
        try:
            for _ in range(registries):
                await bus.serve_registry("127.0.0.1:0")
            hosts = ",".join(registry.address for registry in bus.registries)
            bus.where = f"zmq://{hosts}/?key_file={key_file}"
            await until(
                lambda: all(registry.snapshot().settled for registry in bus.registries),
                "the registries have settled",
            )
            yield bus
        finally:
            await bus.stop()


class Process:
    """`python -m support.zmq_bus ...`; its lines are collected."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []
        self._reading = asyncio.ensure_future(self._read())

    @classmethod
    async def start(cls, *words: str, module: str = "support.zmq_bus", host: str = "") -> "Process":
        """`host`: the network namespace that it runs in; ours if there is none."""
        tests = str(Path(__file__).parents[1])
        made = cls(
            await asyncio.create_subprocess_exec(
                *(("ip", "netns", "exec", host) if host else ()),
                sys.executable,
                "-m",
                module,
                *words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": tests},
            )
        )
        await until(lambda: "ready" in made.lines, "the process got ready")
        return made

    async def ask(self, line: str) -> str:
        """The next line that it answers a line with."""
        assert self._process.stdin is not None
        seen = len(self.lines)
        self._process.stdin.write(f"{line}\n".encode())
        await until(lambda: len(self.lines) > seen, f"{line} was answered")
        return self.lines[seen]

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def end(self) -> None:
        """Kills it, if it lives."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode().strip())


class Work:
    """The endpoint of a serving process. Says when it carries a call out after its deadline."""

    def __init__(self) -> None:
        self.clock = SystemClock()

    async def work(self, context: object, until_s: float, busy_s: float = 0.0) -> int:
        if self.clock.monotonic_s() > until_s:
            print("late", flush=True)
        if busy_s:
            await asyncio.sleep(busy_s)
        return os.getpid()


async def serve(folder: str) -> None:
    """Calls to `work`, by `messaging.Server`."""
    from transom import messaging

    async with (
        messaging.connect(bus_url(folder)) as transport,
        messaging.Server(transport, messaging.Target(topic="work", server="s"), [Work()]),
    ):
        print("ready", flush=True)
        await asyncio.Event().wait()


async def take(folder: str) -> None:
    """Prints each message to the topic."""
    peer = Peer(folder)
    await peer.driver.start(lambda event: print(event, flush=True))
    peer.deliver = lambda delivery: print(f"got {delivery.body.decode()}", flush=True)  # type: ignore[method-assign]
    await peer.listen(TOPIC, COPY, prefetch=100_000)
    print("ready", flush=True)
    await asyncio.Event().wait()


async def registry(folder: str, beat_s: str) -> None:
    """A registry."""
    server = RegistryServer(Path(folder), clock=SystemClock(), heartbeat_s=float(beat_s))
    await server.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(
        {"serve": serve, "take": take, "registry": registry}[sys.argv[2]](
            sys.argv[1], *sys.argv[3:]
        )
    )
