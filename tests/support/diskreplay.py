# SPDX-License-Identifier: Apache-2.0
"""A disk that forgets: what a program changed in files, and what a power cut may leave of it.

`record` runs a program and writes down every change of a file below a folder, in order (the shim is
`diskrecord.c`). A `Disk` takes these changes one by one and can be asked at each for what could be
on the platter if the power went now:

1. What was written to a file and not yet synced may be lost, kept or torn at a sector, each write
   for itself; so may a change of its size.
2. A name that was made, moved or removed may be as before until its folder is synced, each for
   itself; syncing a file keeps no name of it. What lies in a folder whose own name is lost is gone.
3. What was synced stays.

`-shm` files are memory that SQLite makes anew, and are left out.
"""

import mmap
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

SECTOR = 512
HEAD = struct.Struct("<IcQQ")
SHIM = Path(__file__).with_name("diskrecord.c")
MEMORY = Path("/dev/shm")  # where it is there, syncing costs nothing
PLACE = MEMORY if MEMORY.is_dir() else None
"""For `tempfile`: where recordings and the disks made of them go."""


@dataclass(frozen=True, slots=True)
class Write:
    """One line of a record: C made, D folder made, W written, T cut or lengthened, S synced,
    F folder synced, R renamed, L linked, U removed.
    """

    what: str
    file: int
    place: int
    data: bytes

    def paths(self) -> list[str]:
        return [part.decode() for part in self.data.split(b"\0")]


@dataclass(frozen=True, slots=True)
class Recording:
    """`root` held nothing before; its folder `data` is what the power cut falls on."""

    root: Path
    writes: list[Write]


def record(root: Path, *program: str, environment: Mapping[str, str] | None = None) -> Recording:
    """Runs the program to its end. It finds `root`, empty, and should work below it."""
    beside = root.with_name(root.name + ".record")
    beside.mkdir()
    root.mkdir(mode=0o700)
    shim, lines, page = beside / "shim.so", beside / "lines", beside / "page"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(SHIM)]
    subprocess.run(command, check=True)
    lines.touch()
    page.write_bytes(bytes(mmap.PAGESIZE))
    tests = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, *program],
        env={
            **os.environ,
            **(environment or {}),
            "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent / 'src'}",
            "LD_PRELOAD": str(shim),
            "RECORDED": str(root),
            "RECORD": str(lines),
            "RECORD_PAGE": str(page),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout}{done.stderr}"
    return Recording(root, list(_lines(lines.read_bytes())))


def _lines(content: bytes) -> Iterator[Write]:
    at = 0
    while at < len(content):
        size, what, file, place = HEAD.unpack_from(content, at)
        at += HEAD.size
        yield Write(what.decode(), file, place, content[at : at + size])
        at += size


@dataclass(slots=True, eq=False)
class Folder:
    """A folder is only a name."""


@dataclass(slots=True, eq=False)
class File:
    """`durable`: as last synced; `pending`: (place, data) since, data None for a new size."""

    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    _live: bytearray = field(default_factory=bytearray)
    _seen: bytes | None = b""

    @property
    def live(self) -> bytes:
        """As written. The same object until the next change, so that it is hashed once."""
        if self._seen is None:
            self._seen = bytes(self._live)
        return self._seen

    def sync(self) -> None:
        if self.pending:
            self.durable = self.live
            self.pending = []

    def change(self, place: int, data: bytes | None) -> None:
        self.pending.append((place, data))
        self._seen = None
        _apply(self._live, place, data)

    def drawn(self, draw: random.Random) -> bytes:
        """What was synced, and some of what came after it, of some writes only sectors."""
        content = bytearray(self.durable)
        kept, torn = draw.random(), draw.random() * 0.5
        for place, data in self.pending:
            if draw.random() >= kept:
                continue
            if data is None or draw.random() >= torn:
                _apply(content, place, data)
                continue
            for at in range(0, len(data), SECTOR):
                if draw.random() < 0.5:
                    _apply(content, place + at, data[at : at + SECTOR])
        return bytes(content)


def _apply(content: bytearray, place: int, data: bytes | None) -> None:
    if data is None:
        del content[place:]
        content.extend(bytes(place - len(content)))
        return
    content.extend(bytes(max(0, place - len(content))))
    content[place : place + len(data)] = data


