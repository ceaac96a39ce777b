# SPDX-License-Identifier: Apache-2.0
"""`/v3/projects`, and the roles of users on them."""

from dataclasses import dataclass

from msgspec import UNSET

from transom.errors import BadRequest, NotFound
from transom.identity.api import documents
from transom.identity.api.auth import known_domain
from transom.identity.api.callers import Callers
from transom.identity.api.query import filter_of, flag
from transom.identity.api.shapes import CreateProject, UpdateProject
from transom.identity.app.projects import Grants, Projects
from transom.identity.app.tokens import Caller, Tokens
from transom.identity.model import Filter, Project, ProjectChange
from transom.runtime.http.route import Answer, Call, Route


@dataclass(frozen=True, slots=True)
class ProjectHandlers:
    projects: Projects
    tokens: Tokens
    root: str

    def routes(self) -> list[Route]:
        guarded = Callers(self.tokens).route
        every, one = "/v3/projects", "/v3/projects/{project}"
        return [
            guarded("GET", every, self.listed, summary="List projects"),
            guarded("POST", every, self.create, body=CreateProject, summary="Make a project"),
            guarded("GET", one, self.show, summary="Show a project"),
            guarded("PATCH", one, self.update, body=UpdateProject, summary="Change a project"),
            guarded("DELETE", one, self.delete, summary="Delete a project"),
        ]

    async def listed(self, caller: Caller, call: Call[None]) -> Answer:
        only = Filter() if flag(call.query, "is_domain") else filter_of(call.query)
        found = await self.projects.listed(caller.context, only)
        if flag(call.query, "is_domain"):
            found = []  # no project acts as a domain
        shown = [documents.project(project, self.root) for project in found]
        return Answer(body=documents.collection("projects", shown, self.root, "projects"))

    async def show(self, caller: Caller, call: Call[None]) -> Answer:
        return self._answer(await self.projects.get(caller.context, call.path["project"]))

    async def create(self, caller: Caller, call: Call[CreateProject]) -> Answer:
        given = call.body.project
        domain_id = known_domain(given.domain_id)
        if given.is_domain or given.parent_id not in (None, domain_id):
            raise BadRequest("Projects inside projects, or as domains, are not offered here.")
        project = Project("", given.name, domain_id, given.enabled, given.description or "")
        return self._answer(await self.projects.create(caller.context, project), 201)

    async def update(self, caller: Caller, call: Call[UpdateProject]) -> Answer:
        given = call.body.project
        change = ProjectChange(
            name=None if given.name is UNSET else given.name,
            enabled=None if given.enabled is UNSET else given.enabled,
            description=None if given.description is UNSET else given.description or "",
        )
        project_id = call.path["project"]
        return self._answer(await self.projects.update(caller.context, project_id, change))

    async def delete(self, caller: Caller, call: Call[None]) -> Answer:
        await self.projects.delete(caller.context, call.path["project"])
        return Answer(204)

    def _answer(self, project: Project, status: int = 200) -> Answer:
        return Answer(status, {"project": documents.project(project, self.root)})


@dataclass(frozen=True, slots=True)
class GrantHandlers:
    grants: Grants
    tokens: Tokens
    root: str

    def routes(self) -> list[Route]:
        guarded = Callers(self.tokens).route
        of_user = "/v3/projects/{project}/users/{user}/roles"
        one = of_user + "/{role}"
        return [
            guarded("GET", "/v3/roles", self.roles, summary="List roles"),
            guarded("GET", "/v3/roles/{role}", self.role, summary="Show a role"),
            guarded("GET", of_user, self.of, summary="List a user's roles on a project"),
            guarded("GET", one, self.check, summary="Whether a user has a role on a project"),
            guarded("PUT", one, self.add, summary="Give a user a role on a project"),
            guarded("DELETE", one, self.remove, summary="Take a role from a user"),
            guarded("GET", "/v3/role_assignments", self.assigned, summary="List who has what"),
        ]

    async def roles(self, caller: Caller, call: Call[None]) -> Answer:
        wanted = call.query.get("name")
        shown = [
            documents.role(role, self.root)
            for role in await self.grants.roles(caller.context)
            if wanted in (None, role.name)
        ]
        return Answer(body=documents.collection("roles", shown, self.root, "roles"))

    async def role(self, caller: Caller, call: Call[None]) -> Answer:
        found = await self.grants.role(caller.context, call.path["role"])
        return Answer(body={"role": documents.role(found, self.root)})

    async def of(self, caller: Caller, call: Call[None]) -> Answer:
        user_id, project_id = call.path["user"], call.path["project"]
        found = await self.grants.of(caller.context, user_id, project_id)
        shown = [documents.role(role, self.root) for role in found]
        path = f"projects/{project_id}/users/{user_id}/roles"
        return Answer(body=documents.collection("roles", shown, self.root, path))

    async def check(self, caller: Caller, call: Call[None]) -> Answer:
        if not await self.grants.has(caller.context, *_place(call)):
            raise NotFound("The user has no such role on the project.")
        return Answer(204)

    async def add(self, caller: Caller, call: Call[None]) -> Answer:
        await self.grants.add(caller.context, *_place(call))
        return Answer(204)

    async def remove(self, caller: Caller, call: Call[None]) -> Answer:
        await self.grants.remove(caller.context, *_place(call))
        return Answer(204)

    async def assigned(self, caller: Caller, call: Call[None]) -> Answer:
        query = call.query
        found = await self.grants.assigned(
            caller.context,
            user_id=query.get("user.id", ""),
            project_id=query.get("scope.project.id", ""),
            role_id=query.get("role.id", ""),
        )
        if any(name in query for name in ("group.id", "scope.domain.id", "scope.system")):
            found = []  # there are neither groups nor grants on domains or the system
        names = flag(query, "include_names")
        shown = [documents.assignment(grant, self.root, with_names=names) for grant in found]
        return Answer(
            body=documents.collection("role_assignments", shown, self.root, "role_assignments")
        )


def _place(call: Call[None]) -> tuple[str, str, str]:
    return call.path["user"], call.path["project"], call.path["role"]
