# SPDX-License-Identifier: Apache-2.0
"""The bus without a broker: `zmq:///run/folder`, or `zmq://host,host2/?key_file=...`.

In a folder that only we may enter, by ipc; or between hosts, by tcp under one bus key. Each process
binds one socket; who sends connects a link to it. Registries tell who serves what and are on no
message's way. What holds:

1. `send` returns when the peer's driver has the message, or raises; nothing is lost in silence.
   A message past its deadline is not delivered, so no restarted process meets old calls.
2. Nobody at a mandatory address is told at once, by a view that a registry has confirmed.
3. Every buffer is bounded by credits: who sends to a busy listener waits, until the deadline.
4. A copy of a fan-out that can't be handed over is logged and reported as a Gap; the others go on.
5. A notification with no listener anywhere is dropped, with a debug log: at most once.
6. Over tcp nothing is in clear, and who has not the bus key can't connect.

Picture: `driver` routes; `link` and `outbound` send; `receiver`, `inbound` and `inbox` take;
`registries` knows who is there; a place, `ipc` or `tcp`, makes sockets and tells who lives; `key`
and `seal` keep others out.
"""

from transom.messaging.drivers.zmq.driver import ZmqDriver
from transom.messaging.drivers.zmq.registry_server import RegistryServer, RegistrySnapshot

__all__ = ["RegistryServer", "RegistrySnapshot", "ZmqDriver"]
