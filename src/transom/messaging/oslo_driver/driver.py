# SPDX-License-Identifier: Apache-2.0
"""What oslo.messaging calls: its driver interface over our engine.

Invariants:
1. Making one does no work: a service may make it, fork, and use it in every child, each with
   connections and a reply queue of its own.
2. Only oslo.messaging's exceptions leave it, or those that a remote endpoint raised, as its own
   rules (`allowed_remote_exmods`) have it.
"""

import os
import threading
import time
from collections.abc import Sequence
from math import inf
from typing import Any

import oslo_messaging
from oslo_messaging._drivers import base, common

from transom.errors import (
    MessageDeliveryFailure,
    MessageUndeliverable,
    MessagingError,
    MessagingTimeout,
)
from transom.messaging.drivers.base import Address, Kind
from transom.messaging.oslo_driver.engine import Engine
from transom.messaging.oslo_driver.green import maker
from transom.messaging.oslo_driver.listener import (
    Listener,
    NotificationListener,
    RequestListener,
)
from transom.messaging.oslo_driver.settings import register_missing, settings_of
from transom.messaging.oslo_driver.wire import bare, pack, seal

PREFETCH = 256


class TransomDriver(base.BaseDriver):
    """Registered as `transom` in `oslo.messaging.drivers`."""

    def __init__(
        self,
        conf: Any,
        url: Any,
        default_exchange: str | None = None,
        allowed_remote_exmods: Sequence[str] | None = None,
    ) -> None:
        """Raises: oslo's InvalidTransportURL."""
        super().__init__(conf, url, default_exchange, allowed_remote_exmods)
        register_missing(conf)
        self._settings = settings_of(conf, url)
        self._engines: dict[int, Engine] = {}
        self._locks: dict[int, threading.Lock] = {}

    def require_features(self, requeue: bool = False) -> None:
        """All of them are there."""

    def send(
        self,
        target: Any,
        ctxt: Any,
        message: dict[str, Any],
        wait_for_reply: bool | None = None,
        timeout: float | None = None,
        call_monitor_timeout: float | None = None,
        retry: int | None = None,
        transport_options: Any = None,
    ) -> Any:
        """See `BaseDriver.send`."""
        address = self._address(target)
        mandatory = bool(transport_options and transport_options.at_least_once)
        mandatory = mandatory and not target.fanout
        engine, until_s = self._engine(), self._until_s(retry)
        try:
            if not wait_for_reply:
                message["_unique_id"] = os.urandom(16).hex()
                body = seal(pack(message, ctxt))
                engine.hand_over(address, body, until_s=until_s, mandatory=mandatory)
                return None
            reply = engine.call(
                address,
                message,
                ctxt,
                timeout_s=timeout,
                monitor_s=call_monitor_timeout,
                until_s=until_s,
                mandatory=mandatory,
            )
        except MessagingError as error:
            raise _theirs(error, address, message) from error
        if reply.failure:
            raise common.deserialize_remote_exception(reply.failure, self._allowed_remote_exmods)
        return reply.value

    def send_notification(
        self,
        target: Any,
        ctxt: Any,
        message: dict[str, Any],
        version: float,
        retry: int | None = None,
    ) -> None:
        """See `BaseDriver.send_notification`."""
        topic, _, priority = target.topic.rpartition(".")
        address = Address(Kind.NOTIFICATION, topic, priority, self._exchange(target))
        message["_unique_id"] = os.urandom(16).hex()
        pack(message, ctxt)
        body = seal(message) if version == 2.0 else bare(message)
        try:
            self._engine().hand_over(address, body, until_s=self._until_s(retry))
        except MessagingError as error:
            raise _theirs(error, address, message) from error

    def listen(self, target: Any, batch_size: int, batch_timeout: float | None) -> Any:
        """See `BaseDriver.listen`."""
        exchange = self._exchange(target)
        addresses = [
            Address(Kind.TOPIC, target.topic, exchange=exchange),
            Address(Kind.SERVER, target.topic, target.server, exchange),
            Address(Kind.FANOUT, target.topic),
        ]
        listener = RequestListener(self._engine(), self._settings.prefetch)
        return self._listening(listener, addresses, batch_size, batch_timeout)

    def listen_for_notifications(
        self,
        targets_and_priorities: Any,
        pool: str | None,
        batch_size: int,
        batch_timeout: float | None,
    ) -> Any:
        """See `BaseDriver.listen_for_notifications`."""
        addresses = [
            Address(Kind.NOTIFICATION, target.topic, priority, self._exchange(target), pool or "")
            for target, priority in targets_and_priorities
        ]
        listener = NotificationListener(self._engine(), self._settings.prefetch)
        return self._listening(listener, addresses, batch_size, batch_timeout)

    def cleanup(self) -> None:
        """See `BaseDriver.cleanup`."""
        engine = self._engines.pop(os.getpid(), None)
        if engine is not None and not engine.thread.ended:
            engine.stop()

    def _listening(
        self,
        listener: Listener,
        addresses: Sequence[Address],
        batch_size: int,
        batch_timeout: float | None,
    ) -> Any:
        prefetch = self._settings.prefetch or max(PREFETCH, batch_size or 1)
        try:
            listener.listen(addresses, prefetch)
        except MessagingError as error:
            raise base.TransportDriverError(str(error)) from error
        return base.PollStyleListenerAdapter(listener, batch_size, batch_timeout)

    def _engine(self) -> Engine:
        """This process's own; made by whichever thread is first."""
        process = os.getpid()
        engine = self._engines.get(process)
        if engine is not None and not engine.ended:
            return engine
        # A lock of this process: the parent's may have been held when we were forked.
        with self._locks.setdefault(process, threading.Lock()):
            engine = self._engines.get(process)
            if engine is not None and not engine.ended:
                return engine
            if engine is not None:
                engine.stop()
            engine = Engine(self._settings.url)
            engine.start(maker())
            self._engines[process] = engine
            return engine

    def _exchange(self, target: Any) -> str:
        return target.exchange or self._default_exchange or ""

    def _address(self, target: Any) -> Address:
        if target.fanout:
            return Address(Kind.FANOUT, target.topic)
        if target.server:
            return Address(Kind.SERVER, target.topic, target.server, self._exchange(target))
        return Address(Kind.TOPIC, target.topic, exchange=self._exchange(target))

    def _until_s(self, retry: int | None) -> float:
        bound_s = self._settings.bound_s(retry)
        return inf if bound_s is None else time.monotonic() + bound_s


def _theirs(error: MessagingError, address: Address, message: Any) -> Exception:
    """oslo's exception for ours."""
    theirs: Exception
    match error:
        case MessagingTimeout():
            theirs = oslo_messaging.MessagingTimeout(error.text)
        case MessageUndeliverable():
            key = f"{address.name}.{address.part}" if address.part else address.name
            theirs = oslo_messaging.MessageUndeliverable(error, address.exchange, key, message)
        case MessageDeliveryFailure():
            theirs = oslo_messaging.MessageDeliveryFailure(error.text)
        case _:
            theirs = base.TransportDriverError(error.text)
    return theirs
