# SPDX-License-Identifier: Apache-2.0
"""A message at a server of oslo.messaging.

Invariants:
1. A request was acknowledged before it is here: it is carried out at most once. A notification is
   acknowledged, or goes back, when its endpoints have done with it.
2. A heartbeat after the answer fails, so that whoever still beats ends.
"""

import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from oslo_messaging import MessageDeliveryFailure
from oslo_messaging._drivers import base, common

from transom.errors import MessageUndeliverable, MessagingError
from transom.messaging.drivers.base import Address, Kind
from transom.messaging.oslo_driver.wire import Json, seal

if TYPE_CHECKING:
    from transom.messaging.oslo_driver.engine import Engine

log = logging.getLogger(__name__)
HEARTBEAT_S = 5.0


class Request(base.RpcIncomingMessage):
    """A call or a cast. `ctxt` holds what the stock driver puts there, `client_timeout` too."""

    def __init__(self, engine: "Engine", context: Json, message: Json) -> None:
        msg_id = message.pop("_msg_id", None)
        self._reply_q = message.pop("_reply_q", None)
        monitor_s = message.pop("_timeout", None)
        message.pop("_unique_id", None)
        context["client_timeout"] = monitor_s
        super().__init__(context, message, msg_id)
        self._msg_id = msg_id
        self.client_timeout = monitor_s
        self._engine = engine
        self._ended = not (msg_id and self._reply_q)

    def acknowledge(self) -> None:
        """It was, before it came here."""

    def requeue(self) -> None:
        """A request is carried out at most once."""

    def reply(self, reply: Any = None, failure: Any = None) -> None:
        """Hands the answer to the bus and goes on; a caller that is away costs nothing here."""
        if self._ended:
            return
        self._ended = True
        text = common.serialize_remote_exception(failure) if failure else None
        body = self._body(reply, text, ending=True)
        try:
            self._engine.answer(self._reply_q, body)
        except MessagingError as error:
            log.warning("answer not sent", extra={"reason": str(error)})

    def heartbeat(self) -> None:
        """Raises: MessageDeliveryFailure if the caller is away, or has its answer."""
        if self._ended:
            raise MessageDeliveryFailure("the call was answered")
        address = Address(Kind.REPLY, self._reply_q)
        try:
            self._engine.hand_over(
                address,
                self._body(None, None, ending=False),
                until_s=time.monotonic() + HEARTBEAT_S,
                mandatory=True,
            )
        except MessageUndeliverable as error:
            raise MessageDeliveryFailure("Heartbeat send failed. Missing queue") from error
        except MessagingError as error:
            raise MessageDeliveryFailure(str(error)) from error

    def _body(self, result: Any, failure: str | None, *, ending: bool) -> bytes:
        return seal(
            {
                "result": result,
                "failure": failure,
                "ending": ending,
                "_msg_id": self._msg_id,
                "_unique_id": os.urandom(16).hex(),
            }
        )


class Notification(base.IncomingMessage):
    """`settle` ends it: true, it is done with; false, it goes back."""

    def __init__(self, context: Json, message: Json, settle: Callable[[bool], None]) -> None:
        message.pop("_unique_id", None)
        for key in ("_msg_id", "_reply_q", "_timeout"):
            message.pop(key, None)
        context["client_timeout"] = None
        super().__init__(context, message)
        self._settle = settle

    def acknowledge(self) -> None:
        self._settle(True)

    def requeue(self) -> None:
        self._settle(False)
