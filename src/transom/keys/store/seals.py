# SPDX-License-Identifier: Apache-2.0
"""What is sealed in the database, and its sealing again under another master key.

Invariant: each value is sealed for its own row; moved to another it does not open.
"""

from collections.abc import Callable
from dataclasses import dataclass

from transom.errors import ConfigError, InternalError
from transom.runtime.db.transaction import Transaction
from transom.runtime.sealing import Sealer

SEALED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Seals:
    """Seals and opens values of the database.

    Raises: InternalError where the master key is not here, or a value is not as it was sealed: that
    is nothing that whoever asked can mend.
    """

    sealer: Sealer

    def seal(self, plain: bytes, purpose: str) -> bytes:
        try:
            return self.sealer.seal(plain, purpose)
        except ConfigError as error:
            raise InternalError(error.text) from error

    def open(self, sealed: bytes, purpose: str) -> bytes:
        try:
            return self.sealer.open(sealed, purpose)
        except ConfigError as error:
            raise InternalError(error.text) from error


def of_party(name: str, generation: int) -> str:
    """The purpose that a party's key is sealed for."""
    return f"keys:party:{generation}:{name}"


def of_group(name: str, generation: int) -> str:
    """The purpose that a group's key is sealed for."""
    return f"keys:group:{generation}:{name}"


def of_authority(public_key: bytes) -> str:
    """The purpose that a private key of the authority's is sealed for."""
    return f"keys:authority:{bytes(public_key).hex()}"


_SEALED: tuple[tuple[str, str, Callable[..., str]], ...] = (
    (
        "select sealed, name, generation from party_key {}",
        "update party_key set sealed = ? where sealed = ? and name = ? and generation = ?",
        of_party,
    ),
    (
        "select sealed, group_name, generation from group_key {}",
        "update group_key set sealed = ? where sealed = ? and group_name = ? and generation = ?",
        of_group,
    ),
    (
        "select sealed, public_key from authority {}",
        "update authority set sealed = ? where sealed = ? and public_key = ?",
        of_authority,
    ),
)
_SOME = "where substr(sealed, 1, {}) <> ? limit ?"


async def seal_again(tx: Transaction, sealer: Sealer) -> int:
    """Seals some values under the first master key; how many, 0 if none is left.

    Raises: ConfigError for one that does not open.
    """
    head = sealer.head
    some = _SOME.format(len(head))
    left = SEALED_AT_ONCE
    for select, update, purpose_of in _SEALED:
        for found, *key in await tx.fetch(select.format(some), (head, left)):
            sealed, purpose = bytes(found), purpose_of(*key)
            again = sealer.seal(sealer.open(sealed, purpose), purpose)
            await tx.execute(update, (again, sealed, *key))
            left -= 1
    return SEALED_AT_ONCE - left
