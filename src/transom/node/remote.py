# SPDX-License-Identifier: Apache-2.0
"""The family that runs on a data folder, as `transom status` and `transom down` see it.

Plain blocking sockets: importing this loads no asyncio, so that the commands start fast.
"""

import json
import socket
import time
from pathlib import Path
from typing import Any

from transom.errors import ConfigError, Unavailable
from transom.node.folder import DataFolder, State

ANSWER_BYTES_MOST = 1 << 20
STATUS_WAIT_S = 5.0
POLL_S = 0.05


def status(folder: DataFolder, *, timeout_s: float = STATUS_WAIT_S) -> dict[str, Any]:
    """What the supervisor says of its roles (see `Supervisor.status`), with pid and url added.

    Raises: ConfigError if nothing runs there, Unavailable if it does not answer.
    """
    state = state_of(folder)
    answer = _ask(state, "status", time.monotonic() + timeout_s)
    return {**answer, "pid": state.pid, "url": state.url}


def stop(folder: DataFolder, *, timeout_s: float) -> None:
    """Drains the family and returns when the folder is free again.

    Raises: ConfigError if nothing runs there, Unavailable if it still runs after `timeout_s`.
    """
    deadline_s = time.monotonic() + timeout_s
    state = state_of(folder)
    _ask(state, "stop", deadline_s)
    while folder.taken():
        if time.monotonic() >= deadline_s:
            raise Unavailable(f"Transom (pid {state.pid}) has not ended after {timeout_s:g} s")
        time.sleep(POLL_S)


def state_of(folder: DataFolder) -> State:
    """How to reach what runs there. Raises: ConfigError if nothing does, Unavailable."""
    state = folder.read_state()
    if not folder.taken():
        raise ConfigError(
            f"Transom does not run on {folder.path}; "
            f"`transom up --data-dir {folder.path}` starts it"
        )
    if state is None:
        raise Unavailable(f"Transom on {folder.path} is still starting, or just ending; ask again")
    return state


def _ask(state: State, command: str, deadline_s: float) -> dict[str, Any]:
    if not state.url:
        raise ConfigError("Transom runs role by role here; ask and stop each process by itself")
    path = Path(state.runtime_folder) / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        data = b""
        try:
            sock.settimeout(max(deadline_s - time.monotonic(), 0.001))
            sock.connect(str(path))
            sock.sendall(json.dumps({"command": command}).encode() + b"\n")
            while not data.endswith(b"\n") and len(data) < ANSWER_BYTES_MOST:
                sock.settimeout(max(deadline_s - time.monotonic(), 0.001))
                part = sock.recv(65536)
                if not part:
                    break
                data += part
        except OSError as error:
            raise Unavailable(
                f"Transom (pid {state.pid}) does not answer", detail=f"{path}: {error}"
            ) from error
    if not data and command == "stop":
        return {}  # it has ended before the answer left: the lock tells the rest
    try:
        answer: dict[str, Any] = json.loads(data)
    except ValueError as error:
        raise Unavailable(f"Transom (pid {state.pid}) does not answer") from error
    return answer
