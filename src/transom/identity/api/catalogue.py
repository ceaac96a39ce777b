# SPDX-License-Identifier: Apache-2.0
"""Version documents, and the catalogue as lists. All of it is read only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transom.errors import NotFound
from transom.identity.api import answers, documents
from transom.identity.api.answers import NOT_FOUND
from transom.identity.api.callers import CallerHandler, Callers
from transom.identity.api.query import NAME
from transom.identity.app.tokens import Caller, Tokens
from transom.identity.logic.catalogue import Catalogue
from transom.runtime.auth.rules import Rules
from transom.runtime.http.route import Answer, Call, Parameter, Route

_FILTERS = (
    NAME,
    Parameter("type", "Only what has this type."),
    Parameter("service_id", "Only endpoints of this service."),
    Parameter("interface", "Only endpoints of this interface."),
    Parameter("region_id", "Only endpoints in this region."),
)


@dataclass(frozen=True, slots=True)
class _Noun:
    """One list of the catalogue: its rule, its documents, and the bodies of answers."""

    name: str
    rule: str
    documents_of: Callable[[], list[dict[str, Any]]]
    item: Any
    one: Any
    every: Any


@dataclass(frozen=True, slots=True)
class CatalogueHandlers:
    tokens: Tokens
    rules: Rules
    catalogue: Catalogue
    root: str

    def routes(self) -> list[Route]:
        guarded = Callers(self.tokens).route
        made = [
            Route(
                "GET",
                "",
                self.versions,
                public=True,
                answers={300: answers.Versions},
                summary="List versions",
            ),
            Route(
                "GET",
                "/v3",
                self.version,
                public=True,
                answers={200: answers.OneVersion},
                summary="Describe version 3",
            ),
        ]
        for noun in self._nouns():
            plural = f"/v3/{noun.name}s"
            every, one = _listing(self, noun)
            made.append(
                guarded(
                    "GET",
                    plural,
                    every,
                    parameters=_FILTERS,
                    answers={200: noun.every},
                    summary=f"List {noun.name}s",
                )
            )
            made.append(
                guarded(
                    "GET",
                    f"{plural}/{{id}}",
                    one,
                    answers={200: noun.one, **NOT_FOUND},
                    summary=f"Show one {noun.name}",
                )
            )
        return made

    async def versions(self, call: Call[None]) -> Answer:
        values = answers.VersionList([documents.version(self.root)])
        return Answer(300, answers.Versions(values))

    async def version(self, call: Call[None]) -> Answer:
        return Answer(200, answers.OneVersion(documents.version(self.root)))

    def _nouns(self) -> list[_Noun]:
        known, a = self.catalogue, answers
        return [
            _Noun(
                "service",
                "identity:list_services",
                known.services,
                a.Service,
                a.OneService,
                a.Services,
            ),
            _Noun(
                "endpoint",
                "identity:list_endpoints",
                known.endpoints,
                a.Endpoint,
                a.OneEndpoint,
                a.Endpoints,
            ),
            _Noun(
                "region", "identity:list_regions", known.regions, a.Region, a.OneRegion, a.Regions
            ),
        ]


def _listing(handlers: CatalogueHandlers, noun: _Noun) -> tuple[CallerHandler, CallerHandler]:
    """Handlers of the whole list and of one of it. All equality filters are honoured."""
    plural = f"{noun.name}s"

    async def every(caller: Caller, call: Call[None]) -> Answer:
        handlers.rules.enforce(noun.rule, caller.context)
        names = [filtered.name for filtered in _FILTERS if filtered.name in call.query]
        found = [
            document
            for document in noun.documents_of()
            if all(document.get(name) == call.query[name] for name in names)
        ]
        shown = documents.listed(noun.item, found, handlers.root, plural)
        return Answer(body=noun.every(shown, documents.list_links(handlers.root, plural)))

    async def one(caller: Caller, call: Call[None]) -> Answer:
        handlers.rules.enforce(noun.rule, caller.context)
        wanted = call.path["id"]
        found = [document for document in noun.documents_of() if document["id"] == wanted]
        for shown in documents.listed(noun.item, found, handlers.root, plural):
            return Answer(body=noun.one(shown))
        raise NotFound(f"Could not find {noun.name}: {wanted}.")

    return every, one
