# SPDX-License-Identifier: Apache-2.0
"""Sends: each message along its route, on one of two lanes, until it is confirmed.

Invariants:
1. `sent` is told once: None when the broker has confirmed the message, MessageUndeliverable when
   it had nowhere to go (mandatory), MessageDeliveryFailure at the deadline or when refused.
2. What was unconfirmed when a link broke is sent again on the next one, the same bytes in the same
   order, while its deadline lasts: receivers know a copy by the id inside. What ends in doubt is
   reported as a Gap.
3. Messages to one address leave in order. Fan-out has a lane of its own: its exchanges vanish with
   their last listener, and a message to one that vanished ends the channel. What may have ended a
   channel is sent again alone (`doubts`): a refusal hits nobody else.
4. At most OPEN_MAX messages and OPEN_BYTES_MAX bytes wait or are unconfirmed.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from math import inf

from transom.errors import MessageDeliveryFailure, MessageUndeliverable, MessagingError
from transom.messaging.drivers.base import Address, Kind, Sent
from transom.messaging.drivers.rabbit.answers import Answers
from transom.messaging.drivers.rabbit.channel import ChannelLost
from transom.messaging.drivers.rabbit.declarer import Declarer
from transom.messaging.drivers.rabbit.delivery import CONTENT_TYPES, packed
from transom.messaging.drivers.rabbit.doubts import Doubts
from transom.messaging.drivers.rabbit.expiry import Expiry
from transom.messaging.drivers.rabbit.lane import Lane
from transom.messaging.drivers.rabbit.link import Link
from transom.messaging.drivers.rabbit.missing import Held
from transom.messaging.drivers.rabbit.options import Options
from transom.messaging.drivers.rabbit.outgoing import Labels, Outgoing, Route
from transom.messaging.drivers.rabbit.session import Session
from transom.messaging.drivers.rabbit.topology import for_sending

log = logging.getLogger(__name__)

OPEN_MAX = 50_000
OPEN_BYTES_MAX = 256 * 1024 * 1024
ROUTES_MAX = 20_000
FRESH_S = 1.0
ARRIVING_S = 0.5
ARRIVING_EACH_S = 0.05
EXPIRE_EACH_S = 0.005
DEAD_MAX = 1000
RETURNING_S = 2.0
RETURNING_EACH_S = 0.05


class Publisher:
    """`gap`: told when messages may have been lost. `session`: makes the links."""

    def __init__(
        self, options: Options, gap: Callable[[], None], session: Callable[[], Session]
    ) -> None:
        self._options = options
        self._gap = gap
        self._session = session
        self._loop = asyncio.get_running_loop()
        labels = Labels(CONTENT_TYPES.get(options.kombu_compression, ""))
        self._calls = Lane(self, labels)
        self._fanouts = Lane(self, labels)
        self._doubts = Doubts(self, labels, self._again)
        self._reopening: set[Lane] = set()
        self._routes: dict[Address, Route] = {}
        self._replies = self._route_of(Address(Kind.REPLY, "reply"))
        self._probes = self._route_of(Address(Kind.REPLY, "reply"))
        self._answers = Answers(self._send_held)
        self._declarer: Declarer | None = None
        self._generation = 0
        self._links = 0
        self._forgiving_until_s = -inf
        self._open = 0
        self._open_bytes = 0
        self._empty = asyncio.Event()
        self._expiry = Expiry()
        self._dead = 0
        self._wake_s = inf
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def up(self, link: Link) -> None:
        """A new link. Raises: ChannelLost."""
        self._generation += 1
        self._links += 1
        if self._links > 1:
            # Peers come back at the same time as we do: who is not there yet may be in a moment.
            self._forgiving_until_s = self._loop.time() + RETURNING_S
        self._declarer = Declarer(link)
        for lane in (self._calls, self._fanouts):
            await lane.open(link)
        for route in self._routes.values():
            if route.waiting:
                self._prepare(route)

    def down(self) -> None:
        """The link is lost; what waits goes on waiting."""
        self._declarer = None
        self._doubts.forgive()

    def room(self) -> None:
        """The link can be written to again."""
        self._calls.pump()
        self._fanouts.pump()
        self._doubts.lane.pump()

    def send(
        self, address: Address, body: bytes, sent: Sent, *, deadline_s: float, mandatory: bool
    ) -> None:
        """As the driver's."""
        now_s = self._loop.time()
        refused = self._refusal(body, deadline_s, now_s)
        if refused:
            sent(MessageDeliveryFailure(detail=refused))
            return
        if self._options.kombu_compression:
            body = packed(body, self._options.kombu_compression)
        if address.kind is Kind.REPLY:
            name = address.name
            if mandatory and self._answers.in_line(name, body, deadline_s):
                sent(MessageUndeliverable(detail=f"the caller's queue {name[:80]} is missing"))
                return
            route = self._replies
        else:
            route = self._routes.get(address) or self._new_route(address)
            name = route.key
        message = Outgoing(route, name, body, sent, deadline_s, mandatory)
        self._opened(message)
        if route is self._replies or (
            route.generation == self._generation
            and not route.waiting
            and not (mandatory and route.checked and now_s >= route.fresh_until_s)
        ):
            route.lane.send(message)
        else:
            route.waiting.append(message)
            self._prepare(route)

    async def drain(self, within_s: float) -> None:
        """Returns when no message is open, or after `within_s`; then all end."""
        try:
            async with asyncio.timeout(within_s):
                while self._open:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            log.warning("messages given up at stop", extra={"messages": self._open})
        self._stopped = True
        for message in list(self._messages()):
            self.finish(message, MessageDeliveryFailure(detail="the transport was stopped"))
        self._answers.stop()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    def finish(self, message: Outgoing, error: MessagingError | None) -> None:
        """Tells the sender. Idempotent."""
        sent, message.sent = message.sent, None
        if sent is None:
            return
        message.body = b""
        self._open -= 1
        self._open_bytes -= message.size_bytes
        if not self._open:
            self._empty.set()
        if error is None and message.route is self._replies:
            self._answers.arrived(message.key)
        sent(error)

    def unroutable(self, message: Outgoing) -> None:
        """The broker has no queue for it."""
        if message.sent is None:
            return
        now_s = self._loop.time()
        route = message.route
        if route is self._replies:
            self._answers.missing(message.key, message.body, message.deadline_s)
        elif route is not self._probes and now_s < self._forgiving_until_s:
            route.waiting.append(message)
            route.fresh_until_s = 0.0
            self._loop.call_later(RETURNING_EACH_S, self._prepare, route)
            return
        self.finish(message, MessageUndeliverable(detail=f"no queue takes {message.key[:80]!r}"))

    def lane_lost(self, lane: Lane, lost: ChannelLost, pending: list[Outgoing]) -> None:
        """What is open on the lane goes back to its routes, in order."""
        if lost.code:
            log.warning("channel closed by the broker", extra={"reason": lost.detail})
            pending = [message for message in pending if message.sent is not None]
            for message in pending:
                message.tries += 1
            self._doubts.suspect(lost, pending)
        self._again(lane, lost, pending)

    def _again(self, lane: Lane, lost: ChannelLost, pending: list[Outgoing]) -> None:
        self._generation += 1
        doubtful = self._doubts.lane
        again = [message for message in pending if message.sent is not None]
        for message in again:
            message.in_doubt = True
            if lost.code and message.route.lane is doubtful and self._declarer is not None:
                self._declarer.forget(message.route.topology)
        again += [message for message in lane.waiting if message.sent is not None]
        lane.waiting.clear()
        back: dict[Route, deque[Outgoing]] = {}
        for message in again:
            back.setdefault(message.route, deque()).append(message)
        for route, messages in back.items():
            if route is self._replies or route is self._probes:
                route.lane.waiting.extend(messages)
            else:
                messages.extend(route.waiting)
                route.waiting = messages
        doubtful.pump()
        if self._declarer is not None and lost.code:
            for one in {lane, doubtful} - self._reopening:
                if not one.is_open:
                    self._reopening.add(one)
                    self._spawn(self._reopen(one))

    async def _reopen(self, lane: Lane) -> None:
        declarer = self._declarer
        if declarer is None:
            self._reopening.discard(lane)
            return
        try:
            await lane.open(declarer.link)
        except ChannelLost as lost:
            declarer.link.give_up(f"no channel: {lost.detail}")
            return
        finally:
            self._reopening.discard(lane)
        for route in self._routes.values():
            if route.waiting:
                self._prepare(route)

    def _prepare(self, route: Route) -> None:
        """What waits at the route leaves once the broker is known to have what it needs."""
        if not route.preparing and self._declarer is not None and not self._stopped:
            route.preparing = True
            self._spawn(self._prepared(route, self._declarer, self._generation))

    async def _prepared(self, route: Route, declarer: Declarer, generation: int) -> None:
        try:
            await declarer.declare(route.topology)
            if route.checked and any(message.mandatory for message in route.waiting):
                await self._check(route, declarer)
            route.generation = generation
        except ChannelLost as lost:
            if lost.code:
                self._refuse(route, lost)
        finally:
            route.preparing = False
        self._release(route)

    async def _check(self, route: Route, declarer: Declarer) -> None:
        """Whether anybody consumes. Without the queue the broker says it of each message."""
        asked_s = self._loop.time()
        patient_until_s = asked_s + ARRIVING_S
        consumers = await declarer.consumers(route.place.queue)
        while consumers == 0 and asked_s < patient_until_s:
            # A server declares its queue first and consumes a moment later.
            await asyncio.sleep(ARRIVING_EACH_S)
            asked_s = self._loop.time()
            consumers = await declarer.consumers(route.place.queue)
        route.fresh_until_s = asked_s + FRESH_S
        if consumers == 0 and asked_s >= self._forgiving_until_s:
            route.fresh_until_s = 0.0
            for message in list(route.waiting):
                if message.mandatory:
                    route.waiting.remove(message)
                    detail = f"nobody consumes {route.place.queue[:80]!r}"
                    self.finish(message, MessageUndeliverable(detail=detail))

    def _release(self, route: Route) -> None:
        if route.generation != self._generation:
            if route.waiting:
                self._prepare(route)
            return
        waiting, route.waiting = route.waiting, deque()
        for message in waiting:
            if message.sent is not None:
                route.lane.send(message)

    def _refuse(self, route: Route, lost: ChannelLost) -> None:
        log.warning("broker refuses a declaration", extra={"reason": lost.detail})
        waiting, route.waiting = route.waiting, deque()
        for message in waiting:
            self.finish(message, MessageDeliveryFailure(detail=str(lost.detail)))

    def _send_held(self, name: str, held: Held, sent: Sent) -> None:
        message = Outgoing(self._probes, name, held.body, sent, held.deadline_s, mandatory=True)
        self._opened(message)
        self._probes.lane.send(message)

    def _opened(self, message: Outgoing) -> None:
        self._open += 1
        self._open_bytes += message.size_bytes
        self._expiry.add(message)
        if message.deadline_s < self._wake_s:
            self._wake_at(message.deadline_s)

    def _refusal(self, body: bytes, deadline_s: float, now_s: float) -> str:
        if self._stopped:
            return "the transport was stopped"
        if now_s >= deadline_s:
            return "the deadline has passed before the message was sent"
        if self._open >= OPEN_MAX or self._open_bytes + len(body) > OPEN_BYTES_MAX:
            return "too many messages wait for the broker"
        return ""

    def _new_route(self, address: Address) -> Route:
        """Raises: ValueError if a name is too long."""
        if len(self._routes) >= ROUTES_MAX:
            self._routes = {key: route for key, route in self._routes.items() if route.waiting}
        route = self._routes[address] = self._route_of(address)
        return route

    def _route_of(self, address: Address) -> Route:
        place, topology = for_sending(address, self._options)
        lane = self._fanouts if address.kind is Kind.FANOUT else self._calls
        return Route(address.kind, place, topology, lane)

    def _messages(self) -> Iterator[Outgoing]:
        for lane in (self._calls, self._fanouts, self._doubts.lane):
            yield from lane.messages()
        for route in self._routes.values():
            yield from route.waiting

    def _wake_at(self, deadline_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wake_s = deadline_s
        self._timer = self._loop.call_at(deadline_s, self._expire)

    def _expire(self) -> None:
        """Ends what is at its deadline; the timer goes on to the next one."""
        self._timer = None
        self._wake_s = inf
        now_s = self._loop.time()
        late = self._expiry.due(now_s + EXPIRE_EACH_S / 2)
        for message in late:
            self.finish(message, self._late())
        self._dead += len(late)
        if self._dead > max(DEAD_MAX, self._open):
            self._bury()
        if any(message.in_doubt for message in late):
            self._gap()
        wake_s = self._expiry.wake_s()
        if wake_s < self._wake_s:
            self._wake_at(max(wake_s, now_s + EXPIRE_EACH_S))

    def _bury(self) -> None:
        """Lets go of what ended while it waited. Not at each: looking at all that waits is dear."""
        self._dead = 0
        lanes = (self._calls, self._fanouts, self._doubts.lane)
        for waiting in (
            *(one.waiting for one in lanes),
            *(one.waiting for one in self._routes.values()),
        ):
            left = [message for message in waiting if message.sent is not None]
            if len(left) < len(waiting):
                waiting.clear()
                waiting.extend(left)

    def _late(self) -> MessageDeliveryFailure:
        link = self._declarer.link if self._declarer is not None else None
        detail = "not taken by the deadline"
        if link is None:
            session = self._session()
            detail += f": the broker is away ({session.reason})"
            return MessageDeliveryFailure(session.refusal, detail=detail)
        if link.blocked:
            detail += f": the broker is blocked ({link.blocked})"
        return MessageDeliveryFailure(detail=detail)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work, name="rabbit-publisher")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
