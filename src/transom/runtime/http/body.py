# SPDX-License-Identifier: Apache-2.0
"""From a request's bytes to the one shape that its route takes.

Invariants:
1. Never more than the limit plus one chunk is held, of what came and of what it inflates to; a
   length announced over it is refused before a byte is read.
2. What comes out holds no whole number outside of 64 bits, whatever the shape allows: stores and
   other languages' clients cannot hold it. (What a shape leaves as bytes, `Raw`, is not looked at.)
3. Nothing is decoded that is nested deeper than `depth.DEPTH_MOST`, `Raw` or not.
4. Of a name that an object has twice, the last value counts, as in all of Python's and
   JavaScript's decoders; the text is decoded once, so nothing is checked that is not also used.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from transom.errors import BadRequest, RequestTimeout, TooLarge, UnsupportedMedia
from transom.runtime.http.depth import DEPTH_MOST, is_too_deep
from transom.runtime.http.inflate import Inflater
from transom.runtime.http.route import Route

WIDEST = 2**63

_DIGITS = bytes(ord("0") if 48 <= byte <= 57 else ord(" ") for byte in range(256))
_LONG_RUN = b"0" * 19
"""Shorter numbers fit. Measured: a 600 byte body decodes and is checked in 4.4 microseconds; with
a look at each of its values, in 6.7 (bench/http/pieces.py)."""


class Arriving(Protocol):
    """What is read of a request: see `cycle.Cycle`. `content` is set to the body, as decoded."""

    content: bytes
    more_body: bool

    def taken(self) -> bytes: ...

    async def next_chunk(self) -> bytes: ...


BodyReader = Callable[[Arriving, Mapping[bytes, bytes]], Awaitable[Any]]


def body_reader(route: Route, bytes_max: int, whole_s: float) -> BodyReader | None:
    """How the route's bodies are read: None where it takes none.

    The reader raises: BadRequest, TooLarge, UnsupportedMedia, RequestTimeout, Disconnected.
    """
    if route.body is None:
        return None
    limit = bytes_max if route.body_bytes_max is None else route.body_bytes_max
    decode = (lambda content: content) if route.body is bytes else json_decoder(route.body)
    taken = frozenset(media_type.encode() for media_type in route.body_types)
    optional = route.body_optional

    async def read(request: Arriving, headers: Mapping[bytes, bytes]) -> Any:
        length = headers.get(b"content-length")
        if length is not None and int(length) > limit:
            raise too_large(limit)
        content = request.taken()
        encoding = headers.get(b"content-encoding", b"identity")
        if encoding != b"identity" and encoding.strip().lower() != b"identity":
            content = await _inflated(request, content, Inflater(encoding, limit), limit, whole_s)
        elif request.more_body:
            content = await _rest(request, content, limit, whole_s)
        elif len(content) > limit:
            raise too_large(limit)
        request.content = content
        if not content and optional:
            return None
        media_type = headers.get(b"content-type")
        if media_type is not None and media_type not in taken:
            _check_type(media_type, taken)
        return decode(content)

    return read


def json_decoder(shape: Any) -> Callable[[bytes], Any]:
    """Bytes -> the shape. Raises: BadRequest that names the field by its path."""
    decode = msgspec.json.Decoder(shape).decode

    def checked(content: bytes) -> Any:
        if is_too_deep(content):
            raise BadRequest(f"The body is nested more than {DEPTH_MOST} deep.")
        try:
            value = decode(content)
            if _LONG_RUN in content.translate(_DIGITS):
                check_numbers(value)
        except msgspec.ValidationError as error:
            raise BadRequest(f"The body does not fit: {error}.") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            text = "A body is needed, as JSON." if not content else f"The body is no JSON: {error}."
            raise BadRequest(text) from None
        return value

    return checked


def check_numbers(value: Any, path: str = "$") -> None:
    """Raises: BadRequest if a whole number in the value does not fit into 64 bits."""
    kind = type(value)
    if kind is int:
        if not -WIDEST <= value < WIDEST:
            raise BadRequest(f"The body does not fit: the number at `{path}` is over 64 bits.")
    elif kind is dict:
        for name, item in value.items():
            if type(item) is not str:
                check_numbers(item, f"{path}.{name}")
    elif kind is list or kind is tuple:
        for index, item in enumerate(value):
            if type(item) is not str:
                check_numbers(item, f"{path}[{index}]")
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            check_numbers(getattr(value, name), f"{path}.{name}")


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than the {limit} bytes that are allowed here.")


async def _rest(request: Arriving, content: bytes, limit: int, whole_s: float) -> bytes:
    chunks = [content]
    size = len(content)
    try:
        async with asyncio.timeout(whole_s):
            while request.more_body and size <= limit:
                chunks.append(await request.next_chunk())
                size += len(chunks[-1])
    except TimeoutError:
        raise RequestTimeout from None
    if size > limit:
        raise too_large(limit)
    return b"".join(chunks)


async def _inflated(
    request: Arriving, content: bytes, inflater: Inflater, limit: int, whole_s: float
) -> bytes:
    """As `_rest`, each chunk inflated when it comes: a bomb is refused by its first ones."""
    chunks = [inflater.inflate(content)]
    size = len(content)
    try:
        async with asyncio.timeout(whole_s):
            while request.more_body:
                content = await request.next_chunk()
                size += len(content)
                if size > limit:
                    raise too_large(limit)
                chunks.append(inflater.inflate(content))
    except TimeoutError:
        raise RequestTimeout from None
    inflater.end()
    return b"".join(chunks)


def _check_type(media_type: bytes, taken: frozenset[bytes]) -> None:
    if media_type.partition(b";")[0].strip().lower() not in taken:
        names = ", ".join(sorted(name.decode() for name in taken))
        raise UnsupportedMedia(f"Send the body as {names}.")
