# SPDX-License-Identifier: Apache-2.0
import gzip
import json
import time
import tracemalloc
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import BadRequest, RequestTimeout, TooLarge, UnsupportedMedia
from transom.runtime.http.body import body_reader, check_numbers, json_decoder
from transom.runtime.http.cycle import Disconnected
from transom.runtime.http.depth import DEPTH_MOST, is_too_deep
from transom.runtime.http.inflate import MEMBERS_MOST, UnsupportedEncoding
from transom.runtime.http.route import Route

LIMIT = 1000


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
        self.chunks = list(chunks)
        self.asked = 0
        self.content = b""

    @property
    def more_body(self) -> bool:
        return len(self.chunks) > 0

    def taken(self) -> bytes:
        return self.chunks.pop(0)

    async def next_chunk(self) -> bytes:
        self.asked += 1
        return self.chunks.pop(0)


def json_values():
    texts = st.text(alphabet='a[]{}"\\')
    return st.recursive(
        texts | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=20,
    )


def deepest(value) -> int:
    if isinstance(value, dict):
        return 1 + max(map(deepest, value.values()), default=0)
    return 1 + max(map(deepest, value), default=0) if isinstance(value, list) else 0


GOOD = b'{"items": [{"ttl": 1}]}'


async def read(request, headers=None, **fields):
    reader = body_reader(route(**fields), LIMIT, 5.0)
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
    assert request.asked == 0


async def test_chunks_are_counted_while_they_come():
    request = Request(*[b" " * 300] * 50)
    with pytest.raises(TooLarge):
        await read(request)
    assert request.asked == 3


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


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, gzip", b"", b"deflate;q=1"])
async def test_an_unknown_content_encoding_is_refused(encoding):
    with pytest.raises(UnsupportedEncoding, match="gzip, deflate"):
        await read(Request(GOOD), {b"content-encoding": encoding})


