# SPDX-License-Identifier: Apache-2.0
"""Idempotency keys: what a caller names a request by, so that it may send it again.

Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from transom.errors import BadRequest

HEADER = b"idempotency-key"
REPLAYED = "idempotency-replayed"
LONGEST = 128

_KEY = re.compile(rf"[!-~]{{1,{LONGEST}}}")


@dataclass(slots=True)
class Repeat:
    """A request that may be one that was carried out before.

    `request`: SHA-256 of all that makes it this request; `kept_ms`: how long its answer is kept.
    The use case sets `replayed` when it gives the first answer again.
    """

    key: str
    request: bytes
    kept_ms: int
    replayed: bool = False


def checked_key(texts: Sequence[bytes]) -> str:
    """The key that the headers of one request name, quoted or not. Raises: BadRequest."""
    if len(texts) != 1:
        raise BadRequest("Send one Idempotency-Key.")
    text = texts[0].decode("latin-1")
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if _KEY.fullmatch(text) is None:
        raise BadRequest(
            f"An Idempotency-Key is 1 to {LONGEST} visible ASCII characters, such as a UUID."
        )
    return text


def digest(method: str, path: bytes, query: bytes, content: bytes) -> bytes:
    """Of a request: its method, its path and query as sent, its body."""
    found = sha256()
    for part in (method.encode(), path, query, content):
        found.update(b"%d:%b" % (len(part), part))
    return found.digest()
