"""A TCP proxy that misbehaves on demand, between a client and a server under test.

    async with FaultProxy(host, port) as proxy:
        connect to proxy.address; proxy.faults.delay_s = 0.02; proxy.reset_all() ...

`faults` may be changed at any time and holds for what passes from then on. The draws come from the
seed. Both directions are treated alike.
"""

import asyncio
import random
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass
class Faults:
    """What goes wrong with bytes and connections.

    `cut_after_bytes`: all connections are reset once that many more bytes have passed (then it is
    None again). `flip`: the chance that a chunk has one bit turned. `swallow`: half-open; bytes go
    nowhere, and nobody is told. `refuse`: new connections are reset at once.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0
    chunk_bytes: int = 65_536
    cut_after_bytes: int | None = None
    flip: float = 0.0
    swallow: bool = False
    refuse: bool = False


class FaultProxy:
    """Listens on a free port of the loopback while entered."""

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        self.faults = Faults()
        self.passed_bytes = 0
        self._target = (host, port)
        self._draws = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> tuple[str, int]:
        assert self._server is not None, "the proxy is not entered"
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    @property
    def open_connections(self) -> int:
        return len(self._serving)

    def reset_all(self) -> None:
        """Every connection breaks, without a farewell."""
        for writer in self._writers:
            writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self.end_all()
        await self._server.wait_closed()

    async def end_all(self) -> None:
        """Breaks every connection, and returns when nothing is done for it any more."""
        self.reset_all()
        for task in list(self._serving):
            task.cancel()
        if self._serving:
            await asyncio.wait(list(self._serving), timeout=5)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end; also of another listener than ours."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            if self.faults.refuse:
                return
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            pair = {writer, far_writer}
            self._writers |= pair
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(reader, far_writer))
                    group.create_task(self._pump(far_reader, writer))
            finally:
                self._writers -= pair
                far_writer.transport.abort()
        except* OSError:
            pass  # the connection is broken on one side; the other follows below
        finally:
            writer.transport.abort()
            self._serving.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction; ends with the end of the stream, which it passes on."""
        while data := await reader.read(self.faults.chunk_bytes):
            await self._hold(len(data))
            if self.faults.swallow:
                continue
            if self.faults.flip and self._draws.random() < self.faults.flip:
                data = self._flipped(data)
            left = self.faults.cut_after_bytes
            if left is not None and len(data) >= left:
                self.faults.cut_after_bytes = None
                writer.write(data[:left])
                await writer.drain()
                self.passed_bytes += left
                self.reset_all()
                return
            if left is not None:
                self.faults.cut_after_bytes = left - len(data)
            self.passed_bytes += len(data)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def _hold(self, size_bytes: int) -> None:
        faults = self.faults
        wait_s = faults.delay_s + self._draws.random() * faults.jitter_s
        if faults.bytes_per_s:
            wait_s += size_bytes / faults.bytes_per_s
        if wait_s:
            await asyncio.sleep(wait_s)

    def _flipped(self, data: bytes) -> bytes:
        turned = bytearray(data)
        turned[self._draws.randrange(len(turned))] ^= 1 << self._draws.randrange(8)
        return bytes(turned)
