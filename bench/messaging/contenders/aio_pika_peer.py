# SPDX-License-Identifier: Apache-2.0
"""Calls written by hand on aio-pika, with the same guarantees: `aio_pika_peer.py serve|call URL`.

Persistent, confirmed, mandatory requests and answers; a request is acknowledged before it is
carried out. None of the rest: no versions, no deadlines, no duplicates, no failures.
"""

import asyncio
import json
import sys
import time
import uuid

import aio_pika
from lines import Counter, serve_async, summary

AT_ONCE = 64


def message(fields, **properties):
    return aio_pika.Message(
        json.dumps(fields).encode(),
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        **properties,
    )


class Server:
    def __init__(self, channel):
        self._exchange = channel.default_exchange
        self.counter = Counter()

    async def take(self, request):
        await request.ack()
        asked = json.loads(request.body)
        if asked["method"] == "count":
            self.counter.add()
            return
        answer = {"result": asked["args"]["x"], "failure": None}
        await self._exchange.publish(
            message(answer, correlation_id=request.correlation_id),
            routing_key=request.reply_to,
            mandatory=True,
        )


async def start_server(url, topic, name):
    connection = await aio_pika.connect(url)
    channel = await connection.channel(publisher_confirms=True)
    await channel.set_qos(AT_ONCE)
    queue = await channel.declare_queue(topic)
    server = Server(channel)
    await queue.consume(server.take)

    async def told():
        return server.counter.told()

    async def reset():
        server.counter.reset()

    return {"told": told, "reset": reset}


class Caller:
    async def start(self, url):
        connection = await aio_pika.connect(url)
        self._channel = await connection.channel(publisher_confirms=True)
        self._waiting = {}
        queue = await self._channel.declare_queue(exclusive=True)
        self._reply_to = queue.name
        await queue.consume(self._answered)

    async def _answered(self, answer):
        await answer.ack()
        waiting = self._waiting.pop(answer.correlation_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(json.loads(answer.body))

    async def _call(self, topic, x):
        correlation_id = uuid.uuid4().hex
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[correlation_id] = waiting
        request = {"method": "echo", "args": {"x": x}, "context": {"request_id": "req-1"}}
        await self._channel.default_exchange.publish(
            message(request, correlation_id=correlation_id, reply_to=self._reply_to),
            routing_key=topic,
            mandatory=True,
        )
        return await asyncio.wait_for(waiting, 60)

    async def calls(self, topic, callers, seconds, x):
        return await timed(callers, seconds, lambda: self._call(topic, x))

    async def casts(self, topic, callers, seconds, x):
        body = {"method": "count", "args": {"x": x}, "context": {"request_id": "req-1"}}
        publish = self._channel.default_exchange.publish
        return await timed(callers, seconds, lambda: publish(message(body), routing_key=topic))


async def timed(callers, seconds, call):
    latencies_s = []
    began_s = time.monotonic()
    until_s = began_s + seconds

    async def run():
        while (now_s := time.monotonic()) < until_s:
            await call()
            latencies_s.append(time.monotonic() - now_s)

    await asyncio.gather(*(run() for _ in range(callers)))
    return summary(began_s, latencies_s)


async def main():
    role, url, *rest = sys.argv[1:]
    if role == "serve":
        await serve_async(await start_server(url, *rest))
    else:
        caller = Caller()
        await caller.start(url)
        await serve_async({"calls": caller.calls, "casts": caller.casts})


asyncio.run(main())
