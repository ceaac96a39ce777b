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

from transom.messaging.drivers.base import Address, Delivery, Kind, TransportEvent
from transom.messaging.drivers.zmq import RegistryServer, ZmqDriver
from transom.messaging.testing import send
from transom.messaging.url import TransportURL
from transom.runtime.clock import SystemClock

BEAT_S = 0.2
WAIT_S = 20.0
TOPIC = Address(Kind.TOPIC, "work")
COPY = Address(Kind.FANOUT, "work")


@contextlib.contextmanager
def short_folder():
    folder = Path(tempfile.mkdtemp(prefix="tz"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


async def until(holds: Callable[[], bool], claim: str, within_s: float = WAIT_S) -> None:
    """Polls until it holds. Raises: AssertionError with the claim."""
    deadline_s = asyncio.get_running_loop().time() + within_s
    while not holds():
        assert asyncio.get_running_loop().time() < deadline_s, claim
        await asyncio.sleep(0.01)


class Peer:
    """A driver of this process, what it received and what it was told."""

    def __init__(self, folder: Path) -> None:
        url = TransportURL.parse(f"zmq://{folder}")
        self.driver = ZmqDriver(url, clock=SystemClock(), random=os.urandom, heartbeat_s=BEAT_S)
        self.events: list[TransportEvent] = []
        self.deliveries: list[Delivery] = []
        self.acknowledge = True

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.deliveries]

    @property
    def name(self) -> str:
        return self.driver.reply_address().name

    def told(self, kind: type[TransportEvent], peer: str) -> bool:
        return any(isinstance(event, kind) and event.peer == peer for event in self.events)

    def deliver(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if self.acknowledge:
            delivery.acknowledge()

    async def listen(self, *addresses: Address, prefetch: int = 100):
        return await self.driver.listen(addresses, self.deliver, prefetch=prefetch)

    async def send(
        self, address: Address, body: bytes, *, within_s: float = WAIT_S, mandatory: bool = True
    ) -> None:
        await send(self.driver, address, body, within_s=within_s, mandatory=mandatory)


class Bus:
    """A folder, what was started in it, and a registry in this process if there is one."""

    def __init__(self, folder: Path, beat_s: float) -> None:
        self.folder = folder
        self._beat_s = beat_s
        self.registry: RegistryServer | None = None
        self._stops: list[Callable[[], Awaitable[None]]] = []

    async def start_registry(self) -> RegistryServer:
        self.registry = RegistryServer(self.folder, clock=SystemClock(), heartbeat_s=self._beat_s)
        await self.registry.start()
        self._stops.append(self.registry.stop)
        return self.registry

    async def peer(self) -> Peer:
        peer = Peer(self.folder)
        await peer.driver.start(peer.events.append)
        self._stops.append(peer.driver.stop)
        return peer

    async def process(self, *words: str) -> "Process":
        process = await Process.start(str(self.folder), *words)
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


class Process:
    """`python -m support.zmq_bus ...`; its lines are collected."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []
        self._reading = asyncio.ensure_future(self._read())

    @classmethod
    async def start(cls, *words: str) -> "Process":
        tests = str(Path(__file__).parents[1])
        made = cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "support.zmq_bus",
                *words,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": tests},
            )
        )
        await until(lambda: "ready" in made.lines, "the process got ready")
        return made

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
        messaging.connect(f"zmq://{folder}") as transport,
        messaging.Server(transport, messaging.Target(topic="work", server="s"), [Work()]),
    ):
        print("ready", flush=True)
        await asyncio.Event().wait()


async def take(folder: str) -> None:
    """Prints each message to the topic."""
    peer = Peer(Path(folder))
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
