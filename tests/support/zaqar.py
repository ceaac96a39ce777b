# SPDX-License-Identifier: Apache-2.0
"""A real Zaqar 23 of the test's own: its WSGI application under gunicorn, a Redis of its own that
keeps messages in memory, a catalogue in SQLite, no token service.

    with real_zaqar(folder) as zaqar: zaqar.port

Everything is in the folder; the project and the roles are what the request's headers say. With
`pooling` the messages go to the pools that were made by its API.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support.stack import ROOT, get, wait_for

BIN = Path(os.environ.get("TRANSOM_ZAQAR", ROOT / ".cache/zaqar/bin"))
START_S = 60

# Its own migration speaks MySQL only; the tables it declares are enough.
CATALOGUE = """
import sys
import sqlalchemy
from zaqar.storage.sqlalchemy import tables
engine = sqlalchemy.create_engine("sqlite:///" + sys.argv[1])
tables.metadata.create_all(engine)
with engine.connect() as connection:
    connection.exec_driver_sql("pragma journal_mode = wal")
"""

CONFIG = """\
[DEFAULT]
admin_mode = true
pooling = {pooling}
unreliable = true
auth_strategy =
use_stderr = true
[drivers]
transport = wsgi
message_store = redis
management_store = sqlalchemy
[drivers:message_store:redis]
uri = redis:{redis}
[drivers:management_store:redis]
uri = redis:{redis}
[drivers:management_store:sqlalchemy]
uri = sqlite:///{folder}/catalogue.db
[signed_url]
secret_key = {signing_key}
{more}
"""


class OwnRedis:
    """A redis-server on a socket in the folder, and on a port if one is given; ended by `stop`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.socket = folder / "redis.sock"
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> "OwnRedis":
        """Raises: AssertionError if there is no redis-server or it does not come up."""
        program = shutil.which("redis-server")
        assert program, "the test needs redis-server: apt-get install redis-server"
        self._folder.mkdir(parents=True, exist_ok=True)
        options = self._options or ("--save", "", "--appendonly", "no", "--port", "0")
        with (self._folder / "redis.log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, "--dir", str(self._folder), "--unixsocket", str(self.socket), *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        wait_for(self._answers, START_S)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        ended = self._process.poll()
        assert ended is None, (
            f"redis-server ended with {ended}: {(self._folder / 'redis.log').read_text()}"
        )
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(5)
                link.connect(str(self.socket))
                link.sendall(b"PING\r\n")
                return link.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class RealZaqar:
    """One Zaqar with its Redis. `sections`: lines of its configuration by section, beside ours."""

    def __init__(
        self,
        folder: Path,
        *,
        pooling: bool = False,
        workers: int = 1,
        signing_key: str = "a key of the test",
        sections: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.redis = OwnRedis(folder)
        self.port = 0
        self._workers = workers
        self._sections = "\n".join(f"[{name}]\n{lines}" for name, lines in (sections or {}).items())
        self._pooling = str(pooling).lower()
        self._signing_key = signing_key
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of gunicorn's first process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> "RealZaqar":
        self.redis.start()
        catalogue = self.folder / "catalogue.db"
        subprocess.run([BIN / "python", "-c", CATALOGUE, catalogue], check=True)
        (self.folder / ".zaqar").mkdir()
        (self.folder / ".zaqar/zaqar.conf").write_text(
            CONFIG.format(
                pooling=self._pooling, redis=self.redis.socket, folder=self.folder,
                signing_key=self._signing_key, more=self._sections,
            )
        )  # fmt: skip
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        listener.set_inheritable(True)
        self.port = listener.getsockname()[1]
        command = [BIN / "gunicorn", "-b", f"fd://{listener.fileno()}", "-k", "gthread"]
        command += ["-w", str(self._workers), "--threads", "8", "--keep-alive", "60"]
        with (self.folder / "zaqar.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "zaqar.transport.wsgi.app:application"],
                env={"HOME": str(self.folder), "PATH": os.environ["PATH"]}, cwd=self.folder,
                pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        listener.close()
        wait_for(self._answers, START_S)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
            self._process = None
        self.redis.stop()

    def log(self) -> str:
        return (self.folder / "zaqar.log").read_text()

    def _answers(self) -> bool:
        assert self._process is not None
        ended = self._process.poll()
        assert ended is None, f"Zaqar ended with {ended}: {self.log()[-3000:]}"
        try:
            return get(f"http://127.0.0.1:{self.port}/", 5)[0] == 300
        except OSError:
            return False


@contextmanager
def real_zaqar(folder: Path, **options: object) -> Iterator[RealZaqar]:
    zaqar = RealZaqar(folder, **options)  # type: ignore[arg-type]
    try:
        yield zaqar.start()
    finally:
        zaqar.stop()
