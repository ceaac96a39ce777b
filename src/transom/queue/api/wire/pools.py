# SPDX-License-Identifier: Apache-2.0
"""Pools and flavors on the wire."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from transom.queue.api.wire.documents import Link
from transom.queue.logic.placing import MOST_WEIGHT

Weight = Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": MOST_WEIGHT})]
"""How many new queues it takes, in proportion to others; 0 takes none."""
Uri = Annotated[str, Meta(min_length=1)]
"""`postgresql://user@host:port/database`, or `sqlite:NAME`."""


class NewPool(Struct):
    """A database that queues may be in. `options` are kept for their owner."""

    uri: Uri
    weight: Weight
    flavor: str | None = None
    options: dict[str, Any] | None = None


class ChangedPool(Struct):
    """What is to be changed of a pool; the rest stays."""

    uri: Uri | UnsetType = UNSET
    weight: Weight | UnsetType = UNSET
    flavor: str | UnsetType | None = UNSET
    options: dict[str, Any] | UnsetType | None = UNSET


class ShownPool(Struct, omit_defaults=True):
    """`uri`: without its password."""

    href: str
    name: str
    uri: str
    weight: int
    flavor: str | None
    options: dict[str, Any] | UnsetType = UNSET


class PoolPage(Struct):
    pools: list[ShownPool]
    links: list[Link]


class FlavorPools(Struct):
    """The pools of a flavor."""

    pool_list: Annotated[list[str], Meta(min_length=1)]


class ShownFlavor(Struct, omit_defaults=True):
    href: str
    name: str
    pool_list: list[str]
    capabilities: list[str] | UnsetType = UNSET


class FlavorPage(Struct):
    flavors: list[ShownFlavor]
    links: list[Link]
