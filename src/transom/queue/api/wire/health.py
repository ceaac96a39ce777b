# SPDX-License-Identifier: Apache-2.0
"""Health on the wire."""

from msgspec import UNSET, Struct, UnsetType


class ShownTried(Struct):
    """`ref`: what the server's log calls the failure."""

    succeeded: bool
    seconds: float
    ref: str | None


class ShownVolume(Struct):
    free: int
    claimed: int
    total: int


class ShownHealth(Struct, omit_defaults=True):
    """Of one store."""

    storage_reachable: bool
    operation_status: dict[str, ShownTried]
    message_volume: ShownVolume | UnsetType = UNSET
