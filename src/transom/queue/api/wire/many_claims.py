# SPDX-License-Identifier: Apache-2.0
"""Claims over several queues on the wire."""

from typing import Annotated

from msgspec import Meta, Struct

from transom.queue.api.wire.messages import ShownMessage, Ttl


class TakeMany(Struct):
    """`queues`: in the order in which they are taken from."""

    queues: Annotated[list[str], Meta(extra_json_schema={"minItems": 1, "maxItems": 20})]
    ttl: Ttl | None = None
    grace: Ttl | None = None


class ManyTaken(Struct):
    """What was claimed; each message says its `queue`."""

    claim_id: str
    expires_at: str
    messages: list[ShownMessage]


class ShownManyClaim(Struct):
    """A claim and what it holds, queue by queue."""

    claim_id: str
    age: int
    ttl: int
    href: str
    expires_at: str
    messages: list[ShownMessage]
