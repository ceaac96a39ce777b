# SPDX-License-Identifier: Apache-2.0
"""The next generation of a group's key: as the last one ends, or at once, as somebody is shut out.

Invariant: who was shut out in a transaction is given no generation that is made in it or later; the
one before ends when it would have, so what is sent under it meanwhile is not lost.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from transom.keys.config import KeysConfig
from transom.keys.logic.generations import next_generation
from transom.keys.logic.names import fits_any, patterns_for
from transom.keys.model import KEY_BYTES, GroupKey
from transom.keys.store import groups
from transom.keys.store.seals import Seals, of_group
from transom.messaging.security.names import is_member
from transom.runtime.db.transaction import Transaction
from transom.runtime.ids import Randomness

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GroupKeys:
    """Makes them."""

    seals: Seals
    config: KeysConfig
    random: Randomness

    def made(self, group: str, latest: int, now_ms: int, made_by: str) -> GroupKey:
        """Of the generation after `latest`. Raises: InternalError."""
        generation = next_generation(latest, now_ms)
        sealed = self.seals.seal(self.random(KEY_BYTES), of_group(group, generation))
        return GroupKey(
            generation, sealed, now_ms, now_ms + self.config.group_key_ttl_s * 1000, made_by
        )

    async def shut_out(self, tx: Transaction, now_ms: int, party: str) -> None:
        """New keys for all groups that the party is in."""
        registered = await groups.groups_of(tx, patterns_for(party))
        await self._renew(tx, now_ms, lambda group: is_member(party, registered, group))

    async def shut_out_some(self, tx: Transaction, now_ms: int, pattern: str) -> None:
        """New keys for all groups that the pattern fits, since it has lost members."""
        await self._renew(tx, now_ms, lambda group: fits_any(group, [pattern]))

    async def _renew(self, tx: Transaction, now_ms: int, fits: Callable[[str], bool]) -> None:
        for group in filter(fits, await groups.live(tx, now_ms)):
            newest = await groups.newest_key(tx, group)
            if newest is not None:
                made = self.made(group, newest.generation, now_ms, newest.made_by)
                await groups.add_next(tx, group, made)
                log.info("key of group made", extra={"group": group, "generation": made.generation})
