# SPDX-License-Identifier: Apache-2.0
"""Channels: what the server may say in each state, answers in order, content, confirms."""

import struct
from collections.abc import Sequence

import pytest

from transom.messaging.proto.amqp import (
    BODY_BYTES_MAX,
    Answered,
    BasicConsume,
    BasicConsumeOk,
    BasicGet,
    BasicGetEmpty,
    BasicGetOk,
    ChannelClosed,
    ChannelOpened,
    Closed,
    Confirmed,
    ConfirmSelect,
    ConfirmSelectOk,
    Connection,
    ConsumerCancelled,
    Delivered,
    Event,
    Flow,
    NotOpen,
    Oversized,
    Properties,
    QueueDeclare,
    QueueDeclareOk,
    QueueDelete,
    QueueDeleteOk,
    Returned,
    Settings,
)
from transom.messaging.proto.amqp.confirms import Confirms
from transom.messaging.proto.amqp.fault import Fault
from transom.messaging.proto.amqp.frames import method_frame
from transom.messaging.proto.amqp.methods import (
    BasicAck,
    BasicCancel,
    BasicCancelOk,
    BasicDeliver,
    BasicNack,
    BasicReject,
    BasicReturn,
    ChannelClose,
    ChannelCloseOk,
    ChannelFlow,
    ChannelFlowOk,
    ChannelOpen,
    ChannelOpenOk,
    Method,
)

from support.amqp_peer import (
    CODED,
    PROPERTIES,
    content,
    frame,
    header,
    opened,
    sent,
    told,
    with_channel,
)

DELIVER = BasicDeliver(
    consumer_tag="tag", delivery_tag=7, redelivered=True, exchange="e", routing_key="k"
)
RETURN = BasicReturn(reply_code=312, reply_text="NO_ROUTE", exchange="e", routing_key="k")
GET_OK = BasicGetOk(delivery_tag=3, exchange="e", routing_key="k", message_count=2)


def delivered(channel: int, body: bytes, properties: Properties = PROPERTIES) -> Delivered:
    return Delivered(channel, "tag", 7, True, "e", "k", properties, body)


PUBLISHED = 3
CLOSE = ChannelClose(reply_code=404, reply_text="NOT_FOUND")
# What a state makes of a method: events and answers, or the code of the fault.
OPEN: list[tuple[Method, list[Event] | int, list[Method]]] = [
    (BasicCancel(consumer_tag="c"), [ConsumerCancelled(1, "c")], [BasicCancelOk(consumer_tag="c")]),
    (BasicCancel(consumer_tag="c", nowait=True), [ConsumerCancelled(1, "c")], []),
    (ChannelFlow(active=False), [Flow(1, False)], [ChannelFlowOk(active=False)]),
    (ChannelFlow(active=True), [Flow(1, True)], [ChannelFlowOk(active=True)]),
    (BasicAck(delivery_tag=1), [Confirmed(1, (1,), True)], []),
    (BasicNack(delivery_tag=2, multiple=True), [Confirmed(1, range(1, 3), False)], []),
    (BasicAck(delivery_tag=0, multiple=True), [Confirmed(1, range(1, 4), True)], []),
    (CLOSE, [ChannelClosed(1, 404, "NOT_FOUND", True, (), range(1, 4))], [ChannelCloseOk()]),
    (BasicAck(delivery_tag=4), 503, []),
    (BasicAck(delivery_tag=0), 503, []),
    (BasicNack(delivery_tag=4), 503, []),
    (QueueDeclareOk(queue="q"), 503, []),
    (QueueDeclare(), 503, []),
    (GET_OK, 503, []),
    (ChannelOpenOk(), 503, []),
    (ChannelCloseOk(), 503, []),
]  # fmt: skip
CLOSING: list[tuple[Method, list[Event] | int, list[Method]]] = [
    (ChannelCloseOk(), [ChannelClosed(1, 200, "", False, (), range(1, 4))], []),
    (CLOSE, [], [ChannelCloseOk()]),
    *((method, [], []) for method, _, _ in OPEN if method not in (CLOSE, ChannelCloseOk())),
]


