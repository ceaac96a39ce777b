# SPDX-License-Identifier: Apache-2.0
"""Rows of other databases taken into the home's directory, as a value."""

from transom.queue.store import relay
from transom.queue.store.relay import Relayed
from transom.queue.store.verbs.verb import Tools, Verb
from transom.runtime.db.transaction import Transaction


class TakeRows(Verb, frozen=True, tag=True, array_like=True):
    """`generation`: of the store's lease, by which the rows were read."""

    store: str
    generation: int
    rows: tuple[Relayed, ...]

    async def run(self, tx: Transaction, tools: Tools) -> None:
        await relay.take(tx, self.store, self.generation, self.rows)
