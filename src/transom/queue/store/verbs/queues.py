# SPDX-License-Identifier: Apache-2.0
"""Queues made, changed, given up and emptied, as values."""

from collections.abc import Sequence

import msgspec

from transom.queue.logic import attributes, patch
from transom.queue.logic.attributes import FLAVOR
from transom.queue.model import Change, InvalidAttribute, Place
from transom.queue.store import queues, usage
from transom.queue.store.verbs.verb import Tools, Verb
from transom.runtime.db.transaction import Transaction


class CreateQueue(Verb, frozen=True, tag=True, array_like=True):
    grows = True
    metadata: str

    async def run(self, tx: Transaction, tools: Tools) -> bool:
        created = await queues.create(tx, tools.clock.now_ms(), self.place, self.metadata)
        if created:
            await usage.check_queues(tx, self.place, tools)
        return created


class ChangeQueue(Verb, frozen=True, tag=True, array_like=True):
    """`changes`: JSON of a list of `Change`, since numbers in them may be of any size."""

    changes: bytes

    @classmethod
    def of(cls, place: Place, changes: Sequence[Change]) -> "ChangeQueue":
        return cls(place, msgspec.json.encode(changes))

    async def run(self, tx: Transaction, tools: Tools) -> tuple[str, bool]:
        """The metadata after all changes, and whether they are new."""
        changes = msgspec.json.decode(self.changes, type=list[Change])

        def change(before: str) -> str:
            metadata = msgspec.json.decode(before)
            flavor, after = metadata.get(FLAVOR), patch.patched(metadata, changes)
            if after.get(FLAVOR) != flavor:
                raise InvalidAttribute(
                    f"{FLAVOR} says where a queue is made, and cannot be changed; make another one."
                )
            return attributes.checked_text(self.place.name, after, tools.config)

        return await queues.update(tx, self.place, change)


class DeleteQueue(Verb, frozen=True, tag=True, array_like=True):
    async def run(self, tx: Transaction, tools: Tools) -> bool:
        return await queues.delete(tx, self.place)


class PurgeQueue(Verb, frozen=True, tag=True, array_like=True):
    async def run(self, tx: Transaction, tools: Tools) -> None:
        await queues.purge(tx, self.place)
