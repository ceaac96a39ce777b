"""What the client reads of an answer."""

from datetime import UTC, datetime
from math import inf, nan

import msgspec
import pytest

from transom.queue.client.shapes import Message
from transom.queue.client.values import DIGITS_MOST, content_of, value_of

ABOUT = '"id": "i", "ttl": 60, "age": 0, "created_at": "2026-01-01T00:00:00.000Z"'


@pytest.mark.parametrize(
    ("body", "read"),
    [
        ("1e999", inf),
        ("[-1e999, 1]", [-inf, 1]),
        ("9" * DIGITS_MOST, int("9" * DIGITS_MOST)),
        ('{"n": ' + "9" * 10_000 + "}", {"n": inf}),
        ('"1e999"', "1e999"),
    ],
)
def test_no_number_keeps_a_message_from_being_read(body: str, read: object) -> None:
    found = value_of(f'{{{ABOUT}, "body": {body}}}'.encode(), Message)
    assert found.body == read
    assert found.created_at == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "content", [b'{"id": 1}', b'{"id": 1} x', b'{"body": 1e999}', b"{", b"\xff"]
)
def test_what_is_no_message_is_refused(content: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        value_of(content, Message)


@pytest.mark.parametrize("body", [nan, [inf], {1: {"deep": -inf}}])
def test_a_number_that_json_does_not_have_is_not_posted_as_null(body: object) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        content_of({"messages": [{"body": body}]})


@pytest.mark.parametrize("body", [None, "null", {1: None}, datetime(2026, 1, 1, tzinfo=UTC)])
def test_what_json_has_is_written(body: object) -> None:
    content = content_of([body, None])
    assert msgspec.json.decode(content) == [msgspec.to_builtins(body, str_keys=True), None]
