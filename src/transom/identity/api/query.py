# SPDX-License-Identifier: Apache-2.0
"""Filters in the query of a list. What is not known is not looked at, as Keystone does."""

from collections.abc import Mapping

from transom.errors import BadRequest
from transom.identity.model import Filter

_FALSE = {"0", "false", "no", "off"}
_TRUE = {"", "1", "true", "yes", "on"}


def filter_of(query: Mapping[str, str]) -> Filter:
    """Raises: BadRequest."""
    return Filter(
        name=query.get("name"),
        enabled=flag(query, "enabled") if "enabled" in query else None,
        domain_id=query.get("domain_id"),
    )


def flag(query: Mapping[str, str], name: str) -> bool:
    """A flag alone (`?include_names`) is true, an absent one false. Raises: BadRequest."""
    value = query.get(name, "false").lower()
    if value not in _TRUE | _FALSE:
        raise BadRequest(f"`{name}` is true or false.")
    return value in _TRUE
