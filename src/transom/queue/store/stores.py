# SPDX-License-Identifier: Apache-2.0
"""The databases that hold queues. A queue is in one of them, with all that is in it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from transom.queue.model import Place
from transom.queue.store.project_keys import Keyring
from transom.queue.store.verbs.verb import Writer, WriteVerb
from transom.runtime.db.transaction import Database, Transaction
from transom.runtime.secrets import Secret

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Store:
    """One of them: `database` is read, what is written goes through `writer`. `keyring`: of the
    keys that are in it. `owned`: this process may write it, so it sweeps it and relays its rows."""

    name: str
    database: Database
    writer: Writer
    keyring: Keyring = field(default_factory=lambda: Keyring(None))
    owned: bool = True


Fit = Callable[[Store, WriteVerb[Any]], Awaitable[WriteVerb[Any]]]


class Stores(Protocol):
    """Where each queue is."""

    @property
    def home(self) -> Store:
        """The one that is always there."""

    @property
    def alone(self) -> bool:
        """Whether there is no other than the home, as far as this process knows."""

    def every(self) -> Sequence[Store]:
        """All that are at hand, the home first."""

    def away(self) -> Sequence[str]:
        """Names of the others, which cannot be asked now."""

    async def refresh(self) -> None:
        """Looks which others there are."""

    async def of(self, place: Place) -> Store:
        """That of the queue; of one that is not there, the home. Raises: Unavailable."""

    async def read(self, place: Place, verb: Callable[[Transaction], Awaitable[T]]) -> T:
        """Runs the verb on the queue's store. Raises: what it raises, Unavailable."""

    async def write(self, verb: WriteVerb[T], fitted: Fit) -> T:
        """The same for a verb that writes, on the store where its queue is or comes to be.

        `fitted`: what makes it fit for that store.
        """


class Neighbour(Protocol):
    """A database beside the home, with what makes it usable here. `start` opens it."""

    @property
    def store(self) -> Store: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def give_up(self) -> None:
        """The process drains: an owner that is away is waited for no longer."""


class PoolOpener(Protocol):
    """Makes neighbours of pools. `joins_s`: until every process knows of a new one."""

    joins_s: float

    def check(self, uri: str) -> str:
        """The address as people may see it. Raises: BadRequest, saying what can be given."""

    def pool(self, name: str, uri: Secret) -> Neighbour:
        """For this process. Raises: ConfigError."""

    def trial(self, name: str, uri: Secret) -> Neighbour:
        """For a test of the address, by whichever process; it makes what is not there."""
