"""The fault proxy does to a connection what it says, in front of an echo server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fault_proxy import FaultProxy

LONG_S = 10.0


@asynccontextmanager
async def echo_behind_proxy() -> AsyncIterator[FaultProxy]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    try:
        async with FaultProxy(*server.sockets[0].getsockname()[:2], seed=1) as proxy:
            yield proxy
    finally:
        server.close()
        await server.wait_closed()


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, data: bytes, within_s: float = LONG_S) -> bytes:
        self.writer.write(data)
        async with asyncio.timeout(within_s):
            return await self.reader.readexactly(len(data))


@asynccontextmanager
async def connected(proxy: FaultProxy) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection(*proxy.address)
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


async def test_without_faults_bytes_pass_both_ways() -> None:
    async with echo_behind_proxy() as proxy, connected(proxy) as connection:
        blob = bytes(range(256)) * 4000
        assert await connection.ask(blob) == blob
        assert proxy.passed_bytes == 2 * len(blob)


async def test_delay_and_bandwidth_take_their_time() -> None:
    async with echo_behind_proxy() as proxy, connected(proxy) as connection:
        loop = asyncio.get_running_loop()
        proxy.faults.delay_s = 0.05
        begun_s = loop.time()
        await connection.ask(b"x")
        assert loop.time() - begun_s >= 0.1
        proxy.faults.delay_s = 0.0
        proxy.faults.bytes_per_s = 10_000
        begun_s = loop.time()
        await connection.ask(b"x" * 1000)
        assert loop.time() - begun_s >= 0.2


async def test_half_open_swallows_without_a_word() -> None:
    async with echo_behind_proxy() as proxy, connected(proxy) as connection:
        await connection.ask(b"before")
        proxy.faults.swallow = True
        with pytest.raises(TimeoutError):
            await connection.ask(b"lost", within_s=0.1)
        proxy.faults.swallow = False
        assert await connection.ask(b"after") == b"after"


async def test_a_reset_is_seen_on_the_open_connection() -> None:
    async with echo_behind_proxy() as proxy, connected(proxy) as connection:
        await connection.ask(b"before")
        proxy.reset_all()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await connection.ask(b"after")
    assert proxy.open_connections == 0


async def test_a_cut_lets_exactly_so_many_bytes_through() -> None:
    async with echo_behind_proxy() as proxy, connected(proxy) as connection:
        proxy.faults.cut_after_bytes = 7
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await connection.ask(b"0123456789")
        assert proxy.passed_bytes == 7
        assert proxy.faults.cut_after_bytes is None


async def test_a_flip_turns_one_bit() -> None:
    async with echo_behind_proxy() as proxy, connected(proxy) as connection:
        proxy.faults.flip = 1.0
        turned = await connection.ask(bytes(100))
        assert sum(byte.bit_count() for byte in turned) in (0, 2)
        proxy.faults.flip = 0.0
        assert await connection.ask(bytes(100)) == bytes(100)


async def test_refused_connections_are_reset_and_later_ones_pass() -> None:
    async with echo_behind_proxy() as proxy:
        proxy.faults.refuse = True
        async with connected(proxy) as connection:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await connection.ask(b"x")
        proxy.faults.refuse = False
        async with connected(proxy) as connection:
            assert await connection.ask(b"y") == b"y"


async def test_the_end_of_a_stream_is_passed_on() -> None:
    async with echo_behind_proxy() as proxy, connected(proxy) as connection:
        await connection.ask(b"x")
        connection.writer.write_eof()
        async with asyncio.timeout(LONG_S):
            assert await connection.reader.read() == b""
