# SPDX-License-Identifier: Apache-2.0
"""The supervisor's side of processes: the fork server it started, and the roles that came of it.

Invariants:
1. Nothing here blocks the loop: a fork is asked for by one packet, also while the server loads.
2. A process is signalled through a pidfd only, never through a number that may be reused.
3. An end is seen on the role's own pidfd, whatever became of the fork server.
4. No task is made: all work happens in callbacks of the loop, which `close` takes back.
5. A process is heard from its birth on: none is ready, or is ended for nonsense, without a pid.
   It may speak before the fork server, which makes it known, gets to run; that waits in its line.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from transom.errors import InternalError
from transom.node.channel import LINE_BYTES_MOST, Lines, encode_line
from transom.node.forkserver import PACKET_BYTES_MOST, Charge

log = logging.getLogger(__name__)

PAYLOAD_BYTES_MOST = 32768
CODE_WAIT_S = 0.25
CLOSE_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """One role. `entry`: "module:function", called as `entry(name, payload, channel)`.

    Roles start by ascending `order` and stop by descending. `count` processes are named
    `worker-1`, `worker-2`, ... where there is more than one. `listeners`: sockets that listen
    already; every process of the role inherits them. `payload` never shows in argv or titles.
    """

    name: str
    entry: str
    order: int
    payload: bytes = b""
    count: int = 1
    listeners: Mapping[str, socket.socket] = field(default_factory=dict)


@dataclass(slots=True)
class Watcher:
    """Who is told what a role's process says and does."""

    said: Callable[[dict[str, Any]], None]
    ended: Callable[[int | None], None]


class RoleProcess:
    """One process of a role, from the moment it was asked for to its end."""

    def __init__(self, line: socket.socket, watcher: Watcher, abandon: Callable[[], None]) -> None:
        self.pid: int | None = None
        self._pidfd = -1
        self._code: int | None = None
        self._gone = False
        self._closed = False
        self._line = line
        self._lines = Lines()
        self._watcher = watcher
        self._abandon = abandon
        self._loop = asyncio.get_running_loop()
        line.setblocking(False)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Safety: a line that is broken or full belongs to a process whose end or silence shows."""
        with suppress(OSError):
            self._line.send(encode_line(message))

    def kill(self) -> None:
        """If it was never born, the fork server is stuck, and is killed in its place."""
        if self._pidfd < 0:
            self._abandon()
        elif not self._gone:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def born(self, pid: int, pidfd: int) -> None:
        self.pid, self._pidfd = pid, pidfd
        self._loop.add_reader(self._line, self._read)
        self._loop.add_reader(pidfd, self._ended)

    def unborn(self, why: str) -> None:
        """The fork server was lost before it forked, or before it told: that one, unheard, drains
        by itself at the end of its line.
        """
        problem = f"could not be made: the fork server ended{why and ': '}{why}"
        self._watcher.said({"problem": problem, "hopeless": False})
        self.close()
        self._watcher.ended(None)

    def reaped(self, code: int) -> None:
        self._code = code
        if self._gone:
            self._finish()

    def close(self) -> None:
        """Lets go of line and pidfd; nothing is told from now on. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._line)
        self._line.close()
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)

    def _ended(self) -> None:
        """The code comes from the fork server, which may be gone: it is waited for, but briefly."""
        self._loop.remove_reader(self._pidfd)
        self._gone = True
        with suppress(ChildProcessError):  # ours only if the fork server died and we are init
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
            if result is not None:
                killed = result.si_code != os.CLD_EXITED
                self._code = -result.si_status if killed else result.si_status
        if self._code is None:
            self._loop.call_later(CODE_WAIT_S, self._finish)
        else:
            self._finish()

    def _finish(self) -> None:
        if self._closed:
            return
        self._read()  # its last words, if any
        self.close()
        self._watcher.ended(self._code)

    def _read(self) -> None:
        try:
            data = self._line.recv(LINE_BYTES_MOST)
            messages = self._lines.feed(data)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            data, messages = b"", []
            self.kill()  # no role of ours says such things
        if not data:
            self._loop.remove_reader(self._line)
        for message in messages:
            self._watcher.said(message)


