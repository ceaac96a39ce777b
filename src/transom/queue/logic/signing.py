# SPDX-License-Identifier: Apache-2.0
"""Pre-signed URLs: what lets a request in without a token, for exactly these methods and paths.

The signature is hexadecimal HMAC-SHA256 over `paths \\n methods \\n project \\n expires`, where
`\\n` is the two characters backslash and n, lists are sorted and joined by commas, and `expires` is
`YYYY-MM-DDTHH:MM:SS` in UTC.

Invariants:
1. Every path that was signed is taken as it stands, whole: no character of it is a pattern.
2. What was signed for a queue's messages, claims or subscriptions also admits what is below them,
   and nothing else; a path that can be written in two ways (`..`, `//`) is never admitted.
3. Signatures are compared in constant time.

Source: Zaqar API v2, "Pre-signed queue".
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

EXPIRES_FORMAT = "%Y-%m-%dT%H:%M:%S"
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "DELETE"})
FIRST_MOMENT_MS, LAST_MOMENT_MS = -62_135_596_800_000, 253_402_300_799_999
"""0001-01-01 and the end of 9999-12-31."""
SHARED = ("messages", "subscriptions", "claims")
"""What of a queue can be shared."""
_SEPARATOR = "\\n"


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """What was signed, as the headers of a request bring it."""

    paths: tuple[str, ...]
    methods: tuple[str, ...]
    project_id: str
    expires: str
    signature: str


def signature(
    key: bytes, paths: Sequence[str], methods: Sequence[str], project_id: str, expires: str
) -> str:
    """Of the methods and paths in any order; `expires` as it goes over the wire."""
    signed = _SEPARATOR.join(
        (",".join(sorted(set(paths))), ",".join(sorted(set(methods))), project_id, expires)
    )
    return hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()


def expires_text(expires_ms: int) -> str:
    """A moment as it is signed, in whole seconds (the part of a second is cut off)."""
    return datetime.fromtimestamp(expires_ms // 1000, UTC).strftime(EXPIRES_FORMAT)


def moment_of(text: str) -> int | None:
    """A moment of ISO 8601, without an offset in UTC, in ms since 1970; None if it is none, or has
    no year of four digits in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if "T" not in text and " " not in text:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    moment_ms = int(moment.timestamp() * 1000)
    return moment_ms if FIRST_MOMENT_MS <= moment_ms <= LAST_MOMENT_MS else None


def admits(key: bytes, url: SignedUrl, method: str, path: str, now_ms: int) -> bool:
    """Whether the signature lets a request in; `path` is decoded and without the mount's prefix."""
    expected = signature(key, url.paths, url.methods, url.project_id, url.expires)
    if not hmac.compare_digest(expected.encode(), url.signature.encode()):
        return False
    expires_ms = moment_of(url.expires)
    if expires_ms is None or expires_ms <= now_ms:
        return False
    return method in url.methods and any(covers(signed, path) for signed in url.paths)


def covers(signed: str, path: str) -> bool:
    """Whether a path is the signed one, or below one of those that have something below them."""
    pieces = path.split("/")
    if "" in pieces[1:] or "." in pieces or ".." in pieces:
        return False
    return path == signed or (signed.rpartition("/")[2] in SHARED and path.startswith(signed + "/"))
