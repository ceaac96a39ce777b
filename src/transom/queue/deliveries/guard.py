# SPDX-License-Identifier: Apache-2.0
"""Connections that are opened only to admitted addresses.

Invariant: what is checked is the very address that is then connected to: a name that resolves to
another one the next time, or has several, gains nothing.
"""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from transom.queue.logic.addresses import Network, admitted

RESOLVING_MAX = 32
"""Names that are looked up at a time: a name server that is away holds up no other thread."""


class AddressRefused(OSError):
    """The address is not one that anything is sent to."""


class Guard:
    """Makes the sockets of `aiohttp.TCPConnector`."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = tuple(allowed)

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """`info`: an entry of `getaddrinfo`. Raises: AddressRefused."""
        family, kind, protocol, _, where = info
        address = ip_address(str(where[0]).partition("%")[0])
        allowed = any(address in network for network in self._allowed)
        if not admitted(address, self._allowed) or (not allowed and _is_own(family, where)):
            # Which one it is, is for nobody to learn who asks our name server through us.
            raise AddressRefused("Nothing is sent there: the host has no public address.")
        return socket.socket(family, kind, protocol)


def _is_own(family: int, where: tuple[Any, ...]) -> bool:
    """Whether it is this host's: then what is sent there would come from there."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(where)  # of a datagram socket: nothing is sent
        except OSError:
            return False
        return bool(probe.getsockname()[0] == where[0])


class Resolver(AbstractResolver):
    """As aiohttp's own, on threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVING_MAX, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port, family)
        return [
            ResolveResult(
                hostname=host,
                host=str(where[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=int(socket.AI_NUMERICHOST | socket.AI_NUMERICSERV),
            )
            for kind, _, protocol, _, where in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: int) -> list[Any]:
    return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
