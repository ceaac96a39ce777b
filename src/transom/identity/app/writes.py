# SPDX-License-Identifier: Apache-2.0
"""How identity's database is changed: one verb, then the generation, then the feed.

Invariant: whether a verb committed or its caller was only told that nobody knows, the generation
changes after it, so no process goes on with what it cached before.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from transom.runtime.auth.generation import Generation
from transom.runtime.db.transaction import Database, Verb

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Writes:
    """`on_change` tells the publisher of the feed to look."""

    database: Database
    generation: Generation
    on_change: Callable[[], None]

    async def commit(self, verb: Verb[T]) -> T:
        """Raises: what the verb raises; StorageFull, StorageUnavailable, Unavailable."""
        try:
            return await self.database.write(verb)
        finally:
            self.generation.change()
            self.on_change()
