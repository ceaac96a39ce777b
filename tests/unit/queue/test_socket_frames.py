"""Frames of the WebSocket: the same values in JSON and in MessagePack, and no input that harms."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import BadRequest
from transom.queue.api.socket import frames
from transom.runtime.http.depth import DEPTH_MOST

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def packed(body: Any) -> bytes:
    return msgspec.msgpack.encode({"action": "a", "headers": {"Client-ID": "c"}, "body": body})


@given(VALUES)
def test_a_body_of_messagepack_is_the_json_of_the_same_value(value: Any) -> None:
    frame = frames.decoded(packed({"x": value}), is_text=False)
    assert json.loads(frame.body()) == {"x": value}


@given(VALUES)
def test_an_answer_has_the_same_values_in_both_forms(value: Any) -> None:
    body = json.dumps({"x": value}).encode()
    text = frames.reply(frames.Echo("a"), body, {"status": 200}, is_text=True)
    pack = frames.reply(frames.Echo("a"), body, {"status": 200}, is_text=False)
    assert json.loads(text) == msgspec.msgpack.decode(pack)


@given(st.binary(max_size=60), st.booleans())
def test_no_bytes_do_more_than_be_refused(data: bytes, is_text: bool) -> None:
    try:
        frame = frames.decoded(data, is_text=is_text)
        frame.body()
    except BadRequest:
        return
    assert isinstance(frame.action, str)


@pytest.mark.parametrize(
    "text", ["1e999", "-1e999", "9" * 400, '"\\ud800"', '{"\\udfff": ["\\ud800\\udc00"]}', "1" * 30]
)
def test_what_messagepack_does_not_have_is_answered_all_the_same(text: str) -> None:
    value = frames.packable(text.encode())
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(value))
    if isinstance(decoded, float):
        assert math.isinf(decoded) or decoded > 1e29
    else:
        assert "\ufffd" in json.dumps(decoded, ensure_ascii=False)


@pytest.mark.parametrize(
    "value",
    [b"x", {"a": b"x"}, [float("nan")], float("inf"), {b"a": 1}, msgspec.msgpack.Ext(1, b"")],
)  # fmt: skip
def test_what_json_does_not_have_is_refused(value: Any) -> None:
    with pytest.raises(BadRequest):
        frames.decoded(packed(value), is_text=False).body()


def test_nesting_is_bounded_in_both_forms() -> None:
    deep = "[" * DEPTH_MOST + "]" * DEPTH_MOST
    body = frames.decoded(f'{{"action": "a", "body": {deep}}}'.encode(), is_text=True).body()
    assert body == deep.encode()
    assert frames.decoded(packed(json.loads(deep)), is_text=False).body() == body
    deeper = f"[{deep}]"
    with pytest.raises(BadRequest):
        frames.decoded(f'{{"action": "a", "body": {deeper}}}'.encode(), is_text=True)
    with pytest.raises(BadRequest):
        frames.decoded(packed(json.loads(deeper)), is_text=False).body()
    for endless in (b"\x91" * 100_000, b"\x81\xa4body" * 50_000, b"\xdd\xff\xff\xff\xff"):
        with pytest.raises(BadRequest):
            frames.decoded(endless, is_text=False).body()
