# SPDX-License-Identifier: Apache-2.0
"""What a program holds under one claim, of one queue or of several.

Invariant: nothing here waits or sends. What is given is sent, in this order, and of each that was
answered `settled` is told.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from transom.queue.client import verbs
from transom.queue.client.shapes import Claimed, Message
from transom.queue.client.verbs import Reply, Request

Lost = list[str]
"""Ids of messages that the claim does not hold, or no longer."""
Step = tuple[list[str], Request[Lost]]
"""The ids of some messages, and what is sent about them."""


class Held:
    """The messages of a claim that are still to be dealt with."""

    def __init__(self, claimed: Claimed | None, queue: str = "") -> None:
        """`queue`: that of messages which do not say theirs."""
        self.id = "" if claimed is None else claimed.claim_id
        self.expires_at: datetime | None = None if claimed is None else claimed.expires_at
        self.messages = [] if claimed is None else list(claimed.messages)
        self._queue = queue

    def settled(self, ids: Sequence[str]) -> None:
        """They are deleted, free, or dead letters."""
        self.messages = [message for message in self.messages if message.id not in ids]

    def by_queue(self, messages: Sequence[Message]) -> dict[str, list[str]]:
        """Queue -> ids."""
        found: dict[str, list[str]] = {}
        for message in messages:
            found.setdefault(message.queue or self._queue, []).append(message.id)
        return found


def delete(held: Held, *messages: Message) -> list[Step]:
    """Deletes these; all are `*claim.messages`.

    Raises: BadRequest or Forbidden if the claim no longer holds them.
    """
    return [
        (ids, _told(verbs.delete_many(queue, ids, held.id), lambda nothing: []))
        for queue, ids in held.by_queue(messages).items()
    ]


def touch(held: Held, *messages: Message, ttl: int | None = None) -> list[Step]:
    """Holds these, or all, for another `ttl` seconds; gives the ids of those that are lost.

    Raises: NotFound if the claim has ended.
    """
    return [
        (ids, _told(verbs.touch(queue, held.id, ids, ttl), lambda touched: touched.lost))
        for queue, ids in held.by_queue(messages or held.messages).items()
    ]


def release(held: Held, *messages: Message, delay: int | None = None) -> list[Step]:
    """Frees these, or all, at once or after a delay; gives the ids of those that are lost.

    Raises: NotFound if the claim has ended.
    """
    return [
        (ids, _told(verbs.release(queue, held.id, ids, delay), lambda released: released.lost))
        for queue, ids in held.by_queue(messages or held.messages).items()
    ]


def reject(held: Held, *messages: Message, reason: str = "") -> list[Step]:
    """Moves these to the dead letters; gives the ids of those that are lost.

    Raises: NotFound if the claim has ended; Conflict if the queue has no dead letters.
    """
    return [
        (ids, _told(verbs.reject(queue, held.id, ids, reason), lambda rejected: rejected.lost))
        for queue, ids in held.by_queue(messages).items()
    ]


def _told(request: Request[verbs.T], lost: Callable[[verbs.T], Lost]) -> Request[Lost]:
    def read(reply: Reply) -> Lost:
        return lost(request.read(reply))

    return verbs.read_as(request, read)
