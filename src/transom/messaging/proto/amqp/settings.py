# SPDX-License-Identifier: Apache-2.0
"""What a connection is opened with, and the bounds of what it takes.

Invariant: 0 in `frame_max`, `channel_max` means "as the server likes", up to our own ceilings. A
heartbeat of 0 on both sides means none; on one side, the other's.
"""

from dataclasses import dataclass, field
from typing import Literal

from transom.messaging.proto.amqp.wire import Table

Mechanism = Literal["PLAIN", "AMQPLAIN", "EXTERNAL"]

BODY_BYTES_MAX = 64 * 1024 * 1024
"""A larger body is passed over as it arrives, and told as Oversized."""
FRAME_MIN = 4096
"""Every peer must take frames of this size."""
FRAME_MAX = 131_072
CHANNEL_MAX = 2047
FRAME_CEILING = 1024 * 1024
"""We never agree to larger frames: they gain nothing, and each is kept whole in memory."""
CHANNEL_CEILING = 65_535

CAPABILITIES: Table = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "exchange_exchange_bindings": True,
    "publisher_confirms": True,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """`heartbeat_s`: a whole number, what we ask for. `client_properties`: what an operator sees,
    beside the capabilities, which are added. With EXTERNAL, name and password are not sent."""

    username: str = "guest"
    password: str = field(default="guest", repr=False)
    vhost: str = "/"
    mechanism: Mechanism = "PLAIN"
    heartbeat_s: int = 60
    frame_max: int = FRAME_MAX
    channel_max: int = CHANNEL_MAX
    client_properties: Table = field(default_factory=dict)
