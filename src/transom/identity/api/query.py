# SPDX-License-Identifier: Apache-2.0
"""Filters and pages in the query of a list. What is not known is not looked at, as in Keystone."""

from collections.abc import Mapping, Sequence
from typing import Any

from transom.errors import BadRequest
from transom.identity.api.answers import ListLinks
from transom.identity.model import Filter, GrantFilter, ScopeKind
from transom.runtime.http.paging import next_link, parsed_limit
from transom.runtime.http.route import Parameter

LIMIT_MOST = 1000
TAGS_MOST = 80
"""Of a project, and so of a filter: each is a condition, of which a database takes so many."""
_FALSE = {"0", "false", "no", "off"}
_TRUE = {"", "1", "true", "yes", "on"}

NAME = Parameter("name", "Only what has this name.")
ENABLED = Parameter("enabled", "Only what is enabled, or is not.", bool)
DOMAIN = Parameter("domain_id", "Only what is in this domain.")
PAGE = (
    Parameter("limit", f"At most so many, up to {LIMIT_MOST}; without it, all.", int),
    Parameter("marker", "Only what comes after the one with this id."),
)
TAGS = (
    Parameter("tags", "Only what has all of these tags.", list[str]),
    Parameter("tags-any", "Only what has one of these tags.", list[str]),
    Parameter("not-tags", "Only what has not all of these tags.", list[str]),
    Parameter("not-tags-any", "Only what has none of these tags.", list[str]),
)
GRANTS = (
    Parameter("user.id", "Only this user's."),
    Parameter("role.id", "Only those of this role."),
    Parameter("scope.project.id", "Only those on this project."),
    Parameter("scope.domain.id", "Only those on this domain."),
    Parameter("scope.system", "Only those on the system."),
    Parameter("include_names", "With the names.", bool),
    Parameter("effective", "Changes nothing: there are neither groups nor inherited roles.", bool),
)


def filter_of(query: Mapping[str, str]) -> Filter:
    """Raises: BadRequest."""
    return Filter(
        name=query.get("name"),
        enabled=flag(query, "enabled") if "enabled" in query else None,
        domain_id=query.get("domain_id"),
        marker=query.get("marker"),
        limit=parsed_limit(query, default=0, most=LIMIT_MOST) or None,
    )


def grants_of(query: Mapping[str, str]) -> GrantFilter | None:
    """None for what can't be, as the roles of a group. Raises: BadRequest."""
    if "group.id" in query or "scope.OS-INHERIT:inherited_to" in query:
        return None
    user_id, role_id = query.get("user.id", ""), query.get("role.id", "")
    scopes = {
        ScopeKind.PROJECT: query.get("scope.project.id"),
        ScopeKind.DOMAIN: query.get("scope.domain.id"),
        ScopeKind.SYSTEM: None if "scope.system" not in query else "all",
    }
    given = {kind: place_id for kind, place_id in scopes.items() if place_id is not None}
    if len(given) > 1:
        raise BadRequest("Ask for one scope: a project, a domain or the system.")
    for kind, place_id in given.items():
        return GrantFilter(user_id, role_id, kind, place_id)
    return GrantFilter(user_id, role_id)


def tags_of(query: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Raises: BadRequest."""
    tags = tuple(tag for tag in query.get(name, "").split(",") if tag)
    if len(tags) > TAGS_MOST:
        raise BadRequest(f"`{name}` names more than {TAGS_MOST} tags; ask for fewer.")
    return tags


def page_links(
    root: str, path: str, query: Mapping[str, str], only: Filter, found: Sequence[Any]
) -> ListLinks:
    """With a link to the next page if this one is full."""
    links = ListLinks(f"{root}/{path}")
    if only.limit is not None and len(found) == only.limit:
        links.next = next_link(f"{root}/{path}", query, marker=found[-1].id)
    return links


def flag(query: Mapping[str, str], name: str) -> bool:
    """A flag alone (`?include_names`) is true, an absent one false. Raises: BadRequest."""
    value = query.get(name, "false").lower()
    if value not in _TRUE | _FALSE:
        raise BadRequest(f"`{name}` is true or false.")
    return value in _TRUE
