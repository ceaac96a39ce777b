"""Messages and their bytes: oslo's texts, round trips, and hostile bytes."""

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import InvalidEnvelope
from transom.messaging import envelope
from transom.messaging.envelope import Failure, Notification, Reply, Request

# What an unmodified oslo.messaging puts on a broker (text of its JSON encoder).
OSLO_CALL = (
    b'{"oslo.version": "2.0", "oslo.message": "{\\"method\\": \\"echo\\", \\"args\\": {\\"x\\": '
    b'\\"\\\\u00e9\\"}, \\"namespace\\": \\"ns\\", \\"version\\": \\"1.2\\", \\"_msg_id\\": '
    b'\\"aa\\", \\"_reply_q\\": \\"reply_bb\\", \\"_timeout\\": null, \\"_unique_id\\": \\"cc\\", '
    b'\\"_context_request_id\\": \\"req-1\\", \\"_context_user\\": null}"}'
)
OSLO_REPLY = (
    b'{"oslo.version": "2.0", "oslo.message": "{\\"result\\": [1, null], \\"failure\\": null, '
    b'\\"ending\\": true, \\"_msg_id\\": \\"aa\\", \\"_unique_id\\": \\"dd\\"}"}'
)
OSLO_FAILURE = json.dumps(
    {
        "class": "ValueError_Remote",
        "module": "builtins_Remote",
        "message": "no",
        "tb": ["Traceback\n", "ValueError: no\n"],
        "args": ["no"],
        "kwargs": {},
    }
)
BARE_NOTIFICATION = (
    b'{"message_id": "m", "publisher_id": "images.h", "event_type": "image.create", "priority": '
    b'"INFO", "payload": {"id": 1}, "timestamp": "2026-01-01 00:00:00.000001", "_unique_id": "u", '
    b'"_context_tenant": "t"}'
)


def test_oslos_call_is_read() -> None:
    assert envelope.decode_request(OSLO_CALL) == Request(
        method="echo",
        args={"x": "é"},
        context={"request_id": "req-1", "user": None},
        unique_id="cc",
        namespace="ns",
        version="1.2",
        msg_id="aa",
        reply_q="reply_bb",
    )


def test_oslos_reply_is_read() -> None:
    assert envelope.decode_reply(OSLO_REPLY) == Reply(msg_id="aa", result=[1, None], unique_id="dd")


def test_oslos_failure_is_read_without_its_suffix() -> None:
    assert envelope.decode_failure(OSLO_FAILURE) == Failure(
        kind="ValueError",
        module="builtins",
        message="no",
        traceback=("Traceback\n", "ValueError: no\n"),
        args=("no",),
    )


def test_bare_notification_is_read() -> None:
    found = envelope.decode_notification(BARE_NOTIFICATION)
    assert (found.event_type, found.priority, found.payload) == ("image.create", "INFO", {"id": 1})
    assert found.context == {"tenant": "t"}


def test_call_has_the_keys_that_oslo_expects_and_no_others() -> None:
    request = Request(
        method="m", args={"a": 1}, context={"k": 2}, unique_id="u", msg_id="i", reply_q="q"
    )
    outer = json.loads(envelope.encode_request(request))
    assert set(outer) == {"oslo.version", "oslo.message"}
    assert outer["oslo.version"] == "2.0"
    assert json.loads(outer["oslo.message"]) == {
        "method": "m",
        "args": {"a": 1},
        "_unique_id": "u",
        "_context_k": 2,
        "_msg_id": "i",
        "_reply_q": "q",
        "_timeout": None,
    }


def test_cast_has_neither_reply_queue_nor_namespace() -> None:
    body = envelope.encode_request(Request(method="m", args={}, context={}, unique_id="u"))
    message = json.loads(json.loads(body)["oslo.message"])
    assert message == {"method": "m", "args": {}, "_unique_id": "u"}


def test_failure_is_json_within_json_within_json() -> None:
    failure = Failure(kind="K", module="m", message="t", traceback=("a",), args=("t", 2, None))
    body = envelope.encode_reply(Reply(msg_id="i", failure=failure))
    message = json.loads(json.loads(body)["oslo.message"])
    assert (message["result"], message["ending"]) == (None, True)
    assert json.loads(message["failure"]) == {
        "class": "K",
        "module": "m",
        "message": "t",
        "tb": ["a"],
        "args": ["t", 2, None],
        "kwargs": {},
    }


texts = st.text(st.characters(codec="utf-8"), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, max_size=4)
optional = st.none() | texts


@given(
    st.builds(
        Request,
        method=texts,
        args=objects,
        context=objects,
        unique_id=texts,
        namespace=optional,
        version=optional,
        msg_id=texts,
        reply_q=texts,
        monitor_s=st.none() | st.integers(2, 100),
    )
)
def test_any_call_survives_the_round_trip(request_) -> None:
    assert envelope.decode_request(envelope.encode_request(request_)) == request_


