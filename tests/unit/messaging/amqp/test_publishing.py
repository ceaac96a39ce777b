# SPDX-License-Identifier: Apache-2.0
"""A publish is the frames that pamqp would write, whole or not at all, from bounded memories."""

import pamqp.commands
import pamqp.frame
import pytest

from transom.messaging.proto.amqp import (
    BODY_BYTES_MAX,
    Properties,
    Settings,
    Unencodable,
    encode_properties,
)
from transom.messaging.proto.amqp.memory import ENTRIES_MAX, KEY_BYTES_MAX, Memory
from transom.messaging.proto.amqp.publishing import Coded

from support.amqp_peer import PROPERTIES, opened, sent, with_channel


@pytest.mark.parametrize("size", [0, 1, 4087, 4088, 4089, 8176, 8177, 20_000])
@pytest.mark.parametrize("mandatory", [False, True])
def test_a_publish_is_read_by_pamqp(size: int, mandatory: bool) -> None:
    connection, channel = with_channel(frame_max=4096)
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    connection.publish(channel, "exchange", "key", PROPERTIES, body, mandatory=mandatory)
    data = bytes(connection.take())
    frames = []
    while data:
        used, number, found = pamqp.frame.unmarshal(data)
        assert number == channel
        assert used <= 4096
        frames.append(found)
        data = data[used:]
    method, head, *bodies = frames
    assert isinstance(method, pamqp.commands.Basic.Publish)
    assert (method.exchange, method.routing_key) == ("exchange", "key")
    assert (method.mandatory, method.immediate) == (mandatory, False)
    assert head.body_size == size
    assert head.properties.content_type == "text/plain"
    assert head.properties.headers == {"a": 1}
    assert b"".join(one.value for one in bodies) == body
    assert all(one.value for one in bodies)


def test_the_same_publish_is_the_same_bytes() -> None:
    connection, channel = with_channel()
    written = set()
    for properties in (PROPERTIES, PROPERTIES, encode_properties(PROPERTIES)):
        for body in (b"body", bytearray(b"body"), memoryview(b"body")):
            connection.publish(channel, "e", "k", properties, body)
            written.add(bytes(connection.take()))
    assert len(written) == 1


def test_channels_do_not_share_what_names_the_channel() -> None:
    connection = opened()
    for channel in (connection.open_channel(), connection.open_channel()):
        connection.take()
        connection.publish(channel, "e", "k", PROPERTIES, b"x")
        assert [number for number, _ in sent(connection)] == [channel] * 3


@pytest.mark.parametrize(
    ("routing_key", "properties", "body_bytes"),
    [
        ("x" * 256, PROPERTIES, 0),
        ("k", Properties(priority=256), 0),
        ("k", Properties(headers={"a": b"x" * 131_072}), 0),
        ("k", PROPERTIES, BODY_BYTES_MAX + 1),
    ],
)
def test_what_cannot_be_sent_writes_nothing(
    routing_key: str, properties: Properties, body_bytes: int
) -> None:
    connection, channel = with_channel(confirms=True)
    with pytest.raises(Unencodable):
        connection.publish(channel, "", routing_key, properties, bytes(body_bytes))
    assert connection.take() == b""
    assert connection.publish(channel, "", "k", PROPERTIES, b"") == 1


def test_a_large_message_goes_in_frames_of_the_agreed_size() -> None:
    connection, channel = with_channel(settings=Settings(frame_max=0))
    connection.publish(channel, "", "k", PROPERTIES, bytes(3 * 1024 * 1024))
    _, _, *bodies = sent(connection)
    assert [len(body) for _, body in bodies] == [1_048_568] * 3 + [24]


def test_many_routes_and_properties_are_sent_right_and_forgotten() -> None:
    connection, channel = with_channel()
    for number in range(2 * ENTRIES_MAX + 3):
        properties = Properties(expiration=str(number))
        connection.publish(channel, "", f"key{number}", properties, b"")
        (_, method), (_, head) = sent(connection)
        assert method.routing_key == f"key{number}"
        assert head.endswith(encode_properties(properties))


def test_a_memory_makes_what_it_lacks_and_is_bounded() -> None:
    made: list[bytes] = []

    def make(key: bytes) -> int:
        made.append(key)
        return len(key)

    memory: Memory[bytes, int] = Memory(make)
    long = b"x" * (KEY_BYTES_MAX + 1)
    assert [memory[b"ab"], memory[b"ab"], memory[long], memory[long]] == [2, 2, 257, 257]
    assert made == [b"ab", long, long]
    for number in range(3 * ENTRIES_MAX):
        assert memory[b"%d" % number] == len(str(number))
        assert len(memory) <= ENTRIES_MAX


def test_properties_are_remembered_by_identity_while_they_are_held() -> None:
    coded = Coded()
    large = Properties(headers={"x": "y" * 1000})
    assert coded.bytes_of(large) == encode_properties(large)
    assert not coded._known
    for number in range(3 * ENTRIES_MAX):
        properties = Properties(expiration=str(number))
        assert coded.bytes_of(properties) == encode_properties(properties)
        assert coded.bytes_of(properties) is coded.bytes_of(properties)
        assert len(coded._known) <= ENTRIES_MAX
