# SPDX-License-Identifier: Apache-2.0
"""The nouns of identity. All ids are 32 hexadecimal digits, but for the default domain's."""

from dataclasses import dataclass
from enum import StrEnum

TOKEN_TTL_MOST_S = 604_800
"""No token lives longer, whatever is configured."""


class Method(StrEnum):
    """How a user can prove who they are."""

    PASSWORD = "password"  # noqa: S105 the method's name
    TOKEN = "token"  # noqa: S105 the method's name
    APPLICATION_CREDENTIAL = "application_credential"


class ScopeKind(StrEnum):
    """What a token, or a grant, is for."""

    PROJECT = "project"
    DOMAIN = "domain"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Place:
    """One thing on which roles are given. The system's id is always `all`."""

    kind: ScopeKind
    id: str


SYSTEM = Place(ScopeKind.SYSTEM, "all")


@dataclass(frozen=True, slots=True)
class Domain:
    id: str
    name: str
    enabled: bool = True
    description: str = ""


DEFAULT_DOMAIN = Domain("default", "Default")
"""The one that is always there: it can be neither disabled nor deleted."""


@dataclass(frozen=True, slots=True)
class User:
    """`default_project_id` is empty if there is none."""

    id: str
    name: str
    domain_id: str
    enabled: bool = True
    description: str = ""
    email: str = ""
    default_project_id: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """A user with what proves them. Tokens made under another `epoch` are void."""

    user: User
    password_hash: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Project:
    """`tags` are in their order."""

    id: str
    name: str
    domain_id: str
    enabled: bool = True
    description: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Role:
    id: str
    name: str
    description: str = ""


BUILT_IN_ROLES = ("admin", "member", "reader", "service")
"""Their names: the first start makes them, and nobody changes or deletes them."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a grant speaks of, with its domain. A domain itself is in none: both are empty."""

    id: str
    name: str
    domain_id: str = ""
    domain_name: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """One role of one user on one place. `target`: a project or a domain; None for the system."""

    user: Named
    target: Named | None
    kind: ScopeKind
    role: Role


@dataclass(frozen=True, slots=True)
class GrantFilter:
    """What a list of grants is cut down to; what is empty does not. `place_id`: of a `kind`."""

    user_id: str = ""
    role_id: str = ""
    kind: ScopeKind | None = None
    place_id: str = ""


@dataclass(frozen=True, slots=True)
class ApplicationCredential:
    """A secret of a user's own for one project.

    `expires_us`: microseconds since 1970; 0: it does not end by itself.
    `unrestricted`: a token got by it may make and delete such credentials.
    """

    id: str
    name: str
    user_id: str
    project_id: str
    roles: tuple[Role, ...]
    description: str = ""
    unrestricted: bool = False
    expires_us: int = 0


@dataclass(frozen=True, slots=True)
class Reference:
    """A user, project or domain: by id, or by name. Exactly one of `id` and `name` is set.

    A user's or project's name goes with its domain's id or name.
    """

    id: str = ""
    name: str = ""
    domain_id: str = ""
    domain_name: str = ""


@dataclass(frozen=True, slots=True)
class UserChange:
    """What to set; None leaves it as it is. `password_hash` and disabling void all tokens."""

    name: str | None = None
    enabled: bool | None = None
    description: str | None = None
    email: str | None = None
    default_project_id: str | None = None
    password_hash: str | None = None


@dataclass(frozen=True, slots=True)
class PlaceChange:
    """What to set of a project or domain; None leaves it. Disabling voids the tokens for it."""

    name: str | None = None
    enabled: bool | None = None
    description: str | None = None
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class RoleChange:
    """What to set; None leaves it as it is."""

    name: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is cut down to; None does not. The four of tags are for projects.

    `marker`: only what comes after the one with this id; `limit`: at most so many.
    """

    name: str | None = None
    enabled: bool | None = None
    domain_id: str | None = None
    tags: tuple[str, ...] = ()
    tags_any: tuple[str, ...] = ()
    not_tags: tuple[str, ...] = ()
    not_tags_any: tuple[str, ...] = ()
    marker: str | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token's text carries. Times are milliseconds since 1970.

    `place` is None for an unscoped token. `chain_id`: the audit id of the token that began the
    chain in which this one was got by token; the own one if it began it. `credential_id`: the
    application credential that it was got by, or empty.
    """

    user_id: str
    place: Place | None
    methods: tuple[Method, ...]
    audit_id: str
    chain_id: str
    issued_ms: int
    expires_ms: int
    user_epoch: int
    place_epoch: int
    credential_id: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A place as the database has it: a project with its domain, a domain, or the system."""

    place: Place
    epoch: int = 0
    project: Project | None = None
    domain: Domain | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database knows of a token's user and place at one moment.

    `roles`: those of the user on the place. `revoked`: the token, or the first of its chain, is.
    """

    account: Account | None
    user_domain: Domain | None
    target: Target | None
    roles: tuple[Role, ...]
    credential: ApplicationCredential | None = None
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """A valid token: what it carries, whose it is now, and what for; `target` None: unscoped."""

    claims: Claims
    user: User
    user_domain: Domain
    target: Target | None = None
    roles: tuple[Role, ...] = ()
    credential: ApplicationCredential | None = None


@dataclass(frozen=True, slots=True)
class Unscoped:
    """A token for nothing was asked for, by that word."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A token for this place is asked for. The system's reference is its id."""

    kind: ScopeKind
    reference: Reference


Scope = Wanted | Unscoped | None
"""A place; explicitly none; or whatever is the user's default."""


@dataclass(frozen=True, slots=True)
class CredentialReference:
    """An application credential, by id, or by name and its user."""

    id: str = ""
    name: str = ""
    user: Reference = Reference()


@dataclass(frozen=True, slots=True)
class Proof:
    """What somebody shows to get a token. The fields of methods not listed are not looked at.

    `client`: the address that it came from.
    """

    methods: tuple[str, ...]
    scope: Scope
    client: str
    user: Reference = Reference()
    password: str = ""
    token: str = ""
    credential: CredentialReference = CredentialReference()
    secret: str = ""
