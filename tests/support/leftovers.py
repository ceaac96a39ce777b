# SPDX-License-Identifier: Apache-2.0
"""What a stack must not leave behind: processes, socket folders, shared memory, files."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

from support.stack import Stack, wait_for

KEPT = {"version", "lock", "keys", "logs", "clouds.yaml", "openrc", "identity.generation"}
KEPT |= {"database.url"}
_DATABASES = ("identity.db", "queue.db", "queue-1.db", "queue-2.db", "keys.db")
KEPT |= {name + end for name in _DATABASES for end in ("", ".lock")}
"""What a data folder holds when nothing runs."""


class Marked(Stack):
    """A stack whose processes can be told from all others, by their environment."""

    def __init__(self, data: Path) -> None:
        self._mark = f"TRANSOM_MARK={uuid.uuid4()}"
        name, _, value = self._mark.partition("=")
        super().__init__(data, {name: value})

    def processes(self) -> list[int]:
        """All that live, also those whose supervisor does not know them."""
        return [int(path.name) for path in _processes() if self._mark in _read(path / "environ")]

    def shared_memory(self) -> list[str]:
        """Mappings that would outlive their process in /dev/shm."""
        maps = [_read(Path(f"/proc/{pid}/maps")) for pid in self.processes()]
        return [line for text in maps for line in text.splitlines() if "/dev/shm/" in line]

    def left(self) -> list[str]:
        """Stops it; what is left then that should not be."""
        runtime = Path(json.loads((self.data / "state.json").read_text())["runtime_folder"])
        faults = [f"shared memory: {line}" for line in self.shared_memory()]
        self.stop()
        try:
            wait_for(lambda: not self.processes())
        except AssertionError:
            faults.append(f"processes {self.processes()} still live")
        if runtime.exists():
            faults.append(f"{runtime} is left with {[path.name for path in runtime.iterdir()]}")
        strange = {path.name for path in self.data.iterdir()} - KEPT
        if strange:
            faults.append(f"{sorted(strange)} are left in the data folder")
        return faults


def _processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdigit())


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""  # ended meanwhile, or another user's
