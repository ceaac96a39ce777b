# SPDX-License-Identifier: Apache-2.0
"""A registry of a bus: one a folder, or one to three on hosts. A `lifecycle.Service`.

Invariants:
1. One registry a seat: the folder's lock or the port has one holder.
2. An entry lives three heartbeats after its last renewal, counted in time in which the registry
   itself was awake, and, in a folder, no longer than its process.
3. After a start it is `settled`, and only then answers syncs, when every process that lives in the
   folder has registered, or has had three heartbeats for it; on hosts always after those.
4. Registries know nothing of each other: each process tells them all, and merges what they say.
"""

import asyncio
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import zmq

from transom.errors import InvalidEnvelope
from transom.messaging.drivers.zmq.edge import EdgeSocket
from transom.messaging.drivers.zmq.ipc import FolderSeat
from transom.messaging.drivers.zmq.place import Seat
from transom.messaging.drivers.zmq.registry_wire import (
    Answer,
    Applied,
    Changed,
    Fetch,
    Leave,
    Register,
    Renew,
    Reply,
    Sync,
    Whole,
    decode_request,
    encode,
)
from transom.messaging.registry import Entry, RegistryTable
from transom.runtime.clock import Clock
from transom.runtime.ids import Randomness, new_hex

log = logging.getLogger(__name__)

LIFETIME_BEATS = 3
TICKS_PER_BEAT = 4


