# SPDX-License-Identifier: Apache-2.0
"""How much a project may have: as the configuration says, and for some projects otherwise.

Invariant: `Quotas.replace` changes all at once, so who reads in another thread sees the limits
before or after, and never a part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transom.queue.model import QuotaReached

if TYPE_CHECKING:
    from transom.queue.config import QueueConfig

LEEWAY_MS = 1000
LEEWAYS_MOST = 10_000
PARTS = 16
"""A project may use so small a part of what is left to it before the next count."""
FREE = 1 << 62


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one project; 0 is without limit. `bytes`: of message bodies."""

    queues: int = 0
    messages: int = 0
    bytes: int = 0
    subscriptions: int = 0

    @property
    def bound_messages(self) -> bool:
        return bool(self.messages or self.bytes)


class Quotas:
    """The limits of all projects. `usual`: of those of which nothing else is said."""

    def __init__(self, usual: Limits) -> None:
        self.usual = usual
        self._others: Mapping[str, Limits] = {}
        self.bound_messages = usual.bound_messages
        """Whether there is any project whose messages are bounded."""

    def of(self, project_id: str) -> Limits:
        return self._others.get(project_id, self.usual)

    def replace(self, others: Mapping[str, Limits]) -> None:
        """`others`: those of the projects that have limits of their own."""
        self._others = dict(others)
        self.bound_messages = self.usual.bound_messages or any(
            limits.bound_messages for limits in others.values()
        )


@dataclass(slots=True)
class _Left:
    limits: Limits
    until_ms: int
    messages: int
    bytes: int


class Leeway:
    """What projects may still post before it is counted again what they have, of one store."""

    def __init__(self) -> None:
        self._left: dict[str, _Left] = {}

    def covers(
        self, project_id: str, messages: int, body_bytes: int, now_ms: int, limits: Limits
    ) -> bool:
        """Whether it covers these; then there is less of it."""
        left = self._left.get(project_id)
        if left is None or left.limits != limits or not 0 <= left.until_ms - now_ms <= LEEWAY_MS:
            return False
        left.messages -= messages
        left.bytes -= body_bytes
        return left.messages >= 0 and left.bytes >= 0

    def saw(
        self, project_id: str, messages: int, body_bytes: int, now_ms: int, limits: Limits
    ) -> None:
        """So much it has now."""
        if len(self._left) >= LEEWAYS_MOST:
            self._left.clear()
        self._left[project_id] = _Left(
            limits,
            now_ms + LEEWAY_MS,
            (limits.messages - messages) // PARTS if limits.messages else FREE,
            (limits.bytes - body_bytes) // PARTS if limits.bytes else FREE,
        )


def usual(config: QueueConfig) -> Limits:
    return Limits(
        config.project_max_queues,
        config.project_max_messages,
        config.project_max_bytes,
        config.project_max_subscriptions,
    )


def check(what: str, have: int, more: int, most: int) -> None:
    """`most`: 0 is without limit. Raises: QuotaReached."""
    if most and more > 0 and have + more > most:
        raise QuotaReached(
            f"This project may have {most} {what} and has {have}; {more} more are too many. "
            "Delete some, or ask the operator for more."
        )
