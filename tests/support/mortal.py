"""One life of a process on a bad bus, which is killed between any two of its steps.

A killed one does nothing any more: its database never answers, what it sends is lost. What it left
(its lease, its rows, an unsent message) stays.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any, Protocol

from transom.messaging.drivers.base import Address, Sent
from transom.messaging.transport import Transport
from transom.runtime.db.transaction import Verb


class Fate(Protocol):
    """Of the world that it lives in. `deadly`: the chance of death at each step."""

    random: Random
    killing: bool
    deadly: float

    async def write(self, verb: Verb[Any]) -> Any: ...

    async def read(self, verb: Verb[Any]) -> Any: ...


class Mortal:
    """Stands where a `Database` is expected; the transport's messages go through here."""

    def __init__(self, fate: Fate, transport: Transport) -> None:
        self.dead = asyncio.Event()
        self.transport = transport
        self._fate = fate
        self._send = transport.driver.send
        transport.driver.send = self.send  # type: ignore[method-assign]

    async def write(self, verb: Verb[Any]) -> Any:
        return await self._step(partial(self._fate.write, verb))

    async def read(self, verb: Verb[Any]) -> Any:
        return await self._step(partial(self._fate.read, verb))

    def send(
        self,
        address: Address,
        body: bytes,
        sent: Sent,
        *,
        deadline_s: float,
        mandatory: bool = False,
    ) -> None:
        self._maybe_die()
        if not self.dead.is_set():
            self._send(address, body, sent, deadline_s=deadline_s, mandatory=mandatory)

    async def _step(self, step: Callable[[], Awaitable[Any]]) -> Any:
        for before in (True, False):
            self._maybe_die()
            if self.dead.is_set():
                await asyncio.Event().wait()
            if before:
                found = await step()
        return found

    def _maybe_die(self) -> None:
        if self._fate.killing and self._fate.random.random() < self._fate.deadly:
            self.dead.set()
