# SPDX-License-Identifier: Apache-2.0
"""Load on a queue as a Python service makes it: through the client that one takes for each.

Reads {kind, address, what, workers, seconds} as JSON from its input, prints what it measured.
`what`: `post` (20 messages, the next 20 once all are acknowledged) or `take` (up to 20, each of
them acknowledged or all deleted; until the time is up or nothing waits any more). Each worker has a
connection of its own, as far as its client has such. Libraries are loaded where they are used: the
peers' are in an environment of their own.
"""

import asyncio
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

BATCH = 20
TEXT = "x" * 138
BODY = f'"{TEXT}"'.encode()
QUIET_S = 0.5
"""Who hears nothing for so long has emptied the queue."""


class Worker(Protocol):
    """One of those that post or take at the same time."""

    async def open(self, address: str) -> None: ...

    async def post(self) -> None: ...

    async def take(self) -> int: ...


class Transom:
    """transom.queue.client; `address`: the URL and a token, with a space between."""

    async def open(self, address: str) -> None:
        from transom.queue.client import New, connect

        url, token = address.split()
        self._queues = connect(url=url, token=token)
        await self._queues.start()
        self._queue = self._queues.queue("clients")
        self._new = [New(TEXT)] * BATCH

    async def post(self) -> None:
        await self._queue.post_many(self._new)

    async def take(self) -> int:
        async with self._queue.claim(limit=BATCH, ttl=300) as claim:
            taken = claim.messages
            if taken:
                await claim.delete(*taken)
        return len(taken)


class Redis:
    """redis-py: a stream with one group; batches in a pipeline."""

    async def open(self, address: str) -> None:
        from redis.asyncio import Redis as Client
        from redis.exceptions import ResponseError

        self._link = Client(unix_socket_path=address)
        with suppress(ResponseError):  # another worker was first
            await self._link.xgroup_create("clients", "g", mkstream=True)

    async def post(self) -> None:
        several = self._link.pipeline(transaction=False)
        for _ in range(BATCH):
            several.xadd("clients", {"b": BODY})
        await several.execute()

    async def take(self) -> int:
        found = await self._link.xreadgroup("g", "c", {"clients": ">"}, count=BATCH)
        if not found:
            return 0
        stream = found[b"clients"] if isinstance(found, dict) else found[0][1]
        entries = stream[0] if isinstance(found, dict) else stream
        ids = [entry[0] for entry in entries]
        several = self._link.pipeline(transaction=False)
        several.xack("clients", "g", *ids)
        several.xdel("clients", *ids)
        await several.execute()
        return len(ids)


class Nats:
    """nats-py: a stream on files, a pull consumer."""

    async def open(self, address: str) -> None:
        import nats
        from nats.js.api import RetentionPolicy, StorageType, StreamConfig

        self._link = await nats.connect(f"nats://{address}")
        self._stream = self._link.jetstream()
        await self._stream.add_stream(
            StreamConfig("CLIENTS", subjects=["clients"], storage=StorageType.FILE,
                         retention=RetentionPolicy.WORK_QUEUE)
        )  # fmt: skip
        self._pull: Any = None

    async def post(self) -> None:
        publish = self._stream.publish
        await asyncio.gather(*(publish("clients", BODY) for _ in range(BATCH)))

    async def take(self) -> int:
        if self._pull is None:
            self._pull = await self._stream.pull_subscribe("clients", durable="d")
        try:
            messages = await self._pull.fetch(BATCH, timeout=QUIET_S)
        except TimeoutError:
            return 0
        await asyncio.gather(*(message.ack() for message in messages))
        return len(messages)


class Rabbit:
    """aio-pika: a quorum queue, publisher confirms, 20 ahead, each acknowledged."""

    async def open(self, address: str) -> None:
        import aio_pika

        self._pika = aio_pika
        self._link = await aio_pika.connect(f"amqp://guest:guest@{address}")
        self._channel = await self._link.channel(publisher_confirms=True)
        await self._channel.set_qos(prefetch_count=BATCH)
        self._queue = await self._channel.declare_queue(
            "clients", durable=True, arguments={"x-queue-type": "quorum"}
        )
        self._messages: Any = None

    async def post(self) -> None:
        publish, pika = self._channel.default_exchange.publish, self._pika
        await asyncio.gather(*(
            publish(pika.Message(BODY, delivery_mode=pika.DeliveryMode.PERSISTENT), "clients")
            for _ in range(BATCH)
        ))  # fmt: skip

    async def take(self) -> int:
        if self._messages is None:
            self._messages = self._queue.iterator(timeout=QUIET_S)
            await self._messages.consume()
        try:
            message = await anext(self._messages)
        except (StopAsyncIteration, TimeoutError):
            return 0
        await message.ack()
        return 1


class Beanstalkd:
    """greenstalk, which blocks: a thread for each worker, and no batches."""

    async def open(self, address: str) -> None:
        import greenstalk

        host, _, port = address.partition(":")
        self._late = greenstalk.TimedOutError
        self._link = await asyncio.to_thread(greenstalk.Client, (host, int(port)))

    async def post(self) -> None:
        def put() -> None:
            for _ in range(BATCH):
                self._link.put(BODY)

        await asyncio.to_thread(put)

    async def take(self) -> int:
        def reserve() -> int:
            for number in range(BATCH):
                try:
                    job = self._link.reserve(timeout=0)
                except self._late:
                    return number
                self._link.delete(job)
            return BATCH

        return await asyncio.to_thread(reserve)


KINDS: dict[str, type[Worker]] = {
    "transom": Transom,
    "beanstalkd": Beanstalkd,
    "redis": Redis,
    "nats": Nats,
    "rabbitmq": Rabbit,
}


async def main(told: dict[str, Any]) -> dict[str, Any]:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(told["workers"]))
    workers = [KINDS[told["kind"]]() for _ in range(told["workers"])]
    for worker in workers:
        await worker.open(told["address"])
    messages = 0
    began_s = last_s = time.perf_counter()
    until_s = began_s + told["seconds"]

    async def work(worker: Worker) -> None:
        nonlocal messages, last_s
        while time.perf_counter() < until_s:
            if told["what"] == "post":
                await worker.post()
                number = BATCH
            elif not (number := await worker.take()):
                return
            messages += number
            last_s = time.perf_counter()

    await asyncio.gather(*map(work, workers))
    return {"messages": messages, "messages_per_s": messages / (last_s - began_s)}


print(json.dumps(asyncio.run(main(json.load(sys.stdin)))), flush=True)
os._exit(0)  # connections that are still open, and their threads, are not waited for
