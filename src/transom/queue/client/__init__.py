# SPDX-License-Identifier: Apache-2.0
"""A client of the queue, for asyncio; `transom.queue.client.blocking` is the same without it.

    async with client.connect() as queues:  # signs in as OS_CLOUD or the OS_* variables say
        jobs = queues.queue("jobs")
        await jobs.post({"photo": 1}, key="photo-1")
        await jobs.work(handle)  # `async def handle(message)`

Invariants:
1. A request that may be sent again is sent again while the server is away, within the client's
   patience; what changes something has an Idempotency-Key, so it is done once.
2. A message is deleted after its handler has returned, never before: it is handled at least once.
3. No part of the server is loaded, and aiohttp only when a connection is made.

Names are loaded when they are first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import transom.queue.client.blocking as blocking
    from transom.queue.client.errors import (
        BadRequest,
        Conflict,
        Ended,
        Forbidden,
        NotFound,
        QueueError,
        Refused,
        TooLarge,
        TooManyRequests,
        Unauthorized,
        Unavailable,
    )
    from transom.queue.client.queues import Claim, Queue, Queues, connect
    from transom.queue.client.shapes import DeadLetter, Message, New, Posted, Stats, Subscription
    from transom.queue.client.work import Later, Reject

_PLACES = {
    "errors": (
        "BadRequest Conflict Ended Forbidden NotFound QueueError Refused TooLarge TooManyRequests "
        "Unauthorized Unavailable"
    ),
    "queues": "Claim Queue Queues connect",
    "shapes": "DeadLetter Message New Posted Stats Subscription",
    "work": "Later Reject",
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names.split()}

__all__ = [
    "BadRequest",
    "Claim",
    "Conflict",
    "DeadLetter",
    "Ended",
    "Forbidden",
    "Later",
    "Message",
    "New",
    "NotFound",
    "Posted",
    "Queue",
    "QueueError",
    "Queues",
    "Refused",
    "Reject",
    "Stats",
    "Subscription",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "blocking",
    "connect",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "blocking":
        return import_module(f"{__name__}.blocking")
    place = _PLACE_OF.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{place}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
