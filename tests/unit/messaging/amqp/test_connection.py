# SPDX-License-Identifier: Apache-2.0
"""A connection opens, agrees, beats, closes from either side, and says what was wrong."""

import math
import struct

import pytest

from transom.messaging.proto.amqp import (
    Blocked,
    Closed,
    Connection,
    NotOpen,
    Opened,
    Settings,
    State,
    Table,
    Unblocked,
    Unencodable,
)
from transom.messaging.proto.amqp.frames import HEARTBEAT_FRAME, method_frame
from transom.messaging.proto.amqp.heart import Heart, Pulse
from transom.messaging.proto.amqp.methods import (
    BasicDeliver,
    ChannelOpen,
    ConnectionBlocked,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionSecure,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    ConnectionUnblocked,
    Method,
)

from support.amqp_peer import content, frame, header, opened, sent, told, with_channel

START = method_frame(0, ConnectionStart(mechanisms=b"AMQPLAIN PLAIN EXTERNAL"))


def started(**settings: object) -> Connection:
    connection = Connection(Settings(**settings))  # type: ignore[arg-type]
    connection.start()
    assert bytes(connection.take()) == b"AMQP\x00\x00\x09\x01"
    return connection


@pytest.mark.parametrize(
    ("mechanism", "response"),
    [
        ("PLAIN", b"\0me\0secret"),
        (
            "AMQPLAIN",
            b"\x05LOGINS\x00\x00\x00\x02me\x08PASSWORDS\x00\x00\x00\x06secret",
        ),
        ("EXTERNAL", b""),
    ],
)
def test_the_handshake_goes_step_by_step(mechanism: str, response: bytes) -> None:
    connection = started(username="me", password="secret", vhost="there", mechanism=mechanism)
    assert told(connection, START) == []
    ((_, start_ok),) = sent(connection)
    assert isinstance(start_ok, ConnectionStartOk)
    assert (start_ok.mechanism, start_ok.response) == (mechanism, response)
    assert told(connection, method_frame(0, ConnectionTune(heartbeat_s=60))) == []
    tune_ok, opening = sent(connection)
    assert tune_ok == (0, ConnectionTuneOk(channel_max=2047, frame_max=131_072, heartbeat_s=60))
    assert opening == (0, ConnectionOpen(virtual_host="there"))
    with pytest.raises(NotOpen):
        connection.open_channel()
    assert told(connection, method_frame(0, ConnectionOpenOk())) == [Opened({}, 131_072, 2047, 60)]
    assert connection.state is State.OPEN
    assert connection.agreed.frame_max == 131_072
    assert "secret" not in repr(Settings(password="secret"))


@pytest.mark.parametrize(
    ("given", "told_properties"),
    [
        ({}, {}),
        ({"product": "x", "capabilities": {"more": True}}, {"more": True}),
        ({"capabilities": "none"}, {}),
    ],
)
def test_our_capabilities_are_added_to_the_properties(given: Table, told_properties: Table) -> None:
    connection = started(client_properties=given)
    told(connection, START)
    ((_, start_ok),) = sent(connection)
    capabilities = start_ok.client_properties["capabilities"]
    assert capabilities["publisher_confirms"] is True
    assert capabilities["authentication_failure_close"] is True
    assert {name: capabilities[name] for name in told_properties} == told_properties


@pytest.mark.parametrize(
    ("ours", "theirs", "agreed"),
    [
        ((0, 0, 0), (0, 0, 0), (1_048_576, 65_535, 0)),
        ((0, 0, 0), (8192, 7, 5), (8192, 7, 5)),
        ((8192, 7, 5), (0, 0, 0), (8192, 7, 5)),
        ((8192, 7, 5), (4096, 9, 60), (4096, 7, 5)),
        ((100, 7, 60), (131_072, 9, 5), (4096, 7, 5)),
        ((2**31, 65_535, 65_535), (2**32 - 1, 65_535, 65_535), (1_048_576, 65_535, 65_535)),
    ],
)
def test_the_smaller_is_agreed_and_0_names_nothing(
    ours: tuple[int, int, int], theirs: tuple[int, int, int], agreed: tuple[int, int, int]
) -> None:
    connection = started(frame_max=ours[0], channel_max=ours[1], heartbeat_s=ours[2])
    told(connection, START)
    connection.take()
    tune = ConnectionTune(frame_max=theirs[0], channel_max=theirs[1], heartbeat_s=theirs[2])
    told(connection, method_frame(0, tune))
    assert sent(connection)[0] == (
        0,
        ConnectionTuneOk(frame_max=agreed[0], channel_max=agreed[1], heartbeat_s=agreed[2]),
    )
    assert told(connection, method_frame(0, ConnectionOpenOk())) == [Opened({}, *agreed)]


