# SPDX-License-Identifier: Apache-2.0
"""`/v3/auth`: tokens given, shown and revoked; the catalogue of a token, and what it can be for."""

from dataclasses import dataclass
from typing import Any

import msgspec

from transom.errors import BadRequest, Unauthorized
from transom.identity.api import answers, documents
from transom.identity.api.answers import NOT_FOUND
from transom.identity.api.callers import Callers
from transom.identity.api.query import flag
from transom.identity.api.references import credential_of, reference
from transom.identity.api.shapes import Auth, AuthRequest, ScopeShape
from transom.identity.app.domains import Domains
from transom.identity.app.grants import Grants
from transom.identity.app.sign_in import SignIn
from transom.identity.app.tokens import Caller, Tokens, context_of, require_scope
from transom.identity.app.users import Users
from transom.identity.logic.catalogue import Catalogue
from transom.identity.model import (
    SYSTEM,
    CredentialReference,
    Method,
    Proof,
    Reference,
    Scope,
    ScopeKind,
    Token,
    Unscoped,
    Wanted,
)
from transom.runtime.http.route import Answer, Call, Parameter, Route
from transom.runtime.telemetry.audit import claim
from transom.runtime.telemetry.correlation import current

_VARY = {"vary": "X-Auth-Token"}
_SUBJECT = Parameter("X-Subject-Token", "The token to look at.", where="header", required=True)
_NOCATALOG = Parameter("nocatalog", "Leave the catalogue out.", bool)
_EXPIRED = Parameter("allow_expired", "Show it if it ended two days ago or less.", bool)


@dataclass(frozen=True, slots=True)
class AuthHandlers:
    sign_in: SignIn
    tokens: Tokens
    users: Users
    domains: Domains
    grants: Grants
    catalogue: Catalogue
    root: str

    def routes(self) -> list[Route]:
        guarded = Callers(self.tokens).route
        path = "/v3/auth/tokens"
        return [
            Route(
                "POST",
                path,
                self.create,
                body=Auth,
                public=True,
                parameters=(_NOCATALOG,),
                answers={
                    201: answers.OneToken,
                    401: answers.Error,
                    403: answers.Error,
                    404: answers.Error,
                    429: answers.Error,
                },
                summary="Get a token",
            ),
            guarded(
                "GET",
                path,
                self.show,
                parameters=(_SUBJECT, _NOCATALOG, _EXPIRED),
                answers={200: answers.OneToken, **NOT_FOUND},
                summary="Validate a token",
            ),
            guarded(
                "DELETE",
                path,
                self.revoke,
                parameters=(_SUBJECT,),
                answers={204: None, **NOT_FOUND},
                summary="Revoke a token",
            ),
            *self._routes_of_scopes(),
        ]

    def _routes_of_scopes(self) -> list[Route]:
        guarded = Callers(self.tokens).route
        return [
            guarded(
                "GET",
                "/v3/auth/catalog",
                self.shown_catalogue,
                answers={200: answers.ShownCatalogue},
                summary="Show the catalogue",
            ),
            guarded(
                "GET",
                "/v3/auth/projects",
                self.projects,
                answers={200: answers.Projects},
                summary="List the projects that one can have a token for",
            ),
            guarded(
                "GET",
                "/v3/auth/domains",
                self.listed_domains,
                answers={200: answers.Domains},
                summary="List the domains that one can have a token for",
            ),
            guarded(
                "GET",
                "/v3/auth/system",
                self.system,
                answers={200: answers.SystemScopes},
                summary="Whether one can have a token for the system",
            ),
        ]

    async def create(self, call: Call[Auth]) -> Answer:
        proof = _proof(call.body.auth, call.client)
        request_id = call.context.request_id
        user = proof.credential.user if proof.user == Reference() else proof.user
        domain = user.domain_id or user.domain_name
        claim(request_id, user.id, user.name, domain, proof.credential.id)
        text, token = await self.sign_in.sign_in(proof)
        current.set(context_of(token, request_id))
        shown = self._document(token, call)
        return Answer(201, shown, {"x-subject-token": text, **_VARY})

    async def show(self, caller: Caller, call: Call[None]) -> Answer:
        subject = _subject(call)
        expired = flag(call.query, "allow_expired")
        token = await self.tokens.shown(caller, subject, expired=expired)
        return Answer(200, self._document(token, call), {"x-subject-token": subject, **_VARY})

    async def revoke(self, caller: Caller, call: Call[None]) -> Answer:
        await self.tokens.revoke(caller, _subject(call))
        return Answer(204)

    async def shown_catalogue(self, caller: Caller, call: Call[None]) -> Answer:
        require_scope(caller)
        entries = msgspec.convert(self.catalogue.of_token(), list[answers.CatalogueEntry])
        links = documents.list_links(self.root, "auth/catalog")
        return Answer(body=answers.ShownCatalogue(entries, links))

    async def projects(self, caller: Caller, call: Call[None]) -> Answer:
        found = await self.users.projects(caller.context, caller.token.user.id)
        shown = [documents.project(project, self.root) for project in found]
        links = documents.list_links(self.root, "auth/projects")
        return Answer(body=answers.Projects(shown, links))

    async def listed_domains(self, caller: Caller, call: Call[None]) -> Answer:
        found = await self.domains.of_user(caller.context, caller.token.user.id)
        shown = [documents.domain(domain, self.root) for domain in found]
        links = documents.list_links(self.root, "auth/domains")
        return Answer(body=answers.Domains(shown, links))

    async def system(self, caller: Caller, call: Call[None]) -> Answer:
        has = await self.grants.of_system(caller.context, caller.token.user.id)
        links = documents.list_links(self.root, "auth/system")
        return Answer(body=answers.SystemScopes([{"all": True}] if has else [], links))

    def _document(self, token: Token, call: Call[Any]) -> answers.OneToken:
        wanted = "nocatalog" not in call.query
        return documents.token(token, self.catalogue.of_token() if wanted else None)


