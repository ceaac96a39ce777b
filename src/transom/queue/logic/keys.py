# SPDX-License-Identifier: Apache-2.0
"""Which messages of a post are new, and which are ones that were posted before with their keys.

Invariant: of several messages with one key the first is stored, or none if the queue knows the key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transom.queue.model import MessageId


@dataclass(frozen=True, slots=True)
class Sorted:
    """`fresh`: the places in the post of what is to be stored. `stands_for`: for each message, the
    place among the fresh that is it, or the id that it has already."""

    fresh: tuple[int, ...]
    stands_for: tuple[int | MessageId, ...]

    @property
    def duplicates(self) -> tuple[int, ...]:
        """The places of those that are not stored."""
        stored = set(self.fresh)
        return tuple(at for at in range(len(self.stands_for)) if at not in stored)

    def ids(self, fresh: Sequence[MessageId]) -> tuple[MessageId, ...]:
        """The id of each message. `fresh`: those of the stored ones."""
        return tuple(one if isinstance(one, MessageId) else fresh[one] for one in self.stands_for)


def sort_out(keys: Sequence[str | None], known: Mapping[str, MessageId]) -> Sorted:
    """`keys`: of each message of the post; `known`: what the queue has under them."""
    seen: dict[str, int | MessageId] = dict(known)
    fresh: list[int] = []
    stands_for: list[int | MessageId] = []
    for at, key in enumerate(keys):
        if key is not None and key in seen:
            stands_for.append(seen[key])
            continue
        if key is not None:
            seen[key] = len(fresh)
        stands_for.append(len(fresh))
        fresh.append(at)
    return Sorted(tuple(fresh), tuple(stands_for))
