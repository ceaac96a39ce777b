# SPDX-License-Identifier: Apache-2.0
"""Hostile and broken callers, by raw bytes."""

import asyncio
import resource
from contextlib import suppress

import pytest

from transom.runtime.http.limits import HttpLimits

from support.door import TOKEN, Gate, small_door
from support.http import ask, connect, exchange, hang_up, read_reply, request_bytes, serve

GET = request_bytes("GET", "/queue/v2/open")
HASTY = HttpLimits(
    header_s=0.4, body_s=5.0, body_pause_s=0.4, keep_alive_s=0.4, write_s=0.6, drain_s=1.0
)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:80]
    return int(answer.split()[1])


async def flood(url: str, opening: bytes, piece: bytes, total: int) -> tuple[bytes, int]:
    """Sends until all is sent or the door hangs up; gives the answer and how much went out."""
    reader, writer = await connect(url)
    answer = asyncio.ensure_future(reader.read())
    sent = 0
    with suppress(ConnectionError):
        writer.write(opening)
        while sent < total and not answer.done():
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
    async with asyncio.timeout(20):
        with suppress(ConnectionError):
            await answer
    await hang_up(writer)
    failed = answer.exception() is not None
    return (b"" if failed else answer.result()), sent


@pytest.mark.parametrize(
    ("opening", "piece"),
    [
        (b"GET / HTTP/1.1\r\n", b"x-filler: " + b"a" * 1000 + b"\r\n"),
        (b"GET / HTTP/1.1\r\nx-endless: ", b"a" * 65536),
        (b"GET / HTTP/1.1\r\n", b"a" * 65536),
        (b"GET /", b"a" * 65536),
        (b"GET / HTTP/1.1\r\n", b"a:\r\n" * 1000),
    ],
)
async def test_a_hundred_megabytes_of_headers_are_refused_at_the_first_few(opening, piece):
    async with serve(small_door()) as url:
        before = peak_mib()
        answer, _ = await flood(url, opening, piece, 100_000_000)
        healthy = await ask(url, "GET", "/healthz")
    assert status_of(answer) == 431
    assert b"x-openstack-request-id: req-" in answer
    assert healthy.status == 200
    assert peak_mib() - before < 30


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"GET /queue/v2/open?a={'b' * 20000} HTTP/1.1\r\n\r\n", 431),
        ("GET / HTTP/1.1\r\n" + "a: b\r\n" * 129 + "\r\n", 431),
        ("GET / HTTP/1.1\r\n" + "host: a\r\n" + "a: b\r\n" * 100 + "\r\n", 200),
        ("GET / HTTP/1.1\r\na: " + "b" * 66000 + "\r\n\r\n", 431),
    ],
)
async def test_headers_have_exact_bounds(head, status):
    async with serve(small_door()) as url:
        assert status_of(await exchange(url, head.encode())) == status


@pytest.mark.parametrize(
    "head",
    [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 6",
        "content-length: +5",
        "content-length: -1",
        "content-length: 0x5",
        "content-length: 5 5",
        "content-length: 99999999999999999999",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: xchunked",
        "transfer-encoding : chunked",
        "content-length: 5\r\n transfer-encoding: chunked",
        "transfer-encoding\r\n: chunked",
        "a: b\nx: y",
        "a: b\rx: y",
        "a\x00b: c",
        "x: a\x00b",
    ],
)
async def test_requests_whose_framing_is_open_to_doubt_are_refused(head):
    """None may be answered twice, and what follows it is never taken for a request."""
    smuggled = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    start = f"POST /queue/v2/show/a HTTP/1.1\r\nhost: x\r\nx-auth-token: {TOKEN}\r\n"
    async with serve(small_door()) as url:
        answer = await exchange(url, f"{start}{head}\r\n\r\n".encode("latin-1") + smuggled)
    assert status_of(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    "sent",
    [b"\r\n\r\n\r\nnonsense\r\n\r\n", b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
     b"GET / HTTP/9.9\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n",
     b"CONNECT here:443 HTTP/1.1\r\n\r\n"],
)  # fmt: skip
async def test_what_is_no_request_gets_a_400(sent):
    async with serve(small_door()) as url:
        assert status_of(await exchange(url, sent)) == 400


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", None),
        (b"G", 408),
        (b"GET / HTTP/1.1\r\nhost:", 408),
        (b"POST /queue/v2/show/a HTTP/1.1\r\nhost: a\r\nx-auth-token: " + TOKEN.encode()
         + b"\r\ncontent-length: 100\r\n\r\nabc", 408),
    ],
)  # fmt: skip
async def test_half_a_request_is_not_waited_for(sent, status):
    async with serve(small_door(limits=HASTY), HASTY) as url:
        answer = await exchange(url, sent, end=False)
    assert answer == b"" if status is None else status_of(answer) == status


