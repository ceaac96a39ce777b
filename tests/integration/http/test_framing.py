"""Requests whose bounds or target two readers could see differently: none is carried out.

Each is sent in front of a request that must then not be answered: were it read otherwise here than
by a proxy in front, that one would be smuggled. Source: RFC 9112, 2.2, 3.2, 5, 6, 11.2.
"""

import re

import pytest

from support.door import small_door
from support.http import exchange, serve

GET = b"GET /queue/v2/open HTTP/1.1\r\nhost: a\r\n"
POST = b"POST /queue/v2/open HTTP/1.1\r\nhost: a\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
NEXT = GET + b"\r\n"
REFUSED = {
    "no host": b"GET /queue/v2/open HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"host: a\r\n\r\n",
    "bad host": b"GET /queue/v2/open HTTP/1.1\r\nhost: a b/@\r\n\r\n",
    "obs-fold": GET + b"x: y\r\n z\r\n\r\n",
    "obs-fold first": b"GET /queue/v2/open HTTP/1.1\r\n x: y\r\nhost: a\r\n\r\n",
    "bare cr": GET + b"x: y\rz\r\n\r\n",
    "bare lf": b"GET /queue/v2/open HTTP/1.1\nhost: a\n\n",
    "lf in hdr": b"GET /queue/v2/open HTTP/1.1\r\nhost: a\nx: y\r\n\r\n",
    "nul": GET + b"x: y\x00z\r\n\r\n",
    "ctl": GET + b"x: y\x01z\r\n\r\n",
    "space colon": GET + b"x : y\r\n\r\n",
    "te cl": POST + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
    "cl te": POST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "te gzip chunked": POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "te chunked twice": POST
    + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "te xchunked": POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "te chunked,identity": POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "te \\x0bchunked": POST + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "te ''": POST + b"transfer-encoding:\r\n\r\n0\r\n\r\n",
    "te in 1.0": CHUNKED.replace(b"/1.1", b"/1.0") + b"0\r\n\r\n",
    "cl twice same": POST + b"content-length: 0\r\ncontent-length: 0\r\n\r\n",
    "cl twice": POST + b"content-length: 0\r\ncontent-length: 5\r\n\r\n",
    "cl list": POST + b"content-length: 0, 0\r\n\r\n",
    "cl +": POST + b"content-length: +0\r\n\r\n",
    "cl -": POST + b"content-length: -1\r\n\r\n",
    "cl hex": POST + b"content-length: 0x0\r\n\r\n",
    "cl big": POST + b"content-length: 99999999999999999999999\r\n\r\n",
    "cl empty": POST + b"content-length:\r\n\r\n",
    "chunk -1": CHUNKED + b"-1\r\n\r\n",
    "chunk 0x": CHUNKED + b"0x0\r\n\r\n",
    "chunk sp": CHUNKED + b"0 \r\n\r\n",
    "chunk lf": CHUNKED + b"0\n\n",
    "chunk ext lf": CHUNKED + b"2;x=\n\r\nab\r\n0\r\n\r\n",
    "chunk no crlf": CHUNKED + b"2\r\nabc\r\n0\r\n\r\n",
    "chunk overflow": CHUNKED + b"ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "version 1.2": b"GET /queue/v2/open HTTP/1.2\r\nhost: a\r\n\r\n",
    "version 2": b"GET /queue/v2/open HTTP/2.0\r\nhost: a\r\n\r\n",
    "0.9": b"GET /queue/v2/open\r\n\r\n",
    "tab": b"GET\t/queue/v2/open HTTP/1.1\r\nhost: a\r\n\r\n",
    "frag": b"GET /queue/v2/open#x HTTP/1.1\r\nhost: a\r\n\r\n",
    "unknown method": b"GOT /queue/v2/open HTTP/1.1\r\nhost: a\r\n\r\n",
    "empty name": GET + b": y\r\n\r\n",
    "bad name": GET + b"x(y: z\r\n\r\n",
    "no colon": GET + b"xy\r\n\r\n",
    "cr line end": b"GET /queue/v2/open HTTP/1.1\r\nhost: a\r\r\n\r\n",
    "trailer": CHUNKED + b"0\r\ncontent-length: 5\r\nhost: b\r\n\r\n",
    "non-utf8 name": GET + b"x\xff: y\r\n\r\n",
}
TAKEN = {
    "absolute target": (b"GET http://b/queue/v2/open HTTP/1.1\r\nhost: a\r\n\r\n", 200),
    "empty lines before": (b"\r\n\r\n" + NEXT, 200),
    "a body where none is read": (
        GET + b"content-length: 5\r\n\r\nhello",
        200,
    ),
    "an address with a port": (b"GET /queue/v2/open HTTP/1.1\r\nhost: [::1]:80\r\n\r\n", 200),
    "an empty host": (b"GET /queue/v2/open HTTP/1.1\r\nhost:\r\n\r\n", 200),
    "chunked in capitals": (
        POST + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        405,
    ),
    "a name that only looks like a length": (
        POST + b"content_length: 5\r\n\r\n",
        405,
    ),
    "an unknown expectation": (
        GET + b"expect: x\r\n\r\n",
        200,
    ),
}


def statuses(answer: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


@pytest.mark.parametrize("name", REFUSED)
async def test_an_ambiguous_request_is_refused_and_nothing_behind_it_is_read(name):
    async with serve(small_door()) as url:
        answer = await exchange(url, REFUSED[name] + NEXT)
    # What came before its fault was seen may have had its answer (405, nothing carried out).
    found = statuses(answer)
    assert found[-1] == 400
    assert 200 not in found


@pytest.mark.parametrize("name", TAKEN)
async def test_what_is_not_ambiguous_is_taken_and_the_next_one_too(name):
    sent, status = TAKEN[name]
    async with serve(small_door()) as url:
        answer = await exchange(url, sent + NEXT)
    assert statuses(answer) == [status, 200]


async def test_a_request_of_1_0_needs_no_host():
    async with serve(small_door()) as url:
        answer = await exchange(url, b"GET /queue/v2/open HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_an_upgrade_that_is_not_made_ends_the_connection():
    """What follows would be read as another protocol by whoever believes in the upgrade."""
    sent = GET + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n"
    async with serve(small_door()) as url:
        answer = await exchange(url, sent + NEXT)
    assert answer.count(b"HTTP/1.1 ") == 1
