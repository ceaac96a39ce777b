# SPDX-License-Identifier: Apache-2.0
"""Messages posted, deleted and popped, as values."""

from collections.abc import Sequence

from transom.queue.model import ClaimId, ClientId, Message, MessageId, NewMessage, Place
from transom.queue.store import messages, posts, project_keys
from transom.queue.store.posts import Batch, Posted
from transom.queue.store.verbs.verb import Tools, Verb
from transom.runtime.db.transaction import Transaction


class Post(Verb, frozen=True, tag=True, array_like=True):
    """`size_bytes`: of the request's whole body."""

    grows = True
    client_id: ClientId
    size_bytes: int
    messages: tuple[NewMessage, ...]

    async def run(self, tx: Transaction, tools: Tools) -> Posted:
        batch = Batch(self.messages, self.client_id, self.size_bytes)
        return await posts.post(tx, tools.clock.now_ms(), self.place, batch, tools)

    def rings(self, answer: Posted, /) -> Sequence[Place]:
        return (self.place,)


class Delete(Verb, frozen=True, tag=True, array_like=True):
    """`named`: None if no claim was named."""

    ids: tuple[MessageId, ...]
    named: tuple[ClaimId, ...] | None

    async def run(self, tx: Transaction, tools: Tools) -> int:
        now_ms = tools.clock.now_ms()
        return await messages.delete(tx, now_ms, self.place, self.ids, self.named)


class DeleteAnyway(Verb, frozen=True, tag=True, array_like=True):
    ids: tuple[MessageId, ...]

    async def run(self, tx: Transaction, tools: Tools) -> int:
        return await messages.delete_anyway(tx, self.place, self.ids)


class Pop(Verb, frozen=True, tag=True, array_like=True):
    limit: int

    async def run(self, tx: Transaction, tools: Tools) -> list[Message]:
        popped = await messages.pop(tx, tools.clock.now_ms(), self.place, self.limit)
        await project_keys.check(tx, tools.keyring, self.place.project_id, popped)
        return popped
