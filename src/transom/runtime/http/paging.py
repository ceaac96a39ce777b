# SPDX-License-Identifier: Apache-2.0
"""Pages by marker and limit, as the OpenStack APIs have them.

Invariant: a limit is never more than the bound, so a page's cost is bounded whatever is asked.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote_plus

from transom.errors import BadRequest

_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")


def parsed_limit(query: Mapping[str, str], *, default: int, most: int) -> int:
    """The limit that a query asks for. One over `most` is refused, not cut. Raises: BadRequest."""
    text = query.get("limit")
    if text is None:
        return default
    if text.isascii() and text.isdecimal() and len(text) <= 18 and 1 <= int(text) <= most:
        return int(text)
    raise BadRequest(f"limit has to be a whole number from 1 to {most}.")


def next_link(path: str, query: Mapping[str, str], *, marker: str) -> str:
    """The path with the query of this page, but with the next marker."""
    fields = {**query, "marker": marker}
    pairs = [f"{_quoted(name)}={_quoted(value)}" for name, value in fields.items()]
    return f"{path}?{'&'.join(pairs)}"


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote_plus(text)
