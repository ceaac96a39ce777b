# SPDX-License-Identifier: Apache-2.0
"""A bus on one machine: sockets in a folder. See `folder` for what holds, `place` for the shape."""

from collections.abc import Callable
from pathlib import Path

import zmq

from transom.errors import ConfigError, InvalidTransportURL, MessageDeliveryFailure
from transom.messaging.drivers.zmq.edge import router
from transom.messaging.drivers.zmq.folder import (
    PROCESS_BYTES,
    REGISTRY,
    Claim,
    Folder,
    is_process,
)
from transom.messaging.drivers.zmq.place import Context, Socket
from transom.messaging.url import TransportURL
from transom.runtime.ids import Randomness

CLAIM_TRIES = 5


class IpcPlace:
    """See `place.Place`. The names of sockets are those of processes."""

    registries: tuple[str, ...] = (REGISTRY,)
    spans_hosts = False

    def __init__(self, folder: Folder, random: Randomness) -> None:
        self._folder = folder
        self._random = random
        self._claim: Claim | None = None

    @classmethod
    def of(cls, url: TransportURL, random: Randomness) -> "IpcPlace":
        """Raises: InvalidTransportURL."""
        if not url.vhost:
            raise InvalidTransportURL(
                "the bus address names neither folder nor host; write it like "
                "zmq:///run/user/1000/transom or zmq://host/?key_file=/etc/transom/bus.key"
            )
        return cls(Folder(Path("/" + url.vhost)), random)

    async def bind(self, context: Context) -> tuple[str, Socket]:
        self._folder.check()
        self._folder.sweep()
        for _ in range(CLAIM_TRIES):
            name = self._random(PROCESS_BYTES).hex()
            self._claim = self._folder.claim(name)
            if self._claim is not None:
                socket = router(context, unbounded=True)
                socket.bind(self._folder.endpoint(name))
                return name, socket
        raise MessageDeliveryFailure("no free name for this process in the bus folder")

    def prepare(self, socket: Socket) -> None:
        socket.setsockopt(zmq.RECONNECT_IVL, 20)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)

    def endpoint(self, process: str) -> str:
        return self._folder.endpoint(process)

    async def locate(self, registry: str) -> str:
        return self._folder.endpoint(registry)

    def is_process(self, name: str) -> bool:
        return is_process(name)

    def ask_dead(self, process: str, dead: Callable[[], None]) -> None:
        if not self._folder.lives(process):
            dead()

    def unbind(self) -> None:
        """Nothing guards a socket that only we can reach."""

    def release(self) -> None:
        if self._claim is not None:
            self._claim.release()


class FolderSeat:
    """See `place.Seat`. One registry a folder, by the lock on its name."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._folder = Folder(path)
        self._claim: Claim | None = None

    def take(self, context: Context) -> Socket:
        self._folder.check()
        self._claim = self._folder.claim(REGISTRY)
        if self._claim is None:
            raise ConfigError(f"{self.name}: another registry serves this folder; stop it first")
        self._folder.sweep()
        socket = router(context)
        socket.bind(self._folder.endpoint(REGISTRY))
        return socket

    def is_process(self, name: str) -> bool:
        return is_process(name)

    def living(self) -> frozenset[str]:
        return self._folder.living()

    def lives(self, process: str) -> bool:
        return self._folder.lives(process)

    def unbind(self) -> None:
        """Nothing guards a socket that only we can reach."""

    def release(self) -> None:
        """What the dead left goes, too."""
        if self._claim is not None:
            claim, self._claim = self._claim, None
            claim.release()
            self._folder.sweep()
