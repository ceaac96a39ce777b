# SPDX-License-Identifier: Apache-2.0
"""The keys of projects: kept sealed under the master key, opened ones in memory.

Invariants:
1. A key is made once, with its row, and never changes; the row's seal may (another master key).
2. What memory holds is used to seal only if the row read in this transaction is the one that it was
   opened from: a key whose making was undone seals nothing.
3. Where the master key is not here nothing is sealed and nothing opened, and nothing is lost: who
   asks is told, and the rows stay as they are.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import structs

from transom.errors import ConfigError
from transom.queue.logic import sealing
from transom.queue.model import BodyLocked, Message, NewMessage
from transom.runtime.db.transaction import Transaction
from transom.runtime.ids import Randomness
from transom.runtime.sealing import Sealer

KEPT_MOST = 10_000
SEALED_AT_ONCE = 500

LATEST = """
select generation, created_ms, sealed from project_key
where project_id = ? order by generation desc limit 1
"""

ONE = "select sealed from project_key where project_id = ? and generation = ?"

INSERT = """
insert into project_key (project_id, generation, sealed, created_ms) values (?, ?, ?, ?)
on conflict (project_id, generation) do nothing
"""

PROJECTS = "select distinct project_id from project_key order by project_id"

UNDER_ANOTHER = """
select project_id, generation, sealed from project_key
where substr(sealed, 1, {}) <> ? order by project_id, generation limit ?
"""

SEAL_AGAIN = """
update project_key set sealed = ? where project_id = ? and generation = ? and sealed = ?
"""


@dataclass(frozen=True, slots=True)
class ProjectKey:
    """A project's key, opened."""

    project_id: str
    generation: int
    key: AESGCM

    def sealed(self, messages: Iterable[NewMessage], random: Randomness) -> tuple[NewMessage, ...]:
        """Those that are plain sealed, the others as they are."""
        return tuple(
            message if message.key_generation is not None else self._sealed(message, random)
            for message in messages
        )

    def sealed_body(self, plain: bytes, random: Randomness) -> bytes:
        nonce = random(sealing.NONCE_BYTES)
        return sealing.sealed(self.key, nonce, plain, self.project_id, self.generation)

    def _sealed(self, message: NewMessage, random: Randomness) -> NewMessage:
        body = self.sealed_body(message.body, random)
        return structs.replace(message, body=body, key_generation=self.generation)


class Keyring:
    """The keys of one database that were used last, opened.

    `sealer`: of the master key; None where there is none.
    """

    def __init__(self, sealer: Sealer | None, most: int = KEPT_MOST) -> None:
        self.sealer = sealer
        self._most = most
        self._kept: OrderedDict[tuple[str, int], tuple[bytes, AESGCM]] = OrderedDict()

    def known(self, project_id: str, generation: int) -> AESGCM | None:
        """The key, if it is at hand."""
        found = self._kept.get((project_id, generation))
        return None if found is None else found[1]

    def open(self, project_id: str, generation: int, row: bytes) -> AESGCM:
        """The key that is sealed in its row. Raises: BodyLocked."""
        place, row = (project_id, generation), bytes(row)
        found = self._kept.get(place)
        if found is None or found[0] != row:
            found = self._kept[place] = (row, AESGCM(self._opened(project_id, generation, row)))
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return found[1]

    def seal(self, project_id: str, generation: int, key: bytes) -> bytes:
        """A new key as its row keeps it. Raises: BodyLocked."""
        if self.sealer is None:
            raise _locked("no master key is here")
        try:
            return self.sealer.seal(key, purpose(project_id, generation))
        except ConfigError as error:
            raise _locked(error.text) from error

    def _opened(self, project_id: str, generation: int, row: bytes) -> bytes:
        if self.sealer is None:
            raise _locked("no master key is here")
        try:
            return self.sealer.open(row, purpose(project_id, generation))
        except ConfigError as error:
            raise _locked(error.text) from error


def purpose(project_id: str, generation: int) -> str:
    """What a key is sealed for: its own row."""
    return f"queue:project:{generation}:{project_id}"


async def current(
    tx: Transaction, now_ms: int, keyring: Keyring, project_id: str, random: Randomness
) -> ProjectKey:
    """The key that seals now; made if there is none, or it has sealed for long.

    Raises: BodyLocked.
    """
    row = await tx.fetch_one(LATEST, (project_id,))
    if row is None or sealing.is_worn(row[1], now_ms):
        await renew(tx, now_ms, keyring, project_id, random)
        row = await tx.fetch_one(LATEST, (project_id,))
        assert row is not None  # made in this transaction
    generation, _, sealed = row
    return ProjectKey(project_id, generation, keyring.open(project_id, generation, sealed))


