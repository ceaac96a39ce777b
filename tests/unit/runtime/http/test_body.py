# SPDX-License-Identifier: Apache-2.0
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import BadRequest, RequestTimeout, TooLarge, UnsupportedMedia
from transom.runtime.http.body import Disconnected, body_reader, check_numbers, json_decoder
from transom.runtime.http.route import Route


class Item(msgspec.Struct):
    ttl: int
    tags: list[str] = []


class Posted(msgspec.Struct):
    items: list[Item]
    extra: Any = None


async def nothing(call):
    raise AssertionError


def route(**fields) -> Route:
    return Route("POST", "/x", nothing, **{"body": Posted, **fields})


class Request:
    def __init__(self, *chunks: bytes) -> None:
        self.events = [
            {"type": "http.request", "body": chunk, "more_body": index + 1 < len(chunks)}
            for index, chunk in enumerate(chunks)
        ]
        self.first_event = self.events.pop(0)
        self.taken = 0

    async def next_event(self):
        self.taken += 1
        return self.events.pop(0)


GOOD = b'{"items": [{"ttl": 1}]}'


async def read(request, headers=None, **fields):
    reader = body_reader(route(**fields), 1000, 5.0)
    assert reader is not None
    return await reader(request, headers or {})


async def test_a_body_comes_whole_however_it_is_cut():
    assert await read(Request(GOOD)) == Posted([Item(1)])
    assert await read(Request(b"", GOOD[:5], b"", GOOD[5:], b"")) == Posted([Item(1)])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "A body is needed"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b'{"items": [], "extra": "\xff"}', "no JSON"),
        (b"[]", "Expected `object`"),
        (b"{}", "`items`"),
        (b'{"items": [{"ttl": "1"}]}', r"\$\.items\[0\]\.ttl"),
        (b'{"items": [{"ttl": 1, "tags": [1]}]}', r"\$\.items\[0\]\.tags\[0\]"),
        (b'{"items": [{"ttl": 9223372036854775808}]}', r"\$\.items\[0\]\.ttl"),
        (b'{"items": [], "extra": {"a": [-9223372036854775809]}}', r"\$\.extra\.a\[0\]"),
        (b'{"items": [{"ttl": ' + b"1" * 100 + b"}]}", "over 64 bits"),
        (b'{"items": [{"ttl": 1e400}]}', "fit"),
    ],
)
async def test_what_does_not_fit_is_a_bad_request_that_says_where(content, said):
    with pytest.raises(BadRequest, match=said):
        await read(Request(content))


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"items": [], "unknown": ' + b"["])
async def test_deep_nesting_is_a_bad_request(opening):
    with pytest.raises(BadRequest, match="deep"):
        json_decoder(Any)(opening.replace(b'{"items": [], "unknown": ', b"") * 100_000)
    with pytest.raises(BadRequest):
        json_decoder(Posted)(b'{"items": [], "unknown": ' + b"[" * 100_000)


def test_the_widest_numbers_fit():
    for number in (2**63 - 1, -(2**63)):
        assert json_decoder(Any)(str(number).encode()) == number
    with pytest.raises(BadRequest):
        check_numbers({"a": [{"b": 2**63}]})


@given(st.recursive(st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_a_document_is_refused_just_when_a_number_in_it_is_over_64_bits(document):
    def wide(value) -> bool:
        if isinstance(value, int):
            return not -(2**63) <= value < 2**63
        inner = value.values() if isinstance(value, dict) else value
        return not isinstance(value, str | float) and any(wide(item) for item in inner)

    content = msgspec.json.encode(document)
    if wide(document):
        with pytest.raises(BadRequest):
            json_decoder(Any)(content)
    else:
        assert json_decoder(Any)(content) == document


async def test_an_announced_length_over_the_limit_is_refused_unread():
    request = Request(b"", GOOD)
    with pytest.raises(TooLarge, match="1000 bytes"):
        await read(request, {b"content-length": b"1001"})
    assert request.taken == 0


async def test_chunks_are_counted_while_they_come():
    request = Request(*[b" " * 300] * 50)
    with pytest.raises(TooLarge):
        await read(request)
    assert request.taken == 3


async def test_a_route_may_have_its_own_limit():
    assert await read(Request(b"x" * 5000), body=bytes, body_bytes_max=5000) == b"x" * 5000
    with pytest.raises(TooLarge):
        await read(Request(b"x" * 11), body=bytes, body_bytes_max=10)


async def test_an_optional_body_may_be_absent_whatever_its_type():
    assert await read(Request(b""), {b"content-type": b"text/plain"}, body_optional=True) is None


@pytest.mark.parametrize("kind", [b"text/plain", b"application/jsonx", b"", b"application/json2;a"])
async def test_another_content_type_is_refused(kind):
    with pytest.raises(UnsupportedMedia, match="application/json"):
        await read(Request(GOOD), {b"content-type": kind})


@pytest.mark.parametrize(
    "kind", [b"application/json", b"application/json; charset=UTF-8", b"Application/JSON ;x=y"]
)
async def test_a_content_type_may_have_parameters_and_any_case(kind):
    assert await read(Request(GOOD), {b"content-type": kind}) == Posted([Item(1)])


async def test_a_compressed_body_is_refused_before_it_is_unpacked():
    with pytest.raises(UnsupportedMedia, match="encoding"):
        await read(Request(GOOD), {b"content-encoding": b"gzip"})


async def test_a_caller_that_leaves_is_noticed():
    request = Request(b"a", b"b")
    request.events = [{"type": "http.disconnect"}]
    with pytest.raises(Disconnected):
        await read(request)


async def test_a_body_that_never_ends_times_out():
    request = Request(b"a", b"b")

    async def forever():
        import asyncio

        await asyncio.Event().wait()

    request.next_event = forever
    reader = body_reader(route(), 1000, 0.01)
    with pytest.raises(RequestTimeout):
        await reader(request, {})