@pytest.mark.parametrize(
    "settings",
    [
        Settings(vhost="x" * 256),
        Settings(heartbeat_s=65_536),
        Settings(channel_max=-1),
        Settings(frame_max=2**32),
        Settings(username="\ud800"),
        Settings(username="\ud800", mechanism="AMQPLAIN"),
        Settings(client_properties={"x": object()}),
    ],
)
def test_settings_without_a_form_are_refused_at_once(settings: Settings) -> None:
    with pytest.raises(Unencodable):
        Connection(settings)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"AMQP\x00\x00\x08\x00", "refuses our header and asks for AMQP 0-8-0"),
        (b"AMQP\x03\x01\x00\x00", "refuses our header and asks for AMQP 1-0-0"),
        (b"HTTP/1.1 400 Bad", "does not speak AMQP: it began with b'HTTP/1.1'"),
        (b"\x01\x00\x00\xff\xff\xff\xff\xce", "does not speak AMQP"),
        (method_frame(0, ConnectionStart(version_major=0, version_minor=10)), "AMQP 0-10"),
        (method_frame(0, ConnectionStart(mechanisms=b"GSSAPI X")), "GSSAPI, X, not PLAIN"),
        (method_frame(0, ConnectionTune()), "the server began with ConnectionTune"),
        (frame(3, 0, b"x"), "content came on channel 0"),
        (frame(1, 0, b"xx"), "a frame holds less than it should"),
    ],
)
def test_who_is_no_broker_is_told_by_name_and_gets_no_answer(data: bytes, text: str) -> None:
    connection = started()
    (closed,) = told(connection, data)
    assert isinstance(closed, Closed)
    assert not closed.by_peer
    assert text in closed.text
    assert connection.take() == b""
    assert connection.state is State.CLOSED
    assert told(connection, START) == []


def test_refused_credentials_and_vhosts_are_the_servers_words() -> None:
    connection = started()
    told(connection, START)
    connection.take()
    close = ConnectionClose(reply_code=403, reply_text="ACCESS_REFUSED")
    assert told(connection, method_frame(0, close)) == [Closed(403, "ACCESS_REFUSED", True)]
    assert sent(connection) == [(0, ConnectionCloseOk())]


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ([], "before it said anything"),
        ([ConnectionStart()], "at the credentials of user 'guest'"),
        ([ConnectionStart(), ConnectionTune()], "at the virtual host '/'"),
        ([ConnectionStart(), ConnectionTune(), ConnectionOpenOk()], "the stream ended"),
    ],
)
def test_a_stream_that_ends_says_where_it_was(frames: list[Method], text: str) -> None:
    connection = started()
    for method in frames:
        told(connection, method_frame(0, method))
    (closed,) = connection.ended()
    assert isinstance(closed, Closed)
    assert (closed.code, closed.by_peer) == (0, True)
    assert text in closed.text
    assert connection.ended() == []


@pytest.mark.parametrize(
    ("tune", "code"),
    [
        (ConnectionTune(frame_max=4095), 502),
        (ConnectionSecure(challenge=b"?"), 503),
        (ConnectionStart(), 503),
    ],
)
def test_a_wrong_step_is_told_to_the_server(tune: Method, code: int) -> None:
    connection = started()
    told(connection, START)
    connection.take()
    (closed,) = told(connection, method_frame(0, tune))
    assert isinstance(closed, Closed)
    ((_, close),) = sent(connection)
    assert isinstance(close, ConnectionClose)
    assert closed.code == close.reply_code == code
    assert closed.text == close.reply_text


@pytest.mark.parametrize(
    ("data", "code", "method", "text"),
    [
        (frame(4, 0, b""), 501, (0, 0), "unknown kind 4"),
        (frame(1, 0, b"")[:-1] + b"\x00", 501, (0, 0), "does not end"),
        (struct.pack(">BHIB", 3, 1, 2**20, 0), 501, (0, 0), "more than 131072"),
        (frame(8, 2, b""), 501, (0, 0), "heartbeat"),
        (frame(8, 0, b"x"), 501, (0, 0), "heartbeat"),
        (frame(8, 1, b""), 501, (0, 0), "heartbeat"),
        (frame(1, 0, b"\x00\x0a"), 502, (0, 0), "less than it should"),
        (frame(1, 1, b"\x00\x3c"), 502, (0, 0), "less than it should"),
        (frame(1, 0, b"\x00\x0a\x00\x3d\x00"), 502, (0, 0), "1 bytes more"),
        (method_frame(0, ConnectionStart()), 503, (10, 10), "ConnectionStart came on channel 0"),
        (method_frame(0, ChannelOpen()), 503, (20, 10), "ChannelOpen came on channel 0"),
        (frame(3, 7, b""), 504, (0, 0), "channel 7, which is not open"),
        (header(0, 1), 505, (0, 0), "content came on channel 0"),
        (frame(1, 0, b"\x00\x5a\x00\x0a"), 540, (90, 10), "method 90.10 is not spoken"),
    ],
)  # fmt: skip
def test_each_fault_of_the_server_has_its_code(
    data: bytes, code: int, method: tuple[int, int], text: str
) -> None:
    connection, _ = with_channel()
    events = told(connection, data, HEARTBEAT_FRAME)
    (closed,) = events
    assert isinstance(closed, Closed)
    assert (closed.code, closed.by_peer) == (code, False)
    assert text in closed.text
    ((_, close),) = sent(connection)
    assert isinstance(close, ConnectionClose)
    assert close.reply_code == code
    assert (close.class_id, close.method_id) == method
    assert close.reply_text == closed.text
    assert told(connection, method_frame(0, ConnectionCloseOk())) == []
    with pytest.raises(NotOpen):
        connection.publish(1, "", "q", b"\x00\x00", b"")


