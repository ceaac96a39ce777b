# SPDX-License-Identifier: Apache-2.0
"""Tickets that a party makes itself, with nobody's help but certificates.

The session's key is wrapped for each receiver: an ephemeral X25519 key meets the receiver's. The
whole is signed once with the source's Ed25519 key, so no message of the session need be (but for
groups, where others than the source have the key).

Invariants:
1. A ticket opens only for an agreement key that it wraps for, and only under a certificate of its
   source that a trusted authority signed.
2. A session ends with its source's certificate at the latest.
3. Each wrapping key is used once: the ephemeral key is new for each ticket.
"""

from collections.abc import Collection, Sequence

import msgspec

from transom.errors import InvalidCertificate, InvalidSignature, WrongDestination
from transom.messaging.security.certificates import Certificate, Identity, check
from transom.messaging.security.sealing import (
    KEY_BYTES,
    agree,
    derive,
    framed,
    identify,
    new_agreement_key,
    read,
    seal,
    unseal,
    verify,
    write,
)
from transom.messaging.security.sessions import Session
from transom.runtime.ids import Randomness

RECEIVERS_MAX = 1000
DIRECT_BYTES_MAX = 200_000
LIFETIME_MS_MAX = 24 * 3600 * 1000
_PURPOSE = "transom direct ticket 1"


class DirectTicket(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`wraps`: for each receiver the id of its agreement key and the sealed session key."""

    suite: str
    destination: str
    group: bool
    issued_ms: int
    lifetime_ms: int
    ephemeral: bytes
    wraps: dict[bytes, bytes]
    certificate: bytes


class _Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    payload: bytes
    signature: bytes
    direct: bool = True


def make_direct(
    suite: str,
    source: str,
    identity: Identity,
    certificate: bytes,
    destination: str,
    receivers: Sequence[Certificate],
    *,
    group: bool,
    now_ms: int,
    lifetime_ms: int,
    random: Randomness,
) -> Session:
    """A session to `destination`, that `receivers` can open; `certificate` is the source's own.

    Raises: WrongDestination where there is no receiver, or more than `RECEIVERS_MAX`.
    """
    if not 0 < len(receivers) <= RECEIVERS_MAX:
        raise WrongDestination(
            f"{destination} has {len(receivers)} known receivers, not 1 to {RECEIVERS_MAX}"
        )
    key = random(KEY_BYTES)
    ephemeral = new_agreement_key(random)
    public = ephemeral.public_key().public_bytes_raw()
    wraps = {}
    for receiver in receivers:
        wrapping = derive(agree(ephemeral, receiver.agreement_key), _PURPOSE, public)
        wraps[identify(receiver.agreement_key)] = seal(wrapping, key, b"", random)
    payload = write(
        DirectTicket(suite, destination, group, now_ms, lifetime_ms, public, wraps, certificate)
    )
    ticket = write(_Signed(payload, identity.signing.sign(framed(_PURPOSE, payload))))
    return Session(
        suite,
        source,
        destination,
        key,
        group=group,
        ticket=ticket,
        issued_ms=now_ms,
        lifetime_ms=lifetime_ms,
    )


def is_direct(ticket: bytes) -> bool:
    """Whether it claims to be one: three fields, where a key server's has two."""
    return ticket[:1] == b"\x93"


def open_direct(
    ticket: bytes, identity: Identity, authorities: Collection[bytes], *, now_ms: int, skew_ms: int
) -> Session:
    """Raises: InvalidSignature, InvalidCertificate, WrongDestination if it wraps nothing for us."""
    if len(ticket) > DIRECT_BYTES_MAX:
        raise InvalidSignature("the ticket is too long")
    signed = read(ticket, _Signed, "ticket")
    direct = read(signed.payload, DirectTicket, "ticket")
    certificate = check(direct.certificate, authorities, now_ms=now_ms, skew_ms=skew_ms)
    verify(certificate.signing_key, signed.signature, framed(_PURPOSE, signed.payload))
    if not 0 < direct.lifetime_ms <= LIFETIME_MS_MAX:
        raise InvalidCertificate("the ticket gives itself a life that is too long")
    wrap = direct.wraps.get(identify(identity.agreement_key))
    if wrap is None:
        raise WrongDestination("the ticket wraps no key for this party")
    wrapping = derive(agree(identity.agreement, direct.ephemeral), _PURPOSE, direct.ephemeral)
    return Session(
        direct.suite,
        certificate.name,
        direct.destination,
        unseal(wrapping, wrap, b""),
        group=direct.group,
        ticket=ticket,
        issued_ms=direct.issued_ms,
        lifetime_ms=min(direct.lifetime_ms, certificate.not_after_ms - direct.issued_ms),
        certificate=certificate,
    )
