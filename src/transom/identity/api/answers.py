# SPDX-License-Identifier: Apache-2.0
"""Bodies of answers. What is UNSET is left out.

Source: https://docs.openstack.org/api-ref/identity/v3/
"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType, field


class Fault(Struct):
    """`code`: the HTTP status; `title`: its phrase; `message`: what to do."""

    code: int
    title: str
    message: str


class Error(Struct):
    error: Fault


NOT_FOUND = {404: Error}
TAKEN = {409: Error}


class Links(Struct):
    own: str = field(name="self")


class ListLinks(Struct):
    """`next` leads to the next page, where there may be one."""

    own: str = field(name="self")
    previous: str | None = None
    next: str | None = None


class Link(Struct):
    rel: str
    href: str


class MediaType(Struct):
    base: str
    type: str


class Version(Struct):
    id: str
    status: str
    updated: str
    links: list[Link]
    media_types: list[MediaType] = field(name="media-types")


class VersionList(Struct):
    values: list[Version]


class Versions(Struct):
    versions: VersionList


class OneVersion(Struct):
    version: Version


class Options(Struct, omit_defaults=True, frozen=True):
    """`immutable`: nobody may change or delete it."""

    immutable: bool = False


class User(Struct):
    id: str
    name: str
    domain_id: str
    enabled: bool
    description: str
    email: str
    links: Links
    default_project_id: str | UnsetType = UNSET
    password_expires_at: None = None
    options: Options = Options()


class OneUser(Struct):
    user: User


class Users(Struct):
    users: list[User]
    links: ListLinks


class Project(Struct):
    id: str
    name: str
    domain_id: str
    parent_id: str
    enabled: bool
    description: str
    tags: list[str]
    links: Links
    is_domain: bool = False
    options: Options = Options()


class OneProject(Struct):
    project: Project


class Projects(Struct):
    projects: list[Project]
    links: ListLinks


class Tags(Struct):
    tags: list[str]


class Domain(Struct):
    id: str
    name: str
    enabled: bool
    description: str
    links: Links
    tags: list[str] = []
    options: Options = Options()


class OneDomain(Struct):
    domain: Domain


class Domains(Struct):
    domains: list[Domain]
    links: ListLinks


class Role(Struct):
    id: str
    name: str
    description: str
    links: Links
    options: Options
    domain_id: None = None


class OneRole(Struct):
    role: Role


class Roles(Struct):
    roles: list[Role]
    links: ListLinks


class Groups(Struct):
    """There are none."""

    groups: list[dict[str, Any]]
    links: ListLinks


class Credential(Struct):
    """Of an application. `secret` is shown when it is made, and never again."""

    id: str
    name: str
    description: str
    user_id: str
    project_id: str
    roles: list["NamedRole"]
    unrestricted: bool
    expires_at: str | None
    links: Links
    secret: str | UnsetType = UNSET
    access_rules: list[dict[str, Any]] = []
    system: None = None


class OneCredential(Struct):
    application_credential: Credential


class Credentials(Struct):
    application_credentials: list[Credential]
    links: ListLinks


class NamedDomain(Struct):
    id: str
    name: str


class NamedRole(Struct):
    """The name where names are asked for."""

    id: str
    name: str | UnsetType = UNSET


class Owned(Struct):
    """Name and domain where names are asked for, and it has them."""

    id: str
    name: str | UnsetType = UNSET
    domain: NamedDomain | UnsetType = UNSET


class AssignmentScope(Struct):
    """One of the three."""

    project: Owned | UnsetType = UNSET
    domain: Owned | UnsetType = UNSET
    system: dict[str, bool] | UnsetType = UNSET


class AssignmentLinks(Struct):
    assignment: str


class Assignment(Struct):
    user: Owned
    role: NamedRole
    scope: AssignmentScope
    links: AssignmentLinks


class Assignments(Struct):
    role_assignments: list[Assignment]
    links: ListLinks


class SystemScopes(Struct):
    system: list[dict[str, bool]]
    links: ListLinks


class CatalogueEndpoint(Struct):
    id: str
    interface: str
    region: str
    region_id: str
    url: str


class CatalogueEntry(Struct):
    id: str
    type: str
    name: str
    endpoints: list[CatalogueEndpoint]


class ShownCatalogue(Struct):
    catalog: list[CatalogueEntry]
    links: ListLinks


class TokenUser(Struct):
    id: str
    name: str
    domain: NamedDomain
    password_expires_at: None = None


class TokenProject(Struct):
    id: str
    name: str
    domain: NamedDomain


class TokenCredential(Struct):
    """The application credential that the token was got by."""

    id: str
    name: str
    restricted: bool


class Token(Struct):
    """`project`, `domain` or `system` is what it is for; none of them in an unscoped one."""

    methods: list[str]
    user: TokenUser
    audit_ids: list[str]
    issued_at: str
    expires_at: str
    project: TokenProject | UnsetType = UNSET
    is_domain: bool | UnsetType = UNSET
    domain: NamedDomain | UnsetType = UNSET
    system: dict[str, bool] | UnsetType = UNSET
    roles: list[NamedRole] | UnsetType = UNSET
    catalog: list[CatalogueEntry] | UnsetType = UNSET
    application_credential: TokenCredential | UnsetType = UNSET


class OneToken(Struct):
    token: Token


class Service(Struct):
    id: str
    type: str
    name: str
    enabled: bool
    description: str
    links: Links


class OneService(Struct):
    service: Service


class Services(Struct):
    services: list[Service]
    links: ListLinks


class Endpoint(Struct):
    id: str
    service_id: str
    interface: str
    region: str
    region_id: str
    url: str
    enabled: bool
    links: Links


class OneEndpoint(Struct):
    endpoint: Endpoint


class Endpoints(Struct):
    endpoints: list[Endpoint]
    links: ListLinks


class Region(Struct):
    id: str
    description: str
    parent_region_id: None
    links: Links


class OneRegion(Struct):
    region: Region


class Regions(Struct):
    regions: list[Region]
    links: ListLinks