@pytest.mark.parametrize("pieces", [1, 3, 1000])
@pytest.mark.parametrize(
    ("encoding", "pack"),
    [(b"gzip", gzip.compress), (b"X-GZip ", gzip.compress), (b"deflate", zlib.compress)],
)
async def test_a_compressed_body_is_read_as_if_it_were_not(encoding, pack, pieces):
    packed = pack(GOOD)
    step = max(1, len(packed) // pieces)
    request = Request(*(packed[at : at + step] for at in range(0, len(packed), step)))
    assert await read(request, {b"content-encoding": encoding}) == Posted([Item(1)])
    assert request.content == GOOD


async def test_gzip_of_several_members_is_one_body():
    packed = gzip.compress(GOOD[:5]) + gzip.compress(b"") + gzip.compress(GOOD[5:])
    for chunks in ([packed], [packed[at : at + 1] for at in range(len(packed))]):
        assert await read(Request(*chunks), {b"content-encoding": b"gzip"}) == Posted([Item(1)])


async def test_gzip_of_very_many_members_is_refused():
    packed = gzip.compress(GOOD) + gzip.compress(b"") * (MEMBERS_MOST - 1)
    coded = {b"content-encoding": b"gzip"}
    reader = body_reader(route(), len(packed) * 2, 5.0)
    assert reader is not None
    assert await reader(Request(packed), coded) == Posted([Item(1)])
    with pytest.raises(BadRequest, match="members"):
        await reader(Request(packed + gzip.compress(b"")), coded)


@pytest.mark.parametrize(
    ("encoding", "sent", "says"),
    [
        (b"gzip", GOOD, "not what"),
        (b"deflate", gzip.compress(GOOD, mtime=0), "not what"),
        (b"gzip", gzip.compress(GOOD, mtime=0)[:-1], "breaks off"),
        (b"gzip", gzip.compress(GOOD, mtime=0)[:-5] + b"xxxxx", "not what"),
        (b"gzip", gzip.compress(GOOD, mtime=0) + b"rest", "not what"),
        (b"deflate", zlib.compress(GOOD) + b"rest", "goes on"),
        (b"gzip", b"", "needed"),
    ],
)
async def test_a_body_that_is_not_what_its_encoding_says_is_refused(encoding, sent, says):
    with pytest.raises(BadRequest, match=says):
        await read(Request(sent), {b"content-encoding": encoding})


async def test_a_bomb_is_refused_by_its_first_bytes_and_not_inflated():
    """Each of 30 MB: over the limit, or within it but growing more than real content does."""
    bomb = gzip.compress(b" " * 30_000_000)
    for limit, says in ((1_000_000, "inflated, is larger"), (50_000_000, "grows more than")):
        request = Request(*(bomb[at : at + 1000] for at in range(0, len(bomb), 1000)))
        wide = body_reader(
            Route("POST", "/x", nothing, body=bytes, body_bytes_max=limit), LIMIT, 5.0
        )
        tracemalloc.start()
        with pytest.raises(TooLarge, match=says):
            await wide(request, {b"content-encoding": b"gzip"})
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 8_000_000
        assert len(request.chunks) > 20  # the rest was not even read


async def test_content_that_compresses_well_is_no_bomb():
    content = json.dumps({"items": [{"ttl": 1}] * 4000}).encode()
    wide = body_reader(
        Route("POST", "/x", nothing, body=Posted, body_bytes_max=100_000), LIMIT, 5.0
    )
    found = await wide(Request(gzip.compress(content)), {b"content-encoding": b"gzip"})
    assert len(found.items) == 4000


@pytest.mark.parametrize("opened", [b"[", b'{"a":', b'[{"a":'])
def test_a_body_nested_too_deep_is_refused_before_it_is_decoded(opened):
    each = opened.count(b"[") + opened.count(b"{")
    closed = opened.replace(b'"a":', b"").translate(bytes.maketrans(b"[{", b"]}"))[::-1]
    decode = json_decoder(Any)

    def nested(times):
        return opened * times + b"1" + closed * times

    decode(nested(DEPTH_MOST // each))
    for times in (DEPTH_MOST // each + 1, 100_000):
        with pytest.raises(BadRequest, match="nested"):
            decode(nested(times))
    with pytest.raises(BadRequest):
        decode(opened * 100_000)


@given(json_values(), st.integers(1, 5))
def test_depth_is_what_a_walk_through_the_value_says(value, most):
    for text in (json.dumps(value), json.dumps(value, indent=1)):
        assert is_too_deep(text.encode(), most) == (deepest(value) > most)


@pytest.mark.parametrize("endless", [b'\\"', b'"', b'\\\\"', b'"\\'])
def test_the_depth_of_a_text_that_never_ends_costs_no_more_than_its_length(endless):
    """Its square would be half an hour."""
    began_s = time.process_time()
    is_too_deep(b"[" * (DEPTH_MOST + 1) + b'"' + endless * 500_000)
    assert time.process_time() - began_s < 5


@pytest.mark.parametrize(
    "text",
    [
        b"NaN",
        b"-Infinity",
        b"1e400",
        b'"\xff"',
        b'"\\ud800"',
        b'"\\udc00x"',
        b"[1,]",
        b"\xef\xbb\xbf1",
    ],
)
def test_what_is_no_json_for_everybody_is_refused(text):
    with pytest.raises(BadRequest):
        json_decoder(Any)(text)


def test_of_a_name_given_twice_the_last_value_counts():
    assert json_decoder(Item)(b'{"ttl": 1, "ttl": 2}') == Item(2)
    assert json_decoder(Any)(b'{"ttl": 1, "ttl": 2}') == {"ttl": 2}


async def test_a_caller_that_leaves_is_noticed():
    request = Request(b"a", b"b")

    async def leave():
        raise Disconnected

    request.next_chunk = leave
    with pytest.raises(Disconnected):
        await read(request)


async def test_a_body_that_never_ends_times_out():
    request = Request(b"a", b"b")

    async def forever():
        import asyncio

        await asyncio.Event().wait()

    request.next_chunk = forever
    reader = body_reader(route(), 1000, 0.01)
    with pytest.raises(RequestTimeout):
        await reader(request, {})
