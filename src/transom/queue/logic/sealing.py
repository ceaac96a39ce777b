# SPDX-License-Identifier: Apache-2.0
"""A message's body, sealed for where it lies: AES-256-GCM under a key of its project.

A sealed body is a nonce (12 bytes) and the ciphertext with its tag (16). The project and the
generation of its key are bound into the seal, and nothing else: a message that is moved to the dead
letters, and back, keeps its body as it lies. So a body that was put into another project's row, or
under another generation, does not open there.

Invariant: under one key at most `SEALED_MOST` bodies are sealed with nonces that are random, since
a nonce that came twice would give both bodies away (NIST SP 800-38D, 8.3). A key is as old as
`KEY_LIFE_MS` at most when it seals, so only a project that posts more than 7,000 encrypted messages
a second for a week would come near.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transom.queue.model import BodyLocked

NONCE_BYTES = 12
KEY_BYTES = 32
TAG_BYTES = 16
SEALED_MOST = 1 << 32
KEY_LIFE_MS = 7 * 86_400_000


def sealed(key: AESGCM, nonce: bytes, plain: bytes, project_id: str, generation: int) -> bytes:
    """`nonce`: `NONCE_BYTES`, never used before with this key."""
    return nonce + key.encrypt(nonce, plain, _bound(project_id, generation))


def opened(key: AESGCM, body: bytes, project_id: str, generation: int) -> bytes:
    """Raises: BodyLocked for what was not sealed so."""
    nonce, rest = bytes(body[:NONCE_BYTES]), bytes(body[NONCE_BYTES:])
    if len(rest) < TAG_BYTES:
        raise BodyLocked(detail="the sealed body is cut off")
    try:
        return key.decrypt(nonce, rest, _bound(project_id, generation))
    except InvalidTag:
        raise BodyLocked(
            detail="the body was changed in the database, or moved there from another project"
        ) from None


def is_worn(created_ms: int, now_ms: int) -> bool:
    """Whether a key has sealed for long enough."""
    return now_ms - created_ms >= KEY_LIFE_MS


def _bound(project_id: str, generation: int) -> bytes:
    return f"transom queue body\n{generation}\n{project_id}".encode()
