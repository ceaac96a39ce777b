# SPDX-License-Identifier: Apache-2.0
"""The queue's nouns: ids, messages, claims, queues, and the errors of their life.

Invariants:
1. A message id's text is the UUID form of 16 hexadecimal digits of its place (`sequence`) and 16
   of 64 random bits (`token`). Ids are read with or without dashes, in either case.
2. Times are integer milliseconds since 1970 (`_ms`), lengths of time whole seconds (`_s`).
"""

import re
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NewType

import msgspec

from transom.errors import BadRequest, Conflict, Forbidden, NotFound, Unavailable

ContentId = NewType("ContentId", int)
"""The number of what a queue holds; a deleted or purged queue leaves its number behind."""
ClaimId = NewType("ClaimId", bytes)
"""16 unguessable bytes."""
ClientId = NewType("ClientId", bytes)
"""The UUID by which a client names itself, as 16 bytes."""

LONGEST_NAME = 64
_NAME = re.compile(r"[A-Za-z0-9_.\-]+")
_NUMBERS = struct.Struct(">qq")


class MessageId(msgspec.Struct, frozen=True, gc=False):
    """A message's place and its secret. `token` is kept as a signed 64-bit number."""

    sequence: int
    token: int

    @classmethod
    def parse(cls, text: str) -> "MessageId | None":
        """The id that the text says, or None if it can be none."""
        raw = uuid_bytes(text)
        if raw is None:
            return None
        sequence, token = _NUMBERS.unpack(raw)
        return None if sequence < 0 else cls(sequence, token)

    def __str__(self) -> str:
        return uuid_text(_NUMBERS.pack(self.sequence, self.token))


def uuid_text(raw: bytes) -> str:
    """16 bytes in the form of a UUID."""
    pairs = raw.hex("-", 2)
    return pairs[:4] + pairs[5:29] + pairs[30:34] + pairs[35:]


def uuid_bytes(text: str) -> bytes | None:
    """16 bytes of a dashed or undashed UUID of any version, or None."""
    digits = text
    if len(text) == 36:
        if not text[8] == text[13] == text[18] == text[23] == "-":
            return None
        digits = text.replace("-", "")
    if len(digits) != 32:
        return None
    try:
        raw = bytes.fromhex(digits)  # which passes over spaces
    except ValueError:
        return None
    return raw if len(raw) == 16 else None


def claim_text(claim_id: ClaimId) -> str:
    return uuid_text(claim_id)


def claim_from(text: str) -> ClaimId | None:
    raw = uuid_bytes(text)
    return None if raw is None else ClaimId(raw)


def check_queue_name(name: str) -> str:
    """The name itself. Raises: InvalidQueueName."""
    if len(name) > LONGEST_NAME:
        raise InvalidQueueName(
            f"A queue's name has at most {LONGEST_NAME} characters; this one has {len(name)}."
        )
    if _NAME.fullmatch(name) is None:
        raise InvalidQueueName(
            "A queue's name is made of ASCII letters, digits, underscores, hyphens and dots."
        )
    return name


@dataclass(frozen=True, slots=True)
class Place:
    """A queue as its owner and its users name it."""

    project_id: str
    name: str


NO_PLACE = Place("", "")
"""Of writes that are for no queue."""


def check_pool_name(name: str) -> str:
    """The name itself, of a pool or a flavor. Raises: BadRequest."""
    if len(name) > LONGEST_NAME or _NAME.fullmatch(name) is None:
        raise BadRequest(
            f"The name of a pool or a flavor has up to {LONGEST_NAME} ASCII letters, digits, "
            "underscores, hyphens and dots."
        )
    return name


class NewMessage(msgspec.Struct, frozen=True):
    """A message that is to be posted; None means the queue's default.

    `key`: a second message with it, within the queue's window, is the first one and not stored.
    `key_generation`: of the project's key that the body is sealed under already, None if plain.
    """

    body: bytes
    ttl_s: int | None = None
    delay_s: int | None = None
    key: str | None = None
    key_generation: int | None = None


class Reason(StrEnum):
    """Why a message was moved to the dead letters."""

    CLAIMED_TOO_OFTEN = "claimed_too_often"
    REJECTED = "rejected"
    UNDELIVERABLE = "undeliverable"


@dataclass(frozen=True, slots=True)
class Death:
    """One move of a message to dead letters. `queue`, `id`: where it was, and called what there.

    Of a move before 0.4 only the id is known: `queue` is "" and `claim_count` None. `ttl_s`: of
    its life there, which it has again when it goes back. `subscription`: whose notice it was, ""
    of a message itself.
    """

    queue: str
    id: str
    reason: Reason
    text: str
    claim_count: int | None
    at_ms: int
    ttl_s: int
    subscription: str = ""


