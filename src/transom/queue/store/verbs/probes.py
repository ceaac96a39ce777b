# SPDX-License-Identifier: Apache-2.0
"""The queue that a store is tried with, as a value."""

from transom.queue.store import placing, queues
from transom.queue.store.verbs.verb import Tools, Verb
from transom.runtime.db.transaction import Transaction


class CreateProbe(Verb, frozen=True, tag=True, array_like=True):
    """Makes a queue in just this database, wherever queues are placed; nobody is to know of it."""

    async def run(self, tx: Transaction, tools: Tools) -> bool:
        await placing.admit_probe(tx, self.place)
        return await queues.create(tx, tools.clock.now_ms(), self.place, "{}")
