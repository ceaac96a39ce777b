# SPDX-License-Identifier: Apache-2.0
"""Calls and casts to the servers of a topic.

Invariants:
1. `call` answers or raises within its timeout, whatever the bus and the server do.
2. A request that is not marked idempotent is sent once. One that is may be sent again, within
   the deadline: where nobody was there, where it was not taken, and where nothing was heard.
3. The deadline travels with the request; no server of ours carries it out afterwards.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from transom.errors import (
    InvalidTarget,
    MessageDeliveryFailure,
    MessageUndeliverable,
    MessagingError,
    MessagingTimeout,
    VersionCapError,
)
from transom.messaging.drivers.base import Address, Kind, Sent
from transom.messaging.envelope import Reply, Request, encode_request
from transom.messaging.failure import error_of
from transom.messaging.proto.call import Call
from transom.messaging.target import Target
from transom.messaging.transport import Transport
from transom.messaging.version import compatible, parse_version
from transom.runtime.ids import new_hex

log = logging.getLogger(__name__)

RESENDS_MAX = 3  # after an eighth of the timeout, a quarter, and half of it, give or take
PAUSE_MIN_S = 0.05
PAUSE_MAX_S = 1.0


class Unset:
    """The mark of an argument left out, where None is a value."""


UNSET = Unset()


@dataclass(frozen=True, slots=True)
class Options:
    """How a client calls. `monitor_s`: give up once the server was silent that long (2 or more)."""

    timeout_s: float = 60.0
    version_cap: str | None = None
    idempotent: bool = False
    monitor_s: int | None = None


class Client:
    """Immutable; `to` derives another one."""

    def __init__(
        self,
        transport: Transport,
        target: Target,
        *,
        timeout_s: float = 60.0,
        version_cap: str | None = None,
        idempotent: bool = False,
        call_monitor_timeout_s: int | None = None,
    ) -> None:
        """Raises: InvalidTarget if the target names no topic, or a version is none; ValueError for
        a monitor timeout below 2 s, since servers beat in whole seconds.
        """
        if call_monitor_timeout_s is not None and call_monitor_timeout_s < 2:
            raise ValueError("call_monitor_timeout_s is at least 2")
        if not target.topic:
            raise InvalidTarget("a client needs a target with a topic")
        try:
            for version in (target.version, version_cap):
                parse_version(version or "1.0")
        except ValueError as error:
            raise InvalidTarget(str(error)) from error
        self._transport = transport
        self._target = target
        self._address = _address(target)
        self._counts = transport.counters.sent[target.topic]
        self._options = Options(timeout_s, version_cap, idempotent, call_monitor_timeout_s)

    @property
    def target(self) -> Target:
        return self._target

    def to(
        self,
        *,
        exchange: str | Unset | None = UNSET,
        topic: str | Unset = UNSET,
        namespace: str | Unset | None = UNSET,
        version: str | Unset | None = UNSET,
        server: str | Unset | None = UNSET,
        fanout: bool | Unset = UNSET,
        timeout_s: float | Unset = UNSET,
        version_cap: str | Unset | None = UNSET,
        idempotent: bool | Unset = UNSET,
        call_monitor_timeout_s: int | Unset | None = UNSET,
    ) -> "Client":
        """A client that differs in what is given."""
        target = self._target.to(
            **_given(
                exchange=exchange,
                topic=topic,
                namespace=namespace,
                version=version,
                server=server,
                fanout=fanout,
            )
        )
        options = replace(
            self._options,
            **_given(
                timeout_s=timeout_s,
                version_cap=version_cap,
                idempotent=idempotent,
                monitor_s=call_monitor_timeout_s,
            ),
        )
        return Client(
            self._transport,
            target,
            timeout_s=options.timeout_s,
            version_cap=options.version_cap,
            idempotent=options.idempotent,
            call_monitor_timeout_s=options.monitor_s,
        )

    def can_send_version(self, version: str | Unset | None = UNSET) -> bool:
        """Whether the cap allows the version (left out: the target's)."""
        asked = self._target.version if isinstance(version, Unset) else version
        if self._options.version_cap is None:
            return True
        if asked is None:
            return False
        return compatible(parse_version(self._options.version_cap), parse_version(asked))

    async def call(self, context: Mapping[str, Any], method: str, /, **args: Any) -> Any:
        """The answer of the method.

        Raises: MessagingTimeout, MessageUndeliverable (nobody there), MessageDeliveryFailure (not
        taken), NoSuchMethod, UnsupportedVersion, what the endpoint raised if it is one of ours
        that may return (`failure.RETURNING`), else RemoteError.
        """
        if self._target.fanout:
            raise InvalidTarget("a call has one answer; send to all servers with cast")
        self._check_version()
        loop, counts = asyncio.get_running_loop(), self._counts
        began_s, outcome = loop.time(), "failed"
        counts.in_flight += 1
        try:
            reply = await self._ask(context, method, args, began_s)
            outcome = "failed" if reply.failure is not None else "answered"
        except MessagingTimeout:
            outcome = "timeout"
            raise
        except MessageUndeliverable:
            outcome = "undeliverable"
            raise
        except MessageDeliveryFailure:
            outcome = "not-taken"
            raise
        finally:
            counts.in_flight -= 1
            counts.ended(outcome, loop.time() - began_s)
        if reply.failure is not None:
            raise error_of(reply.failure)
        return reply.result

    async def _ask(
        self, context: Mapping[str, Any], method: str, args: dict[str, Any], now_s: float
    ) -> Reply:
        options, transport = self._options, self._transport
        deadline_s = now_s + options.timeout_s
        resend_s, pauses = None, None
        if options.idempotent:
            pauses = self._pauses()
            if options.monitor_s is None:  # where it is monitored, silence ends the call
                resend_s = options.timeout_s / 2**RESENDS_MAX * self._jitter()

        def send(msg_id: str, sent: Sent) -> None:
            body = self._encoded(context, method, args, msg_id)
            transport.driver.send(self._address, body, sent, deadline_s=deadline_s, mandatory=True)

        call: Call[Reply] = Call(
            now_s,
            deadline_s,
            monitor_s=options.monitor_s,
            resend_s=resend_s,
            resends_max=RESENDS_MAX,
        )
        return await transport.calls.ask(self._address, send, call, pauses)

    async def survey(self, context: Mapping[str, Any], method: str, /, **args: Any) -> list[Any]:
        """What those servers of the topic answer that do so within the timeout, which it waits out.

        Failures are left out. Raises: MessageDeliveryFailure.
        """
        self._check_version()
        transport = self._transport
        deadline_s = asyncio.get_running_loop().time() + self._options.timeout_s
        everyone = _address(self._target.to(fanout=True))
        with transport.calls.gather(everyone) as (msg_id, replies):
            body = self._encoded(context, method, args, msg_id)
            await transport.send(everyone, body, deadline_s=deadline_s)
            await asyncio.sleep(deadline_s - asyncio.get_running_loop().time())
            return [reply.result for reply in replies if reply.failure is None]

    async def cast(self, context: Mapping[str, Any], method: str, /, **args: Any) -> None:
        """Sends and returns once the bus has taken it; it is carried out at most once a server.

        Raises: MessageDeliveryFailure.
        """
        self._check_version()
        deadline_s = asyncio.get_running_loop().time() + self._options.timeout_s
        body = self._encoded(context, method, args)
        try:
            await self._transport.send(self._address, body, deadline_s=deadline_s)
        except MessagingError:
            self._counts.cast("not-taken")
            raise
        self._counts.cast("taken")

    def post(self, context: Mapping[str, Any], method: str, /, **args: Any) -> None:
        """As `cast`, without waiting: what became of it is only logged."""
        self._check_version()
        body = self._encoded(context, method, args)
        deadline_s = asyncio.get_running_loop().time() + self._options.timeout_s
        self._transport.driver.send(self._address, body, self._posted, deadline_s=deadline_s)

    def _posted(self, error: MessagingError | None) -> None:
        self._counts.cast("taken" if error is None else "not-taken")
        if error is not None:
            log.info("message not taken", extra={"topic": self._target.topic, "reason": str(error)})

    def _check_version(self) -> None:
        if not self.can_send_version():
            raise VersionCapError(
                f"version {self._target.version} is above the cap {self._options.version_cap}"
            )

    def _pauses(self) -> Iterator[float]:
        """What to wait where a sending failed before the next one."""
        pause_s = PAUSE_MIN_S
        while True:
            yield pause_s * self._jitter()
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    def _jitter(self) -> float:
        """From 0.75 to 1.25."""
        return 0.75 + self._transport.random(1)[0] / 510

    def _encoded(
        self,
        context: Mapping[str, Any],
        method: str,
        args: dict[str, Any],
        msg_id: str | None = None,
    ) -> bytes:
        """Each sending has an id of its own, so a receiver tells it from a copy made on the way."""
        target = self._target
        return encode_request(
            Request(
                method=method,
                args=args,
                context=context,
                unique_id=new_hex(self._transport.random),
                namespace=target.namespace,
                version=target.version,
                msg_id=msg_id,
                reply_q=None if msg_id is None else self._transport.calls.reply_q,
                monitor_s=self._options.monitor_s,
            )
        )


def _address(target: Target) -> Address:
    topic = target.topic or ""
    if target.fanout:
        return Address(Kind.FANOUT, topic)
    exchange = target.exchange or ""
    if target.server:
        return Address(Kind.SERVER, topic, target.server, exchange)
    return Address(Kind.TOPIC, topic, exchange=exchange)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not isinstance(value, Unset)}
