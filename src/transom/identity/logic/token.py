# SPDX-License-Identifier: Apache-2.0
"""From claims to a token's text and back.

    text   := base64url, unpadded, of: format (1 byte), key number (4), nonce (12), sealed
    sealed := AES-256-GCM of the MessagePack array of the claims; the 17 bytes before it are
              authenticated too

Invariants:
1. What `open` answers was sealed by one of the keys, unchanged; everything else is InvalidToken.
2. A token has exactly one text: what decodes to the same bytes but is written otherwise is invalid.
3. A text is shorter than 255 characters (150 to 175).
4. The newest key, that with the highest number, seals; all of them open.
"""

import base64
import binascii
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transom.identity.model import Claims, Method

KEY_BYTES = 32
NONCE_BYTES = 12
TEXT_LENGTH_MAX = 255
_FORMAT = 1
_HEAD_BYTES = 5
_METHODS = {1: Method.PASSWORD, 2: Method.TOKEN}


class InvalidToken(ValueError):
    """The text is no token of ours. Says no more: the difference is nobody's business."""


class _Payload(msgspec.Struct, array_like=True):
    """Ids as their 16 bytes, absent ones empty; methods as a sum of bits."""

    user: bytes
    project: bytes
    methods: int
    audit: bytes
    chain: bytes
    issued_ms: int
    expires_ms: int
    user_epoch: int
    project_epoch: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Payload).decode


class TokenCodec:
    """Seals and opens with a set of keys: number -> 32 bytes. There is at least one."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        self._newest = max(keys)
        self._keys = {number: AESGCM(key) for number, key in keys.items()}

    def seal(self, claims: Claims, nonce: bytes) -> str:
        """The token's text. `nonce`: 12 bytes that never come again under this key."""
        head = bytes([_FORMAT]) + self._newest.to_bytes(4) + nonce
        sealed = self._keys[self._newest].encrypt(nonce, _encode(_packed(claims)), head)
        return _text(head + sealed)

    def open(self, text: str) -> Claims:
        """The claims, expired ones too. Raises: InvalidToken."""
        raw = _raw(text)
        head, sealed = raw[: _HEAD_BYTES + NONCE_BYTES], raw[_HEAD_BYTES + NONCE_BYTES :]
        key = self._keys.get(int.from_bytes(head[1:_HEAD_BYTES]))
        if key is None or head[0] != _FORMAT:
            raise InvalidToken
        try:
            return _claims(_decode(key.decrypt(head[_HEAD_BYTES:], sealed, head)))
        except (InvalidTag, msgspec.DecodeError):
            raise InvalidToken from None


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _raw(text: str) -> bytes:
    """Raises: InvalidToken unless the text is the one way to write its bytes."""
    if len(text) > TEXT_LENGTH_MAX or not text.isascii():
        raise InvalidToken
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise InvalidToken from None
    if len(raw) <= _HEAD_BYTES + NONCE_BYTES or _text(raw) != text:
        raise InvalidToken
    return raw


def _packed(claims: Claims) -> _Payload:
    began = claims.chain_id == claims.audit_id
    return _Payload(
        user=bytes.fromhex(claims.user_id),
        project=bytes.fromhex(claims.project_id),
        methods=sum(bit for bit, method in _METHODS.items() if method in claims.methods),
        audit=bytes.fromhex(claims.audit_id),
        chain=b"" if began else bytes.fromhex(claims.chain_id),
        issued_ms=claims.issued_ms,
        expires_ms=claims.expires_ms,
        user_epoch=claims.user_epoch,
        project_epoch=claims.project_epoch,
    )


def _claims(payload: _Payload) -> Claims:
    return Claims(
        user_id=payload.user.hex(),
        project_id=payload.project.hex(),
        methods=tuple(method for bit, method in _METHODS.items() if payload.methods & bit),
        audit_id=payload.audit.hex(),
        chain_id=(payload.chain or payload.audit).hex(),
        issued_ms=payload.issued_ms,
        expires_ms=payload.expires_ms,
        user_epoch=payload.user_epoch,
        project_epoch=payload.project_epoch,
    )
