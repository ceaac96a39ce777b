# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests. Fields that are not named here are let through and not looked at.

Source: https://docs.openstack.org/api-ref/identity/v3/
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

_CONTROL = r"\x00-\x1f\x7f-\x9f"
_SHOWN = rf"\A[^{_CONTROL}]*[^\s{_CONTROL}][^{_CONTROL}]*\Z"
Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=_SHOWN)]
"""Not blank, and nothing in it that a terminal would obey."""
PlaceName = Annotated[str, Meta(min_length=1, max_length=64, pattern=_SHOWN)]
"""Of a project or a domain."""
Text = Annotated[str, Meta(max_length=4096, pattern=r"\A[^\x00]*\Z")]
Id = Annotated[str, Meta(max_length=255)]
Password = Annotated[str, Meta(max_length=4096)]
Tag = Annotated[str, Meta(min_length=1, max_length=255, pattern=rf"\A[^,/{_CONTROL}]+\Z")]
TagList = Annotated[list[Tag], Meta(max_length=80)]


class DomainShape(Struct):
    """By id, or by name."""

    id: Id | None = None
    name: Id | None = None


class ProvenUser(Struct):
    """By id, or by name and domain."""

    password: Password
    id: Id | None = None
    name: Id | None = None
    domain: DomainShape | None = None


class PasswordMethod(Struct):
    user: ProvenUser


class TokenMethod(Struct):
    id: str


class NamedUser(Struct):
    """By id, or by name and domain."""

    id: Id | None = None
    name: Id | None = None
    domain: DomainShape | None = None


class ApplicationCredentialMethod(Struct):
    """By id, or by name and user."""

    secret: Password
    id: Id | None = None
    name: Id | None = None
    user: NamedUser | None = None


class Identity(Struct):
    """What is in it besides `methods` is looked at only if its name is listed there."""

    methods: Annotated[list[str], Meta(max_length=8)]
    password: PasswordMethod | None = None
    token: TokenMethod | None = None
    application_credential: ApplicationCredentialMethod | None = None


class ProjectShape(Struct):
    """By id, or by name and domain."""

    id: Id | None = None
    name: Id | None = None
    domain: DomainShape | None = None


class SystemShape(Struct):
    all: Literal[True]


class ScopeShape(Struct):
    """Exactly one of the three; there are no trusts."""

    project: ProjectShape | None = None
    domain: DomainShape | None = None
    system: SystemShape | None = None


class AuthRequest(Struct):
    identity: Identity
    scope: ScopeShape | str | None = None


class Auth(Struct):
    """`POST /v3/auth/tokens`."""

    auth: AuthRequest


class NewUser(Struct):
    name: Name
    password: Password | None = None
    domain_id: Id | None = None
    enabled: bool = True
    description: Text | None = None
    email: Text | None = None
    default_project_id: Id | None = None


class CreateUser(Struct):
    """`POST /v3/users`."""

    user: NewUser


class ChangedUser(Struct):
    """What is null becomes empty."""

    name: Name | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    email: Text | UnsetType | None = UNSET
    default_project_id: Id | UnsetType | None = UNSET


class UpdateUser(Struct):
    """`PATCH /v3/users/{user}`."""

    user: ChangedUser


class PasswordChange(Struct):
    original_password: Password
    password: Password


class ChangePassword(Struct):
    """`POST /v3/users/{user}/password`."""

    user: PasswordChange


class NewProject(Struct):
    name: PlaceName
    domain_id: Id | None = None
    parent_id: Id | None = None
    is_domain: bool = False
    enabled: bool = True
    description: Text | None = None
    tags: TagList = []


class CreateProject(Struct):
    """`POST /v3/projects`."""

    project: NewProject


class ChangedProject(Struct):
    name: PlaceName | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    tags: TagList | UnsetType = UNSET


class UpdateProject(Struct):
    """`PATCH /v3/projects/{project}`."""

    project: ChangedProject


class SetTags(Struct):
    """`PUT /v3/projects/{project}/tags`."""

    tags: TagList


class NewDomain(Struct):
    name: PlaceName
    enabled: bool = True
    description: Text | None = None


class CreateDomain(Struct):
    """`POST /v3/domains`."""

    domain: NewDomain


class ChangedDomain(Struct):
    name: PlaceName | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET


class UpdateDomain(Struct):
    """`PATCH /v3/domains/{domain}`."""

    domain: ChangedDomain


class NewRole(Struct):
    """Roles of one domain (`domain_id`) are not offered."""

    name: Name
    description: Text | None = None
    domain_id: Id | None = None


class CreateRole(Struct):
    """`POST /v3/roles`."""

    role: NewRole


class ChangedRole(Struct):
    name: Name | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET


class UpdateRole(Struct):
    """`PATCH /v3/roles/{role}`."""

    role: ChangedRole


class WantedRole(Struct):
    """By id, or by name."""

    id: Id | None = None
    name: Id | None = None


class NewApplicationCredential(Struct):
    """Without roles it gets all that the token has; without a secret, one is drawn.

    `expires_at`: in ISO 8601, UTC where no zone is named. `access_rules` are not offered.
    """

    name: Name
    description: Text | None = None
    secret: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    roles: Annotated[list[WantedRole], Meta(max_length=100)] = []
    expires_at: Id | None = None
    unrestricted: bool | None = None
    access_rules: list[dict[str, Any]] | None = None


class CreateApplicationCredential(Struct):
    """`POST /v3/users/{user}/application_credentials`."""

    application_credential: NewApplicationCredential
