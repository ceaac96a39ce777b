# SPDX-License-Identifier: Apache-2.0
"""A link that is made again whenever it breaks: which host, when, and who is told.

Invariants:
1. At most one link stands or is being made at a time.
2. The first try after a break is at once, and the other hosts follow at once; then pauses grow,
   each drawn between its half and its whole, so that a broker that comes back is not met by
   everybody in one moment. Where links break young, one after the other, the first pause is short,
   the next ones grow, and the next host has its turn.
3. Certificates are read anew for each link.
"""

import asyncio
import logging
import os
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from transom.errors import InvalidTransportURL, MessagingError
from transom.messaging.drivers.base import Connected, Disconnected, Gap, TransportEvent
from transom.messaging.drivers.rabbit.link import Link
from transom.messaging.drivers.rabbit.options import TLS_VERSIONS, Host, Options, TlsOptions
from transom.messaging.proto.amqp import Settings
from transom.runtime.ids import Randomness

log = logging.getLogger(__name__)

CONNECT_S = 5.0
YOUNG_S = 1.0
YOUNG_PAUSE_S = 0.02
EAGER_S = 0.7
EAGER_TRIES = 90  # about a minute: a broker that restarts is met soon

WRONG_USER = "403 "  # ACCESS_REFUSED
REFUSALS = (WRONG_USER, "530 ")  # NOT_ALLOWED: of the virtual host

Recover = Callable[[Link], Awaitable[None]]


