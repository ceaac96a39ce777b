# SPDX-License-Identifier: Apache-2.0
"""What fields of bodies mean for the nouns."""

from msgspec import UNSET, UnsetType

from transom.identity.app.tokens import Caller
from transom.identity.model import DEFAULT_DOMAIN


def changed(value: str | UnsetType | None) -> str | None:
    """None for a field that was not sent, "" for null."""
    if value is UNSET:
        return None
    return value or ""


def home_of(caller: Caller, given: str | None) -> str:
    """The domain of a new user or project: as said, else that of the caller's token."""
    return given or caller.context.domain_id or DEFAULT_DOMAIN.id