async def test_a_slow_header_is_cut_off_however_often_a_byte_comes():
    async with serve(small_door(), HASTY) as url:
        reader, writer = await connect(url)
        writer.write(b"GET / HTTP/1.1\r\nx: ")

        async def drip():
            while True:
                writer.write(b"a")
                await asyncio.sleep(0.02)

        dripping = asyncio.ensure_future(drip())
        reply = await read_reply(reader)
        dripping.cancel()
        await hang_up(writer)
    assert reply.status == 408


async def test_a_body_that_drips_is_cut_off_and_one_that_flows_is_not():
    limits = HttpLimits(body_pause_s=0.4, body_progress_bytes=100)
    head = (
        f"POST /queue/v2/bytes HTTP/1.1\r\nhost: a\r\nx-auth-token: {TOKEN}\r\n"
        "content-type: application/octet-stream\r\ncontent-length: 2000\r\n\r\n"
    ).encode()

    async def sent_in(url, piece):
        reader, writer = await connect(url)
        writer.write(head)

        async def drip():
            for _ in range(0, 2000, len(piece)):
                writer.write(piece)
                await asyncio.sleep(0.05)

        dripping = asyncio.ensure_future(drip())
        reply = await read_reply(reader)
        dripping.cancel()
        await hang_up(writer)
        return reply.status

    async with serve(small_door(), limits) as url:
        assert await asyncio.gather(sent_in(url, b"a"), sent_in(url, b"a" * 100)) == [408, 200]


async def test_an_idle_connection_is_closed_and_a_used_one_kept():
    async with serve(small_door(), HASTY) as url:
        reader, writer = await connect(url)
        for _ in range(3):
            writer.write(GET)
            assert (await read_reply(reader)).status == 200
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        await hang_up(writer)


async def test_a_caller_that_does_not_read_is_cut_off():
    async with serve(small_door(), HASTY) as url:
        _, writer = await connect(url)
        writer.transport.pause_reading()
        writer.write(request_bytes("GET", "/queue/v2/much"))
        assert established(url) == 1
        async with asyncio.timeout(10):
            while established(url) > 0:
                await asyncio.sleep(0.05)
        writer.transport.abort()


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
async def test_a_slow_but_steady_reader_gets_all(connection):
    async with serve(small_door(), HASTY) as url:
        reader, writer = await connect(url)
        writer.write(request_bytes("GET", "/queue/v2/much", {"connection": connection}))
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(30):  # one and a half seconds, while `write_s` is 0.6
            await reader.readexactly(1_000_000)
            await asyncio.sleep(0.05)
        await hang_up(writer)


