# SPDX-License-Identifier: Apache-2.0
"""From nouns to the bodies of answers. `root` is the public URL of `/identity/v3`.

Invariant: every link begins with the configured address, never with what a request's Host header
says, so no request can plant a foreign address in an answer that others may get from a cache.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET

from transom.identity import model
from transom.identity.api import answers
from transom.identity.model import BUILT_IN_ROLES, Grant, Named, ScopeKind

_SYSTEM = {"all": True}
_BEGINNING = datetime(1970, 1, 1)  # noqa: DTZ001 Keystone says no zone here, and means UTC


def version(root: str) -> answers.Version:
    """The description of the one version that there is."""
    return answers.Version(
        "v3.14",
        "stable",
        "2020-04-07T00:00:00Z",
        [answers.Link("self", f"{root}/")],
        [answers.MediaType("application/json", "application/vnd.openstack.identity-v3+json")],
    )


def token(found: model.Token, catalogue: list[dict[str, Any]] | None) -> answers.OneToken:
    """`catalogue` None leaves it out."""
    claims, target = found.claims, found.target
    home = found.user_domain
    shown = answers.Token(
        [str(method) for method in claims.methods],
        answers.TokenUser(found.user.id, found.user.name, answers.NamedDomain(home.id, home.name)),
        list(dict.fromkeys((claims.audit_id, claims.chain_id))),
        time_text(claims.issued_ms),
        time_text(claims.expires_ms),
    )
    if target is not None:
        _scope(shown, target)
        shown.roles = [answers.NamedRole(role.id, role.name) for role in found.roles]
        if catalogue is not None:
            shown.catalog = msgspec.convert(catalogue, list[answers.CatalogueEntry])
    if found.credential is not None:
        shown.application_credential = answers.TokenCredential(
            found.credential.id, found.credential.name, not found.credential.unrestricted
        )
    return answers.OneToken(shown)


def _scope(shown: answers.Token, target: model.Target) -> None:
    domain = None
    if target.domain is not None:
        domain = answers.NamedDomain(target.domain.id, target.domain.name)
    if target.project is not None and domain is not None:
        shown.project = answers.TokenProject(target.project.id, target.project.name, domain)
        shown.is_domain = False
    elif domain is not None:
        shown.domain = domain
    else:
        shown.system = _SYSTEM


def user(found: model.User, root: str) -> answers.User:
    return answers.User(
        id=found.id,
        name=found.name,
        domain_id=found.domain_id,
        enabled=found.enabled,
        description=found.description,
        email=found.email,
        default_project_id=found.default_project_id or UNSET,
        links=_links(root, "users", found.id),
    )


def project(found: model.Project, root: str) -> answers.Project:
    return answers.Project(
        id=found.id,
        name=found.name,
        domain_id=found.domain_id,
        parent_id=found.domain_id,
        enabled=found.enabled,
        description=found.description,
        tags=list(found.tags),
        links=_links(root, "projects", found.id),
    )


def domain(found: model.Domain, root: str) -> answers.Domain:
    return answers.Domain(
        id=found.id,
        name=found.name,
        enabled=found.enabled,
        description=found.description,
        links=_links(root, "domains", found.id),
    )


def role(found: model.Role, root: str) -> answers.Role:
    return answers.Role(
        id=found.id,
        name=found.name,
        description=found.description,
        links=_links(root, "roles", found.id),
        options=answers.Options(immutable=found.name in BUILT_IN_ROLES),
    )


def credential(
    found: model.ApplicationCredential, root: str, secret: str | None = None
) -> answers.Credential:
    """`secret` None leaves it out."""
    end = _BEGINNING + timedelta(microseconds=found.expires_us)
    return answers.Credential(
        id=found.id,
        name=found.name,
        description=found.description,
        user_id=found.user_id,
        project_id=found.project_id,
        roles=[answers.NamedRole(role.id, role.name) for role in found.roles],
        unrestricted=found.unrestricted,
        expires_at=end.isoformat() if found.expires_us else None,
        links=_links(root, f"users/{found.user_id}/application_credentials", found.id),
        secret=UNSET if secret is None else secret,
    )


def assignment(found: Grant, root: str, *, with_names: bool) -> answers.Assignment:
    def owned(noun: Named) -> answers.Owned:
        if not with_names:
            return answers.Owned(noun.id)
        home = answers.NamedDomain(noun.domain_id, noun.domain_name) if noun.domain_id else UNSET
        return answers.Owned(noun.id, noun.name, home)

    scope = answers.AssignmentScope(system=_SYSTEM)
    if found.target is not None:
        target = owned(found.target)
        on_project = found.kind is ScopeKind.PROJECT
        scope = (
            answers.AssignmentScope(project=target)
            if on_project
            else answers.AssignmentScope(domain=target)
        )
    place = "system" if found.target is None else f"{found.kind}s/{found.target.id}"
    return answers.Assignment(
        owned(found.user),
        answers.NamedRole(found.role.id, found.role.name if with_names else UNSET),
        scope,
        answers.AssignmentLinks(f"{root}/{place}/users/{found.user.id}/roles/{found.role.id}"),
    )


def list_links(root: str, path: str) -> answers.ListLinks:
    """Of a whole list, on one page."""
    return answers.ListLinks(f"{root}/{path}")


def listed(kind: Any, documents: Iterable[Mapping[str, Any]], root: str, plural: str) -> list[Any]:
    """Documents of the catalogue, each with its link, as `kind`."""
    linked = [
        {**document, "links": {"self": f"{root}/{plural}/{document['id']}"}}
        for document in documents
    ]
    found: Sequence[Any] = msgspec.convert(linked, list[kind])
    return list(found)


def time_text(at_ms: int) -> str:
    """As Keystone writes it: `2026-01-31T12:00:00.123000Z`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _links(root: str, plural: str, noun_id: str) -> answers.Links:
    return answers.Links(f"{root}/{plural}/{noun_id}")