@pytest.mark.parametrize(
    ("closing", "method", "outcome", "answers"),
    [(False, *row) for row in OPEN] + [(True, *row) for row in CLOSING],
    ids=lambda value: type(value).__name__,
)
def test_each_state_takes_what_its_table_says(
    closing: bool, method: Method, outcome: list[Event] | int, answers: list[Method]
) -> None:
    connection, channel = with_channel(confirms=True)
    for _ in range(PUBLISHED):
        connection.publish(channel, "", "q", PROPERTIES, b"")
    if closing:
        connection.close_channel(channel)
    connection.take()
    events = told(connection, method_frame(channel, method))
    if isinstance(outcome, int):
        (closed,) = events
        assert isinstance(closed, Closed)
        assert closed.code == outcome
    else:
        assert events == outcome
        assert [answer for _, answer in sent(connection)] == answers


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ([header(1, 3)], "without a method"),
        ([frame(3, 1, b"abc")], "without a method"),
        ([method_frame(1, DELIVER), frame(3, 1, b"abc")], "where a content header was due"),
        ([method_frame(1, DELIVER), header(1, 3), header(1, 3)], "where a body was due"),
        ([method_frame(1, DELIVER), method_frame(1, DELIVER)], "where content was due"),
        ([method_frame(1, RETURN), method_frame(1, CLOSE)], "where content was due"),
    ],
)
def test_frames_out_of_order_are_unexpected(frames: list[bytes], text: str) -> None:
    connection, _ = with_channel()
    (closed,) = told(connection, *frames)
    assert isinstance(closed, Closed)
    assert closed.code == 505
    assert text in closed.text


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([header(1, 3, class_id=10), frame(3, 1, b"abc")], 501),
        ([header(1, 3), frame(3, 1, b"abcd")], 501),
        ([header(1, 3, b"\x00\x01"), frame(3, 1, b"abc")], 502),
        ([header(1, 3, b"")], 502),
        ([frame(2, 1, b"\x00\x3c"), b"\x00" * 20], 502),
        ([frame(8, 1, b"")], 501),
        ([header(1, 0, CODED + b"more")], 502),
    ],
)
def test_broken_content_is_told(frames: list[bytes], code: int) -> None:
    for first in (DELIVER, RETURN):
        connection, _ = with_channel()
        (closed,) = told(connection, method_frame(1, first), *frames)
        assert isinstance(closed, Closed)
        assert closed.code == code


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x00\x3c\x00\x3c", b"\x00\x3c\x00\x3c\x05ab",
    b"\x00\x3c\x00\x3c\x01a" + b"\x00" * 9, b"\x00\x3c\x00\x3c\x01a" + b"\x00" * 11 + b"more",
    b"\x00\x3c\x00\x50" + b"\x00" * 8])  # fmt: skip
