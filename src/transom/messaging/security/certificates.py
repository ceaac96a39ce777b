# SPDX-License-Identifier: Apache-2.0
"""Certificates: an authority says which keys are a party's, and which groups it belongs to.

The authority is the key server, or an admin with a key of his own; it signs with Ed25519.

Invariants:
1. `check` answers a certificate only where a trusted authority has signed exactly these bytes and
   it holds at this time.
2. Private keys leave an `Identity` only by `dump`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from transom.errors import InvalidCertificate, InvalidSignature
from transom.messaging.security.names import is_member, is_name, is_pattern, serves
from transom.messaging.security.sealing import (
    KEY_BYTES,
    framed,
    new_agreement_key,
    new_signing_key,
    read,
    verify,
    write,
)
from transom.runtime.ids import Randomness

CERTIFICATE_BYTES_MAX = 16_384
_PURPOSE = "transom certificate 1"


class Certificate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Whose keys these are. Keys are 32 bytes each, public; times are ms since 1970, half open."""

    name: str
    groups: tuple[str, ...]
    signing_key: bytes
    agreement_key: bytes
    not_before_ms: int
    not_after_ms: int

    def belongs_to(self, group: str) -> bool:
        return is_member(self.name, self.groups, group)

    def serves(self, topic: str, server: str) -> bool:
        return serves(self.name, self.groups, topic, server)


class _Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    authority: bytes
    payload: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """A party's own private keys."""

    signing: Ed25519PrivateKey
    agreement: X25519PrivateKey

    @classmethod
    def make(cls, random: Randomness) -> Self:
        return cls(new_signing_key(random), new_agreement_key(random))

    @classmethod
    def load(cls, raw: bytes) -> Self:
        """From what `dump` gave. Raises: InvalidCertificate."""
        if len(raw) != 2 * KEY_BYTES:
            raise InvalidCertificate(f"a party's private keys are {2 * KEY_BYTES} bytes")
        return cls(
            Ed25519PrivateKey.from_private_bytes(raw[:KEY_BYTES]),
            X25519PrivateKey.from_private_bytes(raw[KEY_BYTES:]),
        )

    def dump(self) -> bytes:
        """64 secret bytes."""
        return self.signing.private_bytes_raw() + self.agreement.private_bytes_raw()

    @property
    def signing_key(self) -> bytes:
        return self.signing.public_key().public_bytes_raw()

    @property
    def agreement_key(self) -> bytes:
        return self.agreement.public_key().public_bytes_raw()


def issue(certificate: Certificate, authority: Ed25519PrivateKey) -> bytes:
    """The certificate, signed. Raises: InvalidCertificate if its content makes none."""
    if not is_name(certificate.name):
        raise InvalidCertificate(f"{certificate.name[:80]!r} is no name of a party")
    if not all(map(is_pattern, certificate.groups)):
        raise InvalidCertificate(f"{certificate.name} has a group that is no name or pattern")
    if {len(certificate.signing_key), len(certificate.agreement_key)} != {KEY_BYTES}:
        raise InvalidCertificate(f"a public key of {certificate.name} has not {KEY_BYTES} bytes")
    payload = write(certificate)
    signature = authority.sign(framed(_PURPOSE, payload))
    return write(_Signed(authority.public_key().public_bytes_raw(), payload, signature))


def check(
    data: bytes, authorities: Collection[bytes], *, now_ms: int, skew_ms: int = 0
) -> Certificate:
    """The certificate, if one of `authorities` (public keys) has signed it and it holds now.

    Raises: InvalidCertificate.
    """
    if len(data) > CERTIFICATE_BYTES_MAX:
        raise InvalidCertificate("the certificate is too long")
    try:
        signed = read(data, _Signed, "certificate")
        if signed.authority not in authorities:
            raise InvalidCertificate("the certificate is of an authority that is not trusted here")
        verify(signed.authority, signed.signature, framed(_PURPOSE, signed.payload))
        certificate = read(signed.payload, Certificate, "certificate")
    except InvalidSignature as error:
        raise InvalidCertificate(error.text) from None
    if not certificate.not_before_ms - skew_ms <= now_ms < certificate.not_after_ms + skew_ms:
        raise InvalidCertificate(f"the certificate of {certificate.name} does not hold now")
    return certificate
