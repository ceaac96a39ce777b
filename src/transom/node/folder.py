# SPDX-License-Identifier: Apache-2.0
"""The data folder of one machine's control plane, and the short runtime folder that belongs to it.

    <data folder>/  version  lock  state.json  *.db  keys/  logs/  clouds.yaml        all of it 0700
    <runtime folder>/  control.sock and the bus's ipc sockets

Invariants:
1. A folder of a newer format, of another user, or with other people's files in it is not touched.
2. One family of processes at a time: the lock is held by everyone who inherited its descriptor, so
   the roles of a killed supervisor keep a new one out until the last of them has drained.
3. Socket paths below the runtime folder fit the 107 bytes of a unix socket's address.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from transom.errors import ConfigError
from transom.runtime.secrets import private_folder, write_private

FORMAT = 1
RUNTIME_PATH_BYTES_MOST = 60
ORPHANS_WAIT_S = 20.0
POLL_S = 0.05
_OURS_BEFORE = re.compile(r"lock|transom\.toml|\.version\.\d+")
"""What may lie in a folder before it is a data folder, also one whose making was cut short."""
_IN_THE_WAY = frozenset({errno.EEXIST, errno.EISDIR, errno.ENOTDIR})


@dataclass(frozen=True, slots=True)
class State:
    """What others need to reach a running family. `url`: of its doors; "": it runs role by role."""

    pid: int
    port: int
    url: str
    runtime_folder: str


class DataFolder:
    """The layout of a data folder. Nothing is made before `take`."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock = -1

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def clouds_file(self) -> Path:
        return self.path / "clouds.yaml"

    def database(self, name: str) -> Path:
        return self.path / f"{name}.db"

    @property
    def lock_descriptor(self) -> int:
        """For the processes of the family to inherit (`Supervisor(keep=[...])`)."""
        return self._lock

    def take(
        self,
        *,
        orphans_wait_s: float = ORPHANS_WAIT_S,
        waiting: Callable[[], None] | None = None,
    ) -> None:
        """Makes or checks the folder and locks it until `release`, or this family's end.

        Where only the roles of a killed supervisor are left, waits for them to end; `waiting` is
        called once before that. Raises: ConfigError, one line that says what to do.
        """
        try:
            with self._told():
                self._refuse_unsuitable()
                private_folder(self.path)
                self._lock = os.open(
                    self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
                )
                self._acquire(orphans_wait_s, waiting)
                os.truncate(self._lock, 0)
                os.pwrite(self._lock, str(os.getpid()).encode(), 0)
                (self.path / "state.json").unlink(missing_ok=True)
                self._lay_out()
        except ConfigError:
            self.release()
            raise

    def prepare(self) -> None:
        """Makes or checks the folder without locking it, for a role without a family: its files
        have locks of their own. Raises: ConfigError.
        """
        with self._told():
            self._refuse_unsuitable()
            private_folder(self.path)
            self._lay_out()

    def require(self) -> None:
        """Changes nothing. Raises: ConfigError unless it is a data folder that we can use."""
        with self._told():
            self._refuse_unsuitable()
            if self._version() is None:
                raise ConfigError(f"{self.path}: is no data folder; name another with --data-dir")

    def _lay_out(self) -> None:
        if self._version() is None:
            write_private(self.path / "version", f"{FORMAT}\n".encode())
        private_folder(self.keys)
        private_folder(self.logs)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(
                f"{error.filename or self.path}: cannot be used: {error.strerror}; {_cure(error)}"
            ) from error

    def release(self) -> None:
        """Lets go of the lock, as far as this process holds it. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def write_state(self, state: State) -> None:
        """Raises: ConfigError."""
        with self._told():
            write_private(self.path / "state.json", json.dumps(asdict(state)).encode())

    def read_state(self) -> State | None:
        """Of the family that runs, or ran, here; None if there is none, or it is still starting."""
        try:
            fields = json.loads((self.path / "state.json").read_bytes())
            return State(**fields)
        except (OSError, ValueError, TypeError):
            return None

    def clear_state(self) -> None:
        (self.path / "state.json").unlink(missing_ok=True)

    def note_backup(self, moment: datetime) -> None:
        write_private(self.path / "last-backup", moment.isoformat().encode())

    def last_backup(self) -> datetime | None:
        """When the last one was taken; None if none was, or nobody knows."""
        try:
            return datetime.fromisoformat((self.path / "last-backup").read_text())
        except (OSError, ValueError):
            return None

    def taken(self) -> bool:
        """Whether a process of some family holds the lock now."""
        try:
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def _refuse_unsuitable(self) -> None:
        """Only looks. Invariant: what is refused here has not been changed in any way."""
        version = self._version()
        if version is not None and version > FORMAT:
            raise ConfigError(
                f"{self.path}: has format {version}, from a newer Transom; this one knows formats "
                f"up to {FORMAT}: upgrade it, or choose another folder with --data-dir"
            )
        if version is None and self.path.is_dir():
            names = [entry.name for entry in self.path.iterdir()]
            strange = [name for name in names if not _OURS_BEFORE.fullmatch(name)]
            if strange:
                raise ConfigError(
                    f"{self.path}: is not empty and not a data folder (it holds "
                    f"{min(strange)!r}); choose another folder with --data-dir"
                )

    def _version(self) -> int | None:
        try:
            text = (self.path / "version").read_text("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        if not text.isdecimal() or int(text) == 0:
            raise ConfigError(
                f"{self.path / 'version'}: holds no format number; restore the folder from a backup"
            )
        return int(text)

    def _acquire(self, orphans_wait_s: float, waiting: Callable[[], None] | None) -> None:
        deadline_s = time.monotonic() + orphans_wait_s
        told = False
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                pass
            holder = self._holder()
            if holder is None or _lives(holder) or time.monotonic() >= deadline_s:
                raise ConfigError(self._already_runs(holder))
            if waiting is not None and not told:
                waiting()
                told = True
            time.sleep(POLL_S)

    def _holder(self) -> int | None:
        text = os.pread(self._lock, 32, 0).decode("ascii", "replace")
        return int(text) if text.isdigit() else None

    def _already_runs(self, holder: int | None) -> str:
        state = self.read_state()
        about = [f"pid {holder}" if holder is not None else "starting"]
        if state is not None and state.pid == holder:
            about.append(state.url)
        return (
            f"Transom already runs on {self.path} ({', '.join(about)}); "
            f"`transom down --data-dir {shlex.quote(str(self.path))}` stops it"
        )


class RuntimeFolder:
    """A short, private folder for sockets, named after the data folder that it belongs to.

    `parent`: $XDG_RUNTIME_DIR, or None for /tmp. Only who holds the data folder may `make` it.

    Invariant: sockets of the bus are left alone. Their owners may live on while the family is
    started anew (`transom tables watch`), and the registry sweeps those of the dead.
    """

    def __init__(self, data_folder: Path, parent: Path | None = None) -> None:
        digest = hashlib.sha256(os.fsencode(data_folder.resolve())).hexdigest()[:12]
        name = f"transom-{os.getuid()}-{digest}"
        self.path = (parent or Path("/tmp")) / name  # noqa: S108 0700, owner checked by `make`
        usable = parent is not None and parent.is_dir() and os.access(parent, os.W_OK)
        if not usable or len(os.fsencode(self.path)) > RUNTIME_PATH_BYTES_MOST:
            self.path = Path("/tmp") / name  # noqa: S108
        self._handle = -1

    @property
    def control_socket(self) -> Path:
        return self.path / "control.sock"

    @property
    def metrics(self) -> Path:
        """Where processes of the family tell each other their figures."""
        return self.path / "metrics"

    def make(self) -> None:
        """Makes the folder, or takes the one that a killed family left. Raises: ConfigError."""
        try:
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            self._reuse()
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be made: {error.strerror}") from error
        shutil.rmtree(self.metrics, ignore_errors=True)  # of a family that is gone
        if self._handle < 0:
            self._handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            # Safety: what cleans /tmp of old files (systemd-tmpfiles) passes over a locked folder.
            fcntl.flock(self._handle, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Removes it, unless somebody on the bus lives on. Idempotent."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        shutil.rmtree(self.metrics, ignore_errors=True)
        with suppress(OSError):  # not empty, or not there
            self.control_socket.unlink(missing_ok=True)
            self.path.rmdir()

    def _reuse(self) -> None:
        """Safety: in /tmp anybody may have made it first; what is not ours alone is not used."""
        found = self.path.lstat()
        private = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
        if not private or found.st_uid != os.getuid():
            raise ConfigError(
                f"{self.path}: is not a private folder of yours; remove it and start again"
            )
        self.control_socket.unlink(missing_ok=True)


def _cure(error: OSError) -> str:
    if error.errno in _IN_THE_WAY:
        return "move it away, or choose another folder with --data-dir"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space, or choose another folder with --data-dir"
    return "choose another folder with --data-dir"


def _lives(pid: int) -> bool:
    """Whether the process runs; one that has ended and was not yet waited for does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in ("Z", "X")
