# SPDX-License-Identifier: Apache-2.0
"""Which queues a listing holds: by a part of the name, and by values of metadata."""

from dataclasses import dataclass
from typing import Any

import msgspec

from transom.queue.logic.attributes import Metadata


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """`metadata`: (key, value as a query has it) that must be equal, all of them."""

    name_part: str = ""
    metadata: tuple[tuple[str, str], ...] = ()

    def admits(self, name: str, metadata: Metadata) -> bool:
        return self.name_part in name and all(
            key in metadata and _as_query(metadata[key]) == value for key, value in self.metadata
        )

    @property
    def admits_all(self) -> bool:
        return not self.name_part and not self.metadata


def _as_query(value: Any) -> str:
    """A value as a query would have it: texts as they are, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
