# SPDX-License-Identifier: Apache-2.0
"""Pages by marker and limit, as the OpenStack APIs have them.

Invariant: a limit is never more than the bound, so a page's cost is bounded whatever is asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from transom.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Page:
    """What is asked for: at most `limit` items after `marker` (empty: from the start)."""

    limit: int
    marker: str


def parsed_page(query: Mapping[str, str], *, default: int, most: int) -> Page:
    """The page that a query asks for. A limit over `most` is refused, not cut.

    Raises: BadRequest.
    """
    return Page(parsed_limit(query, default=default, most=most), query.get("marker", ""))


def parsed_limit(
    query: Mapping[str, str], *, default: int, most: int, least: int = 1, name: str = "limit"
) -> int:
    """A whole number of a query, within its bounds (inclusive). Raises: BadRequest."""
    text = query.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdecimal() and len(text) <= 18 and least <= int(text) <= most:
        return int(text)
    raise BadRequest(f"{name} has to be a whole number from {least} to {most}.")


def next_link(path: str, query: Mapping[str, str], *, marker: str, limit: int | None = None) -> str:
    """The path with the query of this page, but with the next marker (and this limit, if given)."""
    fields = {**query, "marker": marker}
    if limit is not None:
        fields["limit"] = str(limit)
    return f"{path}?{urlencode(fields)}"
