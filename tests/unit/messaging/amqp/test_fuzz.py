# SPDX-License-Identifier: Apache-2.0
"""Whatever a server sends, a connection ends its reading, raises nothing and stays small."""

import random
import tracemalloc
from pathlib import Path

import pytest

from transom.messaging.proto.amqp import (
    BasicConsume,
    BasicGet,
    Closed,
    Connection,
    Event,
    NotOpen,
    QueueDeclare,
    State,
)
from transom.messaging.proto.amqp.frames import method_frame
from transom.messaging.proto.amqp.methods import METHODS, BasicDeliver, BasicReturn, ChannelClose

from support.amqp_peer import content, frame, header, told, with_channel
from support.amqp_session import SETTINGS, loaded

STEPS = loaded(Path(__file__).with_name("session.txt").read_text())
SEEDS = range(40)


def fed(connection: Connection, data: bytes) -> list[Event]:
    """The events, which are in order: nothing after Closed."""
    events = connection.receive(data)
    for event in events[:-1]:
        assert not isinstance(event, Closed)
    if events and isinstance(events[-1], Closed):
        assert connection.state is State.CLOSED
        assert connection.receive(data) == []
    connection.take()
    assert len(connection._pending) <= connection.agreed.frame_max
    return events


def spoilt(data: bytes, chance: random.Random) -> bytes:
    """With some bytes turned, cut out, or put in."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(found) + 1)
        match chance.randrange(4):
            case 0:
                found[at : at + 1] = bytes((chance.randrange(256),))
            case 1:
                found[at : at + 1] = bytes((found[at - 1] ^ 1 << chance.randrange(8),))
            case 2:
                del found[at : at + chance.randint(1, 8)]
            case _:
                found[at:at] = chance.randbytes(chance.randint(1, 8))
    return bytes(found)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_spoilt_session_is_read_to_its_end(seed: int) -> None:
    for turn in (number for number, step in enumerate(STEPS) if step.read):
        chance = random.Random(f"{seed} {turn}")
        connection = Connection(SETTINGS)
        for number, step in enumerate(STEPS):
            if connection.state is State.CLOSED:
                break
            if number and connection.state is not State.OPEN:
                break  # the handshake was spoilt and goes on waiting
            try:
                step.act(connection)
            except NotOpen:
                break  # a channel was closed by what was spoilt
            fed(connection, step.read if number != turn else spoilt(step.read, chance))


def test_every_prefix_of_a_session_is_waited_on() -> None:
    for cut, step in enumerate(STEPS):
        for end in range(0, len(step.read), 1 if len(step.read) < 1000 else 97):
            connection = Connection(SETTINGS)
            for before in STEPS[:cut]:
                before.act(connection)
                fed(connection, before.read)
            step.act(connection)
            events = fed(connection, step.read[:end])
            assert [repr(event) for event in events] == step.events[: len(events)]
            assert connection.state is not State.CLOSED


@pytest.mark.parametrize("seed", SEEDS)
def test_random_frames_are_taken_or_told(seed: int) -> None:
    chance = random.Random(seed)
    numbers = list(METHODS)
    for _ in range(60):
        connection, channel = with_channel(confirms=bool(seed % 2))
        connection.request(channel, QueueDeclare())
        connection.request(channel, BasicConsume(queue="q"))
        connection.request(channel, BasicGet(queue="q"))
        for _ in range(8):
            start = chance.choice(numbers).to_bytes(4, "big")
            payload = start + chance.randbytes(chance.choice([0, 1, 2, 8, 30]))
            kind = chance.choice([1, 1, 1, 2, 3, 8])
            fed(connection, frame(kind, chance.choice([0, 1, 1, 1, 2]), payload))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_bytes_are_taken_or_told(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        connection, _ = with_channel()
        fed(connection, chance.randbytes(chance.randint(0, 300)))
        fed(connection, chance.randbytes(chance.randint(0, 300)))


DELIVER = BasicDeliver(consumer_tag="c", delivery_tag=1, exchange="", routing_key="q")


def kept_bytes(connection: Connection, frames: bytes, times: int) -> int:
    """How much more memory is in use after the frames came so often."""
    tracemalloc.start()
    try:
        for _ in range(times):
            connection.receive(frames)
            connection.take()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_what_was_announced_takes_no_memory_before_it_comes() -> None:
    connection, channel = with_channel()
    frames = method_frame(channel, DELIVER) + header(channel, 2**63)
    assert kept_bytes(connection, frames, 1) < 20_000
    assert kept_bytes(connection, frame(3, channel, b"x" * 100_000), 100) < 20_000
    assert connection.state is State.OPEN


def test_a_body_in_tiny_pieces_takes_the_memory_of_its_bytes() -> None:
    connection, channel = with_channel()
    told(connection, method_frame(channel, DELIVER), header(channel, 1_000_000))
    tiny = frame(3, channel, b"x") * 1000 + frame(3, channel, b"") * 1000
    assert kept_bytes(connection, tiny, 50) < 120_000


def test_a_frame_in_tiny_pieces_is_kept_once() -> None:
    connection, channel = with_channel()
    whole = content(channel, DELIVER, bytes(100_000), piece=100_000)
    tracemalloc.start()
    try:
        pieces = (whole[at : at + 1] for at in range(len(whole)))
        events = [event for piece in pieces for event in connection.receive(piece)]
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(events) == 1
    assert most < 600_000


def test_messages_that_are_all_different_are_not_kept() -> None:
    connection, channel = with_channel()

    def frames(number: int) -> bytes:
        name = f"name{number:010}"
        method = BasicDeliver(consumer_tag=name, delivery_tag=1, exchange=name, routing_key=name)
        return content(channel, method, b"x", coded=b"\x00\x80\x0e" + name.encode())

    for number in range(1500):
        told(connection, frames(number))
    every = b"".join(frames(number) for number in range(1500, 4500))
    assert kept_bytes(connection, every, 1) < 1_000_000


def test_a_server_that_opens_and_closes_for_ever_leaves_nothing() -> None:
    connection, _ = with_channel()
    close = ChannelClose(reply_code=404)

    def turn() -> None:
        number = connection.open_channel()
        connection.publish(number, "", "q", b"\x00\x00", b"")
        told(connection, method_frame(number, close))
        connection.take()

    for _ in range(2100):
        turn()
    tracemalloc.start()
    try:
        for _ in range(500):
            turn()
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()


def test_a_return_to_nobody_is_no_fault() -> None:
    connection, channel = with_channel()
    method = BasicReturn(reply_code=312, exchange="", routing_key="q")
    (event,) = told(connection, content(channel, method, b""))
    assert not isinstance(event, Closed)
