# SPDX-License-Identifier: Apache-2.0
"""The bus without a broker: `zmq:///run/folder`, ipc sockets in a folder that only we may enter.

Each process binds one socket; who sends connects a link to it. The registry tells who serves what
and is on no message's way. What holds:

1. `send` returns when the peer's driver has the message, or raises; nothing is lost in silence.
   A message past its deadline is not delivered, so no restarted process meets old calls.
2. Nobody at a mandatory address is told at once, by a view that the registry has confirmed.
3. Every buffer is bounded by credits: who sends to a busy listener waits, until the deadline.
4. A copy of a fan-out that can't be handed over is logged and reported as a Gap; the others go on.
5. A notification with no listener anywhere is dropped, with a debug log: at most once.

Picture: `driver` routes; `link` and `outbound` send; `receiver`, `inbound` and `inbox` take;
`registry_client` knows who is there; `folder` knows who lives.
"""

from transom.messaging.drivers.zmq.driver import ZmqDriver
from transom.messaging.drivers.zmq.registry_server import RegistryServer, RegistrySnapshot

__all__ = ["RegistryServer", "RegistrySnapshot", "ZmqDriver"]
