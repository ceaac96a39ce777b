# SPDX-License-Identifier: Apache-2.0
"""A session: what a source and its destination share for the life of a ticket.

Each process that sends under it draws an `instance`; from the session's key come keys apart for
all that is said of a message but its counter and its times, so that no two senders ever use one,
and a message opens nowhere but at its place.

Invariants:
1. A key of a cipher is bound to the session and to all of the metadata: among them suite, source,
   destination, role, instance and place.
2. Within an instance no counter comes twice at one place: `Counters` only rise, also where one was
   forgotten and begun again. The counter is the nonce.
"""

from enum import IntEnum
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transom.messaging.security.certificates import Certificate
from transom.messaging.security.sealing import derive, identify

SHARED_KEY = "shared-key"
PUBLIC_KEY = "public-key"
COUNTERS_MAX = 4096
_COUNTS_A_MS = 20


class Role(IntEnum):
    """Which way it goes within its session."""

    REQUEST = 0  # from the source of the ticket to its destination
    REPLY = 1  # back


class Place(NamedTuple):
    """Where a message is sent to: the fields of a driver's address, without a pool."""

    kind: str
    name: str
    part: str = ""
    exchange: str = ""


class Session:
    """One ticket, opened. `certificate`: the source's, where others than the source have the key.

    `ticket` travels with each message of role REQUEST. Times are ms since 1970.
    """

    __slots__ = (
        "certificate",
        "destination",
        "expires_ms",
        "group",
        "id",
        "issued_ms",
        "key",
        "source",
        "suite",
        "ticket",
    )

    def __init__(
        self,
        suite: str,
        source: str,
        destination: str,
        key: bytes,
        *,
        group: bool,
        ticket: bytes,
        issued_ms: int,
        lifetime_ms: int,
        certificate: Certificate | None = None,
    ) -> None:
        self.suite = suite
        self.source = source
        self.destination = destination
        self.key = key
        self.group = group
        self.ticket = ticket
        self.id = identify(ticket)
        self.issued_ms = issued_ms
        self.expires_ms = issued_ms + lifetime_ms
        self.certificate = certificate

    def cipher(self, metadata: bytes) -> AESGCM:
        """For messages with these metadata. It costs as much as ten messages: keep it."""
        return AESGCM(derive(self.key, "transom message 1", metadata))


class Counters:
    """The counters of one instance, one a place. They begin at the time, so they never come back.

    At most 2**20 messages a millisecond.
    """

    def __init__(self) -> None:
        self._last: dict[Place, int] = {}
        self._floor = 0

    def next(self, place: Place, now_ms: int) -> int:
        last = self._last.get(place)
        if last is None:
            if len(self._last) >= COUNTERS_MAX:
                self._floor = max(self._last.values())
                self._last.clear()
            last = max(now_ms << _COUNTS_A_MS, self._floor)
        self._last[place] = last + 1
        return last + 1
