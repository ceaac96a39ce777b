# SPDX-License-Identifier: Apache-2.0
"""What systemd is told of a service of `Type=notify`: one datagram each.

Source: sd_notify(3). The caller reads NOTIFY_SOCKET and WATCHDOG_USEC and hands them in.
"""

import asyncio
import logging
import socket

log = logging.getLogger(__name__)


class Systemd:
    """Speaks to the socket at `address` (`@` begins an abstract one); "" makes it silent."""

    def __init__(self, address: str, watchdog_s: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = watchdog_s

    def ready(self) -> None:
        self._tell(b"READY=1")

    def stopping(self) -> None:
        self._tell(b"STOPPING=1")

    async def keep_alive(self) -> None:
        """Feeds the watchdog twice in its time, for ever; returns at once where there is none."""
        while self._address and self._watchdog_s > 0:
            self._tell(b"WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 2)

    def _tell(self, state: bytes) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            try:
                sock.sendto(state, self._address)
            except OSError as error:
                log.warning("systemd could not be told", extra={"reason": str(error)})
