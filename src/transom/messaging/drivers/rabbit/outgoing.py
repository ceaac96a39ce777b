# SPDX-License-Identifier: Apache-2.0
"""A message on its way out, and the route that it takes.

Invariant: `sent` is told once; afterwards it is None, the body is let go, and whoever still holds
the message passes it over.
"""

from collections import deque
from math import ceil, inf
from typing import TYPE_CHECKING

from transom.messaging.drivers.base import Kind, Sent
from transom.messaging.drivers.rabbit.names import Place
from transom.messaging.drivers.rabbit.topology import Topology
from transom.messaging.proto.amqp import Properties

if TYPE_CHECKING:
    from transom.messaging.drivers.rabbit.lane import Lane

EXPIRATION_MS_MAX = 4_294_967_295
PROPERTIES_MAX = 512


class Route:
    """Where messages of one address go. `generation`: of the declarations that it rests on.

    `checked`: whether somebody consumes is to be known before a mandatory message is sent;
    `fresh_until_s`: until when it is. Of replies there is one route for all, with a key each.
    """

    __slots__ = (
        "checked",
        "exchange",
        "expires",
        "fresh_until_s",
        "generation",
        "key",
        "lane",
        "place",
        "preparing",
        "topology",
        "waiting",
    )

    def __init__(self, kind: Kind, place: Place, topology: Topology, lane: "Lane") -> None:
        self.place = place
        self.topology = topology
        self.exchange = place.exchange
        self.key = place.key
        self.lane = lane
        self.expires = kind is not Kind.NOTIFICATION
        self.checked = kind is Kind.TOPIC or kind is Kind.SERVER
        self.fresh_until_s = 0.0
        self.generation = -1
        self.preparing = False
        self.waiting: deque[Outgoing] = deque()


class Outgoing:
    """One message. `in_doubt`: it was published on a link that broke before it was confirmed."""

    __slots__ = (
        "body",
        "deadline_s",
        "in_doubt",
        "key",
        "mandatory",
        "returned",
        "route",
        "sent",
        "size_bytes",
        "tries",
    )

    def __init__(
        self, route: Route, key: str, body: bytes, sent: Sent, deadline_s: float, mandatory: bool
    ) -> None:
        self.route = route
        self.key = key
        self.body = body
        self.size_bytes = len(body)
        self.sent: Sent | None = sent
        self.deadline_s = deadline_s
        self.mandatory = mandatory
        self.returned = False
        self.in_doubt = False
        self.tries = 0


class Labels:
    """The properties of what we send: one object for each lifetime, for the codec remembers its
    encoding."""

    def __init__(self, compression: str) -> None:
        """`compression`: the content type of packed bodies, or ""."""
        self._headers = {"compression": compression} if compression else {}
        self._lasting = self._made(None)
        self._made_of: dict[int, Properties] = {}

    def of(self, message: Outgoing, now_s: float) -> Properties:
        """With what is left of its time, in whole milliseconds, rounded up and at least 1."""
        if message.deadline_s == inf or not message.route.expires:
            return self._lasting
        left_ms = ceil((message.deadline_s - now_s) * 1000)
        properties = self._made_of.get(left_ms)
        if properties is None:
            if len(self._made_of) >= PROPERTIES_MAX:
                self._made_of.clear()
            text = str(min(max(left_ms, 1), EXPIRATION_MS_MAX))
            properties = self._made_of[left_ms] = self._made(text)
        return properties

    def _made(self, expiration: str | None) -> Properties:
        return Properties(
            content_type="application/json",
            content_encoding="utf-8",
            headers=self._headers,
            delivery_mode=2,
            priority=0,
            expiration=expiration,
        )
