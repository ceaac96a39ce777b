# SPDX-License-Identifier: Apache-2.0
"""Certificates from a folder: `<party>.certificate` each, base64, as the admin put them there.

It is read anew for each ticket that is made, so who is added or taken away counts from the next
ticket on. Invariant: what lies there is trusted no further than its signature.
"""

import binascii
from base64 import b64decode
from pathlib import Path

from transom.errors import KeyUnavailable
from transom.messaging.security.tickets import Purpose

ENDING = ".certificate"


class CertificateFolder:
    """A `KeySource` for the suite public-key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def grant(self, purpose: Purpose, source: str, request: bytes) -> bytes:
        """Raises: KeyUnavailable: there is no key server."""
        raise KeyUnavailable("a folder of certificates grants no tickets", lasting=True)

    async def certificates(
        self, *, group: str = "", topic: str = "", server: str = ""
    ) -> list[bytes]:
        """All of the folder; who asks picks out whom he looks for. Raises: KeyUnavailable."""
        found = []
        try:
            for path in sorted(self._folder.glob("*" + ENDING)):
                found.append(b64decode(path.read_bytes().strip(), validate=True))
        except (OSError, binascii.Error) as error:
            raise KeyUnavailable("a certificate cannot be read", detail=str(error)) from error
        return found

    async def close(self) -> None:
        """There is nothing to let go."""
