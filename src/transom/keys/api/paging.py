# SPDX-License-Identifier: Apache-2.0
"""Pages by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from transom.keys.api.shapes import Link
from transom.runtime.http.paging import next_link, parsed_limit
from transom.runtime.http.route import Call, Parameter

Text = Annotated[str, Meta(min_length=1)]
NAMED = Parameter("name", "Its name", Text, "path")


@dataclass(frozen=True, slots=True)
class Page:
    """What is asked for: `limit` of those whose names come after `after`."""

    call: Call[Any]
    after: str
    limit: int

    def links(self, names: Sequence[str]) -> list[Link]:
        """To the next page; none from one that is not full."""
        if len(names) < self.limit:
            return []
        return [Link("next", next_link(self.call.url_path, self.call.query, marker=names[-1]))]


def paging(most: int) -> tuple[Parameter, ...]:
    return (
        Parameter("marker", "Only those whose names come after this one"),
        Parameter("limit", "The most in one answer", Annotated[int, Meta(ge=1, le=most)]),
    )


def page_of(call: Call[Any], most: int) -> Page:
    """Raises: BadRequest."""
    limit = parsed_limit(call.query, default=most, most=most)
    return Page(call, call.query.get("marker", ""), limit)
