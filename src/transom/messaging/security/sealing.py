# SPDX-License-Identifier: Apache-2.0
"""The primitives of message security, each in one place.

Invariants:
1. What is signed, authenticated or bound to a key is framed: all lengths, then all fields, the
   purpose first. Two lists of fields never give the same bytes.
2. A key is derived for one purpose (HKDF-SHA256, RFC 5869); none serves two.
3. Randomness is an argument.

AES-256-GCM (NIST SP 800-38D) seals, HMAC-SHA256 (RFC 2104) signs requests, Ed25519 (RFC 8032)
signs for many, X25519 (RFC 7748) agrees on keys.
"""

import hmac
import struct
from hashlib import sha256
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature as WrongSignature
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from transom.errors import InvalidSignature
from transom.runtime.ids import Randomness

KEY_BYTES = 32
NONCE_BYTES = 12
ID_BYTES = 16
T = TypeVar("T")


def framed(purpose: str, *fields: bytes | str) -> bytes:
    """One text of bytes for a purpose and fields, after all their lengths."""
    raw = [field.encode() if isinstance(field, str) else field for field in fields]
    return pack(purpose.encode(), *raw)


def derive(key: bytes, purpose: str, *fields: bytes | str) -> bytes:
    """A key of 32 bytes for one purpose, bound to the fields."""
    info = framed(purpose, *fields)
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(key)


def identify(data: bytes) -> bytes:
    """16 bytes that name a key, a ticket or a certificate, and tell nothing of a key."""
    return sha256(framed("transom id", data)).digest()[:ID_BYTES]


def seal(key: bytes, plain: bytes, beside: bytes, random: Randomness) -> bytes:
    """The nonce and the ciphertext with its tag; `beside` is authenticated with it."""
    nonce = random(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, beside)


def unseal(key: bytes, sealed: bytes, beside: bytes) -> bytes:
    """Raises: InvalidSignature."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], beside)
    except (InvalidTag, ValueError):
        raise InvalidSignature("what was sealed was altered, or another key sealed it") from None


def authenticate(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256, 32 bytes."""
    return hmac.digest(key, data, "sha256")


def same(one: bytes, other: bytes) -> bool:
    """Compares in a time that does not depend on what differs."""
    return hmac.compare_digest(one, other)


def verify(public: bytes, signature: bytes, data: bytes) -> None:
    """Of Ed25519, `public` as its 32 bytes. Raises: InvalidSignature."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (WrongSignature, ValueError):
        raise InvalidSignature("the signature is not that of the key") from None


def agree(private: X25519PrivateKey, public: bytes) -> bytes:
    """The shared secret, to be derived from. Raises: InvalidSignature for a key that is none."""
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise InvalidSignature("the agreement key is none") from None


def new_signing_key(random: Randomness) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(random(KEY_BYTES))


def new_agreement_key(random: Randomness) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(random(KEY_BYTES))


def read(data: bytes, kind: type[T], what: str) -> T:
    """The struct of that kind. Raises: InvalidSignature, naming `what` it was to be."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise InvalidSignature(f"the bytes are no {what}") from None


def write(value: object) -> bytes:
    """A struct as bytes (MessagePack: each field behind its length)."""
    return msgspec.msgpack.encode(value)


def pack(*parts: bytes) -> bytes:
    """The parts, after their number and all their lengths (4 bytes each, big endian)."""
    count = len(parts)
    return b"".join([_LENGTHS[count](count, *map(len, parts)), *parts])


def unpack(data: bytes, count: int) -> list[bytes]:
    """The `count` parts; every byte belongs to one. Raises: InvalidSignature."""
    at = 4 * count + 4
    if len(data) < at:
        raise InvalidSignature("the message is cut off")
    told, *lengths = _HEADS[count].unpack_from(data)
    parts = []
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    if told != count or at != len(data):
        raise InvalidSignature("the parts do not fill the message")
    return parts


_HEADS = [struct.Struct(f"!{count + 1}I") for count in range(16)]
_LENGTHS = [head.pack for head in _HEADS]
