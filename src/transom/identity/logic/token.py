# SPDX-License-Identifier: Apache-2.0
"""From claims to a token's text and back.

    text   := base64url, unpadded, of: format (1 byte), key number (4), nonce (12), sealed
    format := 1 for tokens for projects or nothing; 2 for all the others, which programs that know
              format 1 alone must not take for one of those
    sealed := AES-256-GCM of the MessagePack array of the claims; the 17 bytes before it are
              authenticated too

Invariants:
1. What `open` answers was sealed by one of the keys, unchanged; everything else is InvalidToken.
2. A token has exactly one text: what decodes to the same bytes but is written otherwise is invalid.
3. A text is shorter than 255 characters (150 to 230).
4. The newest key, that with the highest number, seals; all of them open.
"""

import base64
import binascii
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transom.identity.model import SYSTEM, Claims, Method, Place, ScopeKind

KEY_BYTES = 32
NONCE_BYTES = 12
TEXT_LENGTH_MAX = 255
_FORMAT = 1
_WIDE_FORMAT = 2
_HEAD_BYTES = 5
_METHODS = {1: Method.PASSWORD, 2: Method.TOKEN, 4: Method.APPLICATION_CREDENTIAL}


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
    place_epoch: int


class _WidePayload(_Payload, array_like=True):
    """`domain`: its id as it is."""

    domain: str
    system: bool
    credential: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = {
    _FORMAT: msgspec.msgpack.Decoder(_Payload).decode,
    _WIDE_FORMAT: msgspec.msgpack.Decoder(_WidePayload).decode,
}


class TokenCodec:
    """Seals and opens with a set of keys: number -> 32 bytes. There is at least one."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        self._newest = max(keys)
        self._keys = {number: AESGCM(key) for number, key in keys.items()}

    def seal(self, claims: Claims, nonce: bytes) -> str:
        """The token's text. `nonce`: 12 bytes that never come again under this key."""
        payload = _packed(claims)
        form = _WIDE_FORMAT if isinstance(payload, _WidePayload) else _FORMAT
        head = bytes([form]) + self._newest.to_bytes(4) + nonce
        sealed = self._keys[self._newest].encrypt(nonce, _encode(payload), head)
        return _text(head + sealed)

    def has(self, number: int) -> bool:
        """Whether it is the number of one of the keys."""
        return number in self._keys

    def open(self, text: str) -> Claims:
        """The claims, expired ones too. Raises: InvalidToken."""
        raw = _raw(text)
        head, sealed = raw[: _HEAD_BYTES + NONCE_BYTES], raw[_HEAD_BYTES + NONCE_BYTES :]
        key = self._keys.get(int.from_bytes(head[1:_HEAD_BYTES]))
        decode = _decode.get(head[0])
        if key is None or decode is None:
            raise InvalidToken
        try:
            return _claims(decode(key.decrypt(head[_HEAD_BYTES:], sealed, head)))
        except (InvalidTag, msgspec.DecodeError):
            raise InvalidToken from None


def key_number(text: str) -> int:
    """The number of the key that the text says it is sealed with. Raises: InvalidToken."""
    return int.from_bytes(_raw(text)[1:_HEAD_BYTES])


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
    kind, place_id = (claims.place.kind, claims.place.id) if claims.place else (None, "")
    began = claims.chain_id == claims.audit_id
    payload = _Payload(
        user=bytes.fromhex(claims.user_id),
        project=bytes.fromhex(place_id) if kind is ScopeKind.PROJECT else b"",
        methods=sum(bit for bit, method in _METHODS.items() if method in claims.methods),
        audit=bytes.fromhex(claims.audit_id),
        chain=b"" if began else bytes.fromhex(claims.chain_id),
        issued_ms=claims.issued_ms,
        expires_ms=claims.expires_ms,
        user_epoch=claims.user_epoch,
        place_epoch=claims.place_epoch,
    )
    if kind in (None, ScopeKind.PROJECT) and not claims.credential_id:
        return payload
    return _WidePayload(
        **msgspec.structs.asdict(payload),
        domain=place_id if kind is ScopeKind.DOMAIN else "",
        system=kind is ScopeKind.SYSTEM,
        credential=bytes.fromhex(claims.credential_id),
    )


def _claims(payload: _Payload) -> Claims:
    wide = payload if isinstance(payload, _WidePayload) else None
    return Claims(
        user_id=payload.user.hex(),
        place=_place(payload, wide),
        methods=tuple(method for bit, method in _METHODS.items() if payload.methods & bit),
        audit_id=payload.audit.hex(),
        chain_id=(payload.chain or payload.audit).hex(),
        issued_ms=payload.issued_ms,
        expires_ms=payload.expires_ms,
        user_epoch=payload.user_epoch,
        place_epoch=payload.place_epoch,
        credential_id="" if wide is None else wide.credential.hex(),
    )


def _place(payload: _Payload, wide: _WidePayload | None) -> Place | None:
    if payload.project:
        return Place(ScopeKind.PROJECT, payload.project.hex())
    if wide is not None and wide.domain:
        return Place(ScopeKind.DOMAIN, wide.domain)
    return SYSTEM if wide is not None and wide.system else None