@given(
    st.builds(
        Reply,
        msg_id=texts,
        result=values,
        ending=st.booleans(),
        unique_id=texts,
        failure=st.none()
        | st.builds(
            Failure,
            kind=texts,
            module=texts,
            message=texts,
            traceback=st.lists(texts, max_size=3).map(tuple),
            kwargs=objects,
        ),
    )
)
def test_any_reply_survives_the_round_trip(reply) -> None:
    assert envelope.decode_reply(envelope.encode_reply(reply)) == reply


@given(
    st.builds(
        Notification,
        message_id=texts,
        publisher_id=texts,
        event_type=texts,
        priority=st.sampled_from(["INFO", "WARN"]),
        payload=values,
        timestamp=texts,
        context=objects,
        unique_id=texts,
    ),
    st.booleans(),
)
def test_any_notification_survives_the_round_trip(notification, bare) -> None:
    body = envelope.encode_notification(notification, bare=bare)
    assert envelope.decode_notification(body) == notification


def sealed(text: object, version: object = "2.0") -> bytes:
    return json.dumps({"oslo.version": version, "oslo.message": text}).encode()


HOSTILE = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"1",
    b"{}",
    b'{"method": 1}',
    b'{"method": "m", "args": []}',
    b'{"method": "m", "_msg_id": {}}',
    b'{"method": "m", "namespace": 3}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    sealed("[" * 100_000),
    sealed('{"args":' + "[" * 50_000),
    sealed("{}"),
    sealed("null"),
    sealed(None),
    sealed({"method": "m"}),
    sealed("{", "2.0"),
    sealed('{"method": "m"}', "2.1"),
    sealed('{"method": "m"}', "1.0"),
    sealed('{"method": "m"}', "3.0"),
    sealed('{"method": "m"}', 2.0),
    sealed('{"method": "m"}', "2.0" * 100_000),
    b'{"oslo.version": "2.0"}',
    sealed('{"method": "\ud800"}'),
]
DECODERS = [envelope.decode_request, envelope.decode_reply, envelope.decode_notification]


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bytes_are_refused(decode, body) -> None:
    with pytest.raises(InvalidEnvelope):
        decode(body)


def test_huge_body_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "BODY_BYTES_MAX", 100)
    with pytest.raises(InvalidEnvelope, match="more than 100"):
        envelope.decode_request(sealed('{"method": "m"}' + " " * 200))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(body) -> None:
    for decode in DECODERS:
        with pytest.raises(InvalidEnvelope):
            decode(body)


@given(objects.map(lambda value: json.dumps(value).encode()))
def test_any_object_is_a_message_or_refused(body) -> None:
    for decode in DECODERS:
        try:
            decode(body)
        except InvalidEnvelope:
            continue


@given(st.text(max_size=100))
def test_any_failure_text_is_read_or_refused(text) -> None:
    with contextlib.suppress(InvalidEnvelope):
        envelope.decode_failure(text)


@pytest.mark.parametrize("value", [object(), "\ud800", {1: object()}, lambda: 1])
def test_what_json_cannot_carry_is_refused_at_the_sender(value) -> None:
    with pytest.raises(InvalidEnvelope, match="cannot be sent as JSON"):
        envelope.encode_request(Request(method="m", args={"x": value}, context={}))


def test_endless_value_is_refused_at_the_sender() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(InvalidEnvelope):
        envelope.encode_request(Request(method="m", args={"x": endless}, context={}))


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [("5", 5), ("5.5", 5), ("true", None), ('"5"', None), ("-1", None), ("1e300", None)],
)
def test_an_odd_monitor_timeout_is_no_reason_to_drop_a_request(timeout, seconds) -> None:
    body = f'{{"method": "m", "_timeout": {timeout}}}'.encode()
    assert envelope.decode_request(body).monitor_s == seconds


def test_unknown_keys_are_skipped() -> None:
    body = sealed(json.dumps({"method": "m", "oslo.metadata": {"a": 1}, "_sequence": 7}))
    extra = json.loads(body) | {"transom.signature": "x"}
    assert envelope.decode_request(json.dumps(extra).encode()).method == "m"


def test_numbers_that_json_has_not_are_read_from_peers_that_write_them() -> None:
    text = '{"result": [NaN, Infinity, -Infinity], "failure": null, "ending": true, "_msg_id": "m"}'
    result = envelope.decode_reply(sealed(text)).result
    assert math.isnan(result[0])
    assert result[1:] == [math.inf, -math.inf]
    with pytest.raises(InvalidEnvelope):
        envelope.decode_reply(sealed("[NaN]"))
