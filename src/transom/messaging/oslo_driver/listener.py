# SPDX-License-Identifier: Apache-2.0
"""What oslo.messaging polls: requests to a server, notifications to a listener.

Invariants:
1. A request is acknowledged as it arrives, while fewer than `READY_MAX` wait to be polled; of the
   others at most `prefetch` are here, and go back to the bus if we stop.
2. A notification that is out when polling stops may still be settled; what nobody settled by
   `cleanup`, or was never polled, goes back.
3. What was carried out or acknowledged here is not given to anybody here again.

One thread polls.
"""

import logging
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from math import inf
from typing import Any

from oslo_messaging._drivers import base

from transom.errors import InvalidEnvelope, MessagingError
from transom.messaging.drivers.base import Address, Delivery, Subscription
from transom.messaging.loop_thread import Slot
from transom.messaging.oslo_driver.engine import Engine
from transom.messaging.oslo_driver.incoming import Notification, Request
from transom.messaging.oslo_driver.wire import unpack, unseal
from transom.messaging.proto.delivery import DuplicateWindow

log = logging.getLogger(__name__)

READY_MAX = 1000
CANCEL_S = 30.0
REMEMBERED_S = 3600.0


class Listener(base.PollStyleListener):
    """The part that both kinds share: what arrives, and who waits for it."""

    def __init__(self, engine: Engine, prefetch: int) -> None:
        super().__init__(prefetch)
        self._engine = engine
        self._ready: deque[Delivery] = deque()
        self._waiting: Slot[Any] | None = None
        self._stopped = False
        self._window = DuplicateWindow()
        self._subscription: Subscription | None = None

    def listen(self, addresses: Sequence[Address], prefetch: int) -> None:
        """Returns when served. Raises: MessagingError."""
        self._subscription = self._engine.listen(addresses, self._arrived, prefetch=prefetch)

    def poll(
        self,
        timeout: float | None = None,
        batch_size: int = 1,
        batch_timeout: float | None = None,
    ) -> list[Any]:
        """Up to `batch_size` messages: waits `timeout` for the first, `batch_timeout` after it for
        the others. After `stop` what is left, then nothing.
        """
        if self.prefetch_size > 0:
            batch_size = min(batch_size, self.prefetch_size)
        found: list[Any] = []
        until_s = inf if timeout is None else time.monotonic() + timeout
        while len(found) < batch_size:
            delivery = self._next(until_s)
            if delivery is None:
                break
            message = self._read(delivery)
            if message is None:
                continue
            found.append(message)
            if len(found) == 1:
                until_s = inf if batch_timeout is None else time.monotonic() + batch_timeout
        return found

    def stop(self) -> None:
        """Ends the polling."""
        self._stopped = True
        self._wake()

    def cleanup(self) -> None:
        """Everything was carried out: what is left goes back, answers leave."""
        self._cancel()
        self._engine.flush()

    def _next(self, until_s: float) -> Delivery | None:
        while True:
            if self._ready:
                return self._ready.popleft()
            if self._stopped:
                return None
            slot = self._engine.thread.new_slot()
            self._waiting = slot
            if self._ready or self._stopped:  # it came before we could be woken
                continue
            left_s = until_s - time.monotonic()
            if not self._engine.thread.wait(slot, None if left_s == inf else left_s):
                self._waiting = None
                if not self._ready:
                    return None

    def _wake(self) -> None:
        slot, self._waiting = self._waiting, None
        if slot is not None:
            slot.set()

    def _arrived(self, delivery: Delivery) -> None:
        self._ready.append(delivery)
        self._wake()

    @abstractmethod
    def _read(self, delivery: Delivery) -> Any: ...

    def _unsealed(self, delivery: Delivery) -> dict[str, Any] | None:
        try:
            return unseal(delivery.body)
        except InvalidEnvelope as error:
            log.warning("unreadable message dropped", extra={"reason": str(error)})
            return None

    def _cancel(self) -> None:
        """What was not acknowledged goes back."""
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        try:
            self._engine.thread.run(subscription.cancel, CANCEL_S)
        except MessagingError as error:
            log.warning("listening did not end in order", extra={"reason": str(error)})


class RequestListener(Listener):
    """At a topic, at one server of it, and at its fan-out."""

    def __init__(self, engine: Engine, prefetch: int) -> None:
        super().__init__(engine, prefetch)
        self._unacknowledged: set[int] = set()

    def stop(self) -> None:
        """Ends the polling; nobody is sent to us any more."""
        self._cancel()
        super().stop()

    def _arrived(self, delivery: Delivery) -> None:
        if len(self._ready) < READY_MAX:
            delivery.acknowledge()
        else:
            self._unacknowledged.add(id(delivery))
        super()._arrived(delivery)

    def _read(self, delivery: Delivery) -> Request | None:
        if id(delivery) in self._unacknowledged:
            self._unacknowledged.discard(id(delivery))
            if self._subscription is None:
                return None  # it has gone back
            self._engine.thread.post(delivery.acknowledge)
        if time.monotonic() >= delivery.deadline_s:
            log.info("request past its deadline dropped")
            return None
        message = self._unsealed(delivery)
        if message is None:
            return None
        unique_id = message.get("_unique_id")
        now_s = time.monotonic()
        until_s = min(delivery.deadline_s, now_s + REMEMBERED_S)
        if isinstance(unique_id, str) and not self._window.first(unique_id, now_s, until_s):
            log.info("duplicate request dropped")
            return None
        return Request(self._engine, unpack(message), message)


class NotificationListener(Listener):
    """At topics and priorities, in a pool."""

    def __init__(self, engine: Engine, prefetch: int) -> None:
        super().__init__(engine, prefetch)
        self._out = 0
        self._done: deque[str] = deque(maxlen=READY_MAX)

    def stop(self) -> None:
        """Ends the polling. Endpoints may still settle what they have; the rest goes back."""
        super().stop()
        self._ready.clear()
        if not self._out:
            self._cancel()

    def _read(self, delivery: Delivery) -> Notification | None:
        message = self._unsealed(delivery)
        unique_id = None if message is None else message.get("_unique_id")
        if message is None or (unique_id is not None and unique_id in self._done):
            self._post(delivery.acknowledge)
            return None
        self._out += 1

        def settle(done: bool) -> None:
            self._out -= 1
            if done and isinstance(unique_id, str):
                self._done.append(unique_id)
            self._post(delivery.acknowledge if done else delivery.requeue)

        return Notification(unpack(message), message, settle)

    def _post(self, verb: Any) -> None:
        try:
            self._engine.thread.post(verb)
        except MessagingError as error:
            log.warning("notification not settled", extra={"reason": str(error)})