def test_a_broken_method_is_told_whatever_follows(payload: bytes) -> None:
    for rest in ([], [header(1, 0)], [header(1, 3), frame(3, 1, b"abc")]):
        connection, _ = with_channel()
        (closed,) = told(connection, frame(1, 1, payload), *rest)
        assert isinstance(closed, Closed)
        assert closed.code == 502


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 5000])
@pytest.mark.parametrize("step", [1, 7, 1000, 100_000])
def test_content_comes_whole_in_whatever_pieces(size: int, step: int) -> None:
    body = bytes(range(250)) * (size // 250) + b"x" * (size % 250)
    connection, channel = with_channel()
    first, second = BasicGet(queue="q"), BasicGet(queue="r")
    connection.request(channel, first)
    connection.request(channel, second)
    frames = content(channel, DELIVER, body) + content(channel, RETURN, body)
    frames += content(channel, GET_OK, body) + method_frame(channel, BasicGetEmpty())
    events: list[Event] = []
    for at in range(0, len(frames), step):
        events += connection.receive(frames[at : at + step])
    assert events == [
        delivered(channel, body),
        Returned(channel, 312, "NO_ROUTE", "e", "k", PROPERTIES, body),
        Answered(channel, GET_OK, first, PROPERTIES, body),
        Answered(channel, BasicGetEmpty(), second),
    ]


def test_content_of_several_channels_is_told_apart() -> None:
    connection = opened()
    first, second = connection.open_channel(), connection.open_channel()
    told(connection, *(method_frame(one, ChannelOpenOk()) for one in (first, second)))
    events = told(
        connection,
        method_frame(first, DELIVER),
        method_frame(second, DELIVER),
        header(second, 4),
        header(first, 6),
        frame(3, first, b"abc"),
        frame(3, second, b"1234"),
        method_frame(second, ChannelFlow(active=True)),
        frame(3, first, b""),
        frame(3, first, b"def"),
    )
    assert events == [delivered(second, b"1234"), Flow(second, True), delivered(first, b"abcdef")]


def test_a_frame_of_another_channel_is_not_taken_for_content() -> None:
    connection = opened()
    first, second = connection.open_channel(), connection.open_channel()
    told(connection, *(method_frame(one, ChannelOpenOk()) for one in (first, second)))
    events = told(
        connection,
        method_frame(first, DELIVER),
        header(first, 3),
        content(second, DELIVER, b"xyz"),
        frame(3, first, b"abc"),
    )
    assert events == [delivered(second, b"xyz"), delivered(first, b"abc")]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (DELIVER, [Oversized(1, "tag", 7, BODY_BYTES_MAX + 1)]),
        (RETURN, [Oversized(1, "", 0, BODY_BYTES_MAX + 1)]),
        (
            GET_OK,
            [
                Oversized(1, "", 3, BODY_BYTES_MAX + 1),
                Answered(1, GET_OK, BasicGet(queue="q"), PROPERTIES, b""),
            ],
        ),
    ],
)
def test_a_body_that_is_too_large_is_passed_over(method: Method, expected: list[Event]) -> None:
    connection, channel = with_channel()
    connection.request(channel, BasicGet(queue="q"))
    events = told(connection, method_frame(channel, method), header(channel, BODY_BYTES_MAX + 1))
    piece = frame(3, channel, b"x" * (2**17 - 8))
    left = BODY_BYTES_MAX + 1
    while left > 2**17 - 8:
        events += connection.receive(piece)
        left -= 2**17 - 8
    events += connection.receive(frame(3, channel, b"x" * left))
    assert events == expected
    assert told(connection, content(channel, DELIVER, b"next")) == [delivered(channel, b"next")]


def test_names_that_are_not_utf_8_come_through() -> None:
    connection, channel = with_channel()
    tag, key = (name.decode("utf-8", "surrogateescape") for name in (b"\xfftag", b"\xfe"))
    method = BasicDeliver(consumer_tag=tag, delivery_tag=1, exchange="", routing_key=key)
    (event,) = told(connection, content(channel, method, b"x"))
    assert isinstance(event, Delivered)
    assert (event.consumer_tag, event.routing_key) == (tag, key)


def test_requests_are_answered_in_order() -> None:
    connection, channel = with_channel()
    requests = [QueueDeclare(queue="a"), QueueDelete(queue="c"), BasicConsume(queue="d")]
    connection.request(channel, QueueDelete(queue="b", nowait=True))
    for request in requests:
        connection.request(channel, request)
    assert len(sent(connection)) == 4
    answers = [QueueDeclareOk(queue="a"), QueueDeleteOk(), BasicConsumeOk(consumer_tag="t")]
    events = told(connection, *(method_frame(channel, answer) for answer in answers))
    assert events == [
        Answered(channel, answer, request)
        for answer, request in zip(answers, requests, strict=True)
    ]


def test_consume_and_cancel_may_be_answered_late_and_are_told_apart() -> None:
    connection, channel = with_channel()
    drawn, named = BasicConsume(queue="a"), BasicConsume(queue="b", consumer_tag="b")
    cancel, other = BasicCancel(consumer_tag="x"), BasicCancel(consumer_tag="y")
    declare = QueueDeclare(queue="q")
    for request in (named, cancel, other, drawn, declare):
        connection.request(channel, request)
    answers: list[tuple[Method, Method]] = [
        (QueueDeclareOk(queue="q"), declare),
        (BasicCancelOk(consumer_tag="y"), other),
        (BasicConsumeOk(consumer_tag="drawn"), drawn),
        (BasicConsumeOk(consumer_tag="b"), named),
        (BasicCancelOk(consumer_tag="x"), cancel),
    ]
    events = told(connection, *(method_frame(channel, answer) for answer, _ in answers))
    assert events == [Answered(channel, answer, request) for answer, request in answers]
    (closed,) = told(connection, method_frame(channel, BasicCancelOk(consumer_tag="x")))
    assert isinstance(closed, Closed)


