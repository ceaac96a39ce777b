# SPDX-License-Identifier: Apache-2.0
"""A session recorded at a broker gives the same bytes and the same events, however it is cut."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pamqp.frame
import pytest

from transom.messaging.proto.amqp import Connection, Event

from support.amqp_session import SETTINGS, Step, loaded

RECORDING = Path(__file__).with_name("session.txt").read_text()

Cut = Callable[[bytes], Iterator[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    for byte in data:
        yield bytes((byte,))


def randomly(seed: int) -> Cut:
    chance = random.Random(seed)

    def cut(data: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(data):
            end = at + chance.choice([1, 2, 7, 8, 19, 100, 5000])
            yield data[at:end]
            at = end

    return cut


def played(step: Step, connection: Connection, cut: Cut) -> list[Event]:
    step.act(connection)
    return [event for piece in cut(step.read) for event in connection.receive(piece)]


@pytest.mark.parametrize(
    "cut",
    [whole, bytewise, *(randomly(seed) for seed in range(5))],
    ids=["whole", "bytewise", *(f"seed{seed}" for seed in range(5))],
)
def test_the_recorded_session_is_told_again(cut: Cut) -> None:
    connection = Connection(SETTINGS)
    for step in loaded(RECORDING):
        events = played(step, connection, cut)
        assert [repr(event) for event in events] == step.events, step.name
        assert bytes(connection.take()) == step.written, step.name


def test_both_sides_of_the_recording_are_read_by_pamqp() -> None:
    recorded = loaded(RECORDING)
    names = []
    for side in ("written", "read"):
        data = b"".join(getattr(step, side) for step in recorded)
        while data:
            used, _, found = pamqp.frame.unmarshal(data)
            names.append(found.name)
            data = data[used:]
    for name in (
        "Connection.StartOk",
        "Basic.Return",
        "Basic.Deliver",
        "Basic.Nack",
        "Basic.Cancel",
        "Channel.CloseOk",
        "Connection.CloseOk",
        "ContentBody",
    ):
        assert name in names
