# SPDX-License-Identifier: Apache-2.0
"""What a store's verb sees of a database.

A verb is an `async def` of one `Transaction` that awaits nothing else. On SQLite it therefore runs
from start to end without ever being suspended, many to a commit; on a network database the same
text waits for the server. A verb can be run again whole (after a serialisation failure, or when
a neighbour in its group must be undone), so it changes nothing but the database.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

Row = tuple[Any, ...]
Parameters = Sequence[Any]
T = TypeVar("T")


class Transaction(Protocol):
    """Statements of one transaction. SQL text carries `?` placeholders."""

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Runs a change; answers the number of rows it touched."""

    async def execute_many(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Runs a change once a row."""

    async def fetch(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """All rows (of a query, or of a change with `returning`)."""

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """The first row, or None."""


Verb = Callable[[Transaction], Awaitable[T]]


class Database(Protocol):
    """One database: verbs go in, their results come out."""

    @property
    def name(self) -> str:
        """For logs, checks and people."""

    @property
    def problem(self) -> str:
        """What keeps it from taking writes for good, and what to do about it; "" if nothing."""

    @property
    def in_order(self) -> bool:
        """Whether writes are carried out in the order in which they were handed over."""

    def is_short(self, bytes_least: int) -> bool:
        """Whether there is less room than that for more, or than a tenth of its disk if that is
        less; False where one cannot tell."""

    async def start(self) -> None:
        """Opens, checks, and takes what must be held.

        Raises: ConfigError, StorageFull, StorageUnavailable; each says what to do.
        """

    async def stop(self) -> None:
        """Finishes what was taken, lets go. Idempotent."""

    async def write(self, verb: Verb[T]) -> T:
        """Runs the verb; returns when its effect is on disk.

        What the verb raises undoes the verb alone and is raised here.
        Raises: StorageFull, StorageUnavailable.
        """

    async def read(self, verb: Verb[T]) -> T:
        """Runs the verb on one consistent snapshot; it may only query."""
