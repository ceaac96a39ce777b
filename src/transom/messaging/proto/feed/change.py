# SPDX-License-Identifier: Apache-2.0
"""The nouns of a feed: a numbered log of change sets over the rows of some tables.

Invariants:
1. A position is (epoch, n). Epochs are ordered; within one, n counts change sets from 0 (nothing
   yet) without holes.
2. A change is a whole row or a deletion, so applying one twice is applying it once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

Key = tuple[str, ...]
Row = Mapping[str, Any]
Cursor = tuple[str, Key]


@dataclass(frozen=True, slots=True)
class Change:
    """One row as it is from now on; None: it is no more."""

    table: str
    key: Key
    row: Row | None


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What changed together: step `n` of the epoch."""

    epoch: int
    n: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """Where a feed stands. `digest`: the sum of the hashes of all its rows.

    `tables`: the same by table, so that who replicates only some can compare; None where the
    feed does not keep it (such a replica then compares n alone). `idle`: tables whose rows nobody
    keeps up to date at the moment. `schema`: the fingerprint of the schemas it is published under,
    empty where they are not told.
    """

    epoch: int
    n: int
    digest: int
    tables: Mapping[str, int] | None = None
    idle: frozenset[str] = frozenset()
    schema: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A page of a snapshot, in the order of (table, key), as the rows were at `n`.

    `after`: where the next page begins, exclusive; None: this was the last.
    """

    epoch: int
    n: int
    rows: tuple[Change, ...]
    after: Cursor | None


@dataclass(frozen=True, slots=True)
class Part:
    """Part `part` (from 0) of `parts` of change set `n`, which was too big for one message."""

    epoch: int
    n: int
    part: int
    parts: int
    changes: tuple[Change, ...]


PART_CHANGES = 1000
PART_BYTES = 1024 * 1024


def split(
    change_set: ChangeSet, part_changes: int = PART_CHANGES, part_bytes: int = PART_BYTES
) -> list[ChangeSet | Part]:
    """The change set itself if it is small, else its parts.

    A part has at most `part_changes` changes, and at most `part_bytes` but for its last row.
    """
    pieces: list[list[Change]] = [[]]
    size_bytes = 0
    for change in change_set.changes:
        if len(pieces[-1]) >= part_changes or size_bytes >= part_bytes:
            pieces.append([])
            size_bytes = 0
        pieces[-1].append(change)
        size_bytes += len(msgspec.json.encode(change.row))
    if len(pieces) == 1:
        return [change_set]
    epoch, n, parts = change_set.epoch, change_set.n, len(pieces)
    return [Part(epoch, n, part, parts, tuple(piece)) for part, piece in enumerate(pieces)]
