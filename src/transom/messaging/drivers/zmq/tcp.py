# SPDX-License-Identifier: Apache-2.0
"""A bus on several hosts: `zmq://host[:port][,host2[:port],host3]/?key_file=/path[&bind=address]`.

The hosts are those of the registries, at most three. Each process binds one port that the system
chooses, on the address that it reaches a registry from, or on `bind`.

Invariants:
1. Nothing is bound or connected without the seal of the bus key.
2. A process's name tells where it is, `0123456789abcdef@10.0.0.7:40001`, so that who has an
   address of it can answer it, whatever becomes of the registries.
3. It is dead for sure once nothing listens there any more; not being reached proves nothing.
"""

import asyncio
import contextlib
import ipaddress
import re
import socket as sockets
from collections.abc import Callable, Sequence
from pathlib import Path

import zmq

from transom.errors import ConfigError, InvalidTransportURL, MessageDeliveryFailure
from transom.messaging.drivers.zmq.edge import router
from transom.messaging.drivers.zmq.folder import PROCESS_BYTES
from transom.messaging.drivers.zmq.key import BusKey
from transom.messaging.drivers.zmq.place import Context, Socket
from transom.messaging.drivers.zmq.seal import Gate, seal_client
from transom.messaging.url import TransportURL
from transom.runtime.ids import Randomness

DEFAULT_PORT = 8730
MOST_REGISTRIES = 3
OPTIONS = frozenset({"key_file", "bind"})
LOST_BEATS = 3
CONNECT_S = 2.0
HANDSHAKE_S = 5.0
PROBE_S = 1.0
LOCATE_S = 5.0
PROBES = 256
_PROCESS = re.compile(
    r"[0-9a-f]{16}@(?P<host>[0-9.]{7,15}|\[[0-9a-f:.]{2,45}\]):[0-9]{1,5}", re.ASCII
)


def is_process(name: str) -> bool:
    """Names come from peers: only a process's may be connected to."""
    return _PROCESS.fullmatch(name) is not None


class TcpPlace:
    """See `place.Place`."""

    spans_hosts = True

    def __init__(
        self, url: TransportURL, *, key_file: str, random: Randomness, heartbeat_s: float
    ) -> None:
        self.registries = tuple(
            place_text(host.hostname, host.port or DEFAULT_PORT) for host in url.hosts
        )
        self._hosts = {
            name: (host.hostname, host.port or DEFAULT_PORT)
            for name, host in zip(self.registries, url.hosts, strict=True)
        }
        self._bind = url.query.get("bind", "")
        self._key_file = Path(key_file)
        self._random = random
        self._heartbeat_s = heartbeat_s
        self._gate: Gate | None = None
        self._probes: set[asyncio.Task[None]] = set()

    @classmethod
    def of(cls, url: TransportURL, random: Randomness, heartbeat_s: float) -> "TcpPlace":
        """Raises: InvalidTransportURL, which says what to do."""
        if len(url.hosts) > MOST_REGISTRIES:
            raise InvalidTransportURL(
                f"the bus address names {len(url.hosts)} registries; {MOST_REGISTRIES} are enough"
            )
        if any(not host.hostname or host.username is not None for host in url.hosts):
            raise InvalidTransportURL(
                "the bus address has a host without a name or with a user; write it like "
                "zmq://host:8730/?key_file=/etc/transom/bus.key"
            )
        if unknown := sorted(url.query.keys() - OPTIONS):
            raise InvalidTransportURL(
                f"the bus address has options that zmq does not know: {', '.join(unknown)}; "
                f"there are {', '.join(sorted(OPTIONS))}"
            )
        if url.vhost:
            raise InvalidTransportURL(
                "the bus address names hosts and a folder; a bus is in one folder, or on hosts"
            )
        key_file = url.query.get("key_file", "")
        if not key_file:
            raise InvalidTransportURL(
                "zmq between hosts is only spoken sealed: make a bus key (`transom bus key FILE`), "
                "copy it to every host, and name it: [bus] key_file, or ?key_file=FILE in the "
                "address"
            )
        return cls(url, key_file=key_file, random=random, heartbeat_s=heartbeat_s)

    async def bind(self, context: Context) -> tuple[str, Socket]:
        self._key = BusKey.read(self._key_file)
        host = await self._own_address()
        socket = router(context, unbounded=True)
        gate = Gate(self._key)
        gate.open(context, socket)
        self._gate = gate
        find_silence(socket, self._heartbeat_s)
        try:
            endpoint = bind_to(socket, host, 0)
        except zmq.ZMQError as error:
            raise InvalidTransportURL(
                f"{host}: {error.strerror}; give an address of this host as ?bind="
            ) from error
        return f"{self._random(PROCESS_BYTES).hex()}@{endpoint.removeprefix('tcp://')}", socket

    def prepare(self, socket: Socket) -> None:
        seal_client(socket, self._key)
        find_silence(socket, self._heartbeat_s)
        socket.setsockopt(zmq.IPV6, 1)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        socket.setsockopt(zmq.CONNECT_TIMEOUT, int(CONNECT_S * 1000))

    def endpoint(self, process: str) -> str:
        return f"tcp://{process.partition('@')[2]}"

    async def locate(self, registry: str) -> str:
        host, port = self._hosts[registry]
        found = await _addresses(host, port)
        return f"tcp://{place_text(found[0][1], port)}"

    def is_process(self, name: str) -> bool:
        return is_process(name)

    def ask_dead(self, process: str, dead: Callable[[], None]) -> None:
        if len(self._probes) < PROBES:
            task = asyncio.get_running_loop().create_task(_probe(self.endpoint(process), dead))
            self._probes.add(task)
            task.add_done_callback(self._probes.discard)

    def unbind(self) -> None:
        for task in self._probes:
            task.cancel()
        if self._gate is not None:
            gate, self._gate = self._gate, None
            gate.close()

    def release(self) -> None:
        """The port went with its socket."""

    async def _own_address(self) -> str:
        """Numeric, as peers reach it."""
        if self._bind:
            try:
                return str(ipaddress.ip_address(self._bind.strip("[]")))
            except ValueError:
                raise InvalidTransportURL(
                    f"bind={self._bind} in the bus address is no numeric address of this host"
                ) from None
        found: list[str] = []
        for host, port in self._hosts.values():
            with contextlib.suppress(OSError):
                found += await _routes(host, port)
        # A registry on this very host may be named by its loopback, where nobody else comes.
        outward = [host for host in found if not ipaddress.ip_address(host).is_loopback]
        if not found:
            raise MessageDeliveryFailure(
                f"no way from here to a registry of the bus, {', '.join(self.registries)}; "
                "look at names and routes, or give this host's address as ?bind="
            )
        return (outward or found)[0]


