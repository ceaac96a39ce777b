# SPDX-License-Identifier: Apache-2.0
"""What is sent to one subscriber, and who carries it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from transom.queue.logic.delivery import Outcome
from transom.queue.logic.subscriptions import Destination


@dataclass(frozen=True, slots=True)
class Parcel:
    """`content`: the JSON document; `secret`: what its request is signed with, None if it is not.

    `marks`: headers that say what it is; `document`: the content of one that asks to confirm.
    """

    destination: Destination
    options: Mapping[str, Any]
    content: bytes
    secret: bytes | None = field(default=None, repr=False)
    marks: Mapping[str, str] = field(default_factory=dict)
    document: Mapping[str, Any] | None = None


class Carrier(Protocol):
    """A way to subscribers. A `lifecycle.Service`."""

    async def start(self) -> None:
        """Opens nothing that may fail."""

    async def stop(self) -> None:
        """What is under way is cut off. Idempotent."""

    async def carry(self, parcel: Parcel) -> Outcome:
        """Sends it once. Raises nothing: what went wrong is the outcome."""