async def latest(
    tx: Transaction, now_ms: int, keyring: Keyring, project_id: str
) -> ProjectKey | None:
    """The key that seals now, where nothing may be written; None if it has to be made first."""
    row = await tx.fetch_one(LATEST, (project_id,))
    if row is None or sealing.is_worn(row[1], now_ms):
        return None
    return ProjectKey(project_id, row[0], keyring.open(project_id, row[0], row[2]))


async def renew(
    tx: Transaction, now_ms: int, keyring: Keyring, project_id: str, random: Randomness
) -> int:
    """Makes the next generation, which seals from now on. Raises: BodyLocked."""
    row = await tx.fetch_one(LATEST, (project_id,))
    generation = 1 if row is None else row[0] + 1
    sealed = keyring.seal(project_id, generation, random(sealing.KEY_BYTES))
    await tx.execute(INSERT, (project_id, generation, sealed, now_ms))
    return generation


async def projects(tx: Transaction) -> list[str]:
    """Those that have keys."""
    return [row[0] for row in await tx.fetch(PROJECTS)]


async def opened(
    tx: Transaction, keyring: Keyring, project_id: str, messages: Iterable[Message]
) -> list[Message]:
    """The messages with their bodies plain. Raises: BodyLocked if one of them does not open."""
    return [
        message
        if message.key_generation is None
        else await _opened(tx, keyring, project_id, message, message.key_generation)
        for message in messages
    ]


async def check(
    tx: Transaction, keyring: Keyring, project_id: str, messages: Sequence[Message]
) -> None:
    """Nothing is handed out, and taken away by that, that could not be read then.

    Raises: BodyLocked.
    """
    if opened_at_hand(keyring, project_id, messages) is None:
        await opened(tx, keyring, project_id, messages)


def opened_at_hand(
    keyring: Keyring, project_id: str, messages: Iterable[Message]
) -> list[Message] | None:
    """As `opened`, with what is in memory alone; None if that does not open them all."""
    plain = []
    for message in messages:
        generation = message.key_generation
        if generation is not None:
            key = keyring.known(project_id, generation)
            if key is None:
                return None
            try:
                body = sealing.opened(key, message.body, project_id, generation)
            except BodyLocked:
                return None
            message = structs.replace(message, body=body, key_generation=None)
        plain.append(message)
    return plain


async def seal_again(tx: Transaction, sealer: Sealer) -> int:
    """Seals some keys under the first master key; how many, 0 if none is left.

    Raises: ConfigError for one that does not open.
    """
    head = sealer.head
    rows = await tx.fetch(UNDER_ANOTHER.format(len(head)), (head, SEALED_AT_ONCE))
    for project_id, generation, found in rows:
        before, what = bytes(found), purpose(project_id, generation)
        after = sealer.seal(sealer.open(before, what), what)
        await tx.execute(SEAL_AGAIN, (after, project_id, generation, before))
    return len(rows)


async def any_left(tx: Transaction, sealer: Sealer) -> bool:
    """Whether a key is sealed under another than the first master key."""
    head = sealer.head
    return await tx.fetch_one(UNDER_ANOTHER.format(len(head)), (head, 1)) is not None


async def _opened(
    tx: Transaction, keyring: Keyring, project_id: str, message: Message, generation: int
) -> Message:
    try:
        row = await tx.fetch_one(ONE, (project_id, generation))
        if row is None:
            raise BodyLocked(detail=f"the project has no key of generation {generation}")
        key = keyring.open(project_id, generation, row[0])
        body = sealing.opened(key, message.body, project_id, generation)
    except BodyLocked as error:
        raise BodyLocked(
            f"The body of the message {message.id} cannot be opened now. It is kept as it is; "
            "whoever runs this server finds the reason in its log.",
            retry_after_s=RETRY_S,
            detail=f"project {project_id}, message {message.id}: {error.detail}",
        ) from error
    return structs.replace(message, body=body, key_generation=None)


RETRY_S = 30


def _locked(detail: str) -> BodyLocked:
    return BodyLocked(
        "Encrypted queues cannot be used now, since their master key is not here. Nothing is "
        "lost; whoever runs this server finds the reason in its log.",
        retry_after_s=RETRY_S,
        detail=detail,
    )
