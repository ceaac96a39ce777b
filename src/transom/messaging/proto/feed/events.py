# SPDX-License-Identifier: Apache-2.0
"""What a replica is told, what it wants done, and how it stands.

Told: `Subscribed`, `ChangeSet`, `Part`, `Heard`, `Caught`, `Paged`, `Failed`, `Gap`, `Tick`.
Wants: `Apply`, `AskSince`, `AskSnapshot`, `Became`. Stands: `Loading`, `Live`, `Stale`.
"""

from dataclasses import dataclass

from transom.messaging.proto.feed.change import ChangeSet, Chunk, Cursor, Head, Part


@dataclass(frozen=True, slots=True)
class Subscribed:
    """From now on change sets and heartbeats arrive."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A heartbeat of the feed."""

    head: Head


@dataclass(frozen=True, slots=True)
class Caught:
    """The answer to AskSince. None: too old. `head` was read after the change sets."""

    request: int
    change_sets: tuple[ChangeSet, ...] | None
    head: Head


@dataclass(frozen=True, slots=True)
class Paged:
    """The answer to AskSnapshot. `head` was read after the chunk."""

    request: int
    chunk: Chunk
    head: Head


@dataclass(frozen=True, slots=True)
class Failed:
    """The request has no answer."""

    request: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Something may have been lost: the link broke, or a buffer of ours was full."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event = Subscribed | ChangeSet | Part | Heard | Caught | Paged | Failed | Gap | Tick


@dataclass(frozen=True, slots=True)
class Loading:
    """Nothing is known yet; which is not the same as an empty table."""


@dataclass(frozen=True, slots=True)
class Live:
    """The rows were verified `age_s` seconds ago, which is at most two heartbeats."""

    age_s: float


@dataclass(frozen=True, slots=True)
class Stale:
    """The rows were last verified at `since_s` on the monotonic clock; they stay as they are."""

    since_s: float


State = Loading | Live | Stale


@dataclass(frozen=True, slots=True)
class Apply:
    """Carry out all these changes as one; the rows then stand at the set's (epoch, n)."""

    change_set: ChangeSet


@dataclass(frozen=True, slots=True)
class AskSince:
    """Ask the feed for the change sets after (epoch, n)."""

    request: int
    epoch: int
    n: int
    limit: int


@dataclass(frozen=True, slots=True)
class AskSnapshot:
    """Ask the feed for the page of rows behind `after`."""

    request: int
    after: Cursor | None
    limit: int


@dataclass(frozen=True, slots=True)
class Became:
    """The kind of state changed to this one."""

    state: State


Effect = Apply | AskSince | AskSnapshot | Became
