# SPDX-License-Identifier: Apache-2.0
"""`/v3/auth`: tokens given, shown and revoked; the catalogue and the projects of a token."""

from dataclasses import dataclass
from typing import Any

from transom.errors import BadRequest, NotFound, Unauthorized
from transom.identity.api import documents
from transom.identity.api.callers import Callers
from transom.identity.api.shapes import Auth, AuthRequest, DomainShape, ProjectShape, ProvenUser
from transom.identity.app.sign_in import SignIn
from transom.identity.app.tokens import Caller, Tokens, require_scope
from transom.identity.app.users import Users
from transom.identity.logic.catalogue import Catalogue
from transom.identity.model import DEFAULT_DOMAIN, Proof, Reference, Scope, Token, Unscoped
from transom.runtime.http.route import Answer, Call, Route

_VARY = {"vary": "X-Auth-Token"}
_UNKNOWN_DOMAIN = "?"
"""No domain has this id, so nothing is found in it."""


@dataclass(frozen=True, slots=True)
class AuthHandlers:
    sign_in: SignIn
    tokens: Tokens
    users: Users
    catalogue: Catalogue
    root: str

    def routes(self) -> list[Route]:
        guarded = Callers(self.tokens).route
        path = "/v3/auth/tokens"
        return [
            Route("POST", path, self.create, body=Auth, public=True, summary="Get a token"),
            guarded("GET", path, self.show, summary="Validate a token"),
            guarded("DELETE", path, self.revoke, summary="Revoke a token"),
            guarded("GET", "/v3/auth/catalog", self.shown_catalogue, summary="Show the catalogue"),
            guarded("GET", "/v3/auth/projects", self.projects, summary="List one's projects"),
        ]

    async def create(self, call: Call[Auth]) -> Answer:
        text, token = await self.sign_in.sign_in(_proof(call.body.auth))
        shown = self._document(token, call)
        return Answer(201, shown, {"x-subject-token": text, **_VARY})

    async def show(self, caller: Caller, call: Call[None]) -> Answer:
        subject = _subject(call)
        token = await self.tokens.shown(caller, subject)
        return Answer(200, self._document(token, call), {"x-subject-token": subject, **_VARY})

    async def revoke(self, caller: Caller, call: Call[None]) -> Answer:
        await self.tokens.revoke(caller, _subject(call))
        return Answer(204)

    async def shown_catalogue(self, caller: Caller, call: Call[None]) -> Answer:
        require_scope(caller)
        shown = documents.collection(
            "catalog", self.catalogue.of_token(), self.root, "auth/catalog"
        )
        return Answer(body=shown)

    async def projects(self, caller: Caller, call: Call[None]) -> Answer:
        found = await self.users.projects(caller.context, caller.token.user.id)
        shown = [documents.project(project, self.root) for project in found]
        return Answer(body=documents.collection("projects", shown, self.root, "auth/projects"))

    def _document(self, token: Token, call: Call[Any]) -> documents.Document:
        wanted = "nocatalog" not in call.query
        return documents.token(token, self.catalogue.of_token() if wanted else None)


def _subject(call: Call[None]) -> str:
    subject = call.headers.get("x-subject-token", "")
    if not subject:
        raise BadRequest("The token to look at is needed in X-Subject-Token.")
    return subject


def _proof(request: AuthRequest) -> Proof:
    """Raises: BadRequest for a method without its part; Unauthorized for a scope not offered."""
    identity = request.identity
    user, password, token = Reference(), "", ""
    if "password" in identity.methods:
        if identity.password is None:
            raise BadRequest("The method `password` needs `auth.identity.password`.")
        user = _reference(identity.password.user, "auth.identity.password.user")
        password = identity.password.user.password
    if "token" in identity.methods:
        if identity.token is None:
            raise BadRequest("The method `token` needs `auth.identity.token`.")
        token = identity.token.id
    return Proof(tuple(identity.methods), user, password, token, _scope(request))


def _scope(request: AuthRequest) -> Scope:
    scope = request.scope
    if scope is None:
        return None
    if isinstance(scope, str):
        if scope != "unscoped":
            raise BadRequest('`auth.scope` is an object, or the text "unscoped".')
        return Unscoped()
    if scope.project is None:
        raise Unauthorized("Only projects are offered as scope here, not domains or the system.")
    return _reference(scope.project, "auth.scope.project")


def _reference(named: ProvenUser | ProjectShape, place: str) -> Reference:
    if named.id:
        return Reference(id=named.id)
    if not named.name or named.domain is None:
        raise BadRequest(f"`{place}` needs an id, or a name and a domain.")
    return Reference(name=named.name, domain_id=domain_id(named.domain, place))


def domain_id(named: DomainShape, place: str) -> str:
    """Of a domain that does not exist too: who asks is told that the user does not."""
    if named.id:
        return named.id
    if not named.name:
        raise BadRequest(f"`{place}.domain` needs an id or a name.")
    return DEFAULT_DOMAIN.id if named.name == DEFAULT_DOMAIN.name else _UNKNOWN_DOMAIN


def known_domain(given: str | None) -> str:
    """The domain that a new user or project goes into. Raises: NotFound."""
    if given is not None and given != DEFAULT_DOMAIN.id:
        raise NotFound(f"Could not find domain: {given}. There is only `{DEFAULT_DOMAIN.id}`.")
    return DEFAULT_DOMAIN.id
