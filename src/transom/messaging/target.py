# SPDX-License-Identifier: Apache-2.0
"""Whom a message is for, and what an endpoint serves.

Source: oslo.messaging's Target; the semantics of versions are in `dispatch`.
"""

from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Target:
    """A client needs `topic`; a server `topic` and `server`, or `fanout` where it only hears what
    is cast to all; an endpoint `namespace`, `version`.

    `version` is "major.minor" or "major.minor.revision". `fanout` means every server of the topic.
    """

    exchange: str | None = None
    topic: str | None = None
    namespace: str | None = None
    version: str | None = None
    server: str | None = None
    fanout: bool = False

    def to(self, **changes: Any) -> Self:
        """The same target with some fields set anew."""
        return replace(self, **changes)
