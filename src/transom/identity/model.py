# SPDX-License-Identifier: Apache-2.0
"""The nouns of identity. All ids are 32 hexadecimal digits, but for the one domain's."""

from dataclasses import dataclass
from enum import StrEnum


class Method(StrEnum):
    """How a user can prove who they are."""

    PASSWORD = "password"  # noqa: S105 the method's name
    TOKEN = "token"  # noqa: S105 the method's name


@dataclass(frozen=True, slots=True)
class Domain:
    id: str
    name: str


DEFAULT_DOMAIN = Domain("default", "Default")
"""The one domain that there is."""


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
    id: str
    name: str
    domain_id: str
    enabled: bool = True
    description: str = ""


@dataclass(frozen=True, slots=True)
class Role:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Grant:
    """One role of one user on one project."""

    user: User
    project: Project
    role: Role


@dataclass(frozen=True, slots=True)
class Reference:
    """A user or project, by id, or by name in a domain. Exactly one of `id` and `name` is set."""

    id: str = ""
    name: str = ""
    domain_id: str = ""


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
class ProjectChange:
    """What to set; None leaves it as it is. Disabling voids all tokens for the project."""

    name: str | None = None
    enabled: bool | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is cut down to; None does not."""

    name: str | None = None
    enabled: bool | None = None
    domain_id: str | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token's text carries. Times are milliseconds since 1970.

    `project_id` is empty for an unscoped token. `chain_id`: the audit id of the token that began
    the chain in which this one was got by token; the own one if it began it.
    """

    user_id: str
    project_id: str
    methods: tuple[Method, ...]
    audit_id: str
    chain_id: str
    issued_ms: int
    expires_ms: int
    user_epoch: int
    project_epoch: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database knows of a token's user and project at one moment.

    `roles`: those of the user on the project. `revoked`: the token, or the first of its chain, is.
    """

    account: Account | None
    project: Project | None
    project_epoch: int
    roles: tuple[Role, ...]
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """A valid token: what it carries, and whose it is now."""

    claims: Claims
    user: User
    project: Project | None
    roles: tuple[Role, ...]


@dataclass(frozen=True, slots=True)
class Unscoped:
    """A token for no project was asked for, by that word."""


Scope = Reference | Unscoped | None
"""A project; explicitly none; or whatever is the user's default."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What somebody shows to get a token. The fields of methods not listed are not looked at."""

    methods: tuple[str, ...]
    user: Reference
    password: str
    token: str
    scope: Scope
