# SPDX-License-Identifier: Apache-2.0
"""`/v3/users`."""

from dataclasses import dataclass

from msgspec import UNSET

from transom.identity.api import answers, documents
from transom.identity.api.answers import NOT_FOUND, TAKEN
from transom.identity.api.callers import Callers
from transom.identity.api.fields import changed, home_of
from transom.identity.api.query import DOMAIN, ENABLED, NAME, PAGE, filter_of, page_links
from transom.identity.api.shapes import ChangePassword, CreateUser, UpdateUser
from transom.identity.app.tokens import Caller, Tokens
from transom.identity.app.users import Users
from transom.identity.model import User, UserChange
from transom.runtime.http.route import Answer, Call, Route

_ONE = {200: answers.OneUser, **NOT_FOUND}


@dataclass(frozen=True, slots=True)
class UserHandlers:
    users: Users
    tokens: Tokens
    root: str

    def routes(self) -> list[Route]:
        guarded = Callers(self.tokens).route
        one = "/v3/users/{user}"
        return [
            guarded(
                "GET",
                "/v3/users",
                self.listed,
                parameters=(NAME, ENABLED, DOMAIN, *PAGE),
                answers={200: answers.Users},
                summary="List users",
            ),
            guarded(
                "POST",
                "/v3/users",
                self.create,
                body=CreateUser,
                answers={201: answers.OneUser, **NOT_FOUND, **TAKEN},
                summary="Make a user",
            ),
            guarded("GET", one, self.show, answers=_ONE, summary="Show a user"),
            guarded(
                "PATCH",
                one,
                self.update,
                body=UpdateUser,
                answers={**_ONE, **TAKEN},
                summary="Change a user",
            ),
            guarded(
                "DELETE",
                one,
                self.delete,
                answers={204: None, **NOT_FOUND},
                summary="Delete a user",
            ),
            *self._routes_of_one(one),
        ]

    def _routes_of_one(self, one: str) -> list[Route]:
        guarded = Callers(self.tokens).route
        return [
            guarded(
                "GET",
                one + "/projects",
                self.projects,
                answers={200: answers.Projects},
                summary="List a user's projects",
            ),
            guarded(
                "GET",
                one + "/groups",
                self.no_groups,
                answers={200: answers.Groups},
                summary="List a user's groups: there are none",
            ),
            guarded(
                "GET",
                "/v3/groups",
                self.no_groups,
                answers={200: answers.Groups},
                summary="List groups: there are none",
            ),
            Route(
                "POST",
                one + "/password",
                self.change_password,
                body=ChangePassword,
                public=True,
                answers={204: None, 401: answers.Error, 429: answers.Error, **TAKEN},
                summary="Change one's password, by the present one",
            ),
        ]

    async def listed(self, caller: Caller, call: Call[None]) -> Answer:
        only = filter_of(call.query)
        found = await self.users.listed(caller.context, only)
        shown = [documents.user(user, self.root) for user in found]
        links = page_links(self.root, "users", call.query, only, found)
        return Answer(body=answers.Users(shown, links))

    async def show(self, caller: Caller, call: Call[None]) -> Answer:
        return self._answer(await self.users.get(caller.context, call.path["user"]))

    async def create(self, caller: Caller, call: Call[CreateUser]) -> Answer:
        given = call.body.user
        user = User(
            id="",
            name=given.name,
            domain_id=home_of(caller, given.domain_id),
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
            name=changed(given.name),
            enabled=None if given.enabled is UNSET else given.enabled,
            description=changed(given.description),
            email=changed(given.email),
            default_project_id=changed(given.default_project_id),
        )
        password = changed(given.password)
        user_id = call.path["user"]
        return self._answer(await self.users.update(caller.context, user_id, change, password))

    async def delete(self, caller: Caller, call: Call[None]) -> Answer:
        await self.users.delete(caller.context, call.path["user"])
        return Answer(204)

    async def projects(self, caller: Caller, call: Call[None]) -> Answer:
        user_id = call.path["user"]
        found = await self.users.projects(caller.context, user_id)
        shown = [documents.project(project, self.root) for project in found]
        links = documents.list_links(self.root, f"users/{user_id}/projects")
        return Answer(body=answers.Projects(shown, links))

    async def no_groups(self, caller: Caller, call: Call[None]) -> Answer:
        self.users.check_groups(caller.context, call.path.get("user", ""))
        path = call.url_path.removeprefix("/v3/")
        return Answer(body=answers.Groups([], documents.list_links(self.root, path)))

    async def change_password(self, call: Call[ChangePassword]) -> Answer:
        given = call.body.user
        await self.users.change_password(
            call.path["user"], given.original_password, given.password, call.client
        )
        return Answer(204)

    def _answer(self, user: User, status: int = 200) -> Answer:
        return Answer(status, answers.OneUser(documents.user(user, self.root)))