class Message(msgspec.Struct, frozen=True):
    """A message as read at one moment. `claim_id` is that of a claim alive at that moment.

    `deliveries` counts how often it was claimed; it grows with each, and thus also is the fence
    number of the claim that holds it. `available_ms`: the end of its hiding by claim or delay, None
    if it is not hidden. `deaths`: its moves to dead letters, the last one first. `key_generation`:
    of the project's key that the body is sealed under, None if it is plain. `checksum`: of the
    body, where the server shows them.
    """

    id: MessageId
    body: bytes
    ttl_s: int
    age_s: int
    claim_id: ClaimId | None
    deliveries: int
    created_ms: int = 0
    expires_ms: int = 0
    available_ms: int | None = None
    key: str | None = None
    deaths: tuple[Death, ...] = ()
    key_generation: int | None = None
    checksum: str | None = None


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages a listing passes over. `not_from`: those that this client posted."""

    include_claimed: bool = False
    include_delayed: bool = False
    not_from: ClientId | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A live claim. `age_s` counts from its making or last renewal, which gave it `ttl_s`.

    `expires_ms`: its latest end; messages that were touched by themselves have ends of their own.
    """

    id: ClaimId
    ttl_s: int
    age_s: int
    messages: tuple[Message, ...]
    expires_ms: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """The first or last message of a queue, for its statistics."""

    id: MessageId
    age_s: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What a queue holds. `free` are those under no live claim (delayed ones among them)."""

    total: int = 0
    claimed: int = 0
    oldest: Edge | None = None
    newest: Edge | None = None

    @property
    def free(self) -> int:
        return self.total - self.claimed


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a queue's metadata patch: `op` is add, replace or remove."""

    op: str
    path: str
    value: Any = None
    has_value: bool = False


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription as read at one moment. `options`: JSON of an object.

    `id`: its place among the queue's subscriptions, and its secret; the same form as a message's.
    """

    id: MessageId
    queue_name: str
    subscriber: str
    options: str
    ttl_s: int
    age_s: int
    confirmed: bool
    created_ms: int
    expires_ms: int
    state: "DeliveryState"


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """How far a subscription is. `tries`: failed ones, of the notice whose turn it is; `next_ms`:
    when it is tried again at the soonest. `undeliverable`: how many were given up."""

    active: bool
    delivered: int
    undeliverable: int
    tries: int
    next_ms: int
    last_error: str

    @property
    def word(self) -> str:
        """What there is to say of it in one."""
        if not self.active:
            return "waits_for_confirmation"
        return "fails" if self.tries else "delivers"


@dataclass(frozen=True, slots=True)
class Notice:
    """A message that subscribers are told of. `body`: as it lies in its table."""

    id: MessageId
    created_ms: int
    expires_ms: int
    ttl_s: int
    client_id: ClientId
    body: bytes
    key_generation: int | None = None


class ProjectMissing(BadRequest):
    """The token is for no project."""


class InvalidQueueName(BadRequest):
    """No queue can be called so."""


class InvalidAttribute(BadRequest):
    """A reserved attribute of a queue has a value that it cannot have."""


class InvalidSubscription(BadRequest):
    """A subscriber, or an option of a subscription, is not one that it can be."""


class SubscriberKnown(Conflict):
    """The subscriber is subscribed to this queue already."""


class OutOfRange(BadRequest):
    """A number is outside its limits."""


class PostTooLarge(BadRequest):
    """The request to post is larger than the server or the queue allows."""


class MetadataTooLarge(BadRequest):
    """The metadata are larger than the server allows."""


class QueueNotFound(NotFound):
    """The project has no such queue."""


class MessageNotFound(NotFound):
    """The queue has no such message."""


class NotHere(Conflict):
    """The queue is not in the database that was asked; another one may have it."""


class NotPlaced(NotHere):
    """A queue would be made that has no place yet among several databases."""


class PoolNotFound(NotFound):
    """There is no such pool."""


class FlavorNotFound(NotFound):
    """There is no such flavor."""


class PoolInUse(Forbidden):
    """The pool cannot go: a flavor is of it, or queues are in it."""


class ClaimNotFound(NotFound):
    """The queue has no such claim, or it is no longer alive."""


class BodyLocked(Unavailable):
    """A sealed body cannot be opened, or a plain one not be sealed."""


class SubscriptionNotFound(NotFound):
    """The queue has no such subscription, or its life has ended."""


class KeyMissing(Conflict):
    """A patch replaces or removes what is not there."""


class NoDeadLetters(Conflict):
    """The queue has no queue for dead letters."""


class QuotaReached(Forbidden):
    """The project has as much as it may have."""


class MessageClaimed(Forbidden):
    """The message is held by a live claim, which is not the one named."""


class NotClaimed(BadRequest):
    """A claim was named, but the message is under no live claim: the work was late."""


class ClaimUnknown(BadRequest):
    """The claim named does not exist or has expired, and another one holds the message."""