def test_what_came_before_a_fault_is_told_before_it() -> None:
    connection = opened()
    events = told(connection, method_frame(0, ConnectionBlocked(reason="disk")), frame(9, 0, b""))
    assert events[0] == Blocked("disk")
    assert isinstance(events[1], Closed)


def test_a_blocked_broker_is_told() -> None:
    connection = opened()
    assert told(
        connection,
        method_frame(0, ConnectionBlocked(reason="low on memory")),
        method_frame(0, ConnectionUnblocked()),
    ) == [Blocked("low on memory"), Unblocked()]


def test_the_server_closes() -> None:
    connection, channel = with_channel()
    close = ConnectionClose(reply_code=320, reply_text="CONNECTION_FORCED")
    events = told(connection, method_frame(0, close), HEARTBEAT_FRAME)
    assert events == [Closed(320, "CONNECTION_FORCED", True)]
    assert sent(connection) == [(0, ConnectionCloseOk())]
    assert connection.close() == []
    assert connection.wake_s == math.inf
    for use in (
        lambda: connection.open_channel(),
        lambda: connection.close_channel(channel),
        lambda: connection.acknowledge(channel, 1),
        lambda: connection.reject(channel, 1, requeue=True),
    ):
        with pytest.raises(NotOpen):
            use()
    assert connection.take() == b""


@pytest.mark.parametrize(
    ("last", "answers"),
    [
        (ConnectionCloseOk(), []),
        (ConnectionClose(reply_code=320), [(0, ConnectionCloseOk())]),
    ],
)
def test_we_close_and_nothing_but_the_end_is_told(
    last: Method, answers: list[tuple[int, Method]]
) -> None:
    connection, channel = with_channel()
    deliver = BasicDeliver(consumer_tag="c", delivery_tag=1, exchange="", routing_key="q")
    assert connection.close("ümlaut " + "x" * 300) == []
    ((_, close),) = sent(connection)
    assert (close.reply_code, close.reply_text) == (200, "?mlaut " + "x" * 248)
    assert connection.state is State.CLOSING
    with pytest.raises(NotOpen):
        connection.publish(channel, "", "q", b"\x00\x00", b"")
    late = [content(channel, deliver, b"late"), HEARTBEAT_FRAME, frame(1, 0, b"")]
    assert told(connection, *late, method_frame(0, ConnectionBlocked())) == []
    (closed,) = told(connection, method_frame(0, last))
    assert closed == Closed(200, "ümlaut " + "x" * 300, False)
    assert sent(connection) == answers


def test_closing_what_never_opened_is_closed_at_once() -> None:
    connection = Connection(Settings())
    assert connection.receive(START) == []
    assert connection.close() == [Closed(200, "", False)]
    connection = started()
    assert connection.close("enough") == [Closed(200, "enough", False)]
    assert connection.take() == b""


def test_bytes_may_come_as_views() -> None:
    connection = started()
    assert connection.receive(bytearray(START[:20])) == []
    assert connection.receive(memoryview(START)[20:]) == []
    assert len(sent(connection)) == 1


def test_heartbeats_go_out_after_half_an_interval_of_silence() -> None:
    connection = opened(Settings(heartbeat_s=80), heartbeat_s=80)
    assert connection.wake_s == -math.inf
    assert connection.tick(1000.0) == []
    assert connection.wake_s == 1010.0
    assert connection.tick(1009.0) == []
    assert connection.wake_s == 1010.0
    beats = []
    for now_s in range(1010, 1110, 10):
        connection.receive(HEARTBEAT_FRAME)
        assert connection.tick(now_s) == []
        if connection.take() == HEARTBEAT_FRAME:
            beats.append(now_s)
    assert beats == [1040, 1090]


def test_a_server_that_is_silent_for_two_intervals_is_lost() -> None:
    connection = opened(Settings(heartbeat_s=64), heartbeat_s=64)
    connection.tick(0.0)
    for now_s in range(8, 128, 8):
        assert connection.tick(now_s) == []
    (closed,) = connection.tick(128.0)
    assert isinstance(closed, Closed)
    assert "heartbeat" in closed.text
    assert "64 s" in closed.text
    assert connection.wake_s == math.inf
    assert connection.tick(500.0) == []


def test_who_slept_does_not_blame_the_server() -> None:
    connection = opened(heartbeat_s=60)
    connection.tick(0.0)
    assert connection.tick(10_000.0) == []
    assert connection.state is State.OPEN


def test_without_heartbeats_nothing_is_due() -> None:
    connection = opened(Settings(heartbeat_s=0))
    assert connection.wake_s == math.inf
    assert connection.tick(10_000.0) == []
    assert connection.take() == b""
    heart = Heart()
    assert heart.tick(0.0) is Pulse.WAIT
