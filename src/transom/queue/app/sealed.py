# SPDX-License-Identifier: Apache-2.0
"""Sealed bodies between the store and those who may see them.

Invariant: between processes a body of an encrypted queue is sealed. What is posted is sealed before
it leaves the process that has the door; what is read is opened in it, at last.
"""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import msgspec

from transom.queue.logic.attributes import attributes_of
from transom.queue.model import BodyLocked, Message, Place
from transom.queue.store import project_keys, queues
from transom.queue.store.letters import OPENED, Arriving
from transom.queue.store.project_keys import ProjectKey
from transom.queue.store.stores import Store
from transom.queue.store.verbs.catalogue import Once
from transom.queue.store.verbs.letters import Arrive
from transom.queue.store.verbs.messages import Post
from transom.queue.store.verbs.project_keys import HaveProjectKey
from transom.queue.store.verbs.verb import WriteVerb
from transom.runtime.db.transaction import Transaction
from transom.runtime.ids import Randomness

T = TypeVar("T")


async def opened(store: Store, project_id: str, messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages with their bodies plain. Raises: BodyLocked if one of them does not open."""
    keyring = store.keyring
    plain = project_keys.opened_at_hand(keyring, project_id, messages)
    if plain is None:
        plain = await store.database.read(
            lambda tx: project_keys.opened(tx, keyring, project_id, messages)
        )
    return tuple(plain)


async def arriving(
    store: Store, project_id: str, leaving: Sequence[Arriving]
) -> tuple[Arriving, ...]:
    """What departs from this store, for another one: what is sealed here is opened, and marked to
    be sealed there. Raises: BodyLocked.
    """
    sealed = [one for one in leaving if one.key_generation is not None]
    if not sealed:
        return tuple(leaving)
    kept = [
        Message(one.id, one.body, 0, 0, None, 0, key_generation=one.key_generation)
        for one in sealed
    ]
    bodies = {one.id: one.body for one in await opened(store, project_id, kept)}
    return tuple(
        one
        if one.key_generation is None
        else msgspec.structs.replace(one, body=bodies[one.id], key_generation=OPENED)
        for one in leaving
    )


async def fit_to_leave(
    store: Store, now_ms: int, verb: WriteVerb[T], random: Randomness
) -> WriteVerb[T]:
    """The verb with the bodies in it sealed that the store would seal.

    What reads the queue here may be a moment behind: a body that is posted while encryption is
    being switched on goes over the bus as it is, and is sealed where it is stored.
    Raises: BodyLocked.
    """
    inner: Any = verb.verb if isinstance(verb, Once) else verb
    place = verb.place
    if isinstance(inner, Post):
        if not await store.database.read(lambda tx: _encrypts(tx, place)):
            return verb
        key = await _key(store, now_ms, place)
        inner = msgspec.structs.replace(inner, messages=key.sealed(inner.messages, random))
    elif isinstance(inner, Arrive) and any(one.key_generation == OPENED for one in inner.arriving):
        key = await _key(store, now_ms, place)
        inner = msgspec.structs.replace(
            inner, arriving=tuple(_sealed(key, one, random) for one in inner.arriving)
        )
    else:
        return verb
    away: Any = inner
    if isinstance(verb, Once):
        away = msgspec.structs.replace(verb, verb=inner)
    return cast(WriteVerb[T], away)


def _sealed(key: ProjectKey, one: Arriving, random: Randomness) -> Arriving:
    if one.key_generation != OPENED:
        return one
    body = key.sealed_body(one.body, random)
    return msgspec.structs.replace(one, body=body, key_generation=key.generation)


async def _encrypts(tx: Transaction, place: Place) -> bool:
    metadata = await queues.metadata_of(tx, place)
    return metadata is not None and attributes_of(metadata).encrypt


async def _key(store: Store, now_ms: int, place: Place) -> ProjectKey:
    """What seals in the store now; it is made there if need be. Raises: BodyLocked."""
    for made in (False, True):
        key = await store.database.read(
            lambda tx: project_keys.latest(tx, now_ms, store.keyring, place.project_id)
        )
        if key is not None:
            return key
        if not made:
            await store.writer.write(HaveProjectKey(place))
    raise BodyLocked(detail="the key that was made is not there yet")