Node: TypeAlias = File | Folder
Names: TypeAlias = dict[str, Node]
Renaming: TypeAlias = list[tuple[str, Node | None]]
State: TypeAlias = dict[str, bytes | None]
"""Path below `data` -> content; None for a folder."""


class Disk:
    """`deaf_folders`: one that says a folder is synced and forgets it, to plant a fault."""

    def __init__(self, root: Path, *, deaf_folders: bool = False) -> None:
        self._root = f"{root}/"
        self._deaf = deaf_folders
        self._files: dict[int, File] = {}
        self.names: Names = {}
        self._durable: Names = {}
        self._renamed: list[tuple[str, Renaming]] = []  # (folder, what one call changed)

    def take(self, write: Write) -> bool:
        """False if nothing that a power cut could find was changed."""
        if write.what in "CDRLUF":
            return self._name(write)
        file = self._files.setdefault(write.file, File())
        if write.what == "S":
            file.sync()
        else:
            file.change(write.place, write.data if write.what == "W" else None)
        return True

    def _name(self, write: Write) -> bool:
        paths = [path.removeprefix(self._root) for path in write.paths()]
        if write.what == "F":
            if not self._deaf:
                self._sync_folder(write.paths()[0].removesuffix("/") + "/")
            return True
        if paths[0].endswith("-shm"):
            return False
        changed: Renaming
        match write.what:
            case "C":
                self._files[write.file] = File()
                changed = [(paths[0], self._files[write.file])]
            case "D":
                changed = [(paths[0], Folder())]
            case "U":
                changed = [(paths[0], None)]
            case "L":
                changed = [(paths[1], self.names[paths[0]])]
            case _:
                changed = [(paths[1], self.names[paths[0]]), (paths[0], None)]
        _rename(self.names, changed)
        folders = {os.path.dirname(path) for path, _ in changed}
        assert len(folders) == 1, f"a rename between folders is not told of here: {paths}"
        self._renamed.append((folders.pop(), changed))
        return True

    def _sync_folder(self, path: str) -> None:
        synced = path.removeprefix(self._root).rstrip("/")
        for folder, changed in self._renamed:
            if folder == synced:
                _rename(self._durable, changed)
        self._renamed = [one for one in self._renamed if one[0] != synced]

    def is_of(self, write: Write, path: str) -> bool:
        """Whether what was written went to the file of this name."""
        return self._files.get(write.file) is self.names.get(path)

    def kept(self) -> State:
        """All that was written."""
        return _state(self.names, lambda file: file.live)

    def forgotten(self) -> State:
        """Nothing that was not synced."""
        return _state(self._durable, lambda file: file.durable)

    def contents_forgotten(self) -> State:
        """All names, and nothing of what was not synced in them."""
        return _state(self.names, lambda file: file.durable)

    def names_forgotten(self) -> State:
        """All contents, by the names whose folders were synced."""
        return _state(self._durable, lambda file: file.live)

    def drawn(self, draw: random.Random) -> State:
        """Some of the names, some of the writes, some of them torn."""
        names, kept = dict(self._durable), draw.choice([0.0, 0.5, 0.9, 1.0])
        for _, changed in self._renamed:
            if draw.random() < kept:
                _rename(names, changed)
        return _state(names, lambda file: file.drawn(draw))


def _rename(names: Names, changed: Renaming) -> None:
    for path, node in changed:
        if node is None:
            names.pop(path, None)
        else:
            names[path] = node


def _state(names: Names, content: Callable[[File], bytes]) -> State:
    state: State = {}
    for path in sorted(names):
        above, node = os.path.dirname(path), names[path]
        if path.split("/")[0] == "data" and (not above or above in state):
            state[path] = content(node) if isinstance(node, File) else None
    return state


def lay_out(state: State, folder: Path) -> None:
    """Makes the state's files below the folder."""
    for path, content in state.items():
        place = folder / path
        if content is None:
            place.mkdir(mode=0o700)
        else:
            place.touch(mode=0o600)
            place.write_bytes(content)


def on_disk(root: Path) -> State:
    """What a program really left, as a state."""
    state: State = {}
    for path in sorted((root / "data").rglob("*")):
        if path.is_dir():
            state[str(path.relative_to(root))] = None
        elif path.is_file() and not path.name.endswith("-shm"):
            state[str(path.relative_to(root))] = path.read_bytes()
    return {"data": None, **state}
