# SPDX-License-Identifier: Apache-2.0
"""The roles of users on projects, domains and the system, and the list of all of them."""

from dataclasses import dataclass

from transom.errors import NotFound
from transom.identity.api import answers, documents
from transom.identity.api.answers import NOT_FOUND
from transom.identity.api.callers import Callers
from transom.identity.api.query import GRANTS, flag, grants_of
from transom.identity.app.grants import Grants
from transom.identity.app.tokens import Caller, Tokens
from transom.identity.model import SYSTEM, Place, ScopeKind
from transom.runtime.http.route import Answer, Call, Route

_PATHS = {
    ScopeKind.PROJECT: ("/v3/projects/{project}/users/{user}/roles", "a project"),
    ScopeKind.DOMAIN: ("/v3/domains/{domain}/users/{user}/roles", "a domain"),
    ScopeKind.SYSTEM: ("/v3/system/users/{user}/roles", "the system"),
}


@dataclass(frozen=True, slots=True)
class GrantHandlers:
    grants: Grants
    tokens: Tokens
    root: str

    def routes(self) -> list[Route]:
        assigned = Callers(self.tokens).route(
            "GET",
            "/v3/role_assignments",
            self.assigned,
            parameters=GRANTS,
            answers={200: answers.Assignments},
            summary="List who has which role on what",
        )
        return [
            assigned,
            *(route for path, what in _PATHS.values() for route in self._on(path, what)),
        ]

    def _on(self, path: str, what: str) -> list[Route]:
        guarded = Callers(self.tokens).route
        one, none = path + "/{role}", {204: None, **NOT_FOUND}
        return [
            guarded(
                "GET",
                path,
                self.of,
                answers={200: answers.Roles},
                summary=f"List a user's roles on {what}",
            ),
            guarded(
                "GET", one, self.check, answers=none, summary=f"Whether a user has a role on {what}"
            ),
            guarded("PUT", one, self.add, answers=none, summary=f"Give a user a role on {what}"),
            guarded(
                "DELETE",
                one,
                self.remove,
                answers=none,
                summary=f"Take a role on {what} from a user",
            ),
        ]

    async def of(self, caller: Caller, call: Call[None]) -> Answer:
        found = await self.grants.of(caller.context, call.path["user"], _place(call))
        shown = [documents.role(role, self.root) for role in found]
        links = documents.list_links(self.root, call.url_path.removeprefix("/v3/"))
        return Answer(body=answers.Roles(shown, links))

    async def check(self, caller: Caller, call: Call[None]) -> Answer:
        place = _place(call)
        if not await self.grants.has(caller.context, call.path["user"], place, call.path["role"]):
            raise NotFound(f"The user has no such role on the {place.kind}.")
        return Answer(204)

    async def add(self, caller: Caller, call: Call[None]) -> Answer:
        place = _place(call)
        await self.grants.add(caller.context, call.path["user"], place, call.path["role"])
        return Answer(204)

    async def remove(self, caller: Caller, call: Call[None]) -> Answer:
        place = _place(call)
        await self.grants.remove(caller.context, call.path["user"], place, call.path["role"])
        return Answer(204)

    async def assigned(self, caller: Caller, call: Call[None]) -> Answer:
        only = grants_of(call.query)
        found = await self.grants.assigned(caller.context, only)
        names = flag(call.query, "include_names")
        shown = [documents.assignment(grant, self.root, with_names=names) for grant in found]
        links = documents.list_links(self.root, "role_assignments")
        return Answer(body=answers.Assignments(shown, links))


def _place(call: Call[None]) -> Place:
    if "project" in call.path:
        return Place(ScopeKind.PROJECT, call.path["project"])
    if "domain" in call.path:
        return Place(ScopeKind.DOMAIN, call.path["domain"])
    return SYSTEM