async def test_an_endless_chunked_body_is_refused_at_its_limit():
    opening = (
        f"PUT /queue/v2/show/a HTTP/1.1\r\nhost: a\r\nx-auth-token: {TOKEN}\r\n"
        "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    ).encode()
    async with serve(small_door()) as url:
        before = peak_mib()
        answer, _ = await flood(url, opening, b"10000\r\n" + b" " * 65536 + b"\r\n", 200_000_000)
        assert status_of(answer) == 413
        assert peak_mib() - before < 30


@pytest.mark.parametrize(
    "piece", [b"1;" + b"a" * 4000 + b"\r\nx\r\n", b"0\r\n" + b"x-a: b\r\n" * 10000]
)
async def test_chunk_framing_and_trailers_are_bounded(piece):
    opening = (
        f"PUT /queue/v2/show/a HTTP/1.1\r\nhost: a\r\nx-auth-token: {TOKEN}\r\n"
        "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    ).encode()
    async with serve(small_door()) as url:
        answer, sent = await flood(url, opening, piece, 20_000_000)
    assert status_of(answer) in (400, 431)
    assert sent < 20_000_000


async def test_a_large_refused_upload_gets_its_answer():
    """The refusal is not lost in a reset while the caller still sends."""
    head = (
        f"PUT /queue/v2/show/a HTTP/1.1\r\nhost: a\r\nx-auth-token: {TOKEN}\r\n"
        "content-length: 5000000\r\n\r\n"
    )
    async with serve(small_door()) as url:
        for _ in range(5):
            answer, _ = await flood(url, head.encode(), b"x" * 65536, 5_000_000)
            assert status_of(answer) == 413


async def test_requests_sent_ahead_are_answered_in_order_before_what_is_no_request():
    ahead = [request_bytes("GET", f"/queue/v2/open?n={number}") for number in range(20)]
    async with serve(small_door()) as url:
        reader, writer = await connect(url)
        writer.write(b"".join(ahead) + b"no request\r\n\r\n")
        numbers = [(await read_reply(reader)).json()["query"]["n"] for _ in range(20)]
        last = await read_reply(reader)
        assert await reader.read() == b""
        await hang_up(writer)
    assert numbers == [str(number) for number in range(20)]
    assert last.status == 400


async def test_many_requests_sent_ahead_are_not_all_held():
    async with serve(small_door()) as url:
        before = peak_mib()
        reader, writer = await connect(url)
        writer.write(GET * 20_000)
        for _ in range(20_000):
            assert (await read_reply(reader)).status == 200
        await hang_up(writer)
        assert peak_mib() - before < 60


async def test_one_connection_too_many_is_told_so_and_the_others_go_on():
    limits = HttpLimits(connections_max=3)
    async with serve(small_door(), limits) as url:
        held = [await connect(url) for _ in range(3)]
        for reader, writer in held:
            writer.write(GET)
            assert (await read_reply(reader)).status == 200
        answer = await exchange(url, GET, end=False)
        assert status_of(answer) == 503
        assert b"retry-after: 1" in answer
        await hang_up(held[0][1])
        async with asyncio.timeout(10):
            while status_of(await exchange(url, GET)) == 503:
                await asyncio.sleep(0.01)
        for reader, writer in held[1:]:
            writer.write(GET)
            assert (await read_reply(reader)).status == 200
            await hang_up(writer)


async def test_more_requests_at_once_than_allowed_are_shed():
    gate = Gate()
    async with serve(small_door(gate), HttpLimits(requests_max=4)) as url:
        waiting = [asyncio.ensure_future(ask(url, "GET", "/queue/v2/gate")) for _ in range(4)]
        await gate.reached_by(4)
        shed = await ask(url, "GET", "/queue/v2/open")
        gate.open.set()
        passed = await asyncio.gather(*waiting)
        after = await ask(url, "GET", "/queue/v2/open")
    assert (shed.status, shed.headers["retry-after"]) == (503, "1")
    assert [reply.status for reply in passed] == [200] * 4
    assert after.status == 200


async def test_a_caller_that_leaves_ends_nothing_but_its_connection():
    gate = Gate()
    async with serve(small_door(gate)) as url:
        _, writer = await connect(url)
        writer.write(request_bytes("GET", "/queue/v2/gate"))
        await gate.reached_by(1)
        writer.transport.abort()
        gate.open.set()
        assert (await ask(url, "GET", "/queue/v2/open")).status == 200


async def test_an_upgrade_is_answered_as_if_none_had_been_asked_for():
    asked = {"connection": "upgrade", "upgrade": "h2c"}
    async with serve(small_door()) as url:
        answer = await exchange(url, request_bytes("GET", "/queue/v2/open", asked) + GET, end=False)
    assert status_of(answer) == 200
    assert answer.count(b"HTTP/1.1 ") == 1


def established(url: str) -> int:
    """Connections that the kernel holds open on the door's side."""
    port = int(url.rpartition(":")[2])
    with open("/proc/self/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(int(row[1].split(":")[1], 16) == port and row[3] == "01" for row in rows)