def test_a_get_that_we_cut_off_is_named_as_pending() -> None:
    connection, channel = with_channel()
    request = BasicGet(queue="q")
    connection.request(channel, request)
    assert told(connection, method_frame(channel, GET_OK), header(channel, 3)) == []
    connection.close_channel(channel)
    (closed,) = told(connection, method_frame(channel, ChannelCloseOk()))
    assert closed == ChannelClosed(channel, 200, "", False, (request,), ())


def test_an_answer_out_of_order_is_a_fault() -> None:
    connection, channel = with_channel()
    connection.request(channel, QueueDeclare(queue="a"))
    connection.request(channel, QueueDelete(queue="c"))
    (closed,) = told(connection, method_frame(channel, QueueDeleteOk()))
    assert isinstance(closed, Closed)
    assert closed.code == 503


def test_what_is_no_request_is_refused() -> None:
    connection, channel = with_channel()
    with pytest.raises(TypeError):
        connection.request(channel, BasicAck())
    assert connection.take() == b""


def test_a_channel_may_be_used_before_it_is_open() -> None:
    connection = opened()
    channel = connection.open_channel()
    connection.request(channel, ConfirmSelect())
    assert connection.publish(channel, "", "q", PROPERTIES, b"") == 1
    assert [one for _, one in sent(connection)][:2] == [ChannelOpen(), ConfirmSelect()]
    assert told(
        connection,
        method_frame(channel, ChannelOpenOk()),
        method_frame(channel, ConfirmSelectOk()),
        method_frame(channel, BasicAck(delivery_tag=1)),
    ) == [
        ChannelOpened(channel),
        Answered(channel, ConfirmSelectOk(), ConfirmSelect()),
        Confirmed(channel, (1,), True),
    ]


def test_confirms_asked_for_twice_go_on_counting() -> None:
    connection, channel = with_channel(confirms=True)
    assert connection.publish(channel, "", "q", PROPERTIES, b"") == 1
    connection.request(channel, ConfirmSelect(nowait=True))
    assert connection.publish(channel, "", "q", PROPERTIES, b"") == 2


def test_a_confirm_without_confirms_is_a_fault() -> None:
    connection, channel = with_channel()
    assert connection.publish(channel, "", "q", PROPERTIES, b"") == 0
    (closed,) = told(connection, method_frame(channel, BasicAck(delivery_tag=1)))
    assert isinstance(closed, Closed)
    assert closed.code == 503


def test_a_confirm_that_is_repeated_is_told_once() -> None:
    connection, channel = with_channel(confirms=True)
    connection.publish(channel, "", "q", PROPERTIES, b"")
    ack = method_frame(channel, BasicAck(delivery_tag=1))
    assert told(connection, ack, ack) == [Confirmed(channel, (1,), True)]


def test_a_return_is_told_before_its_confirm() -> None:
    connection, channel = with_channel(confirms=True)
    connection.publish(channel, "e", "k", PROPERTIES, b"body", mandatory=True)
    assert told(
        connection,
        content(channel, RETURN, b"body"),
        method_frame(channel, BasicAck(delivery_tag=1)),
    ) == [
        Returned(channel, 312, "NO_ROUTE", "e", "k", PROPERTIES, b"body"),
        Confirmed(channel, (1,), True),
    ]


def test_what_was_pending_on_a_closed_channel_is_named() -> None:
    connection, channel = with_channel(confirms=True)
    declare = QueueDeclare(queue="a", passive=True)
    connection.request(channel, declare)
    connection.publish(channel, "", "q", PROPERTIES, b"")
    connection.publish(channel, "", "q", PROPERTIES, b"")
    told(connection, method_frame(channel, BasicAck(delivery_tag=2)))
    (closed,) = told(connection, method_frame(channel, CLOSE))
    assert closed == ChannelClosed(channel, 404, "NOT_FOUND", True, (declare,), (1,))
    with pytest.raises(NotOpen):
        connection.publish(channel, "", "q", PROPERTIES, b"")


def test_content_that_was_begun_is_dropped_when_we_close() -> None:
    connection, channel = with_channel()
    told(connection, method_frame(channel, DELIVER), header(channel, 3))
    connection.close_channel(channel)
    with pytest.raises(NotOpen):
        connection.close_channel(channel)
    assert told(connection, frame(3, channel, b"abc"), content(channel, DELIVER, b"x")) == []
    assert told(connection, method_frame(channel, ChannelCloseOk())) == [
        ChannelClosed(channel, 200, "", False, (), ())
    ]