class Session:
    """Owns the task that connects. `name` tells the two of a transport apart.

    `recover` is awaited on each new link before it counts as up; `room` is told when a link that
    was full or blocked can be written to again, `down` when the link is lost.
    """

    def __init__(
        self,
        name: str,
        hosts: tuple[Host, ...],
        vhost: str,
        options: Options,
        random: Randomness,
        *,
        recover: Recover,
        room: Callable[[], None],
        down: Callable[[], None],
        gaps: bool,
    ) -> None:
        self.link: Link | None = None
        self.reason = "not connected yet"
        self._name = name
        self._hosts = shuffled(hosts, random)
        self._vhost = vhost or "/"
        self._options = options
        self._random = random
        self._recover = recover
        self._room = room
        self._down = down
        self._gaps = gaps
        self.last_peer = self.peer(self._hosts[0])
        self._was_up = False
        self._refused: dict[Host, bool] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self, report: Callable[[TransportEvent], None]) -> None:
        """Connects in the background. Raises: InvalidTransportURL if TLS files cannot be used."""
        self._report = report
        if self._options.tls is not None:
            try:
                tls_context(self._options.tls)
            except (OSError, ssl.SSLError) as error:
                raise InvalidTransportURL(
                    f"the TLS files of the bus address cannot be used: {error}"
                ) from error
        self._task = asyncio.get_running_loop().create_task(self._run(), name="rabbit-session")

    async def stop(self) -> None:
        """Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if self.link is not None:
            link, self.link = self.link, None
            await link.close()

    @property
    def refusal(self) -> str:
        """What to say of a bus address that no host takes as it is; "" where one may.

        It is tried further: somebody may mend it at the broker.
        """
        if len(self._refused) < len(set(self._hosts)) or not all(self._refused.values()):
            return ""
        if self.reason.startswith(WRONG_USER):
            return "the broker refuses the user name or password of the bus address"
        return "the broker refuses the virtual host of the bus address to this user"

    def peer(self, host: Host) -> str:
        """How events and logs name the link."""
        hostname = f"[{host.hostname}]" if ":" in host.hostname else host.hostname
        return f"rabbit://{hostname}:{host.port}/{self._vhost.strip('/')}#{self._name}"

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        tries, young, place = 0, 0, 0  # failed since the last link; links that broke young
        while True:
            most_s = longest_pause_s(self._options, tries - len(self._hosts), young)
            if most_s:
                await asyncio.sleep(most_s * (0.5 + self._random(1)[0] / 510))
            host = self._hosts[place % len(self._hosts)]
            try:
                lost = await self._connect(host)
            except (OSError, MessagingError, TimeoutError, ValueError) as error:
                self.reason = _reason(error)
                self._refused[host] = self.reason.startswith(REFUSALS)
                about = {"peer": self.peer(host), "reason": self.reason}
                log.warning("broker cannot be reached", extra=about)
                tries, place = tries + 1, place + 1
                continue
            since_s = loop.time()
            reason = await lost
            self.link = None
            self.reason = reason
            log.warning("broker lost", extra={"peer": self.peer(host), "reason": reason})
            self._report(Disconnected(self.peer(host), reason))
            tries = 0
            young = young + 1 if loop.time() - since_s < YOUNG_S else 0
            place += young > 1

    async def _connect(self, host: Host) -> "asyncio.Future[str]":
        """Makes the link and recovers what belongs on it; what it returns is told its end."""
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[str] = loop.create_future()

        def on_lost(reason: str) -> None:
            self._down()
            if not lost.done():
                lost.set_result(reason)

        link = Link(self._settings(host), on_lost=on_lost, on_room=self._room)
        tls = self._options.tls
        context = None if tls is None else tls_context(tls)
        try:
            async with asyncio.timeout(CONNECT_S):
                await loop.create_connection(
                    lambda: link,
                    host.hostname,
                    host.port,
                    ssl=context,
                    server_hostname=host.hostname if context is not None else None,
                )
                await link.opened
            self.link = link
            await self._recover(link)
            if link.lost:
                raise ConnectionError(link.lost)
        except BaseException:  # Safety: lets go of the link, and goes on
            self.link = None
            link.give_up("not of use")
            raise
        log.info("broker connected", extra={"peer": self.peer(host)})
        if self._was_up and self._gaps:
            self._report(Gap(self.peer(host)))
        self._was_up = True
        self._refused.clear()
        self.last_peer = self.peer(host)
        self._report(Connected(self.peer(host)))
        return lost

    def _settings(self, host: Host) -> Settings:
        options = self._options
        program = Path(sys.argv[0]).name or "python"
        return Settings(
            username=host.username,
            password=host.password,
            vhost=self._vhost,
            mechanism=options.mechanism,
            heartbeat_s=options.heartbeat_timeout_threshold,
            client_properties={
                "product": "transom",
                "connection_name": f"{program}:{os.getpid()}:{self._name}",
            },
        )


def longest_pause_s(options: Options, rounds: int, young: int) -> float:
    """Before the next try. `rounds`: of failed tries since every host had one, negative before;
    `young`: how many links broke young, one after the other."""
    if rounds >= 0:
        grown_s = options.rabbit_retry_interval
        grown_s *= options.rabbit_retry_backoff ** min(rounds, 64)
    elif young:
        rounds = young - 1
        grown_s = YOUNG_PAUSE_S * 2 ** min(rounds, 64)
    else:
        return 0.0
    if rounds < EAGER_TRIES:
        grown_s = min(grown_s, EAGER_S)
    return min(max(grown_s, options.kombu_reconnect_delay), options.rabbit_interval_max)


def tls_context(options: TlsOptions) -> ssl.SSLContext:
    """Reads the files. Raises: OSError, ssl.SSLError."""
    context = ssl.create_default_context(cafile=options.ca_file or None)
    context.minimum_version = TLS_VERSIONS[options.version]
    context.check_hostname = options.verify_hostname
    if options.cert_file:
        context.load_cert_chain(options.cert_file, options.key_file)
    return context


def shuffled(hosts: tuple[Host, ...], random: Randomness) -> list[Host]:
    """In an order of one's own, so that many clients spread over the nodes."""
    return sorted(hosts, key=lambda host: random(8))


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "detail", "") or str(error) or type(error).__name__
