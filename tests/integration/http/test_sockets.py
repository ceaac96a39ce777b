"""WebSockets at the doors: the handshake, the frames and their faults, bounds, time, the stop."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from transom.runtime.auth.context import Context
from transom.runtime.clock import SystemClock
from transom.runtime.http.app import make_app
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.listen import bind
from transom.runtime.http.route import Answer, Call, Mount, Route, SocketRoute
from transom.runtime.http.server import HttpServer
from transom.runtime.http.tls import Certificate
from transom.runtime.http.visits import Visit
from transom.runtime.http.websocket import Socket

from support.certificates import issued
from support.http import PATIENCE_S, Tokens, ask, exchange, hang_up, request_bytes, serve
from support.http import connect as connect_raw

BYTES_MAX = 4096
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
HANDSHAKE = {
    "connection": "keep-alive, Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": KEY,
}
Handler = Callable[[Socket, Visit], Awaitable[None]]


async def echo(socket: Socket, visit: Visit) -> None:
    while (message := await socket.receive()) is not None:
        await socket.drain()
        socket.send(message.data, is_text=message.is_text)


def door(handler: Handler = echo, limits: HttpLimits | None = None) -> Any:
    async def hello(call: Call[None]) -> Answer:
        return Answer(body={"said": "hello"})

    mount = Mount(
        "/part",
        [Route("GET", "/hello", hello, public=True)],
        sockets=[SocketRoute("/socket", handler, BYTES_MAX)],
    )
    tokens = Tokens({"good": Context("", user_id="u", project_id="p")})
    return make_app(
        [mount],
        authenticate=tokens,
        random=random.Random(1).randbytes,
        registry=CollectorRegistry(),
        limits=limits,
    )


@asynccontextmanager
async def served(handler: Handler = echo, **limits: Any) -> AsyncIterator[str]:
    bounds = HttpLimits(**limits)
    async with serve(door(handler, bounds), bounds) as url:
        yield url


def at(url: str, path: str = "/part/socket") -> str:
    return url.replace("http", "ws", 1) + path


def opened(url: str, **options: Any) -> connect:
    return connect(at(url), compression=None, open_timeout=PATIENCE_S, **options)


async def closed_with(client: ClientConnection) -> tuple[int, str]:
    """The code and reason that the server gave."""
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await client.recv()
    assert closed.value.rcvd is not None, closed.value
    return closed.value.rcvd.code, closed.value.rcvd.reason


async def test_text_and_binary_come_back_as_they_were_sent() -> None:
    async with served() as url, opened(url) as client:
        for sent in ("", "text, also ü and 𝄞", b"", b"\x00\xff" * 1000):
            await client.send(sent)
            assert await client.recv() == sent


async def test_a_message_in_fragments_is_one_also_with_a_ping_between_them() -> None:
    async with served() as url, opened(url) as client:

        async def pieces() -> AsyncIterator[str]:
            yield "über "
            await (await client.ping())
            yield ""
            yield "drei "
            yield "Teile"

        await client.send(pieces())
        assert await client.recv() == "über drei Teile"


async def test_the_handshake_answers_as_the_standard_says_and_takes_what_came_with_it() -> None:
    frame = bytes([0x81, 0x80 | 2, 1, 2, 3, 4, ord("h") ^ 1, ord("i") ^ 2])
    close = bytes([0x88, 0x80, 0, 0, 0, 0])
    async with served() as url:
        reader, writer = await connect_raw(url)
        writer.write(request_bytes("GET", "/part/socket", HANDSHAKE) + frame)
        async with asyncio.timeout(PATIENCE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            echoed = await reader.readexactly(4)
            writer.write(close)
            rest = await reader.read()
        await hang_up(writer)
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"http/1.1 101 switching protocols"
    assert f"sec-websocket-accept: {ACCEPT}".lower().encode() in lines
    assert lines.count(b"connection: upgrade") == 1
    assert b"connection: close" not in lines
    assert any(line.startswith(b"x-openstack-request-id: req-") for line in lines)
    assert not any(line.startswith((b"content-length", b"transfer-encoding")) for line in lines)
    assert (echoed, rest) == (b"\x81\x02hi", b"\x88\x00")


@pytest.mark.parametrize(
    "change",
    [
        {"upgrade": "h2c"},
        {"sec-websocket-version": "8"},
        {"sec-websocket-key": "short"},
        {"sec-websocket-key": None},
        {"upgrade": None, "connection": None},
    ],
)
async def test_what_is_no_handshake_is_refused_in_the_mounts_form(change: Any) -> None:
    headers = {k: v for k, v in {**HANDSHAKE, **change}.items() if v is not None}
    async with served() as url:
        reply = await ask(url, "GET", "/part/socket", headers)
        assert reply.status == 400
        assert "WebSocket" in reply.json()["error"]["message"]
        assert (await ask(url, "POST", "/part/socket", HANDSHAKE)).status == 405
        other = await ask(url, "GET", "/part/hello", HANDSHAKE)
        assert (other.status, other.json()) == (200, {"said": "hello"})


async def test_no_extension_is_agreed_to_so_nothing_can_be_inflated() -> None:
    async with served() as url, connect(at(url), compression="deflate") as client:
        assert client.protocol.extensions == []
        await client.send("plain")
        assert await client.recv() == "plain"


async def test_a_wrong_token_in_the_handshake_is_401_and_a_good_one_opens() -> None:
    async with served() as url:
        with pytest.raises(InvalidStatus) as refused:
            await opened(url, additional_headers={"x-auth-token": "bad"})
        assert refused.value.response.status_code == 401
        async with opened(url, additional_headers={"x-auth-token": "good"}) as client:
            await client.send("in")
            assert await client.recv() == "in"


def masked(first: int, payload: bytes, length: bytes | None = None) -> bytes:
    return bytes([first]) + (length or bytes([0x80 | len(payload)])) + b"\0\0\0\0" + payload


FAULTS = {
    "not masked": (b"\x81\x02hi", 1002),
    "reserved bit": (masked(0xC1, b"hi"), 1002),
    "unknown opcode": (masked(0x83, b"hi"), 1002),
    "fragmented ping": (masked(0x09, b"hi"), 1002),
    "long ping": (masked(0x89, b"x" * 126, b"\xfe\x00\x7e"), 1002),
    "continuation of nothing": (masked(0x80, b"hi"), 1002),
    "new message inside another": (masked(0x01, b"a") + masked(0x81, b"b"), 1002),
    "close with one byte": (masked(0x88, b"x"), 1002),
    "close with a code of nobody's": (masked(0x88, b"\x03\xed"), 1002),
    "close with a reason that is not UTF-8": (masked(0x88, b"\x03\xe8\xff"), 1007),
    "text that is not UTF-8": (masked(0x81, b"\xc3\x28"), 1007),
    "half a character": (masked(0x81, b"\xe2\x82"), 1007),
    "surrogate": (masked(0x81, b"\xed\xa0\x80"), 1007),
    "not UTF-8 across fragments": (masked(0x01, b"\xe2\x82") + masked(0x80, b"\x28"), 1007),
    "too large": (masked(0x82, b"", b"\xfe\x10\x01"), 1009),
    "too large by its length alone": (masked(0x82, b"", b"\xff\x7f" + b"\xff" * 7), 1009),
    "length with its highest bit": (masked(0x82, b"", b"\xff" + b"\xff" * 8), 1009),
    "too large in fragments": (
        masked(0x02, b"x" * 4000, b"\xfe\x0f\xa0") + masked(0x80, b"y" * 97),
        1009,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_of_the_protocol_closes_with_its_code(name: str) -> None:
    sent, code = FAULTS[name]
    async with served() as url:
        came = await exchange(
            url, request_bytes("GET", "/part/socket", HANDSHAKE) + sent, end=False
        )
        frames = came.partition(b"\r\n\r\n")[2]
        assert frames[0] == 0x88, frames
        assert int.from_bytes(frames[2:4], "big") == code
        assert (await ask(url, "GET", "/part/hello")).status == 200


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(
                lambda first, payload: masked(first, payload),
                st.integers(0, 255),
                st.binary(max_size=125),
            ),
        ),
        max_size=12,
    )
)
def test_no_input_takes_a_door_down(pieces: list[bytes]) -> None:
    async def tried() -> None:
        async with served(socket_sign_in_s=5.0) as url:
            reader, writer = await connect_raw(url)
            try:
                writer.write(request_bytes("GET", "/part/socket", HANDSHAKE))
                for piece in pieces:
                    writer.write(piece)
                writer.write(masked(0x88, b""))
                writer.write_eof()
                async with asyncio.timeout(PATIENCE_S):
                    came = await reader.read()
            except ConnectionError:
                came = b"HTTP/1.1 101"
            finally:
                await hang_up(writer)
            assert came.startswith(b"HTTP/1.1 101")
            async with opened(url) as client:
                await client.send("alive")
                assert await client.recv() == "alive"

    asyncio.run(tried())


async def test_who_reads_too_slowly_is_closed_and_not_kept_in_memory() -> None:
    ended = asyncio.Event()

    async def pour(socket: Socket, visit: Visit) -> None:
        while not socket.ending.is_set():
            socket.send(b"x" * 60_000, is_text=False)
            await asyncio.sleep(0)
        ended.set()

    async with served(pour, socket_unsent_bytes_max=131_072) as url:
        reader, writer = await connect_raw(url)
        writer.write(request_bytes("GET", "/part/socket", HANDSHAKE))
        async with asyncio.timeout(PATIENCE_S):
            await ended.wait()
            came = b""
            while piece := await reader.read(1 << 20):
                came = (came + piece)[-200:]
        assert b"\x03\xf0you read too slowly" in came  # 1008
        await hang_up(writer)


async def test_a_handler_that_drains_holds_little_for_one_who_does_not_read() -> None:
    sent = 0

    async def pour(socket: Socket, visit: Visit) -> None:
        nonlocal sent
        while not socket.ending.is_set():
            await socket.drain()
            socket.send(b"x" * 60_000, is_text=False)
            sent += 60_000
            await asyncio.sleep(0)

    async with served(pour, write_s=0.5) as url:
        _, writer = await connect_raw(url)
        writer.get_extra_info("socket")
        writer.write(request_bytes("GET", "/part/socket", HANDSHAKE))
        reader_paused = sent
        for _ in range(200):
            await asyncio.sleep(0.005)
            if sent == reader_paused and sent:
                break
            reader_paused = sent
        assert 0 < sent < 40_000_000
        await hang_up(writer)


async def test_what_nobody_takes_is_not_read() -> None:
    go_on = asyncio.Event()
    seen = 0

    async def slow(socket: Socket, visit: Visit) -> None:
        nonlocal seen
        await go_on.wait()
        while await socket.receive() is not None:
            seen += 1

    async with served(slow, socket_ping_s=0.3, socket_pong_s=0.3) as url, opened(url) as client:
        message = b"x" * 4000

        async def pour() -> None:
            for _ in range(20_000):
                await client.send(message)

        pouring = asyncio.create_task(pour())
        done, _ = await asyncio.wait([pouring], timeout=1.5)
        assert not done, "80 MB were taken in"
        go_on.set()
        async with asyncio.timeout(PATIENCE_S):
            await pouring
        await client.close()
    assert seen == 20_000


async def test_who_does_not_answer_a_ping_is_closed_and_who_does_stays() -> None:
    async with served(socket_ping_s=0.1, socket_pong_s=0.1) as url:
        reader, writer = await connect_raw(url)
        writer.write(request_bytes("GET", "/part/socket", HANDSHAKE))
        async with opened(url) as client:
            async with asyncio.timeout(PATIENCE_S):
                came = await reader.read()
            frames = came.partition(b"\r\n\r\n")[2]
            assert frames[:2] == b"\x89\x00"
            await client.send("still here")
            assert await client.recv() == "still here"
        await hang_up(writer)


async def test_a_message_that_takes_too_long_is_given_up() -> None:
    async with served(body_s=0.2) as url:
        sent = request_bytes("GET", "/part/socket", HANDSHAKE) + masked(0x01, b"begun")
        came = await exchange(url, sent, end=False)
    assert b"\x03\xf0a message took too long to arrive" in came


async def test_there_are_no_more_sockets_than_allowed() -> None:
    async with served(sockets_max=2) as url, opened(url), opened(url) as second:
        with pytest.raises(InvalidStatus) as refused:
            await opened(url)
        assert refused.value.response.status_code == 503
        await second.close()
        await second.wait_closed()
        for _ in range(100):
            try:
                async with opened(url):
                    break
            except InvalidStatus:
                await asyncio.sleep(0.01)
        else:
            pytest.fail("its place was not given back")


async def test_a_project_has_no_more_sockets_than_allowed() -> None:
    async with served(project_sockets_max=1) as url:
        token = {"x-auth-token": "good"}
        async with opened(url, additional_headers=token):
            with pytest.raises(InvalidStatus) as refused:
                await opened(url, additional_headers=token)
            assert refused.value.response.status_code == 429
            async with opened(url):
                pass


async def test_a_handler_that_fails_closes_its_socket_alone() -> None:
    async def fail(socket: Socket, visit: Visit) -> None:
        await socket.receive()
        raise ValueError("a fault of ours")

    async with served(fail) as url, opened(url) as other, opened(url) as client:
        await client.send("x")
        assert await closed_with(client) == (1011, "the server failed")
        assert other.state is websockets.State.OPEN


async def test_a_stop_lets_the_handler_see_through_what_it_took_and_says_so() -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(socket: Socket, visit: Visit) -> None:
        while (message := await socket.receive()) is not None:
            began.set()
            await go_on.wait()
            socket.send(message.data, is_text=True)

    listening = bind("127.0.0.1", 0)
    server = HttpServer(door(slow), [listening])
    await server.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    client = await opened(url)
    await client.send("taken")
    await client.send("not taken")
    await began.wait()
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    go_on.set()
    assert await client.recv() == "taken"
    assert (await closed_with(client))[0] == 1001
    await stopping
    listening.close()


async def test_a_stop_ends_an_idle_socket_at_once_also_over_tls(tmp_path: Path) -> None:
    authority = issued("authority")
    files = issued("first", authority).write(tmp_path)
    certificate = Certificate(*files, SystemClock())
    listening = bind("127.0.0.1", 0)
    server = HttpServer(door(), [listening], tls=certificate.current)
    await server.start()
    port = listening.getsockname()[1]
    trusted = authority.trusted()
    async with connect(f"wss://localhost:{port}/part/socket", ssl=trusted, sock=None) as client:
        await client.send("secret")
        assert await client.recv() == "secret"
        async with asyncio.timeout(5.0):
            await server.stop()
        assert (await closed_with(client))[0] == 1001
    listening.close()


async def test_a_caller_that_is_killed_ends_its_handler() -> None:
    ended = asyncio.Event()

    async def wait(socket: Socket, visit: Visit) -> None:
        assert await socket.receive() is None
        await socket.closed.wait()
        ended.set()

    async with served(wait) as url:
        client = await opened(url)
        client.transport.abort()
        async with asyncio.timeout(PATIENCE_S):
            await ended.wait()
