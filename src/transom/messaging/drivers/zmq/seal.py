# SPDX-License-Identifier: Apache-2.0
"""CURVE on sockets over tcp: everything is encrypted, and only the bus key's holders get in.

Invariant: fail closed. A bound socket asks the gate of its context about every client key; where
no gate answers, libzmq lets nobody in (ZAP_ENFORCE_DOMAIN).

Source: RFC 26 (CurveZMQ) and RFC 27 (ZAP) of zmq.
"""

import logging
import time

import zmq
import zmq.utils.z85

from transom.messaging.drivers.zmq.edge import EdgeSocket
from transom.messaging.drivers.zmq.key import BusKey
from transom.messaging.drivers.zmq.place import Context, Socket

log = logging.getLogger(__name__)

DOMAIN = b"transom"
LOG_EACH_S = 10.0
_GATE = "inproc://zeromq.zap.01"
# Not EVENT_HANDSHAKE_FAILED_NO_DETAIL: that is a peer that closed, as `tcp` does to see who lives.
_REFUSED_EVENTS = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH


def seal_client(socket: Socket, key: BusKey) -> None:
    """Before `socket` connects."""
    socket.setsockopt(zmq.CURVE_SERVERKEY, key.server.public)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, key.client.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, key.client.secret)


class Gate:
    """Lets in whose client key is the bus key's, to the one socket that it seals in a context."""

    def __init__(self, key: BusKey) -> None:
        self._key = key
        self._wanted = zmq.utils.z85.decode(key.client.public)
        self._failed = 0
        self._told_s = -LOG_EACH_S

    def open(self, context: Context, socket: Socket) -> None:
        """Seals the socket, which is bound after this."""
        self._socket = socket
        zap = context.socket(zmq.ROUTER)
        zap.bind(_GATE)
        self._zap = EdgeSocket(zap, self._asked)
        self._zap.open()
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._key.server.secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        monitor = socket.get_monitor_socket(_REFUSED_EVENTS)
        self._monitor = EdgeSocket(monitor, self._refused)
        self._monitor.open()

    def close(self) -> None:
        """Before the sealed socket is closed."""
        # Safety: see `edge.Dealer.close`.
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._zap.close(0)

    def _asked(self, parts: list[bytes]) -> None:
        if len(parts) != 9:
            log.warning("question to the gate of the bus that cannot be read")
            return
        caller, empty, version, request, domain, _, _, mechanism, client = parts
        ours = (version, domain, mechanism, client) == (b"1.0", DOMAIN, b"CURVE", self._wanted)
        verdict = (b"200", b"OK") if ours else (b"400", b"another key")
        self._zap.send(caller, empty, b"1.0", request, *verdict, b"", b"")

    def _refused(self, parts: list[bytes]) -> None:
        self._failed += 1
        now_s = time.monotonic()
        if now_s - self._told_s >= LOG_EACH_S:
            log.warning(
                "somebody who tried to enter the bus has another bus key, or none",
                extra={"count": self._failed},
            )
            self._told_s, self._failed = now_s, 0
