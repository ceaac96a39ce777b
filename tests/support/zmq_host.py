"""A process on one of several hosts: `python -m support.zmq_host ADDRESS ROLE ...`.

Roles: `registry HOST:PORT KEY_FILE`, `serve TOPIC`, `call`, which reads lines `TOPIC SECONDS` and
answers each with what became of calls made for that long; `TOPIC 0 BUSY_S` is one call that takes
as long as that; `table VERB SOURCE [EPOCH]`, which is as `support.table_process`.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter

from transom import messaging
from transom.errors import MessagingError
from transom.messaging.drivers.base import Connected, Disconnected
from transom.messaging.drivers.zmq import RegistryServer, ZmqDriver
from transom.messaging.drivers.zmq.tcp import TcpSeat
from transom.messaging.transport import Transport
from transom.messaging.url import TransportURL
from transom.runtime.clock import SystemClock

from support.table_process import answering
from support.zmq_bus import Work

BEAT_S = 0.3
TIMEOUT_S = 1.0
CALLERS = 8


def transport_of(address: str) -> Transport:
    url, clock = TransportURL.parse(address), SystemClock()
    driver = ZmqDriver(url, clock=clock, random=os.urandom, heartbeat_s=BEAT_S)
    return Transport(url, driver, clock=clock, random=os.urandom)


async def registry(address: str, where: str, key_file: str) -> None:
    seat = TcpSeat(where, key_file, heartbeat_s=BEAT_S)
    await RegistryServer(seat, clock=SystemClock(), heartbeat_s=BEAT_S).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


class Counted(Work):
    """Says how long ago a call ended when it is begun: more than nothing is wrong."""

    async def work(self, context: object, until_s: float, busy_s: float = 0.0) -> int:
        # The hosts of the test share one kernel, so one clock; the driver does not know.
        if time.monotonic() > until_s + 0.25:
            print(f"late {time.monotonic() - until_s:.3f}", flush=True)
        await asyncio.sleep(busy_s)
        return os.getpid()


async def serve(address: str, topic: str) -> None:
    target = messaging.Target(topic=topic, server=f"{topic}-{os.getpid()}")
    async with (
        transport_of(address) as transport,
        messaging.Server(transport, target, [Counted()]),
    ):
        print("ready", flush=True)
        async for event in transport.events():
            if isinstance(event, Connected | Disconnected):
                print(f"{type(event).__name__} {event.peer}", flush=True)


async def call(address: str) -> None:
    async with transport_of(address) as transport:
        print("ready", flush=True)
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async for line in reader:
            topic, *numbers = line.decode().split()
            print(json.dumps(await load(transport, topic, *map(float, numbers))), flush=True)


async def load(
    transport: Transport, topic: str, seconds: float, busy_s: float = 0.0
) -> dict[str, object]:
    """`answered`, `failed` by kind, `longest_s` of one call."""
    timeout_s = TIMEOUT_S + busy_s
    client = messaging.Client(transport, messaging.Target(topic=topic), timeout_s=timeout_s)
    failed: Counter[str] = Counter()
    answered, longest_s = 0, 0.0
    end_s = time.monotonic() + seconds

    async def caller() -> None:
        nonlocal answered, longest_s
        while (started_s := time.monotonic()) < end_s or busy_s:
            try:
                await client.call({}, "work", until_s=started_s + timeout_s, busy_s=busy_s)
                answered += 1
            except MessagingError as error:
                failed[f"{type(error).__name__}: {error}"] += 1
            longest_s = max(longest_s, time.monotonic() - started_s)
            if busy_s:
                break
            await asyncio.sleep(0.01)

    await asyncio.gather(*(caller() for _ in range(1 if busy_s else CALLERS)))
    return {"answered": answered, "failed": dict(failed), "longest_s": longest_s}


async def table(address: str, verb: str, source: str, *epoch: str) -> None:
    async with transport_of(address) as transport:
        await answering(transport, verb, source, *map(int, epoch))


if __name__ == "__main__":
    role = {"registry": registry, "serve": serve, "call": call, "table": table}[sys.argv[2]]
    asyncio.run(role(sys.argv[1], *sys.argv[3:]))
