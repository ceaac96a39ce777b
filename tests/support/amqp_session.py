# SPDX-License-Identifier: Apache-2.0
"""A session with a broker that touches most of AMQP, as steps; recorded, and played again.

A recording is a text: `#` a step, `>` bytes that we wrote in it, `<` bytes that the broker wrote,
`=` the events. To record it anew against a broker:

    python -m support.amqp_session HOST PORT > recording        (in the folder tests)
"""

import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from transom.messaging.proto.amqp import (
    Answered,
    BasicCancel,
    BasicConsume,
    BasicGet,
    BasicQos,
    ChannelClosed,
    Closed,
    Confirmed,
    ConfirmSelect,
    Connection,
    ConsumerCancelled,
    Delivered,
    Event,
    ExchangeBind,
    ExchangeDeclare,
    ExchangeDelete,
    ExchangeUnbind,
    Opened,
    Properties,
    QueueBind,
    QueueDeclare,
    QueueDelete,
    QueuePurge,
    QueueUnbind,
    Settings,
    Timestamp,
)

QUEUE = "transom.recorded"
PLAIN = Properties(content_type="text/plain", headers={}, delivery_mode=2, priority=0)
FULL = Properties(
    content_type="application/json", content_encoding="utf-8", priority=1, correlation_id="c",
    headers={"t": True, "n": None, "i": 7, "l": 2**40, "d": 0.5, "s": "text", "x": b"\xff",
             "A": [1, {"F": {}}], "T": Timestamp(1_700_000_000)},
    reply_to="r", expiration="60000", message_id="m", timestamp=1_700_000_000, type="t",
    app_id="a",
)  # fmt: skip
SETTINGS = Settings(client_properties={"product": "Transom"}, frame_max=4096, heartbeat_s=30)


@dataclass
class Step:
    """What is done, and the kinds of events that end it, each so many times."""

    name: str
    act: Callable[[Connection], object]
    until: dict[type[Event], int]
    written: bytes = b""
    read: bytes = b""
    events: list[str] = field(default_factory=list)


def _declare(connection: Connection) -> None:
    for method in (
        QueueDeclare(queue=QUEUE, exclusive=True, arguments={"x-expires": 60_000}),
        ExchangeDeclare(exchange=QUEUE, type="topic", auto_delete=True),
        ExchangeDeclare(exchange=f"{QUEUE}.2", type="fanout", auto_delete=True),
        QueueBind(queue=QUEUE, exchange=QUEUE, routing_key="a.#"),
        QueueBind(queue=QUEUE, exchange=QUEUE, routing_key="b", nowait=True),
        ExchangeBind(destination=QUEUE, source=f"{QUEUE}.2"),
        ConfirmSelect(),
    ):
        connection.request(1, method)


def _publish(connection: Connection) -> None:
    connection.publish(1, QUEUE, "a.b", PLAIN, b"first")
    connection.publish(1, "", QUEUE, FULL, b"")
    connection.publish(1, f"{QUEUE}.2", "a.c", PLAIN, bytes(5000), mandatory=True)


def _consume(connection: Connection) -> None:
    connection.request(1, BasicQos(prefetch_count=5))
    connection.request(1, BasicConsume(queue=QUEUE, consumer_tag="us"))


def _settle(connection: Connection) -> None:
    connection.acknowledge(1, 1)
    connection.reject(1, 2, requeue=True)
    connection.reject(1, 3, requeue=False, multiple=True)


def _undo(connection: Connection) -> None:
    connection.request(1, QueueUnbind(queue=QUEUE, exchange=QUEUE, routing_key="a.#"))
    connection.request(1, ExchangeUnbind(destination=QUEUE, source=f"{QUEUE}.2"))
    connection.request(1, ExchangeDelete(exchange=QUEUE))
    connection.request(1, QueueDelete(queue=QUEUE))