class ForkServerProcess:
    """Starts the fork server, asks it for forks, starts another when it is lost.

    `preload`: modules it imports first. `keep`: descriptors that it and every role hold to their
    end (the lock of the data folder). `grace_s`: what roles get once the supervisor has died.
    """

    def __init__(self, preload: Sequence[str], grace_s: float, keep: Sequence[int] = ()) -> None:
        self.restarts = 0
        self.loaded = False
        self._preload = tuple(preload)
        self._grace_s = grace_s
        self._keep = tuple(keep)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._asked: dict[int, RoleProcess] = {}
        self._born: dict[int, RoleProcess] = {}
        self._last_id = 0
        self._failure = ""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Starts the process; it loads while forks may be asked for already. Raises: OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        first = {"preload": self._preload, "path": sys.path, "grace_s": self._grace_s}
        try:
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * PACKET_BYTES_MOST)
            ours.send(json.dumps(first).encode())
            self._process = subprocess.Popen(  # noqa: S603 our own interpreter and module
                [sys.executable, "-m", "transom.node.forkserver", str(theirs.fileno())],
                pass_fds=(theirs.fileno(), *self._keep),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._control = ours
        asyncio.get_running_loop().add_reader(ours, self._read)

    def fork(self, name: str, spec: RoleSpec, watcher: Watcher) -> RoleProcess:
        """A process that becomes the role; it may end before it was ever born.

        Raises: InternalError if the fork server takes no more.
        """
        if self._control is None:
            self._restart()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._last_id += 1
        charge = Charge(self._last_id, name, spec.entry, tuple(spec.listeners), spec.payload)
        descriptors = [theirs.fileno(), *(sock.fileno() for sock in spec.listeners.values())]
        try:
            assert self._control is not None
            socket.send_fds(self._control, [charge.encode()], descriptors)
        except OSError as error:
            ours.close()
            raise InternalError(f"the fork server takes no order: {error}") from error
        finally:
            theirs.close()
        process = RoleProcess(ours, watcher, self._kill)
        self._asked[charge.id] = process
        return process

    async def stop(self) -> None:
        """Ends the fork server, which has no roles left. Idempotent."""
        process, self._process = self._process, None
        self._let_go()
        if process is None or process.poll() is not None:
            return
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        pidfd = os.pidfd_open(process.pid)  # Safety: not reaped yet, so the number is still its own
        loop.add_reader(pidfd, ended.set)
        try:
            async with asyncio.timeout(CLOSE_WAIT_S):
                await ended.wait()
        except TimeoutError:
            process.kill()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            process.wait(CLOSE_WAIT_S)

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _read(self) -> None:
        assert self._control is not None
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._control, PACKET_BYTES_MOST, 1)
        except BlockingIOError:
            return
        except ConnectionResetError:  # told once, first, by a server that ended with orders unread
            return  # its last words are read next, and then its end
        except OSError:
            packet, descriptors = b"", []
        if not packet:
            self._lost()
            return
        message = json.loads(packet)
        if "loaded" in message:
            self.loaded = True
            if message["loaded"] != 1:
                log.warning("fork server has threads", extra={"threads": message["loaded"]})
        elif "failed" in message:
            self._failure = message["failed"]
        elif "id" in message:
            process = self._asked.pop(message["id"])
            self._born[message["pid"]] = process
            process.born(message["pid"], descriptors[0])
        else:
            self._born.pop(message["pid"]).reaped(message["code"])

    def _lost(self) -> None:
        """Roles that were born live on; those asked for never come. A server that could load once
        is replaced at once, another only when the next fork is asked for, which the breaker bounds.
        """
        code = None
        if self._process is not None:
            self._process.kill()  # without its line it is of no use, should it still live
            code = self._process.wait(CLOSE_WAIT_S)
        why, self._failure = self._failure, ""
        log.warning("fork server lost", extra={"exit_code": code, "why": why})
        was_loaded = self.loaded
        self._let_go()
        unborn, self._asked = list(self._asked.values()), {}
        try:
            if was_loaded:
                self._restart()
        except OSError as error:  # tried again when the next fork is asked for
            log.warning("fork server not replaced", extra={"why": str(error)})
        for process in unborn:
            process.unborn(why)

    def _restart(self) -> None:
        if self._process is not None:
            self.restarts += 1
        self.start()

    def _let_go(self) -> None:
        self.loaded = False
        self._born.clear()
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None
