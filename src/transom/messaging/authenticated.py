# SPDX-License-Identifier: Apache-2.0
"""Who sent the request that is being carried out.

    class Endpoint:
        async def refresh(self, context):
            if messaging.sender() != "scheduler.host1": ...

Invariant: it is set by the server around its endpoint, from what the bus vouches for, never from
what a message says.
"""

from contextvars import ContextVar
from typing import TYPE_CHECKING

from transom.messaging.drivers.base import Address, Delivery, Kind

if TYPE_CHECKING:
    from transom.messaging.transport import Transport

DELIVERY: ContextVar[Delivery | None] = ContextVar("transom_delivery", default=None)


def sender() -> str:
    """The authenticated party; "" where nobody vouches for one, and outside of endpoints."""
    delivery = DELIVERY.get()
    return "" if delivery is None else delivery.sender


def serves(transport: "Transport", topic: str) -> bool:
    """Whether the sender is one whose answer to a call to `topic` would be taken.

    Without security that is anybody; outside of endpoints nobody.
    """
    delivery = DELIVERY.get()
    return delivery is not None and transport.may_answer(delivery, Address(Kind.TOPIC, topic))
