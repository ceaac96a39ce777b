# SPDX-License-Identifier: Apache-2.0
"""Every verb, and the one that wraps another for a request with an idempotency key."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, get_type_hints

import msgspec

from transom.node.once import Key, once
from transom.queue.model import Place
from transom.queue.store.verbs.claims import Reject, Release, ReleaseSome, Renew, Take, Touch
from transom.queue.store.verbs.deliveries import Advance, GiveUp, Postpone, SettleAsked, Trim
from transom.queue.store.verbs.letters import Arrive, Departed, Redrive
from transom.queue.store.verbs.many_claims import ReleaseMany, RenewMany, TakeMany
from transom.queue.store.verbs.messages import Delete, DeleteAnyway, Pop, Post
from transom.queue.store.verbs.probes import CreateProbe
from transom.queue.store.verbs.project_keys import (
    HaveProjectKey,
    RenewProjectKeys,
    SealAgain,
)
from transom.queue.store.verbs.queues import ChangeQueue, CreateQueue, DeleteQueue, PurgeQueue
from transom.queue.store.verbs.subscriptions import (
    ChangeSubscription,
    Confirm,
    Subscribe,
    Unsubscribe,
    UnsubscribeAll,
)
from transom.queue.store.verbs.verb import Tools, Verb
from transom.runtime.db.transaction import Transaction


class Once(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Another verb, for a request that has an idempotency key.

    `keep_nothing`: false where a claim of nothing is no answer yet, since its caller waits.
    """

    key: Key
    verb: CreateQueue | Post | Take | TakeMany | Touch | ReleaseSome | Reject | Redrive | Subscribe
    keep_nothing: bool = True

    @property
    def place(self) -> Place:
        return self.verb.place

    @property
    def moves(self) -> bool:
        return self.verb.moves

    @property
    def grows(self) -> bool:
        return self.verb.grows

    async def run(self, tx: Transaction, tools: Tools) -> tuple[bytes, bool]:
        """See `node.once`."""
        return await once(
            tx,
            tools.clock.now_ms(),
            self.key,
            lambda: self.verb.run(tx, tools),
            kept=lambda answer: self.keep_nothing or bool(answer[0]),
        )

    def rings(self, answer: tuple[bytes, bool], /) -> Sequence[Place]:
        """As the verb itself, the first time."""
        encoded, replayed = answer
        if replayed:
            return ()
        return self.verb.rings(_answer_of(type(self.verb))(encoded))


@cache
def _answer_of(kind: type[Verb]) -> Callable[[bytes], Any]:
    decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(
        get_type_hints(kind.run)["return"]  # type: ignore[attr-defined]
    ).decode
    return decode


AnyVerb = (
    CreateQueue
    | ChangeQueue
    | DeleteQueue
    | PurgeQueue
    | Post
    | Delete
    | DeleteAnyway
    | Pop
    | Take
    | Renew
    | Touch
    | Release
    | ReleaseSome
    | Reject
    | Redrive
    | Arrive
    | Departed
    | CreateProbe
    | HaveProjectKey
    | RenewProjectKeys
    | SealAgain
    | Subscribe
    | ChangeSubscription
    | Confirm
    | Unsubscribe
    | UnsubscribeAll
    | Advance
    | Postpone
    | GiveUp
    | SettleAsked
    | Trim
    | TakeMany
    | RenewMany
    | ReleaseMany
    | Once
)
