# SPDX-License-Identifier: Apache-2.0
"""Keys of projects made, and sealed again, as values. No key is in them that is not sealed."""

from transom.errors import ConfigError
from transom.queue.store import project_keys, seals
from transom.queue.store.verbs.verb import Tools, Verb
from transom.runtime.db.transaction import Transaction


class HaveProjectKey(Verb, frozen=True, tag=True, array_like=True):
    """Sees to it that the project of the place has a key that may seal."""

    async def run(self, tx: Transaction, tools: Tools) -> int:
        """The key's generation. Raises: BodyLocked."""
        project_id, now_ms = self.place.project_id, tools.clock.now_ms()
        key = await project_keys.current(tx, now_ms, tools.keyring, project_id, tools.random)
        return key.generation


class RenewProjectKeys(Verb, frozen=True, tag=True, array_like=True):
    """New keys for the projects of this store that have one: for that of the place, or, where it
    is "", for all."""

    async def run(self, tx: Transaction, tools: Tools) -> list[tuple[str, int]]:
        """(project, its new generation). Raises: BodyLocked."""
        chosen = self.place.project_id
        projects = [one for one in await project_keys.projects(tx) if chosen in ("", one)]
        now_ms = tools.clock.now_ms()
        return [
            (one, await project_keys.renew(tx, now_ms, tools.keyring, one, tools.random))
            for one in projects
        ]


class SealAgain(Verb, frozen=True, tag=True, array_like=True):
    """Seals some of what is sealed in this store under the first of the master keys that are here.

    No place is looked at. Answers how many values, 0 if none is left.
    """

    async def run(self, tx: Transaction, tools: Tools) -> int:
        """Raises: ConfigError for a value that does not open, or without a master key."""
        sealer = tools.keyring.sealer
        if sealer is None:
            raise ConfigError("no master key is here")
        sealer.follow()
        return await seals.seal_again(tx, sealer)
