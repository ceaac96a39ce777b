# SPDX-License-Identifier: Apache-2.0
"""Lines of `transom queue`: read as messages, in batches, and written as they came."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from transom.cli.queue_lines import (
    BATCH_BYTES,
    Batches,
    Drained,
    Form,
    as_line,
    as_text,
    in_batches,
)
from transom.errors import BadRequest
from transom.queue.client.shapes import New


async def batches(data: bytes, most: int, folder: Path) -> list[list[tuple[int, bytes]]]:
    file = folder / "lines"
    file.write_bytes(data)
    with file.open("rb") as opened:
        return [batch async for batch in Batches(opened.fileno(), most)]


async def test_lines_are_numbered_and_blank_ones_left_out(tmp_path: Path) -> None:
    found = await batches(b"a\r\n\n  \nb\nc", 2, tmp_path)
    assert found == [[(1, b"a"), (4, b"b")], [(5, b"c")]]
    assert await batches(b"", 2, tmp_path) == []


async def test_a_batch_is_bounded_by_its_bytes(tmp_path: Path) -> None:
    long = b"x" * (BATCH_BYTES // 2 + 1)
    found = await batches(b"\n".join([long, long, b"y", b"z" * (BATCH_BYTES + 1)]), 50, tmp_path)
    assert [[number for number, _ in batch] for batch in found] == [[1], [2, 3], [4]]
    texts = [long.decode(), long.decode(), "y"]
    given = [[number for number, _ in batch] async for batch in in_batches(texts, 50)]
    assert given == [[1], [2, 3]]


async def test_what_comes_through_a_pipe_is_not_kept_back() -> None:
    reading, writing = os.pipe()
    try:
        found = aiter(Batches(reading, 50))
        for text in (b"one\ntw", b"o\n"):
            os.write(writing, text)
        async with asyncio.timeout(10):
            assert await anext(found) == [(1, b"one"), (2, b"two")]
            os.write(writing, b"three\n")
            assert await anext(found) == [(3, b"three")]
    finally:
        os.close(writing)
        os.close(reading)


def test_a_line_is_text_json_or_what_was_drained() -> None:
    assert Form(ttl=60).message(b"a b", 1) == New("a b", 60)
    message = Form(json=True, key_field="id", delay=3).message(b'{"id": 7, "e": 1e5}', 1)
    assert (bytes(message.body), message.key, message.delay) == (b'{"id": 7, "e": 1e5}', "7", 3)
    message = Form(drained=True).message(b'{"id":"x","body":[1.0],"key":"k","ttl":99,"x":1}', 1)
    assert (bytes(message.body), message.key, message.ttl) == (b"[1.0]", "k", 99)


@pytest.mark.parametrize(
    ("form", "line"),
    [
        (Form(), b"\xff"),
        (Form(json=True), b"{"),
        (Form(key_field="id"), b"[]"),
        (Form(key_field="id"), b'{"id": true}'),
        (Form(key_field="id"), b'{"id": ""}'),
        (Form(drained=True), b'{"id": "x"}'),
    ],
)
def test_a_line_that_is_no_message_is_named(form: Form, line: bytes) -> None:
    with pytest.raises(BadRequest, match="line 9: "):
        form.message(line, 9)


def test_a_body_stays_as_it_is_but_for_breaks_between_its_tokens() -> None:
    body = b'{"big": 123456789012345678901234567890,\n "e": 1e5, "s": "a\\nb"}'
    line = as_line(Drained("x", msgspec.Raw(body)))
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert b'{"big":123456789012345678901234567890,"e":1e5,"s":"a\\nb"}' in line
    assert (
        as_text(Drained("x", msgspec.Raw(b'"a\\u001b[31m\\n"'), created_at="now")) == "now  a [31m "
    )


@pytest.mark.parametrize("body", [b"1e999", b"[" + b"9" * 10_000 + b"]", b'{"a": "\\u0007"}'])
def test_a_body_is_shown_whatever_numbers_are_in_it(body: bytes) -> None:
    assert as_text(Drained("x", msgspec.Raw(body), created_at="now")) == f"now  {body.decode()}"
