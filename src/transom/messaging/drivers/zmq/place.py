# SPDX-License-Identifier: Apache-2.0
"""Where the processes of a bus are: `ipc` in a folder of one machine, `tcp` on several hosts.

The rest of the driver knows processes by name; a place makes sockets for the names.
"""

from collections.abc import Callable
from typing import Protocol

import zmq

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]


class Place(Protocol):
    """A process's own. `registries`: their names, one to three.

    `spans_hosts`: monotonic clocks differ, and who is not seen may live all the same.
    """

    registries: tuple[str, ...]
    spans_hosts: bool

    async def bind(self, context: Context) -> tuple[str, Socket]:
        """Claims a name for this process; its bound ROUTER.

        Raises: InvalidTransportURL, MessageDeliveryFailure.
        """

    def prepare(self, socket: Socket) -> None:
        """Before the socket connects."""

    def endpoint(self, process: str) -> str:
        """The zmq address of a process's ROUTER."""

    async def locate(self, registry: str) -> str:
        """The zmq address of a registry. Raises: OSError if it can't be known now."""

    def is_process(self, name: str) -> bool:
        """Whether it is a name that a process here can have. Names come from peers."""

    def ask_dead(self, process: str, dead: Callable[[], None]) -> None:
        """Calls `dead`, at once or within a second, if the process has surely ended."""

    def unbind(self) -> None:
        """Before the bound socket is closed."""

    def release(self) -> None:
        """After the context has ended: lets go of the name. Idempotent."""


class Seat(Protocol):
    """Where a registry serves. `name`: for people."""

    name: str

    def take(self, context: Context) -> Socket:
        """The registry's bound ROUTER. Raises: InvalidTransportURL, ConfigError (taken)."""

    def is_process(self, name: str) -> bool:
        """As a place's."""

    def living(self) -> frozenset[str] | None:
        """The processes that live; None if that can't be known."""

    def lives(self, process: str) -> bool:
        """False if it has surely ended."""

    def unbind(self) -> None:
        """Before the bound socket is closed."""

    def release(self) -> None:
        """After the context has ended. Idempotent."""
