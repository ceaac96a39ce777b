# SPDX-License-Identifier: Apache-2.0
"""What callers do with projects, and with roles of users on them.

Invariant: who may is decided by the id alone, before anything is looked up.
"""

from dataclasses import dataclass, replace

from transom.identity.app.writes import Writes
from transom.identity.model import Filter, Grant, Project, ProjectChange, Role
from transom.identity.store import grants, projects
from transom.runtime.auth.context import Context
from transom.runtime.auth.rules import Rules
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
        self.rules.enforce("identity:get_project", context, {"target.project.id": project_id})
        return await self.writes.database.read(lambda tx: projects.get(tx, project_id))

    async def create(self, context: Context, project: Project) -> Project:
        """`project.id` is given here. Raises: Conflict."""
        self.rules.enforce("identity:create_project", context)
        made = replace(project, id=new_hex(self.random))
        await self.writes.commit(lambda tx: projects.insert(tx, made))
        return made

    async def update(self, context: Context, project_id: str, change: ProjectChange) -> Project:
        """Raises: Conflict."""
        self.rules.enforce("identity:update_project", context, {"target.project.id": project_id})
        return await self.writes.commit(lambda tx: projects.update(tx, project_id, change))

    async def delete(self, context: Context, project_id: str) -> None:
        self.rules.enforce("identity:delete_project", context, {"target.project.id": project_id})
        await self.writes.commit(lambda tx: projects.delete(tx, project_id))


@dataclass(frozen=True, slots=True)
class Grants:
    """Use cases of roles, and of who has which on what. All raise Forbidden."""

    writes: Writes
    rules: Rules

    async def roles(self, context: Context) -> list[Role]:
        self.rules.enforce("identity:list_roles", context)
        return await self.writes.database.read(grants.roles)

    async def role(self, context: Context, role_id: str) -> Role:
        """Raises: NotFound."""
        self.rules.enforce("identity:get_role", context)
        return await self.writes.database.read(lambda tx: grants.role(tx, role_id))

    async def of(self, context: Context, user_id: str, project_id: str) -> list[Role]:
        self.rules.enforce("identity:list_grants", context)
        return await self.writes.database.read(lambda tx: grants.of(tx, user_id, project_id))

    async def has(self, context: Context, user_id: str, project_id: str, role_id: str) -> bool:
        self.rules.enforce("identity:check_grant", context)
        return await self.writes.database.read(
            lambda tx: grants.has(tx, user_id, project_id, role_id)
        )

    async def add(self, context: Context, user_id: str, project_id: str, role_id: str) -> None:
        """Idempotent. Raises: NotFound."""
        self.rules.enforce("identity:create_grant", context)
        await self.writes.commit(lambda tx: grants.add(tx, user_id, project_id, role_id))

    async def remove(self, context: Context, user_id: str, project_id: str, role_id: str) -> None:
        """Raises: NotFound."""
        self.rules.enforce("identity:revoke_grant", context)
        await self.writes.commit(lambda tx: grants.remove(tx, user_id, project_id, role_id))

    async def assigned(
        self, context: Context, *, user_id: str, project_id: str, role_id: str
    ) -> list[Grant]:
        """Empty ids ask for all."""
        self.rules.enforce("identity:list_role_assignments", context)
        return await self.writes.database.read(
            lambda tx: grants.assigned(tx, user_id=user_id, project_id=project_id, role_id=role_id)
        )
