# SPDX-License-Identifier: Apache-2.0
"""How the replies to one request are sent.

A reply refers to the delivery of its request, not to an address alone: who reads or guesses the
address of a neighbour can name it, but has not what the neighbour's request came under.
"""

from collections.abc import Callable

from transom.messaging.drivers.base import Address, Delivery, Driver, Kind, Sent

Answer = Callable[[bytes, Sent, float], None]
"""(body, told what became of it, deadline on the loop's clock): sends one reply, mandatory."""
Answering = Callable[[Delivery, str], Answer | None]
"""How a request is answered at the reply address that its envelope names.

None: the address is not its sender's, and the request is to be refused.
"""


def answering_anybody(driver: Driver) -> Answering:
    """Without security: whoever asks says where the replies go."""

    def answering(delivery: Delivery, reply_q: str) -> Answer:
        address = Address(Kind.REPLY, reply_q)

        def answer(body: bytes, sent: Sent, deadline_s: float) -> None:
            driver.send(address, body, sent, deadline_s=deadline_s, mandatory=True)

        return answer

    return answering
