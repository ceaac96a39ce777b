# SPDX-License-Identifier: Apache-2.0
"""Load on other queues, each in its own protocol on raw streams (PostgreSQL: asyncpg).

Reads {kind, address, what, connections, seconds} as JSON from its input, prints what it measured.
`what`: `prepare`, `post` (batches of 20, the next once all are acknowledged) or `take` (up to 20 at
once, acknowledged or deleted; until the time is up or nothing waits any more).
"""

import asyncio
import json
import sys
import time
from typing import Any, Protocol

import asyncpg
import uvloop

from transom.messaging.proto.amqp import (
    Answered,
    BasicConsume,
    BasicQos,
    Confirmed,
    ConfirmSelect,
    Connection,
    Delivered,
    Event,
    Opened,
    Properties,
    QueueDeclare,
    Settings,
)

BATCH = 20
BODY = b'"' + b"x" * 138 + b'"'
QUIET_S = 0.5
"""A consumer that hears nothing for so long has emptied the queue."""


class Contender(Protocol):
    """One connection."""

    async def open(self, address: str) -> None: ...

    async def prepare(self) -> None: ...

    async def post(self) -> None: ...

    async def take(self) -> int: ...


class Stream:
    """A connection of bytes, by host:port or the path of a socket."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def open(self, address: str) -> None:
        if address.startswith("/"):
            self.reader, self.writer = await asyncio.open_unix_connection(address)
        else:
            host, _, port = address.partition(":")
            self.reader, self.writer = await asyncio.open_connection(host, int(port))

    async def line(self) -> bytes:
        return await self.reader.readuntil(b"\r\n")


class Beanstalkd(Stream):
    PUT = b"put 100 0 60 %d\r\n%s\r\n" % (len(BODY), BODY)

    async def prepare(self) -> None:
        pass

    async def post(self) -> None:
        self.writer.write(self.PUT * BATCH)
        for _ in range(BATCH):
            assert (await self.line()).startswith(b"INSERTED")

    async def take(self) -> int:
        self.writer.write(b"reserve-with-timeout 0\r\n" * BATCH)
        ids = []
        for _ in range(BATCH):
            words = (await self.line()).split()
            if words[0] == b"RESERVED":
                ids.append(words[1])
                await self.reader.readexactly(int(words[2]) + 2)
        self.writer.write(b"".join(b"delete %s\r\n" % one for one in ids))
        for _ in ids:
            assert await self.line() == b"DELETED\r\n"
        return len(ids)


class Redis(Stream):
    """A stream with one group of consumers."""

    @staticmethod
    def command(*words: bytes) -> bytes:
        told = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        return b"*%d\r\n%s" % (len(words), told)

    async def answer(self) -> Any:
        line = await self.line()
        kind, text = line[:1], line[1:-2]
        if kind == b"$":
            size = int(text)
            return None if size < 0 else (await self.reader.readexactly(size + 2))[:-2]
        if kind == b"*":
            return None if int(text) < 0 else [await self.answer() for _ in range(int(text))]
        assert kind != b"-", text
        return text

    async def prepare(self) -> None:
        self.writer.write(self.command(b"XGROUP", b"CREATE", b"s", b"g", b"0", b"MKSTREAM"))
        await self.answer()

    async def post(self) -> None:
        self.writer.write(self.command(b"XADD", b"s", b"*", b"b", BODY) * BATCH)
        for _ in range(BATCH):
            await self.answer()

    async def take(self) -> int:
        number = str(BATCH).encode()
        words = (b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", number, b"STREAMS", b"s", b">")
        self.writer.write(self.command(*words))
        found = await self.answer()
        if not found:
            return 0
        ids = [one[0] for one in found[0][1]]
        self.writer.write(
            self.command(b"XACK", b"s", b"g", *ids) + self.command(b"XDEL", b"s", *ids)
        )
        await self.answer()
        await self.answer()
        return len(ids)


class Nats(Stream):
    """A JetStream on files; its acknowledgement comes before any fsync."""

    async def open(self, address: str) -> None:
        await super().open(address)
        await self.line()
        self._inbox = b"_INBOX.%d" % id(self)
        self.writer.write(b'CONNECT {"verbose":false}\r\nSUB %s 1\r\n' % self._inbox)

    def published(self, subject: bytes, body: bytes) -> bytes:
        return b"PUB %s %s %d\r\n%s\r\n" % (subject, self._inbox, len(body), body)

    async def message(self) -> bytes:
        while True:
            line = await self.line()
            if line.startswith(b"PING"):
                self.writer.write(b"PONG\r\n")
            elif line.startswith(b"MSG"):
                return (await self.reader.readexactly(int(line.split()[-1]) + 2))[:-2]

    async def prepare(self) -> None:
        stream = {"name": "S", "subjects": ["q"], "storage": "file", "retention": "workqueue"}
        self.writer.write(self.published(b"$JS.API.STREAM.CREATE.S", json.dumps(stream).encode()))
        assert b'"error"' not in await self.message()

    async def post(self) -> None:
        self.writer.write(self.published(b"q", BODY) * BATCH)
        for _ in range(BATCH):
            assert b'"seq"' in await self.message()

    async def take(self) -> int:
        raise NotImplementedError("only its posts are measured")


class Rabbit(Stream):
    """A quorum queue; published with confirms, consumed with 20 ahead, acknowledged in batches."""

    PERSISTENT = Properties(delivery_mode=2)

    async def open(self, address: str) -> None:
        host, _, vhost = address.partition("/")
        await super().open(host)
        self._connection = Connection(Settings(vhost=vhost))
        self._connection.start()
        await self.until(Opened)
        self._channel = self._connection.open_channel()
        self._consuming = False
        self._connection.request(self._channel, ConfirmSelect())
        await self.until(Answered)

    async def heard(self) -> list[Event]:
        self.writer.write(bytes(self._connection.take()))
        data = await self.reader.read(262_144)
        assert data, "RabbitMQ has closed the connection"
        return self._connection.receive(data)

    async def until(self, kind: type) -> None:
        while not any(isinstance(event, kind) for event in await self.heard()):
            pass

    async def prepare(self) -> None:
        queue = QueueDeclare(queue="q", durable=True, arguments={"x-queue-type": "quorum"})
        self._connection.request(self._channel, queue)
        await self.until(Answered)

    async def post(self) -> None:
        for _ in range(BATCH):
            self._connection.publish(self._channel, "", "q", self.PERSISTENT, BODY)
        left = BATCH
        while left:
            for event in await self.heard():
                if isinstance(event, Confirmed):
                    assert event.ok
                    left -= len(event.tags)

    async def take(self) -> int:
        if not self._consuming:
            self._consuming = True
            self._connection.request(self._channel, BasicQos(prefetch_count=BATCH))
            self._connection.request(self._channel, BasicConsume(queue="q"))
        try:
            events = await asyncio.wait_for(self.heard(), QUIET_S)
        except TimeoutError:
            return 0
        tags = [event.delivery_tag for event in events if isinstance(event, Delivered)]
        if tags:
            self._connection.acknowledge(self._channel, tags[-1], multiple=True)
            self.writer.write(bytes(self._connection.take()))
        return len(tags) if tags or not events else -1


class Postgres:
    """A table, `for update skip locked` and a delete: what one writes without a queue."""

    TABLE = """
        create table m (
          id bigserial primary key, body bytea not null, claim uuid,
          until timestamptz not null default '-infinity'
        );
    """
    INSERT = "insert into m (body) select $1::bytea from generate_series(1, $2::int)"
    CLAIM = """
        update m set claim = gen_random_uuid(), until = now() + interval '300 s' where id in (
          select id from m where until < now() order by id limit $1 for update skip locked
        ) returning id, body
    """

    async def open(self, address: str) -> None:
        self._link = await asyncpg.connect(address)

    async def prepare(self) -> None:
        await self._link.execute(self.TABLE)

    async def post(self) -> None:
        await self._link.execute(self.INSERT, BODY, BATCH)

    async def take(self) -> int:
        rows = await self._link.fetch(self.CLAIM, BATCH)
        if rows:
            await self._link.execute("delete from m where id = any($1::bigint[])", [
                row["id"] for row in rows
            ])  # fmt: skip
        return len(rows)


KINDS: dict[str, type[Contender]] = {
    "beanstalkd": Beanstalkd,
    "redis": Redis,
    "nats": Nats,
    "rabbitmq": Rabbit,
    "postgresql": Postgres,
}


async def main(told: dict[str, Any]) -> dict[str, Any]:
    links = [KINDS[told["kind"]]() for _ in range(told["connections"])]
    for link in links:
        await link.open(told["address"])
    if told["what"] == "prepare":
        await links[0].prepare()
        return {}
    messages = 0
    began_s = last_s = time.perf_counter()
    until_s = began_s + told["seconds"]

    async def work(link: Contender) -> None:
        nonlocal messages, last_s
        while time.perf_counter() < until_s:
            if told["what"] == "post":
                await link.post()
                number = BATCH
            elif not (number := await link.take()):
                return
            messages += max(number, 0)
            last_s = time.perf_counter()

    await asyncio.gather(*(work(link) for link in links))
    return {"messages": messages, "messages_per_s": messages / (last_s - began_s)}


print(json.dumps(uvloop.run(main(json.load(sys.stdin)))))
