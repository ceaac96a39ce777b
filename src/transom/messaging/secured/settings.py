# SPDX-License-Identifier: Apache-2.0
"""What a party's security is: its name, its keys, what it does to messages and what it takes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from transom.errors import ConfigError
from transom.messaging.secured.seen import MemorySeen, SeenCounters
from transom.messaging.security.certificates import Identity
from transom.messaging.security.keyfile import decode_key_file
from transom.messaging.security.message import Mode
from transom.messaging.security.names import is_name
from transom.messaging.security.sealing import KEY_BYTES
from transom.messaging.security.sessions import PUBLIC_KEY, SHARED_KEY
from transom.messaging.security.tickets import Purpose
from transom.runtime.secrets import read_private


class KeySource(Protocol):
    """Where tickets, keys and certificates come from. One instance a driver."""

    async def grant(self, purpose: Purpose, source: str, request: bytes) -> bytes:
        """What the key server answers to a request (`security.tickets`).

        Raises: KeyUnavailable; `lasting` where asking again will not help.
        """

    async def certificates(
        self, *, group: str = "", topic: str = "", server: str = ""
    ) -> list[bytes]:
        """Of all members of the group, or of the server of the topic (at most one).

        They are checked by the caller. Raises: KeyUnavailable.
        """

    async def close(self) -> None:
        """Lets go. Idempotent."""


@dataclass(frozen=True, slots=True)
class Security:
    """Settings of one party; nothing of it is global.

    `mode` is what is done to what is sent. `required`: what is not signed, or not encrypted where
    mode is "encrypt", is dropped; else it is taken, with nobody as its sender. With "none" nothing
    is done at all.

    `long_term_keys` (shared-key): newest first; requests are signed with the first that the key
    server takes, tickets open with any. `identity`, `certificate`, `authorities` (public-key):
    private keys, the certificate over them, and public keys of who signs certificates.

    `skew_s`: by how much clocks may differ. `lifetime_s`: of tickets that the party makes itself.
    `retention_s`: how long a notification may wait for its listener. `seen`: what came is kept
    there; with a file a replay is also found after a restart.
    """

    name: str
    source: KeySource
    mode: Literal["none", "sign", "encrypt"] = "sign"
    required: bool = True
    suite: Literal["shared-key", "public-key"] = "shared-key"
    long_term_keys: Sequence[bytes] = field(default=(), repr=False)
    identity: Identity | None = field(default=None, repr=False)
    certificate: bytes = b""
    authorities: Sequence[bytes] = ()
    skew_s: float = 60.0
    lifetime_s: float = 3600.0
    retention_s: float = 86_400.0
    seen: SeenCounters = field(default_factory=MemorySeen)

    @classmethod
    def from_file(cls, path: Path | str, **settings: Any) -> Self:
        """Of the party whose key file this is, as the key server's commands write it.

        `settings`: mode, required and what else differs from the defaults; `source` if it is not
        the key server that the file names. Raises: ConfigError, FileNotFoundError.
        """
        from transom.messaging.secured.key_server import KeyServerSource

        file = decode_key_file(read_private(Path(path)), str(path))
        given: dict[str, Any] = {"source": KeyServerSource(file.server, ca=file.ca)}
        if file.keys:
            given |= {"suite": SHARED_KEY, "long_term_keys": file.keys}
        elif file.identity:
            identity = Identity.load(file.identity)
            given |= {"suite": PUBLIC_KEY, "identity": identity, "certificate": file.certificate}
        return cls(file.name, **{**given, "authorities": file.authorities, **settings})

    def check(self) -> None:
        """Raises: ConfigError."""
        if self.mode not in set(Mode) or self.suite not in {SHARED_KEY, PUBLIC_KEY}:
            raise ConfigError(
                "security has mode none, sign or encrypt, suite shared-key or public-key"
            )
        if self.mode == "none":
            return
        if not is_name(self.name):
            raise ConfigError(f"{self.name[:80]!r} is no name of a party")
        if self.suite == SHARED_KEY and not self.long_term_keys:
            raise ConfigError(f"the suite shared-key needs a long-term key of {self.name}")
        if any(len(key) != KEY_BYTES for key in (*self.long_term_keys, *self.authorities)):
            raise ConfigError(f"a key of {self.name} has not {KEY_BYTES} bytes")
        if self.suite == PUBLIC_KEY and not (
            self.identity and self.certificate and self.authorities
        ):
            raise ConfigError(
                f"the suite public-key needs identity, certificate and authorities of {self.name}"
            )