class TcpSeat:
    """See `place.Seat`. A registry at `host:port`."""

    def __init__(self, address: str, key_file: str, *, heartbeat_s: float = 1.0) -> None:
        """Raises: ConfigError."""
        self.name = address
        self._host, self._port = parse_address(address)
        self._key_file = Path(key_file)
        self._heartbeat_s = heartbeat_s
        self._gate: Gate | None = None

    def take(self, context: Context) -> Socket:
        key = BusKey.read(self._key_file)
        socket = router(context)
        gate = Gate(key)
        gate.open(context, socket)
        self._gate = gate
        find_silence(socket, self._heartbeat_s)
        try:
            self.name = bind_to(socket, self._host, self._port).removeprefix("tcp://")
        except zmq.ZMQError as error:
            raise ConfigError(
                f"{self.name}: {error.strerror}; a registry is served on an address of its host, "
                "by one process"
            ) from error
        return socket

    def is_process(self, name: str) -> bool:
        return is_process(name)

    def living(self) -> None:
        """Who lives on other hosts can't be known but by hearing of it."""

    def lives(self, process: str) -> bool:
        return True

    def unbind(self) -> None:
        if self._gate is not None:
            gate, self._gate = self._gate, None
            gate.close()

    def release(self) -> None:
        """The port went with its socket."""


def parse_address(text: str) -> tuple[str, int]:
    """`host[:port]`, numeric; an IPv6 host in brackets. Raises: ConfigError."""
    host, colon, port = text.rpartition(":")
    if not colon or host.startswith("[") != host.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    try:
        address, number = str(ipaddress.ip_address(host.strip("[]"))), int(port)
        if not 0 <= number < 65536:
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"{text!r} is no numeric address with a port; write it like 10.0.0.5:{DEFAULT_PORT}"
        ) from None
    return address, number


def place_text(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind_to(socket: Socket, host: str, port: int) -> str:
    """The endpoint that it was bound at; port 0 is any. Raises: zmq.ZMQError."""
    if ":" in host:
        socket.setsockopt(zmq.IPV6, 1)
    socket.bind(f"tcp://{place_text(host, port)}")
    return bytes(socket.getsockopt(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()


def find_silence(socket: Socket, heartbeat_s: float) -> None:
    """A connection that says nothing any more, for three beats or seconds, is closed.

    By TCP, which counts bytes: zmq's own heartbeats count messages, and would end each that takes
    longer to arrive, again and again.
    """
    beat_s = max(1, round(heartbeat_s))
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, beat_s)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, beat_s)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, LOST_BEATS)
    socket.setsockopt(zmq.TCP_MAXRT, LOST_BEATS * beat_s * 1000)
    socket.setsockopt(zmq.HANDSHAKE_IVL, int(HANDSHAKE_S * 1000))


async def _addresses(host: str, port: int) -> Sequence[tuple[sockets.AddressFamily, str]]:
    """Numeric, at least one. Raises: OSError."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOCATE_S):
            found = await loop.getaddrinfo(host, port, type=sockets.SOCK_DGRAM)
    except TimeoutError as error:
        raise OSError(f"{host}: the name was not found in time") from error
    return [(family, str(address[0])) for family, _, _, _, address in found]


async def _routes(host: str, port: int) -> list[str]:
    """The local addresses of the routes there. Nothing is sent. Raises: OSError."""
    local: list[str] = []
    for family, address in await _addresses(host, port):
        with sockets.socket(family, sockets.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            probe.connect((address, port))
            local.append(str(probe.getsockname()[0]))
    return local


async def _probe(endpoint: str, dead: Callable[[], None]) -> None:
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    try:
        async with asyncio.timeout(PROBE_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except ConnectionRefusedError:
        dead()
    except (OSError, OverflowError):
        return
    else:
        writer.transport.abort()
