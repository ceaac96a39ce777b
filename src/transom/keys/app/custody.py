# SPDX-License-Identifier: Apache-2.0
"""What whoever has the data folder may do with parties and groups. The doors ask for a rule first.

Invariants:
1. A long-term key that is given again changes nothing: generations change only with keys.
2. Who leaves, and whoever had a key that is voided at once, is shut out with the same step: of the
   directory, and of the next generations of the groups, which begin then.
3. A key is opened here to be compared, in constant time, and to be written into its party's file.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from transom.errors import BadRequest, Conflict, NotFound
from transom.keys.app.group_keys import GroupKeys
from transom.keys.config import KeysConfig
from transom.keys.logic.generations import kept_ms, next_generation
from transom.keys.logic.names import check_party, check_pattern, patterns_for
from transom.keys.model import KEY_BYTES, Group, Party, PartyKey
from transom.keys.store import certificates, groups, parties
from transom.keys.store.seals import Seals, of_party
from transom.messaging.security.sealing import same
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database, Transaction
from transom.runtime.ids import Randomness

log = logging.getLogger(__name__)
MEMBERS_MOST = 100
WEAK = (
    "A long-term key is base64 of 32 random bytes; make one with: head -c 32 /dev/urandom | base64"
)


@dataclass(frozen=True, slots=True)
class Custody:
    """Parties and groups. All raise what storage raises, and InternalError for a broken seal."""

    database: Database
    seals: Seals
    config: KeysConfig
    clock: Clock
    random: Randomness

    async def party(self, name: str) -> Party:
        """Raises: NotFound."""
        found = await self.database.read(lambda tx: parties.find(tx, name))
        if found is None:
            raise no_party(name)
        return found

    async def parties(self, after: str, limit: int) -> list[Party]:
        return await self.database.read(lambda tx: parties.page(tx, after, limit))

    async def add(self, name: str) -> None:
        """A party without a long-term key. Raises: BadRequest, Conflict if it is there."""
        check_party(name)
        now_ms = self.clock.now_ms()
        if not await self.database.write(lambda tx: parties.insert(tx, now_ms, name)):
            raise Conflict(f"There is a party {name}.")
        log.info("party added", extra={"party": name})

    async def put(self, name: str, key: bytes, *, at_once: bool = False) -> tuple[int, bool]:
        """Makes it the party's long-term key; the party comes to be. Answers the key's generation,
        and whether anything changed.

        The key before it holds for the overlap, or, `at_once`, no longer. Raises: BadRequest,
        Conflict if another one was put at the same time.
        """
        check_party(name)
        if len(key) != KEY_BYTES or len(set(key)) == 1:
            raise BadRequest(WEAK)
        party = await self.database.read(lambda tx: parties.find(tx, name))
        newest = None if party is None else party.newest
        if newest is not None and same(self.opened(name, newest), key):
            if at_once:
                await self.database.write(lambda tx: self._void(tx, name))
            return newest.generation, False
        return await self._put(name, key, newest, at_once=at_once), True

    async def rotate(self, name: str, *, at_once: bool = False) -> int:
        """A new long-term key, of this generation. Raises: NotFound, Conflict."""
        newest = (await self.party(name)).newest
        if newest is None:
            raise Conflict(f"{name} has no long-term key; enrol it anew.")
        return await self._put(name, self.random(KEY_BYTES), newest, at_once=at_once)

    async def _put(self, name: str, key: bytes, newest: PartyKey | None, *, at_once: bool) -> int:
        now_ms = self.clock.now_ms()
        generation = next_generation(0 if newest is None else newest.generation, now_ms)
        sealed = self.seals.seal(key, of_party(name, generation))
        made = PartyKey(generation, sealed, now_ms)
        until_ms = now_ms + self.config.overlap_s * 1000
        forget_ms = now_ms - kept_ms(self.config)
        former = None if newest is None else newest.generation

        async def put(tx: Transaction) -> None:
            await parties.insert(tx, now_ms, name)
            await parties.add_key(tx, name, former, made, until_ms, forget_ms)
            if at_once:
                await self._void(tx, name)

        await self.database.write(put)
        fields = {"party": name, "generation": generation, "at_once": at_once}
        log.info("long-term key set", extra=fields)
        return generation

    async def _void(self, tx: Transaction, name: str) -> None:
        """All that was had with former keys."""
        await parties.drop_former(tx, name)
        await certificates.delete(tx, name)
        await self._group_keys.shut_out(tx, self.clock.now_ms(), name)

    @property
    def _group_keys(self) -> GroupKeys:
        return GroupKeys(self.seals, self.config, self.random)

    async def remove(self, name: str) -> None:
        """With its keys and its certificate; its groups get new keys. Raises: NotFound."""

        async def delete(tx: Transaction) -> bool:
            if not await parties.delete(tx, name):
                return False
            await self._void(tx, name)
            return True

        if not await self.database.write(delete):
            raise no_party(name)
        log.info("party removed", extra={"party": name})

    def opened(self, name: str, key: PartyKey) -> bytes:
        return self.seals.open(key.sealed, of_party(name, key.generation))

    def keys_of(self, party: Party) -> list[bytes]:
        """For its file: all that what was sent to it may be sealed under, the newest first."""
        least_ms = self.clock.now_ms() - kept_ms(self.config)
        kept = (key for key in party.keys if key.until_ms is None or key.until_ms > least_ms)
        return [self.opened(party.name, key) for key in kept]

    async def groups_of(self, name: str) -> list[str]:
        """The registered groups that the party is in, beside those that its name begins with."""
        patterns = patterns_for(name)
        return await self.database.read(lambda tx: groups.groups_of(tx, patterns))

    async def group(self, name: str) -> Group:
        """Raises: NotFound."""
        found = await self.database.read(lambda tx: groups.find(tx, name))
        if found is None:
            raise no_group(name)
        return found

    async def groups(self, after: str, limit: int) -> list[Group]:
        return await self.database.read(lambda tx: groups.page(tx, after, limit))

    async def put_group(self, name: str, members: Sequence[str]) -> bool:
        """Registers the group with these members and no other; whether it is new. If it loses some
        it gets new keys.

        Raises: BadRequest.
        """
        chosen = self._checked(name, members)
        now_ms = self.clock.now_ms()

        async def put(tx: Transaction) -> bool:
            found = await groups.find(tx, name)
            new = await groups.put(tx, now_ms, name, chosen)
            if found is not None and not set(found.members) <= set(chosen):
                await self._group_keys.shut_out_some(tx, now_ms, name)
            return new

        new = await self.database.write(put)
        log.info("group set", extra={"group": name, "members": len(chosen)})
        return new

    async def change_members(
        self, name: str, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> Group:
        """The group with some more members, and without some; it comes to be for its first one. If
        it loses some it gets new keys.

        Raises: BadRequest.
        """
        self._checked(name, add)
        now_ms = self.clock.now_ms()

        async def change(tx: Transaction) -> Group:
            found = await groups.find(tx, name) or Group(name, now_ms)
            members = self._checked(name, [*(set(found.members) - set(remove)), *add])
            await groups.put(tx, now_ms, name, members)
            if not set(found.members) <= set(members):
                await self._group_keys.shut_out_some(tx, now_ms, name)
            return replace(found, members=members)

        changed = await self.database.write(change)
        log.info("group set", extra={"group": name, "members": len(changed.members)})
        return changed

    async def remove_group(self, name: str) -> None:
        """Those that it fitted get new keys. Raises: NotFound."""
        now_ms = self.clock.now_ms()

        async def delete(tx: Transaction) -> bool:
            await self._group_keys.shut_out_some(tx, now_ms, name)
            return await groups.delete(tx, name)

        if not await self.database.write(delete):
            raise no_group(name)
        log.info("group removed", extra={"group": name})

    def _checked(self, name: str, members: Sequence[str]) -> tuple[str, ...]:
        """In order, each once. Raises: BadRequest."""
        check_pattern(name)
        chosen = tuple(sorted({check_pattern(member) for member in members}))
        if len(chosen) > MEMBERS_MOST:
            raise BadRequest(f"A group has at most {MEMBERS_MOST} members; give a pattern.")
        return chosen


def no_party(name: str) -> NotFound:
    return NotFound(f"There is no party {name}.")


def no_group(name: str) -> NotFound:
    return NotFound(f"There is no group {name}; groups that parties' names begin with need none.")