def _subject(call: Call[None]) -> str:
    subject = call.headers.get("x-subject-token", "")
    if not subject:
        raise BadRequest("The token to look at is needed in X-Subject-Token.")
    return subject


def _proof(request: AuthRequest, client: str) -> Proof:
    """Raises: BadRequest for a method without its part; Unauthorized for a scope not offered."""
    identity = request.identity
    user, password, token = Reference(), "", ""
    credential, secret = CredentialReference(), ""
    for method in Method:
        if method in identity.methods and getattr(identity, method) is None:
            raise BadRequest(f"The method `{method}` needs `auth.identity.{method}`.")
    if Method.PASSWORD in identity.methods and identity.password is not None:
        user = reference(identity.password.user, "auth.identity.password.user")
        password = identity.password.user.password
    if Method.TOKEN in identity.methods and identity.token is not None:
        token = identity.token.id
    given = identity.application_credential
    if Method.APPLICATION_CREDENTIAL in identity.methods and given is not None:
        credential, secret = credential_of(given), given.secret
    return Proof(
        tuple(identity.methods), _scope(request), client, user, password, token, credential, secret
    )


def _scope(request: AuthRequest) -> Scope:
    scope = request.scope
    if scope is None:
        return None
    if isinstance(scope, str):
        if scope != "unscoped":
            raise BadRequest('`auth.scope` is an object, or the text "unscoped".')
        return Unscoped()
    return _wanted(scope)


def _wanted(scope: ScopeShape) -> Wanted:
    given = [part for part in (scope.project, scope.domain, scope.system) if part is not None]
    if len(given) > 1:
        raise BadRequest("`auth.scope` is one of project, domain and system.")
    if scope.project is not None:
        place = reference(scope.project, "auth.scope.project")
        return Wanted(ScopeKind.PROJECT, place)
    if scope.domain is not None:
        domain = scope.domain
        if not domain.id and not domain.name:
            raise BadRequest("`auth.scope.domain` needs an id or a name.")
        named = Reference(id=domain.id or "", name="" if domain.id else domain.name or "")
        return Wanted(ScopeKind.DOMAIN, named)
    if scope.system is not None:
        return Wanted(ScopeKind.SYSTEM, Reference(id=SYSTEM.id))
    raise Unauthorized("Scopes offered here are: project, domain, system.")
