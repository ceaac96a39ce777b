# SPDX-License-Identifier: Apache-2.0
"""Whether a connection's bytes are read on, and whether more may be written to it.

Invariant: pausing or resuming twice is as once.
"""

import asyncio

HIGH_WATER_BYTES = 65536
"""Of a body that nobody has taken; over it no more is read."""


class FlowControl:
    """Of one connection; its protocol tells `pause_writing` and `resume_writing`."""

    __slots__ = ("_transport", "_writable", "read_paused", "write_paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._writable: asyncio.Event | None = None
        self.read_paused = False
        self.write_paused = False

    def pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._writable is not None:
            self._writable.set()

    async def drain(self) -> None:
        """Returns when more may be written, or the connection is gone."""
        while self.write_paused:
            if self._writable is None:
                self._writable = asyncio.Event()
            self._writable.clear()
            await self._writable.wait()
