# SPDX-License-Identifier: Apache-2.0
"""The queue's nouns: ids, messages, claims, queues, and the errors of their life.

Invariants:
1. A message id's text is the UUID form of 16 hexadecimal digits of its place (`sequence`) and 16
   of 64 random bits (`token`). Ids are read with or without dashes, in either case.
2. Times are integer milliseconds since 1970 (`_ms`), lengths of time whole seconds (`_s`).
"""

import re
import string
from dataclasses import dataclass
from typing import Any, NewType

from transom.errors import BadRequest, Conflict, Forbidden, NotFound

ContentId = NewType("ContentId", int)
"""The number of what a queue holds; a deleted or purged queue leaves its number behind."""
ClaimId = NewType("ClaimId", bytes)
"""16 unguessable bytes."""
ClientId = NewType("ClientId", bytes)
"""The UUID by which a client names itself, as 16 bytes."""

LONGEST_NAME = 64
_NAME = re.compile(r"[A-Za-z0-9_.\-]+")
_HEX = frozenset(string.hexdigits)
_TOKEN_BITS = 64
_TOKEN_LIMIT = 1 << _TOKEN_BITS
_TOKEN_SIGN = 1 << (_TOKEN_BITS - 1)
_MOST_SEQUENCE = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class MessageId:
    """A message's place and its secret. `token` is kept as a signed 64-bit number."""

    sequence: int
    token: int

    @classmethod
    def parse(cls, text: str) -> "MessageId | None":
        """The id that the text says, or None if it can be none."""
        raw = uuid_bytes(text)
        if raw is None:
            return None
        sequence = int.from_bytes(raw[:8], "big")
        if sequence > _MOST_SEQUENCE:
            return None
        return cls(sequence, int.from_bytes(raw[8:], "big", signed=True))

    def __str__(self) -> str:
        unsigned = self.token % _TOKEN_LIMIT
        digits = f"{self.sequence:016x}{unsigned:016x}"
        return dashed(digits)


def dashed(digits: str) -> str:
    """32 hexadecimal digits in the form of a UUID."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid_bytes(text: str) -> bytes | None:
    """16 bytes of a dashed or undashed UUID of any version, or None."""
    digits = text
    if len(text) == 36:
        if not text[8] == text[13] == text[18] == text[23] == "-":
            return None
        digits = text.replace("-", "")
    if len(digits) != 32 or not _HEX.issuperset(digits):
        return None
    return bytes.fromhex(digits)


def claim_text(claim_id: ClaimId) -> str:
    return dashed(claim_id.hex())


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


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message that is to be posted; None means the queue's default."""

    body: bytes
    ttl_s: int | None = None
    delay_s: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A message as read at one moment. `claim_id` is that of a claim alive at that moment.

    `deliveries` counts how often it was claimed; it grows with each, and thus also is the fence
    number of the claim that holds it.
    """

    id: MessageId
    body: bytes
    ttl_s: int
    age_s: int
    claim_id: ClaimId | None
    deliveries: int


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages a listing passes over. `not_from`: those that this client posted."""

    include_claimed: bool = False
    include_delayed: bool = False
    not_from: ClientId | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A live claim. `age_s` counts from its making or last renewal."""

    id: ClaimId
    ttl_s: int
    age_s: int
    messages: tuple[Message, ...]


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


class ProjectMissing(BadRequest):
    """The token is for no project."""


class InvalidQueueName(BadRequest):
    """No queue can be called so."""


class InvalidAttribute(BadRequest):
    """A reserved attribute of a queue has a value that it cannot have."""


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


class ClaimNotFound(NotFound):
    """The queue has no such claim, or it is no longer alive."""


class KeyMissing(Conflict):
    """A patch replaces or removes what is not there."""


class MessageClaimed(Forbidden):
    """The message is held by a live claim, which is not the one named."""


class NotClaimed(BadRequest):
    """A claim was named, but the message is under no live claim: the work was late."""


class ClaimUnknown(BadRequest):
    """The claim named does not exist or has expired, and another one holds the message."""
