# SPDX-License-Identifier: Apache-2.0
"""`/v3/roles`."""

from dataclasses import dataclass

from transom.errors import BadRequest
from transom.identity.api import answers, documents
from transom.identity.api.answers import NOT_FOUND, TAKEN
from transom.identity.api.callers import Callers
from transom.identity.api.fields import changed
from transom.identity.api.query import NAME, PAGE, filter_of, page_links
from transom.identity.api.shapes import CreateRole, UpdateRole
from transom.identity.app.grants import Roles
from transom.identity.app.tokens import Caller, Tokens
from transom.identity.model import Role, RoleChange
from transom.runtime.http.route import Answer, Call, Parameter, Route

_ONE = {200: answers.OneRole, **NOT_FOUND}
_FILTERS = ("name", "limit", "marker")
_DOMAIN = Parameter("domain_id", "Only roles of this domain, of which there are none.")


@dataclass(frozen=True, slots=True)
class RoleHandlers:
    roles: Roles
    tokens: Tokens
    root: str

    def routes(self) -> list[Route]:
        guarded = Callers(self.tokens).route
        every, one = "/v3/roles", "/v3/roles/{role}"
        return [
            guarded(
                "GET",
                every,
                self.listed,
                parameters=(NAME, _DOMAIN, *PAGE),
                answers={200: answers.Roles},
                summary="List roles",
            ),
            guarded(
                "POST",
                every,
                self.create,
                body=CreateRole,
                answers={201: answers.OneRole, **TAKEN},
                summary="Make a role",
            ),
            guarded("GET", one, self.show, answers=_ONE, summary="Show a role"),
            guarded(
                "PATCH",
                one,
                self.update,
                body=UpdateRole,
                answers={**_ONE, **TAKEN},
                summary="Change a role",
            ),
            guarded(
                "DELETE",
                one,
                self.delete,
                answers={204: None, **NOT_FOUND},
                summary="Delete a role",
            ),
        ]

    async def listed(self, caller: Caller, call: Call[None]) -> Answer:
        only = filter_of({name: call.query[name] for name in _FILTERS if name in call.query})
        found = await self.roles.listed(caller.context, only)
        if call.query.get("domain_id"):
            found = []  # no role is of a domain
        shown = [documents.role(role, self.root) for role in found]
        links = page_links(self.root, "roles", call.query, only, found)
        return Answer(body=answers.Roles(shown, links))

    async def show(self, caller: Caller, call: Call[None]) -> Answer:
        return self._answer(await self.roles.get(caller.context, call.path["role"]))

    async def create(self, caller: Caller, call: Call[CreateRole]) -> Answer:
        given = call.body.role
        if given.domain_id is not None:
            raise BadRequest("Roles of one domain are not offered here; leave `domain_id` out.")
        role = Role("", given.name, given.description or "")
        return self._answer(await self.roles.create(caller.context, role), 201)

    async def update(self, caller: Caller, call: Call[UpdateRole]) -> Answer:
        given = call.body.role
        change = RoleChange(changed(given.name), changed(given.description))
        role_id = call.path["role"]
        return self._answer(await self.roles.update(caller.context, role_id, change))

    async def delete(self, caller: Caller, call: Call[None]) -> Answer:
        await self.roles.delete(caller.context, call.path["role"])
        return Answer(204)

    def _answer(self, role: Role, status: int = 200) -> Answer:
        return Answer(status, answers.OneRole(documents.role(role, self.root)))