def test_numbers_of_channels_come_again_only_when_all_were_used() -> None:
    connection = opened(Settings(channel_max=3))
    numbers = [connection.open_channel() for _ in range(2)]
    told(connection, method_frame(1, CLOSE))
    numbers.append(connection.open_channel())
    assert numbers == [1, 2, 3]
    assert connection.open_channel() == 1
    with pytest.raises(NotOpen, match="all 3 channels"):
        connection.open_channel()
    told(connection, method_frame(2, CLOSE), method_frame(1, CLOSE))
    assert [connection.open_channel(), connection.open_channel()] == [2, 1]


def test_acknowledgements_are_written_as_methods() -> None:
    connection, channel = with_channel()
    connection.acknowledge(channel, 5)
    connection.acknowledge(channel, 2**63, multiple=True)
    connection.reject(channel, 6, requeue=False)
    connection.reject(channel, 7, requeue=True, multiple=True)
    assert [method for _, method in sent(connection)] == [
        BasicAck(delivery_tag=5),
        BasicAck(delivery_tag=2**63, multiple=True),
        BasicReject(delivery_tag=6, requeue=False),
        BasicNack(delivery_tag=7, multiple=True, requeue=True),
    ]


def told_by(confirms: Confirms, *settled: tuple[int, bool]) -> list[Sequence[int]]:
    return [list(confirms.settle(tag, multiple)) for tag, multiple in settled]


def test_each_tag_is_settled_once() -> None:
    confirms = Confirms()
    confirms.next_tag = 11
    assert told_by(
        confirms,
        (3, False), (1, False), (1, False), (3, False), (4, True), (4, True), (2, True),
        (7, False), (6, False), (9, False), (8, True), (0, True), (0, True),
    ) == [[3], [1], [], [], [2, 4], [], [], [7], [6], [9], [5, 8], [10], []]  # fmt: skip
    assert list(confirms.unconfirmed) == []
    with pytest.raises(Fault):
        confirms.settle(11, True)


def test_overtaking_confirms_leave_nothing_behind() -> None:
    confirms = Confirms()
    confirms.next_tag = 1001
    for tag in range(1000, 0, -1):
        assert confirms.settle(tag, False) == (tag,)
    assert confirms._overtook == set()
    confirms.next_tag = 1006
    assert told_by(confirms, (1003, False), (1002, True)) == [[1003], [1001, 1002]]
    assert list(confirms.unconfirmed) == [1004, 1005]


def test_a_header_at_the_edge_of_what_was_read_is_waited_for() -> None:
    whole = content(1, DELIVER, b"abc")
    for end in range(len(whole)):
        other, _ = with_channel()
        assert other.receive(whole[:end]) == []
        assert other.receive(whole[end:]) == [delivered(1, b"abc")]


def test_a_broken_end_of_content_is_told_by_the_slow_way() -> None:
    whole = bytearray(content(1, DELIVER, b"abc"))
    ends = [len(whole) - 1, len(whole) - 12]
    assert [whole[end] for end in ends] == [0xCE, 0xCE]
    for end in ends:
        broken = bytes(whole[:end]) + b"\x00" + bytes(whole[end + 1 :])
        connection, _ = with_channel()
        (closed,) = told(connection, broken)
        assert isinstance(closed, Closed)
        assert closed.code == 501


def test_a_body_frame_for_another_channel_in_the_midst_is_told() -> None:
    connection, _ = with_channel()
    frames = [method_frame(1, DELIVER), header(1, 3), frame(3, 2, b"abc")]
    (closed,) = told(connection, *frames)
    assert isinstance(closed, Closed)
    assert closed.code == 504


def test_a_large_content_header_is_refused_as_a_frame() -> None:
    connection, _ = with_channel(frame_max=4096)
    head = struct.pack(">BHI", 2, 1, 5000) + b"\x00" * 5000 + b"\xce"
    (closed,) = told(connection, method_frame(1, DELIVER), head)
    assert isinstance(closed, Closed)
    assert closed.code == 501


def test_an_open_connection_is_needed() -> None:
    with pytest.raises(NotOpen):
        Connection(Settings()).open_channel()
