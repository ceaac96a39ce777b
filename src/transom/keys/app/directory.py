# SPDX-License-Identifier: Apache-2.0
"""Who is meant by a destination, and the certificates of those. Nothing here is secret."""

from dataclasses import dataclass

from transom.errors import BadRequest
from transom.keys.logic.names import fits_any, names_of, own_of, patterns_for, splits
from transom.keys.store import certificates, groups, parties
from transom.messaging.security.names import is_name
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database, Transaction

CERTIFICATES_MOST = 1000


@dataclass(frozen=True, slots=True)
class Directory:
    """Asked without a token. Methods raise what storage raises."""

    database: Database
    clock: Clock

    async def of_server(self, topic: str, server: str) -> list[bytes]:
        """The certificate of the party that serves there; none if nobody, or nobody alone, does.

        Raises: BadRequest.
        """
        _check(topic, server)
        now_ms = self.clock.now_ms()

        async def find(tx: Transaction) -> bytes | None:
            names = [f"{topic}.{server}"]
            if await parties.find(tx, names[0]) is None:
                names = await served(tx, topic, server)
            return await certificates.find(tx, now_ms, names[0]) if len(names) == 1 else None

        found = await self.database.read(find)
        return [] if found is None else [found]

    async def of_group(self, group: str) -> list[bytes]:
        """Of all members that have one, by name.

        Raises: BadRequest, also if there are more than `CERTIFICATES_MOST`.
        """
        _check(group)
        now_ms = self.clock.now_ms()

        async def find(tx: Transaction) -> dict[str, bytes]:
            members = await groups.members_of(tx, patterns_for(group))
            found: dict[str, bytes] = {}
            for pattern in [own_of(group), *members]:
                first, end = names_of(pattern)
                limit = CERTIFICATES_MOST + 1
                found |= await certificates.between(tx, now_ms, first, end, limit)
                if len(found) > CERTIFICATES_MOST:
                    break
            return found

        found = await self.database.read(find)
        if len(found) > CERTIFICATES_MOST:
            raise BadRequest(
                f"The group has more than {CERTIFICATES_MOST} certificates; use tickets for it."
            )
        return [document for _, document in sorted(found.items())]


async def resolved(tx: Transaction, destination: str) -> list[str]:
    """The parties that `<topic>.<server>` may mean: the one of this name, or who serves there."""
    if await parties.find(tx, destination) is not None:
        return [destination]
    found: set[str] = set()
    for topic, server in splits(destination):
        found |= set(await served(tx, topic, server))
    return sorted(found)


async def served(tx: Transaction, topic: str, server: str) -> list[str]:
    """The parties called `<anything>.<server>` that belong to the group `topic`."""
    names = await parties.ending(tx, f".{server}")
    if not names:
        return []
    members = await groups.members_of(tx, patterns_for(topic))
    return [name for name in names if fits_any(name, [own_of(topic), *members])]


async def exists(tx: Transaction, group: str) -> bool:
    """Whether somebody may be in the group: by name, or since it was registered."""
    return await parties.any_between(tx, *names_of(own_of(group))) or bool(
        await groups.members_of(tx, patterns_for(group))
    )


async def is_settled(tx: Transaction, group: str) -> bool:
    """Whether parties or the admin made the name; else a pattern fits it by chance."""
    return (
        await parties.any_between(tx, *names_of(own_of(group)))
        or await groups.find(tx, group) is not None
    )


def _check(*names: str) -> None:
    if not all(map(is_name, names)):
        raise BadRequest("A topic, a server or a group is asked for by its name.")
