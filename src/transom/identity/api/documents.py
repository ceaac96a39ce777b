# SPDX-License-Identifier: Apache-2.0
"""Documents in answers. `root` is the public URL of `/identity/v3`.

Invariant: every link begins with the configured address, never with what a request's Host header
says, so no request can plant a foreign address in an answer that others may get from a cache.

Source: https://docs.openstack.org/api-ref/identity/v3/
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from transom.identity.model import DEFAULT_DOMAIN, Domain, Grant, Project, Role, Token, User

Document = dict[str, Any]
_DOMAIN = {"id": DEFAULT_DOMAIN.id, "name": DEFAULT_DOMAIN.name}


def version(root: str) -> Document:
    """The description of the one version that there is."""
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{root}/"}],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
        ],
    }


def token(found: Token, catalogue: list[Document] | None) -> Document:
    """`catalogue` None leaves it out."""
    claims = found.claims
    audit_ids = list(dict.fromkeys((claims.audit_id, claims.chain_id)))
    shown: Document = {
        "methods": [str(method) for method in claims.methods],
        "user": {
            "id": found.user.id,
            "name": found.user.name,
            "domain": _DOMAIN,
            "password_expires_at": None,
        },
        "audit_ids": audit_ids,
        "issued_at": time_text(claims.issued_ms),
        "expires_at": time_text(claims.expires_ms),
    }
    if found.project is not None:
        shown["project"] = {
            "id": found.project.id,
            "name": found.project.name,
            "domain": _DOMAIN,
        }
        shown["is_domain"] = False
        shown["roles"] = [{"id": role.id, "name": role.name} for role in found.roles]
        if catalogue is not None:
            shown["catalog"] = catalogue
    return {"token": shown}


def user(found: User, root: str) -> Document:
    shown: Document = {
        "id": found.id,
        "name": found.name,
        "domain_id": found.domain_id,
        "enabled": found.enabled,
        "description": found.description,
        "email": found.email,
        "password_expires_at": None,
        "options": {},
        "links": {"self": f"{root}/users/{found.id}"},
    }
    if found.default_project_id:
        shown["default_project_id"] = found.default_project_id
    return shown


def project(found: Project, root: str) -> Document:
    return {
        "id": found.id,
        "name": found.name,
        "domain_id": found.domain_id,
        "parent_id": found.domain_id,
        "is_domain": False,
        "enabled": found.enabled,
        "description": found.description,
        "tags": [],
        "options": {},
        "links": {"self": f"{root}/projects/{found.id}"},
    }


def role(found: Role, root: str) -> Document:
    return {
        "id": found.id,
        "name": found.name,
        "domain_id": None,
        "description": None,
        "options": {},
        "links": {"self": f"{root}/roles/{found.id}"},
    }


def domain(found: Domain, root: str) -> Document:
    return {
        "id": found.id,
        "name": found.name,
        "enabled": True,
        "description": "The domain of all users and projects",
        "tags": [],
        "options": {},
        "links": {"self": f"{root}/domains/{found.id}"},
    }


def assignment(found: Grant, root: str, *, with_names: bool) -> Document:
    def named(noun: User | Project | Role) -> Document:
        if not with_names:
            return {"id": noun.id}
        if isinstance(noun, Role):
            return {"id": noun.id, "name": noun.name}
        return {"id": noun.id, "name": noun.name, "domain": _DOMAIN}

    place = f"projects/{found.project.id}/users/{found.user.id}/roles/{found.role.id}"
    return {
        "user": named(found.user),
        "role": named(found.role),
        "scope": {"project": named(found.project)},
        "links": {"assignment": f"{root}/{place}"},
    }


def collection(name: str, documents: Iterable[Document], root: str, path: str) -> Document:
    """A whole list, on one page."""
    links = {"self": f"{root}/{path}", "previous": None, "next": None}
    return {name: list(documents), "links": links}


def time_text(at_ms: int) -> str:
    """As Keystone writes it: `2026-01-31T12:00:00.123000Z`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
