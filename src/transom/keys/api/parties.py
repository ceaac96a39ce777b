# SPDX-License-Identifier: Apache-2.0
"""`/v1/keys`: parties and their long-term keys, for admins. No key ever comes back."""

from dataclasses import dataclass

from transom.keys.api import shapes
from transom.keys.api.paging import NAMED, page_of, paging
from transom.keys.app.administration import Administration
from transom.runtime.http.route import Answer, Call, Parameter, Route

PARTY = Parameter("name", "The party's name, TOPIC.SERVER", shapes.PartyName, "path")


@dataclass(frozen=True, slots=True)
class PartyHandlers:
    """One method a route. `page_max`: the most in one answer."""

    administration: Administration
    page_max: int

    def routes(self) -> list[Route]:
        one = "/v1/keys/{name}"
        return [
            Route(
                "GET",
                "/v1/keys",
                self.page,
                parameters=paging(self.page_max),
                answers={200: shapes.Parties},
                summary="List parties by name",
            ),
            Route(
                "GET",
                one,
                self.show,
                parameters=(NAMED,),
                answers={200: shapes.ShownParty},
                summary="Show a party and its keys' generations",
            ),
            Route(
                "PUT",
                one,
                self.put,
                body=shapes.SetKey,
                body_bytes_max=shapes.BODY_BYTES_MAX,
                parameters=(PARTY,),
                answers={200: shapes.KeySet, 201: shapes.KeySet, **shapes.CONFLICT},
                summary="Give a party its long-term key; 200 if it had this one",
            ),
            Route(
                "DELETE",
                one,
                self.remove,
                parameters=(NAMED,),
                answers={204: None},
                summary="Remove a party with its keys and its certificate",
            ),
        ]

    async def page(self, call: Call[None]) -> Answer:
        page = page_of(call, self.page_max)
        found = await self.administration.parties(call.context, page.after, page.limit)
        links = page.links([party.name for party in found])
        return Answer(body=shapes.Parties([shapes.party(party) for party in found], links))

    async def show(self, call: Call[None]) -> Answer:
        found = await self.administration.party(call.context, call.path["name"])
        return Answer(body=shapes.party(found))

    async def put(self, call: Call[shapes.SetKey]) -> Answer:
        name, given = call.path["name"], call.body
        generation, changed = await self.administration.put_party(
            call.context, name, given.key, at_once=given.at_once
        )
        return Answer(201 if changed else 200, shapes.KeySet(name, generation))

    async def remove(self, call: Call[None]) -> Answer:
        await self.administration.remove_party(call.context, call.path["name"])
        return Answer(204)
