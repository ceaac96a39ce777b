# SPDX-License-Identifier: Apache-2.0
"""`/v3/domains`."""

from dataclasses import dataclass

from msgspec import UNSET

from transom.identity.api import answers, documents
from transom.identity.api.answers import NOT_FOUND, TAKEN
from transom.identity.api.callers import Callers
from transom.identity.api.fields import changed
from transom.identity.api.query import ENABLED, NAME, PAGE, filter_of, page_links
from transom.identity.api.shapes import CreateDomain, UpdateDomain
from transom.identity.app.domains import Domains
from transom.identity.app.tokens import Caller, Tokens
from transom.identity.model import Domain, PlaceChange
from transom.runtime.http.route import Answer, Call, Route

_ONE = {200: answers.OneDomain, **NOT_FOUND}
_FILTERS = ("name", "enabled", "limit", "marker")


@dataclass(frozen=True, slots=True)
class DomainHandlers:
    domains: Domains
    tokens: Tokens
    root: str

    def routes(self) -> list[Route]:
        guarded = Callers(self.tokens).route
        every, one = "/v3/domains", "/v3/domains/{domain}"
        return [
            guarded(
                "GET",
                every,
                self.listed,
                parameters=(NAME, ENABLED, *PAGE),
                answers={200: answers.Domains},
                summary="List domains",
            ),
            guarded(
                "POST",
                every,
                self.create,
                body=CreateDomain,
                answers={201: answers.OneDomain, **TAKEN},
                summary="Make a domain",
            ),
            guarded("GET", one, self.show, answers=_ONE, summary="Show a domain"),
            guarded(
                "PATCH",
                one,
                self.update,
                body=UpdateDomain,
                answers={**_ONE, **TAKEN},
                summary="Change a domain",
            ),
            guarded(
                "DELETE",
                one,
                self.delete,
                answers={204: None, **NOT_FOUND},
                summary="Delete a disabled domain, with all that is in it",
            ),
        ]

    async def listed(self, caller: Caller, call: Call[None]) -> Answer:
        only = filter_of({name: call.query[name] for name in _FILTERS if name in call.query})
        found = await self.domains.listed(caller.context, only)
        shown = [documents.domain(domain, self.root) for domain in found]
        links = page_links(self.root, "domains", call.query, only, found)
        return Answer(body=answers.Domains(shown, links))

    async def show(self, caller: Caller, call: Call[None]) -> Answer:
        return self._answer(await self.domains.get(caller.context, call.path["domain"]))

    async def create(self, caller: Caller, call: Call[CreateDomain]) -> Answer:
        given = call.body.domain
        domain = Domain("", given.name, given.enabled, given.description or "")
        return self._answer(await self.domains.create(caller.context, domain), 201)

    async def update(self, caller: Caller, call: Call[UpdateDomain]) -> Answer:
        given = call.body.domain
        change = PlaceChange(
            name=changed(given.name),
            enabled=None if given.enabled is UNSET else given.enabled,
            description=changed(given.description),
        )
        domain_id = call.path["domain"]
        return self._answer(await self.domains.update(caller.context, domain_id, change))

    async def delete(self, caller: Caller, call: Call[None]) -> Answer:
        await self.domains.delete(caller.context, call.path["domain"])
        return Answer(204)

    def _answer(self, domain: Domain, status: int = 200) -> Answer:
        return Answer(status, answers.OneDomain(documents.domain(domain, self.root)))
