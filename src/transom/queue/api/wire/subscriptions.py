# SPDX-License-Identifier: Apache-2.0
"""Subscriptions on the wire."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from transom.queue.api.wire.documents import Link
from transom.queue.logic.subscriptions import LEAST_TTL_S, MOST_TTL_S

Ttl = Annotated[int, Meta(extra_json_schema={"minimum": LEAST_TTL_S, "maximum": MOST_TTL_S})]
Options = Annotated[
    dict[str, Any],
    Meta(
        extra_json_schema={
            "properties": {
                "post_data": {"type": "string"},
                "post_headers": {"type": "object"},
                "from": {"type": "string"},
                "subject": {"type": "string"},
                "trust_id": {"type": "string"},
                "_retry_policy": {"type": ["object", "null"]},
                "_signature": {"type": ["boolean", "object", "null"]},
            }
        }
    ),
]


class ChangedSubscription(Struct):
    """What absent or null says stays as it is, but for the life, which begins anew."""

    subscriber: str | None = None
    ttl: Ttl | None = None
    options: Options | None = None


class NewSubscription(Struct):
    """Without `ttl` the server's default holds."""

    subscriber: str
    ttl: Ttl | None = None
    options: Options | None = None


class Confirmation(Struct):
    confirmed: bool


class Subscribed(Struct, omit_defaults=True):
    """`signing_secret`: made by the server, and never shown again."""

    subscription_id: str
    signing_secret: str | UnsetType = UNSET


class ShownSubscription(Struct, omit_defaults=True):
    """From `created_at` on with `details`. `state`: waits_for_confirmation, delivers, fails."""

    id: str
    source: str
    subscriber: str
    ttl: int
    age: int
    options: dict[str, Any]
    confirmed: bool
    created_at: str | UnsetType = UNSET
    expires_at: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    delivered: int | UnsetType = UNSET
    undeliverable: int | UnsetType = UNSET
    failed_attempts: int | UnsetType = UNSET
    next_attempt_at: str | UnsetType | None = UNSET
    last_error: str | UnsetType = UNSET


class SubscriptionPage(Struct):
    subscriptions: list[ShownSubscription]
    links: list[Link]
