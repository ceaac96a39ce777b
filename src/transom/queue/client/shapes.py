# SPDX-License-Identifier: Apache-2.0
"""What the client is told, as values. Times are `datetime`s in UTC; names are those of the API."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec


class Hold(msgspec.Struct, frozen=True):
    """The live claim of a message. `fence` grows with each delivery of the message."""

    id: str
    expires_at: datetime
    fence: int


class Move(msgspec.Struct, frozen=True):
    """A move to dead letters: where the message was, its id there, why, when."""

    queue: str | None
    id: str
    reason: str
    text: str
    claim_count: int | None
    at: datetime


class DeadLetter(Move, frozen=True):
    """The last move to dead letters; `trail`: those before it, the last one first."""

    trail: list[Move] = []


class Message(msgspec.Struct, frozen=True):
    """A message. `queue` is set by what may come from several.

    `available_at`: the end of its hiding by a claim or a delay; None if it is not hidden.
    """

    id: str
    ttl: int
    age: int
    body: Any
    created_at: datetime | None = None
    expires_at: datetime | None = None
    available_at: datetime | None = None
    claim_count: int = 0
    key: str | None = None
    claim: Hold | None = None
    dead_letter: DeadLetter | None = None
    queue: str = ""

    @property
    def fence(self) -> int:
        """A number that grows with each delivery: hand it to what must refuse a late worker."""
        return self.claim_count if self.claim is None else self.claim.fence


class New(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message to post; without `ttl` or `delay`, in seconds, the queue's defaults hold.

    `key`: while the queue remembers it, another message with it is not stored.
    """

    body: Any
    ttl: int | None = None
    delay: int | None = None
    key: str | None = None


class Posted(msgspec.Struct, frozen=True):
    """`ids` as they were given, `duplicates`: the places of those whose key had been posted; their
    ids are those of the first ones."""

    ids: list[str]
    duplicates: list[int] = []


class Claimed(msgspec.Struct, frozen=True):
    """A claim and what it took."""

    messages: list[Message]
    claim_id: str = ""
    expires_at: datetime | None = None


class TouchedMessage(msgspec.Struct, frozen=True):
    """It is held until `expires_at`."""

    id: str
    expires_at: datetime
    fence: int


class Touched(msgspec.Struct, frozen=True):
    """`lost`: the ids of those that the claim does not hold, or no longer."""

    messages: list[TouchedMessage] = []
    lost: list[str] = []


class Released(msgspec.Struct, frozen=True):
    """`lost`: as after a touch."""

    released: int = 0
    lost: list[str] = []


class Rejected(msgspec.Struct, frozen=True):
    """`lost`: as after a touch."""

    rejected: int = 0
    lost: list[str] = []


class Redriven(msgspec.Struct, frozen=True):
    """`left`: dead letters that are still in the queue, held ones among them."""

    moved: int
    left: int


class Edge(msgspec.Struct, frozen=True):
    """The oldest or the newest message of a queue."""

    age: int
    created: datetime
    href: str

    @property
    def id(self) -> str:
        return self.href.rpartition("/")[2]


class Stats(msgspec.Struct, frozen=True):
    """How many messages a queue holds."""

    claimed: int
    free: int
    total: int
    oldest: Edge | None = None
    newest: Edge | None = None


class Subscription(msgspec.Struct, frozen=True):
    """`state`: waits_for_confirmation, delivers, fails."""

    id: str
    source: str
    subscriber: str
    ttl: int
    age: int
    options: Mapping[str, Any] = {}
    confirmed: bool = True
    created_at: datetime | None = None
    expires_at: datetime | None = None
    state: str = ""
    delivered: int = 0
    undeliverable: int = 0
    failed_attempts: int = 0
    next_attempt_at: datetime | None = None
    last_error: str = ""


class Subscribed(msgspec.Struct, frozen=True):
    """`signing_secret`: made by the server where it signs, and never shown again."""

    subscription_id: str
    signing_secret: str = ""


class QueueInfo(msgspec.Struct, frozen=True):
    """A queue of a list."""

    name: str
    metadata: Mapping[str, Any] | None = None


class Link(msgspec.Struct, frozen=True):
    """Where a list goes on."""

    rel: str
    href: str


class Page(msgspec.Struct, frozen=True):
    """A page of whatever list."""

    links: list[Link] = []
    messages: list[Message] = []
    queues: list[QueueInfo] = []
    subscriptions: list[Subscription] = []

    @property
    def onward(self) -> str:
        """The next page's address; empty at the end."""
        return next((link.href for link in self.links if link.rel == "next"), "")
