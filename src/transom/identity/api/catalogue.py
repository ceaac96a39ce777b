# SPDX-License-Identifier: Apache-2.0
"""Version documents, the one domain, and the catalogue as lists. All of it is read only."""

from collections.abc import Callable
from dataclasses import dataclass

from transom.errors import NotFound
from transom.identity.api import documents
from transom.identity.api.callers import CallerHandler, Callers
from transom.identity.app.tokens import Caller, Tokens
from transom.identity.logic.catalogue import Catalogue
from transom.identity.model import DEFAULT_DOMAIN
from transom.runtime.auth.rules import Rules
from transom.runtime.http.route import Answer, Call, Route

_FILTERS = ("name", "type", "service_id", "interface", "region_id")


@dataclass(frozen=True, slots=True)
class CatalogueHandlers:
    tokens: Tokens
    rules: Rules
    catalogue: Catalogue
    root: str

    def routes(self) -> list[Route]:
        guarded = Callers(self.tokens).route
        made = [
            Route("GET", "", self.versions, public=True, summary="List versions"),
            Route("GET", "/v3", self.version, public=True, summary="Describe version 3"),
            guarded("GET", "/v3/domains", self.domains, summary="List domains"),
            guarded("GET", "/v3/domains/{domain}", self.domain, summary="Show a domain"),
        ]
        for noun, documents_of in self._lists().items():
            rule, plural = f"identity:list_{noun}s", f"/v3/{noun}s"
            every, one = _listing(self, noun, rule, documents_of)
            made.append(guarded("GET", plural, every, summary=f"List {noun}s"))
            made.append(guarded("GET", f"{plural}/{{id}}", one, summary=f"Show one {noun}"))
        return made

    async def versions(self, call: Call[None]) -> Answer:
        return Answer(300, {"versions": {"values": [documents.version(self.root)]}})

    async def version(self, call: Call[None]) -> Answer:
        return Answer(200, {"version": documents.version(self.root)})

    async def domains(self, caller: Caller, call: Call[None]) -> Answer:
        self.rules.enforce("identity:list_domains", caller.context)
        wanted = call.query.get("name")
        found = [DEFAULT_DOMAIN] if wanted in (None, DEFAULT_DOMAIN.name) else []
        shown = [documents.domain(domain, self.root) for domain in found]
        return Answer(body=documents.collection("domains", shown, self.root, "domains"))

    async def domain(self, caller: Caller, call: Call[None]) -> Answer:
        wanted = call.path["domain"]
        self.rules.enforce("identity:get_domain", caller.context, {"target.domain.id": wanted})
        if wanted != DEFAULT_DOMAIN.id:
            raise NotFound(f"Could not find domain: {wanted}.")
        return Answer(body={"domain": documents.domain(DEFAULT_DOMAIN, self.root)})

    def _lists(self) -> dict[str, Callable[[], list[documents.Document]]]:
        return {
            "service": self.catalogue.services,
            "endpoint": self.catalogue.endpoints,
            "region": self.catalogue.regions,
        }


def _listing(
    handlers: CatalogueHandlers,
    noun: str,
    rule: str,
    documents_of: Callable[[], list[documents.Document]],
) -> tuple[CallerHandler, CallerHandler]:
    """Handlers of the whole list and of one of it. All equality filters are honoured."""

    def linked(document: documents.Document) -> documents.Document:
        return {**document, "links": {"self": f"{handlers.root}/{noun}s/{document['id']}"}}

    async def every(caller: Caller, call: Call[None]) -> Answer:
        handlers.rules.enforce(rule, caller.context)
        wanted = {name: call.query[name] for name in _FILTERS if name in call.query}
        shown = [
            linked(document)
            for document in documents_of()
            if all(document.get(name) == value for name, value in wanted.items())
        ]
        return Answer(body=documents.collection(f"{noun}s", shown, handlers.root, f"{noun}s"))

    async def one(caller: Caller, call: Call[None]) -> Answer:
        handlers.rules.enforce(rule, caller.context)
        for document in documents_of():
            if document["id"] == call.path["id"]:
                return Answer(body={noun: linked(document)})
        raise NotFound(f"Could not find {noun}: {call.path['id']}.")

    return every, one
