# SPDX-License-Identifier: Apache-2.0
"""Dead letters on the wire."""

from typing import Annotated

from msgspec import Meta, Struct

from transom.queue.logic.letters import MOST_REDRIVEN, REDRIVEN


class Redrive(Struct):
    """The first `limit` dead letters of the queue, or those of `ids`.

    `to`: the queue they are moved to; absent: each goes where it came from.
    """

    limit: Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": MOST_REDRIVEN})] = (
        REDRIVEN
    )
    ids: Annotated[list[str], Meta(extra_json_schema={"minItems": 1})] | None = None
    to: str | None = None


class Redriven(Struct):
    """`left`: dead letters that are still in the queue, held ones among them."""

    moved: int
    left: int
