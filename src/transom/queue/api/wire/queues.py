# SPDX-License-Identifier: Apache-2.0
"""Queues on the wire."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from transom.queue.api.wire.documents import Link
from transom.queue.logic.attributes import LEAST_TTL_S, LONGEST_KEY_WINDOW_S

_RESERVED = {
    "_max_messages_post_size": {"type": ["integer", "null"], "minimum": 1},
    "_default_message_ttl": {"type": ["integer", "null"], "minimum": LEAST_TTL_S},
    "_default_message_delay": {"type": ["integer", "null"], "minimum": 0},
    "_dead_letter_queue": {"type": ["string", "null"]},
    "_dead_letter_queue_messages_ttl": {"type": ["integer", "null"], "minimum": LEAST_TTL_S},
    "_max_claim_count": {"type": ["integer", "null"], "minimum": 1},
    "_message_key_window": {
        "type": ["integer", "null"],
        "minimum": 0,
        "maximum": LONGEST_KEY_WINDOW_S,
    },
    "_enable_encrypt_messages": {"type": ["boolean", "null"]},
    "_retry_policy": {"type": ["object", "null"]},
    "_flavor": {"type": ["string", "null"]},
}
Metadata = Annotated[dict[str, Any], Meta(extra_json_schema={"properties": _RESERVED})]
"""Free keys beside the reserved ones, which have to be in bounds."""
PATCH_TYPE = "application/openstack-messaging-v2.0-json-patch"


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
