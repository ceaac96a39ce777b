# SPDX-License-Identifier: Apache-2.0
"""Taking messages, and giving back what is not dealt with.

Invariant: whoever is cancelled while it takes holds nothing a moment later. What it was about to be
given is given back behind its back, as long as the client is open; what cannot be given back in
time ends by its ttl, as for one that died.
"""

import asyncio
import contextlib
from typing import Any, Protocol, TypeVar

from transom.queue.client import verbs
from transom.queue.client.errors import QueueError
from transom.queue.client.sender import Sender
from transom.queue.client.verbs import Request

GIVE_BACK_S = 5.0
WAITS_S = 1.0
"""A claim that has been under way for so long waits for messages. What such a one takes for a
caller that has hung up, the server gives back by itself."""


class Taken(Protocol):
    """What a claim gives, in whatever form."""

    @property
    def claim_id(self) -> str: ...


C = TypeVar("C", bound=Taken)


async def taken(sender: Sender, claim: Request[C | None]) -> C | None:
    """What there is to take; None if there is nothing. Raises: QueueError."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + (WAITS_S if claim.wait_s else GIVE_BACK_S)
    asking = asyncio.ensure_future(sender.send(claim))
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        sender.see_through(_returned(sender, claim, asking, until_s))
        raise


async def give_back(sender: Sender, claim: Request[Any], claim_id: str) -> None:
    """Frees all that the claim still holds."""
    with contextlib.suppress(QueueError, TimeoutError):  # it has ended, or ends by itself
        async with asyncio.timeout(GIVE_BACK_S):
            await sender.send(verbs.give_back(claim, claim_id))


async def _returned(
    sender: Sender, claim: Request[C | None], asking: "asyncio.Future[C | None]", until_s: float
) -> None:
    """Waits for what nobody wants any more; by then without an answer, it hangs up."""
    with contextlib.suppress(QueueError, TimeoutError):
        async with asyncio.timeout_at(until_s):
            found = await asking
        if found is not None:
            await give_back(sender, claim, found.claim_id)
