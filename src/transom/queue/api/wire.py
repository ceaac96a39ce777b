# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests and answers.

Invariant: `body` of a message is `Raw` both ways: the bytes between its delimiters, untouched.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

METADATA = dict[str, Any]
PATCH_TYPE = "application/openstack-messaging-v2.0-json-patch"


class NewMessage(Struct):
    """A message to post; without `ttl` or `delay` the queue's defaults hold."""

    body: Raw
    ttl: int | UnsetType = UNSET
    delay: int | UnsetType = UNSET


class PostMessages(Struct):
    messages: Annotated[list[NewMessage], Meta(min_length=1)]


class ClaimTerms(Struct):
    """What absent or null says is the server's default (python-zaqarclient sends nulls)."""

    ttl: int | None = None
    grace: int | None = None


class PurgeQueue(Struct):
    resource_types: list[Literal["messages", "subscriptions"]] = msgspec.field(
        default_factory=lambda: ["messages", "subscriptions"]
    )


class Change(Struct):
    """One step of a patch: `path` is /metadata/KEY."""

    op: str
    path: str
    value: Any = UNSET


class Link(Struct):
    rel: str
    href: str


class Posted(Struct):
    resources: list[str]


class ShownMessage(Struct):
    id: str
    href: str
    ttl: int
    age: int
    body: Raw


class Messages(Struct):
    messages: list[ShownMessage]


class MessagePage(Struct):
    messages: list[ShownMessage]
    links: list[Link]


class PoppedMessage(Struct):
    id: str
    age: int
    ttl: int
    claim_id: str | None
    claim_count: int
    body: Raw


class Popped(Struct):
    messages: list[PoppedMessage]


class ShownClaim(Struct):
    age: int
    ttl: int
    href: str
    messages: list[ShownMessage]


class ShownQueue(Struct, omit_defaults=True):
    name: str
    href: str
    metadata: METADATA | UnsetType = UNSET


class QueuePage(Struct, omit_defaults=True):
    """`links` has no default, so it is there also when empty."""

    queues: list[ShownQueue]
    links: list[Link]
    count: int | UnsetType = UNSET


class ShownEdge(Struct):
    """`created`: the time of posting, ISO 8601 in UTC with whole seconds."""

    age: int
    created: str
    href: str


class ShownCounts(Struct, omit_defaults=True):
    claimed: int
    free: int
    total: int
    oldest: ShownEdge | UnsetType = UNSET
    newest: ShownEdge | UnsetType = UNSET


class ShownStats(Struct):
    messages: ShownCounts


class Refusal(Struct):
    title: str
    description: str
