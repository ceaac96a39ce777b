# SPDX-License-Identifier: Apache-2.0
"""What travels between a file's owner and those who may not write it. See the package."""

from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

import msgspec

from transom import errors
from transom.errors import InternalError, MethodNotAllowed, TransomError, Unavailable
from transom.messaging.target import Target
from transom.messaging.transport import Transport
from transom.queue import model
from transom.queue.store.verbs.catalogue import Once
from transom.queue.store.verbs.claims import Take
from transom.queue.store.verbs.many_claims import TakeMany
from transom.queue.store.verbs.messages import Pop
from transom.queue.store.verbs.travelling import Here, Travelling

TOPIC = "queue.writes"
TARGET = Target(namespace="queue.writes", version="1.0")
PRIVATE_DRIVERS = frozenset({"zmq"})
"""The embedded bus: sockets in a folder that nobody else may enter."""


def topic_of(store: str) -> str:
    """That of the owner of the store's file. `store`: its name, the home's is ""."""
    return f"{TOPIC}.{store}" if store else TOPIC


def is_private(transport: Transport) -> bool:
    """Whether nobody but our own processes can be heard on this bus."""
    return transport.url.driver in PRIVATE_DRIVERS and not transport.url.hosts


class Failed(msgspec.Struct, frozen=True, tag="failed", array_like=True):
    """What a verb raised."""

    kind: str
    text: str
    detail: str
    retry_after_s: int


class Done(msgspec.Struct, frozen=True, tag="done", array_like=True):
    """What a verb answered, by the type that its class declares."""

    value: msgspec.Raw


encode = msgspec.msgpack.Encoder().encode
decode_verbs = msgspec.msgpack.Decoder(list[Travelling]).decode
decode_outcomes = msgspec.msgpack.Decoder(list[Failed | Done]).decode
_results: Mapping[type[Any], Callable[[msgspec.Raw], Any]] = {
    kind: msgspec.msgpack.Decoder(get_type_hints(kind.run)["return"]).decode
    for kind in get_args(Travelling)
    if kind is not Here
}
_KINDS: Mapping[str, type[TransomError]] = {
    kind.__name__: kind
    for module in (errors, model)
    for kind in vars(module).values()
    if isinstance(kind, type)
    and issubclass(kind, errors.CallerError | errors.InternalError | Unavailable)
    and not issubclass(kind, MethodNotAllowed)  # it has more to say, and no verb says it
}


def value_of(verb: Any, value: msgspec.Raw) -> Any:
    """What the verb answered, as it says that it does."""
    inner = verb.verb if isinstance(verb, Here) else verb
    return _results[type(inner)](value)


def failed(error: TransomError) -> Failed:
    known = (cls.__name__ for cls in type(error).__mro__ if _KINDS.get(cls.__name__) is cls)
    kind = next(known, InternalError.__name__)
    return Failed(kind, error.text, error.detail, getattr(error, "retry_after_s", 0))


def error_of(outcome: Failed) -> TransomError:
    """What was raised there, to be raised here."""
    kind = _KINDS.get(outcome.kind, InternalError)
    if issubclass(kind, Unavailable):
        retry_after_s = max(1, outcome.retry_after_s)
        return kind(outcome.text, retry_after_s=retry_after_s, detail=outcome.detail)
    return kind(outcome.text, detail=outcome.detail)


def messages_of(verb: Any) -> int:
    """How many messages come with its answer, at most."""
    while isinstance(verb, Once | Here):
        verb = verb.verb
    return verb.limit if isinstance(verb, Pop | Take | TakeMany) else 0