@dataclass(frozen=True, slots=True)
class RegistrySnapshot:
    """For `transom status`."""

    settled: bool
    number: int
    processes: int
    addresses: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An answer that waits until all have applied change `number`, or until `until_s`."""

    process: str
    token: int
    number: int
    until_s: float


class RegistryServer:
    """Serves a folder, which must be ours alone, or another seat.

    `heartbeat_s`: as its processes have it.
    """

    def __init__(
        self,
        seat: Path | Seat,
        *,
        clock: Clock,
        random: Randomness = os.urandom,
        heartbeat_s: float = 1.0,
    ) -> None:
        self._seat: Seat = FolderSeat(seat) if isinstance(seat, Path) else seat
        self._clock = clock
        self._random = random
        self._heartbeat_s = heartbeat_s
        self._table = RegistryTable(LIFETIME_BEATS * heartbeat_s)
        self._applied: dict[str, int] = {}
        self._barriers: list[_Waiting] = []
        self._syncs: list[tuple[str, int]] = []
        self._expected: frozenset[str] | None = None
        self._settled = False
        self._running = False
        self._awake_s = 0.0
        self._told = 0

    async def start(self) -> None:
        """Raises: InvalidTransportURL (folder or key), ConfigError (another registry is there)."""
        self._loop = asyncio.get_running_loop()
        self._epoch = new_hex(self._random)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            socket = self._seat.take(self._context)
        except BaseException:  # Safety: lets go of what it has, and raised again
            self._seat.unbind()
            self._context.destroy(0)
            self._seat.release()
            raise
        self._running = True
        self._expected = self._seat.living()
        self._edge = EdgeSocket(socket, self._received, self._push)
        self._edge.open()
        self._ticked_s = self._clock.monotonic_s()
        self._settle()
        self._timer = self._loop.call_later(self._tick_s, self._tick)

    async def stop(self) -> None:
        """Idempotent. Processes keep their links and their views; what the dead left goes."""
        if not self._running:
            return
        self._running = False
        self._timer.cancel()
        self._seat.unbind()
        self._edge.close(100)
        await asyncio.to_thread(self._context.term)
        self._seat.release()

    @property
    def address(self) -> str:
        """The folder, or host and port, that it serves."""
        return self._seat.name

    def entries(self) -> tuple[Entry, ...]:
        """Who serves what. `renewed_s` is on the registry's own count of time."""
        return self._table.entries()

    def snapshot(self) -> RegistrySnapshot:
        entries = self._table.entries()
        addresses = {address for entry in entries for address in entry.addresses}
        return RegistrySnapshot(self._settled, self._table.number, len(entries), len(addresses))

    @property
    def _tick_s(self) -> float:
        return self._heartbeat_s / TICKS_PER_BEAT

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._tick_s, self._tick)
        self._edge.drain()
        now_s = self._clock.monotonic_s()
        self._awake_s += min(now_s - self._ticked_s, self._heartbeat_s)
        self._ticked_s = now_s
        for process in self._table.expire(self._awake_s):
            log.warning("process did not renew", extra={"process_id": process})
        for entry in self._table.entries():
            if not self._seat.lives(entry.process):
                self._table.leave(entry.process)
                log.warning("process ended without leaving", extra={"process_id": entry.process})
        self._settle()
        self._push()

    def _settle(self) -> None:
        if self._settled:
            return
        entered = {entry.process for entry in self._table.entries()}
        unsure = self._expected is None or any(
            self._seat.lives(name) for name in self._expected - entered
        )
        if unsure and self._awake_s < LIFETIME_BEATS * self._heartbeat_s:
            return
        self._settled = True
        for process in entered:
            self._send_whole(process)
        for process, token in self._syncs:
            self._answer(process, token)
        self._syncs.clear()

    def _received(self, parts: list[bytes]) -> None:
        process = parts[0].decode("latin-1")
        if len(parts) != 2 or not self._seat.is_process(process):
            log.warning("request of no process", extra={"parts": len(parts)})
            return
        try:
            request = decode_request(parts[1])
        except InvalidEnvelope as error:
            log.warning("request cannot be read", extra={"reason": error.detail})
            return
        match request:
            case Register():
                self._register(process, request)
            case Renew():
                known = self._table.renew(process, request.revision, self._awake_s)
                self._applied[process] = self._number_of(request.epoch, request.number)
                self._answer(process, 0, known=known)
            case Sync():
                if self._settled:
                    self._push()
                    self._answer(process, request.token)
                else:
                    self._syncs.append((process, request.token))
            case Applied():
                self._applied[process] = self._number_of(request.epoch, request.number)
            case Fetch():
                self._push()
                self._send_whole(process)
            case Leave():
                self._table.leave(process)

    def _register(self, process: str, request: Register) -> None:
        entered = all(entry.process != process for entry in self._table.entries())
        self._table.register(process, request.revision, request.addresses, self._awake_s)
        if entered:
            self._send_whole(process)
        self._push()
        until_s = self._clock.monotonic_s() + self._heartbeat_s / 2
        self._barriers.append(_Waiting(process, request.token, self._table.number, until_s))
        self._settle()

    def _push(self) -> None:
        """Tells all of the changes that they have not heard of; answers who waited for that."""
        if self._told != self._table.number:
            changes = self._table.changes(self._told) or ()
            self._told = self._table.number
            frame = encode(Changed(self._epoch, changes))
            entries = {entry.process for entry in self._table.entries()}
            for process in entries:
                self._edge.send(process.encode(), frame)
            for process in self._applied.keys() - entries:
                del self._applied[process]
        if self._barriers:
            least = min(
                (self._applied.get(entry.process, -1) for entry in self._table.entries()),
                default=self._table.number,
            )
            now_s = self._clock.monotonic_s()
            waiting, self._barriers = self._barriers, []
            for one in waiting:
                if one.number <= least or one.until_s <= now_s:
                    self._answer(one.process, one.token)
                else:
                    self._barriers.append(one)

    def _number_of(self, epoch: str, number: int) -> int:
        return number if epoch == self._epoch else -1

    def _send_whole(self, process: str) -> None:
        self._send(
            process, Whole(self._epoch, self._table.number, self._settled, self._table.entries())
        )

    def _answer(self, process: str, token: int, *, known: bool = True) -> None:
        self._send(process, Answer(token, self._epoch, self._table.number, self._settled, known))

    def _send(self, process: str, reply: Reply) -> None:
        self._edge.send(process.encode(), encode(reply))
