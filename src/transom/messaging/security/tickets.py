# SPDX-License-Identifier: Apache-2.0
"""What a party and the key server say to each other, and the tickets that come of it.

A party asks with a `Request`, signed with its long-term key; the server answers with a `Grant`,
sealed with the same key. A ticket is sealed for its destination: under the long-term key of a
party, or under a generation of a group's key. It holds the session's key, the source and its
certificate; who sends it along with a message shows by that key that the ticket is its own.

Invariants:
1. A request is authentic and of this time, or refused. The server refuses a nonce that it has
   seen, for as long as `check_request` would take it: twice the skew.
2. A grant answers exactly one request: it repeats the nonce, which is bound into its seal.
3. A ticket opens only with the key of the destination that it names; one for a group ends with the
   generation that it is sealed under.
4. The source in a ticket has the certificate in it, signed by the authority: who can open a
   group's tickets can make some, but none of another's certificate.
"""

from collections.abc import Collection
from enum import StrEnum

import msgspec

from transom.errors import Expired, InvalidSignature, WrongDestination
from transom.messaging.security.sealing import (
    KEY_BYTES,
    authenticate,
    derive,
    framed,
    identify,
    read,
    same,
    seal,
    unseal,
    write,
)
from transom.runtime.ids import Randomness

NONCE_BYTES = 16
REQUEST_BYTES_MAX = 4096
TICKET_BYTES_MAX = 32_768
_REQUEST, _GRANT, _TICKET = "transom request 1", "transom grant 1", "transom ticket 1"


class Purpose(StrEnum):
    """What a party asks for."""

    ENROL = "enrol"  # its certificate and the authorities; no destination
    TICKET = "ticket"  # to one party
    GROUP_TICKET = "group-ticket"  # to all of a group, whether or not it belongs to it
    GROUP_KEY = "group-key"  # of a group that it belongs to; generation 0 is the newest


class Request(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`signing_key`, `agreement_key`: the public keys that are to be certified as its own."""

    purpose: Purpose
    source: str
    destination: str
    generation: int
    timestamp_ms: int
    nonce: bytes
    signing_key: bytes
    agreement_key: bytes


class Grant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The answer. `destination` is the party that was found, or the group.

    `key` is the session's for tickets, the group's for GROUP_KEY; it holds for `lifetime_ms` from
    `issued_ms`. Of a group's key `key_end_ms` is when the last ticket under it ends, which may be
    long before: it is still given to who reads what waited. `certificate` is the source's own,
    `authorities` are public keys to check with.
    """

    nonce: bytes
    purpose: Purpose
    source: str
    destination: str
    issued_ms: int
    lifetime_ms: int
    certificate: bytes
    authorities: tuple[bytes, ...]
    key: bytes = b""
    generation: int = 0
    ticket: bytes = b""
    key_end_ms: int = 0

    def __repr__(self) -> str:
        """For logs: no key."""
        return f"Grant({self.purpose.value!r}, {self.source!r}, {self.destination!r})"


class Ticket(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the destination finds in it. `certificate` is the source's."""

    source: str
    destination: str
    issued_ms: int
    lifetime_ms: int
    key: bytes
    certificate: bytes

    def __repr__(self) -> str:
        """For logs: no key."""
        return f"Ticket({self.source!r}, {self.destination!r})"


class Label(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What anybody can see of a ticket: which key opens it. `generation` is 0 for a party."""

    destination: str
    generation: int
    key_id: bytes


class _Labelled(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    label: bytes
    sealed: bytes


class _Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    payload: bytes
    mac: bytes


def make_request(request: Request, long_term_key: bytes) -> bytes:
    """Signed, for the way."""
    payload = write(request)
    return write(_Signed(payload, authenticate(derive(long_term_key, _REQUEST), payload)))


def read_request(data: bytes) -> Request:
    """Unchecked, to look up the long-term key of its source. Raises: InvalidSignature."""
    if len(data) > REQUEST_BYTES_MAX:
        raise InvalidSignature("the request is too long")
    request = read(read(data, _Signed, "request").payload, Request, "request")
    if len(request.nonce) != NONCE_BYTES:
        raise InvalidSignature(f"a request has a nonce of {NONCE_BYTES} bytes")
    if {len(request.signing_key), len(request.agreement_key)} != {KEY_BYTES}:
        raise InvalidSignature(f"a request has public keys of {KEY_BYTES} bytes")
    return request


def check_request(data: bytes, long_term_key: bytes, *, now_ms: int, skew_ms: int) -> Request:
    """The request, if it is the source's and of now. Raises: InvalidSignature, Expired.

    The caller refuses a (source, nonce) that it knows, and keeps this one until
    `timestamp_ms + skew_ms` has passed.
    """
    request = read_request(data)
    signed = read(data, _Signed, "request")
    mac = authenticate(derive(long_term_key, _REQUEST), signed.payload)
    if not same(mac, signed.mac):
        raise InvalidSignature("the request is not signed with the party's key")
    if abs(now_ms - request.timestamp_ms) > skew_ms:
        raise Expired("the request is not of now; set the clocks of both right")
    return request


def seal_grant(grant: Grant, long_term_key: bytes, random: Randomness) -> bytes:
    """For the source of the request alone."""
    beside = framed(_GRANT, grant.nonce)
    return seal(derive(long_term_key, _GRANT), write(grant), beside, random)


def open_grant(data: bytes, long_term_key: bytes, request: Request) -> Grant:
    """The answer to this request. Raises: InvalidSignature, WrongDestination."""
    plain = unseal(derive(long_term_key, _GRANT), data, framed(_GRANT, request.nonce))
    grant = read(plain, Grant, "grant")
    if (grant.nonce, grant.purpose, grant.source) != (
        request.nonce,
        request.purpose,
        request.source,
    ):
        raise WrongDestination("the grant answers another request")
    return grant


def issue_ticket(
    ticket: Ticket, destination_key: bytes, random: Randomness, *, generation: int = 0
) -> bytes:
    """Sealed with the destination's key: a party's long-term one, or that generation of a group's.

    `generation` is at least 1 for a group.
    """
    label = write(Label(ticket.destination, generation, identify(destination_key)))
    key = derive(destination_key, _TICKET, label)
    return write(_Labelled(label, seal(key, write(ticket), framed(_TICKET, label), random)))


def read_label(data: bytes) -> Label:
    """Unchecked, to look up the key. Raises: InvalidSignature."""
    if len(data) > TICKET_BYTES_MAX:
        raise InvalidSignature("the ticket is too long")
    return read(read(data, _Labelled, "ticket").label, Label, "ticket")


def open_ticket(data: bytes, destination_keys: Collection[bytes]) -> Ticket:
    """With the one of the keys that its label names. Raises: InvalidSignature, WrongDestination."""
    label = read_label(data)
    labelled = read(data, _Labelled, "ticket")
    for destination_key in destination_keys:
        if same(identify(destination_key), label.key_id):
            break
    else:
        raise InvalidSignature("the ticket is sealed with a key that is not here")
    key = derive(destination_key, _TICKET, labelled.label)
    plain = unseal(key, labelled.sealed, framed(_TICKET, labelled.label))
    ticket = read(plain, Ticket, "ticket")
    if ticket.destination != label.destination:
        raise WrongDestination("the ticket's label names another destination")
    return ticket
