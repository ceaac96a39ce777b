# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests. Fields that are not named here are let through and not looked at.

Source: https://docs.openstack.org/api-ref/identity/v3/
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

_CONTROL = r"\x00-\x1f\x7f-\x9f"
Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=rf"\A[^{_CONTROL}]*[^\s{_CONTROL}][^{_CONTROL}]*\Z",
    ),
]
"""Not blank, and nothing in it that a terminal would obey."""
Text = Annotated[str, Meta(max_length=4096, pattern=r"\A[^\x00]*\Z")]
Id = Annotated[str, Meta(max_length=255)]
Password = Annotated[str, Meta(max_length=4096)]


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


class Identity(Struct):
    """What is in it besides `methods` is looked at only if its name is listed there."""

    methods: Annotated[list[str], Meta(max_length=8)]
    password: PasswordMethod | None = None
    token: TokenMethod | None = None


class ProjectShape(Struct):
    """By id, or by name and domain."""

    id: Id | None = None
    name: Id | None = None
    domain: DomainShape | None = None


class ScopeShape(Struct):
    """A scope without a project is for something that is not offered (domain, system, trust)."""

    project: ProjectShape | None = None


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
    name: Name
    domain_id: Id | None = None
    parent_id: Id | None = None
    is_domain: bool = False
    enabled: bool = True
    description: Text | None = None


class CreateProject(Struct):
    """`POST /v3/projects`."""

    project: NewProject


class ChangedProject(Struct):
    name: Name | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET


class UpdateProject(Struct):
    """`PATCH /v3/projects/{project}`."""

    project: ChangedProject