def steps() -> list[Step]:
    """All of it, nothing done yet."""
    return [
        Step("handshake", lambda to: to.start(), {Opened: 1}),
        Step("declare and bind", lambda to: (to.open_channel(), _declare(to)), {Answered: 6}),
        Step("publish confirmed, the last in several frames", _publish, {Confirmed: 3}),
        Step(
            "a mandatory message to nowhere is returned",
            lambda to: to.publish(1, "", "nowhere", FULL, b"x" * 4500, mandatory=True),
            {Confirmed: 1},
        ),
        Step("consume", _consume, {Delivered: 3}),
        Step("acknowledge, requeue, refuse", _settle, {Delivered: 1}),
        Step("cancel", lambda to: to.request(1, BasicCancel(consumer_tag="us")), {Answered: 1}),
        Step(
            "get what there is, then nothing",
            lambda to: (
                to.acknowledge(1, 0, multiple=True),
                to.publish(1, "", QUEUE, PLAIN, b"to get"),
                to.request(1, BasicGet(queue=QUEUE, no_ack=True)),
                to.request(1, BasicGet(queue=QUEUE)),
                to.request(1, QueuePurge(queue=QUEUE)),
            ),
            {Answered: 3, Confirmed: 1},
        ),
        Step(
            "the broker cancels a consumer whose queue goes",
            lambda to: (to.request(1, BasicConsume(queue=QUEUE, consumer_tag="again")), _undo(to)),
            {Answered: 5, ConsumerCancelled: 1},
        ),
        Step(
            "the broker closes a channel",
            lambda to: (
                to.request(1, QueueDeclare(queue=f"{QUEUE}.none", passive=True)),
                to.publish(1, "", QUEUE, PLAIN, b"lost"),
            ),
            {ChannelClosed: 1},
        ),
        Step("a second channel", lambda to: to.open_channel(), {}),
        Step("we close it", lambda to: to.close_channel(2), {ChannelClosed: 1}),
        Step("we close", lambda to: to.close("done"), {Closed: 1}),
    ]


def settled(step: Step, events: list[Event]) -> bool:
    return all(
        _count(kind, events) >= count for kind, count in step.until.items()
    )  # fmt: skip


def _count(kind: type[Event], events: list[Event]) -> int:
    """A Confirmed counts for each tag."""
    found = [event for event in events if isinstance(event, kind)]
    return sum(len(event.tags) if isinstance(event, Confirmed) else 1 for event in found)


def record(host: str, port: int) -> Iterator[Step]:
    """The steps against a broker, with what went over the wire."""
    connection = Connection(SETTINGS)
    with socket.create_connection((host, port), timeout=10) as stream:
        for step in steps():
            step.act(connection)
            events: list[Event] = []
            while True:
                out = bytes(connection.take())
                stream.sendall(out)
                step.written += out
                if settled(step, events):
                    break
                data = stream.recv(65_536)
                step.read += data
                events += connection.receive(data)
            step.events = [repr(event) for event in events]
            yield step


def _hex(mark: str, data: bytes) -> Iterator[str]:
    for at in range(0, len(data), 48):
        yield f"{mark} {data[at : at + 48].hex()}"


def dumped(step: Step) -> str:
    lines = [f"# {step.name}", *_hex(">", step.written), *_hex("<", step.read)]
    return "\n".join([*lines, *(f"= {event}" for event in step.events)]) + "\n"


def loaded(text: str) -> list[Step]:
    """The recorded steps, each with its action."""
    found = steps()
    names = [line[2:] for line in text.splitlines() if line.startswith("# ")]
    assert names == [step.name for step in found]
    at = -1
    for line in text.splitlines():
        mark, _, rest = line.partition(" ")
        if mark == "#":
            at += 1
        elif mark == "=":
            found[at].events.append(rest)
        elif mark == ">":
            found[at].written += bytes.fromhex(rest)
        else:
            found[at].read += bytes.fromhex(rest)
    return found


if __name__ == "__main__":
    for made in record(sys.argv[1], int(sys.argv[2])):
        sys.stdout.write(dumped(made))
