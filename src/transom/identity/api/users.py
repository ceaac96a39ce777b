# SPDX-License-Identifier: Apache-2.0
"""`/v3/users`."""

from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from transom.identity.api import documents
from transom.identity.api.auth import known_domain
from transom.identity.api.callers import Callers
from transom.identity.api.query import filter_of
from transom.identity.api.shapes import ChangePassword, CreateUser, UpdateUser
from transom.identity.app.tokens import Caller, Tokens
from transom.identity.app.users import Users
from transom.identity.model import User, UserChange
from transom.runtime.http.route import Answer, Call, Route


@dataclass(frozen=True, slots=True)
class UserHandlers:
    users: Users
    tokens: Tokens
    root: str

    def routes(self) -> list[Route]:
        guarded = Callers(self.tokens).route
        one = "/v3/users/{user}"
        return [
            guarded("GET", "/v3/users", self.listed, summary="List users"),
            guarded("POST", "/v3/users", self.create, body=CreateUser, summary="Make a user"),
            guarded("GET", one, self.show, summary="Show a user"),
            guarded("PATCH", one, self.update, body=UpdateUser, summary="Change a user"),
            guarded("DELETE", one, self.delete, summary="Delete a user"),
            guarded("GET", one + "/projects", self.projects, summary="List a user's projects"),
            Route(
                "POST",
                one + "/password",
                self.change_password,
                body=ChangePassword,
                public=True,
                summary="Change one's password, by the present one",
            ),
        ]

    async def listed(self, caller: Caller, call: Call[None]) -> Answer:
        found = await self.users.listed(caller.context, filter_of(call.query))
        shown = [documents.user(user, self.root) for user in found]
        return Answer(body=documents.collection("users", shown, self.root, "users"))

    async def show(self, caller: Caller, call: Call[None]) -> Answer:
        return self._answer(await self.users.get(caller.context, call.path["user"]))

    async def create(self, caller: Caller, call: Call[CreateUser]) -> Answer:
        given = call.body.user
        user = User(
            id="",
            name=given.name,
            domain_id=known_domain(given.domain_id),
            enabled=given.enabled,
            description=given.description or "",
            email=given.email or "",
            default_project_id=given.default_project_id or "",
        )
        made = await self.users.create(caller.context, user, given.password)
        return self._answer(made, 201)

    async def update(self, caller: Caller, call: Call[UpdateUser]) -> Answer:
        given = call.body.user
        change = UserChange(
            name=_set(given.name),
            enabled=None if given.enabled is UNSET else given.enabled,
            description=_set(given.description),
            email=_set(given.email),
            default_project_id=_set(given.default_project_id),
        )
        password = _set(given.password)
        user_id = call.path["user"]
        return self._answer(await self.users.update(caller.context, user_id, change, password))

    async def delete(self, caller: Caller, call: Call[None]) -> Answer:
        await self.users.delete(caller.context, call.path["user"])
        return Answer(204)

    async def projects(self, caller: Caller, call: Call[None]) -> Answer:
        user_id = call.path["user"]
        found = await self.users.projects(caller.context, user_id)
        shown = [documents.project(project, self.root) for project in found]
        path = f"users/{user_id}/projects"
        return Answer(body=documents.collection("projects", shown, self.root, path))

    async def change_password(self, call: Call[ChangePassword]) -> Answer:
        given = call.body.user
        await self.users.change_password(call.path["user"], given.original_password, given.password)
        return Answer(204)

    def _answer(self, user: User, status: int = 200) -> Answer:
        return Answer(status, {"user": documents.user(user, self.root)})


def _set(value: str | UnsetType | None) -> str | None:
    """None for a field that was not sent, "" for null."""
    if value is UNSET:
        return None
    return value or ""
