# SPDX-License-Identifier: Apache-2.0
"""Messages on the wire.

Invariant: `body` of a message is `Raw` both ways: the bytes between its delimiters, untouched.
"""

from datetime import UTC, datetime
from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from transom.queue.api.wire.documents import Link
from transom.queue.logic.attributes import LEAST_TTL_S
from transom.queue.logic.limits import LONGEST_KEY
from transom.queue.model import Reason

Ttl = Annotated[int, Meta(extra_json_schema={"minimum": LEAST_TTL_S})]
"""The configuration bounds it above. What is out of bounds is told with Zaqar's title, so it is
not the decoder's to refuse."""
Key = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": LONGEST_KEY})]
Delay = Annotated[int, Meta(extra_json_schema={"minimum": 0})]


class NewMessage(Struct):
    """A message to post; without `ttl` or `delay` the queue's defaults hold.

    `key`: while the queue remembers it, another message with it is not stored.
    """

    body: Raw
    ttl: Ttl | UnsetType = UNSET
    delay: Delay | UnsetType = UNSET
    key: Key | None = None


class PostMessages(Struct):
    messages: Annotated[list[NewMessage], Meta(min_length=1)]


class Posted(Struct):
    """`duplicates`: the places of messages that were not stored, since their keys had been; their
    addresses are those of the first ones."""

    resources: list[str]
    duplicates: list[int] | UnsetType = UNSET


class Hold(Struct):
    """The live claim of a message. `fence` grows with each delivery of the message."""

    id: str
    expires_at: str
    fence: int


class Move(Struct):
    """A move to dead letters: where the message was, its id there, why, when.

    `queue` and `claim_count` are null for one that an older version has moved.
    """

    queue: str | None
    id: str
    reason: Reason
    text: str
    claim_count: int | None
    at: str


class DeadLetter(Move):
    """The last move of a message to dead letters; `trail`: those before it, the last one first."""

    trail: list[Move]


class ShownMessage(Struct):
    """What follows `body` is shown where details are asked for.

    `checksum`: where the server shows one, details or not.
    `available_at`: the end of its hiding by a claim or a delay; null if it is not hidden.
    """

    id: str
    href: str
    ttl: int
    age: int
    body: Raw
    queue: str | UnsetType = UNSET
    created_at: str | UnsetType = UNSET
    expires_at: str | UnsetType = UNSET
    available_at: str | UnsetType | None = UNSET
    claim_count: int | UnsetType = UNSET
    key: str | UnsetType = UNSET
    claim: Hold | UnsetType = UNSET
    dead_letter: DeadLetter | UnsetType = UNSET
    checksum: str | UnsetType = UNSET


class Messages(Struct):
    messages: list[ShownMessage]


class MessagePage(Struct, omit_defaults=True):
    """Messages that were asked for by their ids have no `links`."""

    messages: list[ShownMessage]
    links: list[Link] | UnsetType = UNSET


class PoppedMessage(Struct):
    id: str
    age: int
    ttl: int
    claim_id: str | None
    claim_count: int
    body: Raw
    checksum: str | UnsetType = UNSET


class Popped(Struct):
    messages: list[PoppedMessage]


def moment(at_ms: int) -> str:
    """ISO 8601 in UTC, with milliseconds."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
