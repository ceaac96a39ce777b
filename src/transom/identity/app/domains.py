# SPDX-License-Identifier: Apache-2.0
"""What callers do with domains.

Invariant: who may is decided by the id alone, before anything is looked up.
"""

from dataclasses import dataclass, replace

from transom.identity.app.writes import Writes
from transom.identity.model import Domain, Filter, PlaceChange
from transom.identity.store import domains
from transom.runtime.auth.context import Context
from transom.runtime.auth.rules import Rules
from transom.runtime.ids import Randomness, new_hex


@dataclass(frozen=True, slots=True)
class Domains:
    """Use cases of domains. All raise Forbidden; those of one domain NotFound."""

    writes: Writes
    rules: Rules
    random: Randomness

    async def listed(self, context: Context, only: Filter) -> list[Domain]:
        self.rules.enforce("identity:list_domains", context)
        return await self.writes.database.read(lambda tx: domains.listed(tx, only))

    async def get(self, context: Context, domain_id: str) -> Domain:
        self._enforce("identity:get_domain", context, domain_id)
        return await self.writes.database.read(lambda tx: domains.get(tx, domain_id))

    async def create(self, context: Context, domain: Domain) -> Domain:
        """`domain.id` is given here. Raises: Conflict."""
        self.rules.enforce("identity:create_domain", context)
        made = replace(domain, id=new_hex(self.random))
        await self.writes.commit(lambda tx: domains.insert(tx, made))
        return made

    async def update(self, context: Context, domain_id: str, change: PlaceChange) -> Domain:
        """Raises: Conflict."""
        self._enforce("identity:update_domain", context, domain_id)
        return await self.writes.commit(lambda tx: domains.update(tx, domain_id, change))

    async def delete(self, context: Context, domain_id: str) -> None:
        """With all that is in it."""
        self._enforce("identity:delete_domain", context, domain_id)
        await self.writes.commit(lambda tx: domains.delete(tx, domain_id))

    async def of_user(self, context: Context, user_id: str) -> list[Domain]:
        """The enabled ones on which the user has a role."""
        self.rules.enforce("identity:list_user_projects", context, {"target.user.id": user_id})
        return await self.writes.database.read(lambda tx: domains.of_user(tx, user_id))

    def _enforce(self, rule: str, context: Context, domain_id: str) -> None:
        self.rules.enforce(rule, context, {"target.domain.id": domain_id})
