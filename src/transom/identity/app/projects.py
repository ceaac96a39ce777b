# SPDX-License-Identifier: Apache-2.0
"""What callers do with projects.

Invariant: who may is decided by the id alone, before anything is looked up.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from transom.errors import NotFound
from transom.identity.app.writes import Writes
from transom.identity.model import Filter, PlaceChange, Project
from transom.identity.store import projects
from transom.runtime.auth.context import Context
from transom.runtime.auth.rules import Rules
from transom.runtime.db.transaction import Transaction
from transom.runtime.ids import Randomness, new_hex


@dataclass(frozen=True, slots=True)
class Projects:
    """Use cases of projects. All raise Forbidden; those of one project NotFound."""

    writes: Writes
    rules: Rules
    random: Randomness

    async def listed(self, context: Context, only: Filter) -> list[Project]:
        self.rules.enforce("identity:list_projects", context)
        return await self.writes.database.read(lambda tx: projects.listed(tx, only))

    async def get(self, context: Context, project_id: str) -> Project:
        self._enforce("identity:get_project", context, project_id)
        return await self.writes.database.read(lambda tx: projects.get(tx, project_id))

    async def create(self, context: Context, project: Project) -> Project:
        """`project.id` is given here. Raises: Conflict; NotFound if the domain is not there."""
        self.rules.enforce("identity:create_project", context)
        made = replace(project, id=new_hex(self.random))

        async def insert(tx: Transaction) -> Project:
            await projects.insert(tx, made)
            return await projects.get(tx, made.id)

        return await self.writes.commit(insert)

    async def update(self, context: Context, project_id: str, change: PlaceChange) -> Project:
        """Raises: Conflict."""
        self._enforce("identity:update_project", context, project_id)
        return await self.writes.commit(lambda tx: projects.update(tx, project_id, change))

    async def delete(self, context: Context, project_id: str) -> None:
        self._enforce("identity:delete_project", context, project_id)
        await self.writes.commit(lambda tx: projects.delete(tx, project_id))

    async def tags(self, context: Context, project_id: str) -> tuple[str, ...]:
        self._enforce("identity:list_project_tags", context, project_id)
        found = await self.writes.database.read(lambda tx: projects.get(tx, project_id))
        return found.tags

    async def retag(
        self, context: Context, project_id: str, change: Callable[[set[str]], set[str]]
    ) -> tuple[str, ...]:
        """Sets the tags to what `change` makes of those that there are. Raises: NotFound."""
        self._enforce("identity:update_project_tags", context, project_id)

        async def verb(tx: Transaction) -> Project:
            present = set((await projects.get(tx, project_id)).tags)
            tags = tuple(sorted(change(present)))
            return await projects.update(tx, project_id, PlaceChange(tags=tags))

        return (await self.writes.commit(verb)).tags

    def _enforce(self, rule: str, context: Context, project_id: str) -> None:
        self.rules.enforce(rule, context, {"target.project.id": project_id})


def without(tag: str) -> Callable[[set[str]], set[str]]:
    """A change that takes one tag away. Raises: NotFound if it is not there."""

    def change(present: set[str]) -> set[str]:
        if tag not in present:
            raise NotFound(f"The project has no tag {tag}.")
        return present - {tag}

    return change
