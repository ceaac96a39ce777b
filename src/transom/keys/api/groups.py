# SPDX-License-Identifier: Apache-2.0
"""`/v1/groups`: who is in which group beside those that their names put there, for admins; and the
keys of groups, for their members.
"""

from dataclasses import dataclass

from transom.keys.api import shapes
from transom.keys.api.paging import NAMED, page_of, paging
from transom.keys.api.signed import Signed
from transom.keys.app.administration import Administration
from transom.messaging.security.tickets import Purpose
from transom.runtime.http.route import Answer, Call, Parameter, Route

GROUP = Parameter("name", "The group, or the beginning of groups and `*`", shapes.Pattern, "path")


@dataclass(frozen=True, slots=True)
class GroupHandlers:
    """One method a route. `page_max`: the most in one answer."""

    administration: Administration
    signed: Signed
    page_max: int

    def routes(self) -> list[Route]:
        one = "/v1/groups/{name}"
        return [
            Route(
                "GET",
                "/v1/groups",
                self.page,
                parameters=paging(self.page_max),
                answers={200: shapes.Groups},
                summary="List registered groups by name",
            ),
            self.signed.route(
                "POST",
                "/v1/groups",
                [Purpose.GROUP_KEY],
                summary="Get a group's key, as a member: signed, without a token",
            ),
            Route(
                "GET",
                one,
                self.show,
                parameters=(NAMED,),
                answers={200: shapes.ShownGroup},
                summary="Show a registered group's members",
            ),
            Route(
                "PUT",
                one,
                self.put,
                body=shapes.SetGroup,
                body_bytes_max=shapes.GROUP_BYTES_MAX,
                parameters=(GROUP,),
                answers={200: shapes.ShownGroup, 201: shapes.ShownGroup},
                summary="Register a group with these members and no other; 200 if it was there",
            ),
            Route(
                "DELETE",
                one,
                self.remove,
                parameters=(NAMED,),
                answers={204: None},
                summary="Remove a registered group",
            ),
        ]

    async def page(self, call: Call[None]) -> Answer:
        page = page_of(call, self.page_max)
        found = await self.administration.groups(call.context, page.after, page.limit)
        links = page.links([group.name for group in found])
        return Answer(body=shapes.Groups([shapes.group(group) for group in found], links))

    async def show(self, call: Call[None]) -> Answer:
        found = await self.administration.group(call.context, call.path["name"])
        return Answer(body=shapes.group(found))

    async def put(self, call: Call[shapes.SetGroup]) -> Answer:
        name, members = call.path["name"], sorted(set(call.body.members))
        new = await self.administration.put_group(call.context, name, members)
        return Answer(201 if new else 200, shapes.ShownGroup(name, members=members))

    async def remove(self, call: Call[None]) -> Answer:
        await self.administration.remove_group(call.context, call.path["name"])
        return Answer(204)
