# SPDX-License-Identifier: Apache-2.0
"""The fork server: a process that has imported everything, and becomes a role in milliseconds.

Run as `python -m transom.node.forkserver FD`; FD is one end of a SOCK_SEQPACKET pair. The first
packet is `{"preload": [modules], "path": [...], "grace_s": s}`; each later one is a `Charge` with
the role's line (see `channel`) and its listening sockets as descriptors. Answers: `{"loaded": n}`
(n threads) or `{"failed": "why"}` before its end, `{"id": n, "pid": p}` with a pidfd,
`{"pid": p, "code": c}` at an end (c < 0: signal).

Invariants:
1. It has a session of its own: Ctrl-C and the end of a terminal reach the supervisor alone.
2. pidfds are made before a process can be reaped: they never mean another process.
3. When the supervisor is gone (end of the line) it forks no more, gives its roles `grace_s` to
   drain, kills what is left, also what is stopped or stuck, and ends.
4. When the fork server itself is killed, the roles live on, and the supervisor still sees them end.

Why not `multiprocessing`'s: it runs `__main__` again in every role; it blocks the caller until the
preload is done (Measured: 0.5 s); when its server is killed it calls roles dead that live; killed
with its caller it leaves a folder in /tmp; and it brings a resource tracker (Measured: 6.8 MiB PSS)
that nothing here needs.
"""

import gc
import importlib
import json
import logging
import os
import selectors
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from transom.errors import ConfigError, StorageDamaged, TransomError
from transom.node.channel import Channel, encode_line

PACKET_BYTES_MOST = 65536
DESCRIPTORS_MOST = 64
PROBLEM_CHARACTERS_MOST = 2000
EXIT_CONFIG = 78


@dataclass(frozen=True, slots=True)
class Charge:
    """What a fork is to become. `entry`: "module:function"; `listeners`: names, in order."""

    id: int
    name: str
    entry: str
    listeners: tuple[str, ...]
    payload: bytes

    def encode(self) -> bytes:
        head = {
            "id": self.id,
            "name": self.name,
            "entry": self.entry,
            "listeners": self.listeners,
        }
        return encode_line(head) + self.payload

    @classmethod
    def decode(cls, packet: bytes) -> Self:
        head, _, payload = packet.partition(b"\n")
        fields = json.loads(head)
        return cls(
            fields["id"], fields["name"], fields["entry"], tuple(fields["listeners"]), payload
        )


@dataclass(frozen=True, slots=True)
class Seed:
    """What a fresh fork has got: its charge and its end of the line."""

    charge: Charge
    channel: Channel


class ForkServer:
    """The loop of the fork server's process."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._pids: dict[int, int] = {}  # pidfd -> pid
        self._grace_s = 0.0

    def serve(self) -> Seed | None:
        """Returns a `Seed` in each fork, and None in the server itself when it is done."""
        packet = self._control.recv(PACKET_BYTES_MOST)
        if not packet:
            return None
        self._preload(json.loads(packet))
        self._selector.register(self._control, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fd in self._pids:
                    self._reap(key.fd)
                    continue
                packet, descriptors = self._next()
                if not packet:
                    self._outlive_supervisor()
                    return None
                seed = self._fork(Charge.decode(packet), descriptors)
                if seed is not None:
                    return seed

    def _next(self) -> tuple[bytes, list[int]]:
        """An empty packet where the supervisor is no more."""
        try:
            packet, descriptors, _, _ = socket.recv_fds(
                self._control, PACKET_BYTES_MOST, DESCRIPTORS_MOST
            )
        except ConnectionResetError:  # killed before it had read what we told it
            return b"", []
        return packet, descriptors

    def _preload(self, first: dict[str, Any]) -> None:
        self._grace_s = first["grace_s"]
        sys.path[:] = first["path"]
        try:
            for module in first["preload"]:
                importlib.import_module(module)
        except Exception as error:  # Safety: told to who waits for it, and raised again
            self._tell({"failed": f"{type(error).__name__}: {error}"[:PROBLEM_CHARACTERS_MOST]})
            raise
        gc.collect()
        gc.freeze()  # the collector of a role must not touch, and so copy, what all share
        self._tell({"loaded": threading.active_count()})

    def _fork(self, charge: Charge, descriptors: list[int]) -> Seed | None:
        pid = os.fork()
        if pid == 0:
            self._selector.close()
            self._control.close()
            for pidfd in self._pids:
                os.close(pidfd)
            line, *rest = (socket.socket(fileno=descriptor) for descriptor in descriptors)
            listeners = dict(zip(charge.listeners, rest, strict=True))
            return Seed(charge, Channel(line, listeners, self._grace_s))
        pidfd = os.pidfd_open(pid)
        for descriptor in descriptors:
            os.close(descriptor)
        self._pids[pidfd] = pid
        self._selector.register(pidfd, selectors.EVENT_READ)
        self._tell({"id": charge.id, "pid": pid}, pidfd)
        return None

    def _reap(self, pidfd: int) -> None:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        pid = self._pids.pop(pidfd)
        self._selector.unregister(pidfd)
        os.close(pidfd)
        if result is not None:
            exited = result.si_code == os.CLD_EXITED
            self._tell({"pid": pid, "code": result.si_status if exited else -result.si_status})

    def _outlive_supervisor(self) -> None:
        self._selector.unregister(self._control)
        deadline_s = time.monotonic() + self._grace_s
        while self._pids:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                for pidfd in self._pids:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            for key, _ in self._selector.select(max(left_s, 1.0)):
                self._reap(key.fd)

    def _tell(self, message: dict[str, Any], *descriptors: int) -> None:
        try:
            socket.send_fds(self._control, [json.dumps(message).encode()], list(descriptors))
        except OSError:
            return  # Safety: the supervisor is gone; the next receive says so


def become_role(charge: Charge, channel: Channel) -> int:
    """Runs the role's entry to its end; answers the exit code."""
    Path("/proc/self/comm").write_text(f"transom:{charge.name}"[:15])
    module, _, function = charge.entry.partition(":")
    try:
        entry = getattr(importlib.import_module(module), function)
        entry(charge.name, charge.payload, channel)
    except (ConfigError, StorageDamaged) as error:
        channel.give_up(error.text, hopeless=True)
        return EXIT_CONFIG
    except Exception as error:  # Safety: the last frame of a process; told, logged, and it ends
        logging.getLogger(__name__).exception("role failed", extra={"role": charge.name})
        channel.give_up(_problem(error))
        return 1
    return 0


def _problem(error: Exception) -> str:
    """One line for people. What an error of ours has for the log alone is told to its owner."""
    if isinstance(error, TransomError):
        return f"{error.text} ({error.detail})" if error.detail else error.text
    return f"{type(error).__name__}: {error}"


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    seed = ForkServer(control).serve()
    if seed is None:
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    code = become_role(seed.charge, seed.channel)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # what the fork server registered to run at exit is not the role's


if __name__ == "__main__":
    main()
