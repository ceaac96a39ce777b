# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests and answers.

Invariant: `body` of a message is `Raw` both ways: the bytes between its delimiters, untouched.
"""

from typing import Annotated, Any, Literal, TypedDict

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from transom.queue.logic.attributes import LEAST_TTL_S
from transom.runtime.http.versions import Version

_RESERVED = {
    "_max_messages_post_size": {"type": ["integer", "null"], "minimum": 1},
    "_default_message_ttl": {"type": ["integer", "null"], "minimum": LEAST_TTL_S},
    "_default_message_delay": {"type": ["integer", "null"], "minimum": 0},
    "_dead_letter_queue": {"type": ["string", "null"]},
    "_dead_letter_queue_messages_ttl": {"type": ["integer", "null"], "minimum": LEAST_TTL_S},
    "_max_claim_count": {"type": ["integer", "null"], "minimum": 1},
    "_enable_encrypt_messages": {"type": ["boolean", "null"], "const": False},
}
Metadata = Annotated[dict[str, Any], Meta(extra_json_schema={"properties": _RESERVED})]
"""Free keys beside the reserved ones, which have to be in bounds."""
Ttl = Annotated[int, Meta(extra_json_schema={"minimum": LEAST_TTL_S})]
"""The configuration bounds it above. What is out of bounds is told with Zaqar's title, so it is
not the decoder's to refuse."""
Delay = Annotated[int, Meta(extra_json_schema={"minimum": 0})]
PATCH_TYPE = "application/openstack-messaging-v2.0-json-patch"


class NewMessage(Struct):
    """A message to post; without `ttl` or `delay` the queue's defaults hold."""

    body: Raw
    ttl: Ttl | UnsetType = UNSET
    delay: Delay | UnsetType = UNSET


class PostMessages(Struct):
    messages: Annotated[list[NewMessage], Meta(min_length=1)]


class ClaimTerms(Struct):
    """What absent or null says is the server's default (python-zaqarclient sends nulls)."""

    ttl: Ttl | None = None
    grace: Ttl | None = None


class PurgeQueue(Struct):
    resource_types: list[Literal["messages", "subscriptions"]] = msgspec.field(
        default_factory=lambda: ["messages", "subscriptions"]
    )


class Change(Struct):
    """One step of a patch. `value` is needed by `add` and `replace`."""

    op: Annotated[str, Meta(extra_json_schema={"enum": ["add", "replace", "remove"]})]
    path: Annotated[str, Meta(extra_json_schema={"pattern": "^/metadata/[^/~]+$"})]
    value: Any = UNSET


Changes = Annotated[list[Change], Meta(extra_json_schema={"minItems": 1})]


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
    metadata: Metadata | UnsetType = UNSET


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


class Home(TypedDict):
    """A json-home document, and the version that SDKs look for here."""

    resources: dict[str, Any]
    version: Version


class Refusal(Struct):
    title: str
    description: str
