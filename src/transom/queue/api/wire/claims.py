# SPDX-License-Identifier: Apache-2.0
"""Claims on the wire."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from transom.queue.api.wire.messages import Delay, ShownMessage, Ttl
from transom.queue.logic.letters import LONGEST_TEXT

Ids = Annotated[list[str], Meta(extra_json_schema={"minItems": 1})]
ReasonText = Annotated[str, Meta(extra_json_schema={"maxLength": LONGEST_TEXT})]


class ClaimTerms(Struct):
    """What absent or null says is the server's default (python-zaqarclient sends nulls)."""

    ttl: Ttl | None = None
    grace: Ttl | None = None


class ShownClaim(Struct):
    """`age`: since the claim was made or renewed whole, which gave it `ttl`.

    `claim_id` and `expires_at`, its latest end, are shown where details are asked for.
    """

    age: int
    ttl: int
    href: str
    messages: list[ShownMessage]
    claim_id: str | UnsetType = UNSET
    expires_at: str | UnsetType = UNSET


class Claimed(Struct):
    """`claim_id` and `expires_at` are shown where details are asked for."""

    messages: list[ShownMessage]
    claim_id: str | UnsetType = UNSET
    expires_at: str | UnsetType = UNSET


class Touch(ClaimTerms):
    """`ids` absent: all that the claim holds."""

    ids: Ids | None = None


class TouchedMessage(Struct):
    id: str
    expires_at: str
    fence: int


class Touched(Struct):
    """`lost`: those asked for that the claim does not hold, or no longer."""

    messages: list[TouchedMessage]
    lost: list[str]


class Release(Struct):
    """`ids` absent: all that the claim holds. `delay`: for how long they stay hidden, in s."""

    ids: Ids | None = None
    delay: Delay | None = None


class Released(Struct):
    """`lost`: as in the answer to a touch."""

    released: int
    lost: list[str]


class Reject(Struct):
    """`ids` absent: all that the claim holds. `reason`: in words, for whoever looks at them."""

    ids: Ids | None = None
    reason: ReasonText = ""


class Rejected(Struct):
    """`lost`: as in the answer to a touch."""

    rejected: int
    lost: list[str]
