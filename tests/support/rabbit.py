"""RabbitMQ for tests: a virtual host of the run's own on the shared broker, and private nodes.

The shared broker is named by TRANSOM_TEST_RABBIT (`rabbit://user:password@host:port`); without it,
it is 127.0.0.1:5672 with guest. Where there is none, tests fail and say so. What restarts, blocks
or configures a broker has a `Node` of its own, which ends with the test.

    def test_x(rabbit: Broker): connect(rabbit.url)
    with private_node() as node: connect(node.url); node.kill(); node.start()
"""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

SERVER = os.environ.get("TRANSOM_TEST_RABBIT", "rabbit://guest:guest@127.0.0.1:5672").rstrip("/")
BINARIES = Path("/usr/lib/rabbitmq/bin")
START_S = 60.0
CONTROL_S = 60.0


class Broker:
    """A virtual host of a broker, and its console."""

    def __init__(self, server: str, vhost: str) -> None:
        self.server = server
        self.vhost = vhost

    @property
    def url(self) -> str:
        return f"{self.server}/{quote(self.vhost, safe='')}"

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.server.rpartition("@")[2].partition(":")
        return host, int(port or 5672)

    def through(self, address: tuple[str, int]) -> str:
        """The same virtual host, by way of a proxy."""
        credentials = self.server.rpartition("@")[0]
        return f"{credentials}@{address[0]}:{address[1]}/{quote(self.vhost, safe='')}"

    def control(self, *words: str) -> str:
        """What `rabbitmqctl` prints. Raises: AssertionError with what it says if it fails."""
        return run(["rabbitmqctl", "-q", *words])

    def listed(self, what: str, *columns: str) -> list[tuple[str, ...]]:
        """The rows of `rabbitmqctl list_<what>` in this virtual host."""
        text = self.control(f"list_{what}", "-p", self.vhost, "--no-table-headers", *columns)
        return [tuple(line.split("\t")) for line in text.splitlines() if line]

    async def controlled(self, *words: str) -> str:
        """As `control`, while the loop goes on."""
        return await asyncio.to_thread(self.control, *words)


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    """What the command prints. Raises: AssertionError with what it says if it fails."""
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=CONTROL_S, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def fresh_vhost(server: str = SERVER) -> Iterator[Broker]:
    """A new virtual host of the shared broker, gone afterwards."""
    broker = Broker(server, f"transom-test-{secrets.token_hex(6)}")
    user = server.partition("://")[2].partition(":")[0]
    broker.control("add_vhost", broker.vhost)
    try:
        broker.control("set_permissions", "-p", broker.vhost, user, ".*", ".*", ".*")
        yield broker
    finally:
        broker.control("delete_vhost", broker.vhost)


@pytest.fixture(scope="session")
def rabbit() -> Iterator[Broker]:
    """The virtual host of this run; tests keep apart by the names of their topics."""
    with fresh_vhost() as broker:
        yield broker


@dataclass(frozen=True)
class Tls:
    """What the node's TLS listener shows and trusts; a client's certificate may name its user."""

    authority: Path
    certificate: Path
    key: Path


class Node(Broker):
    """A broker of the test's own, with guest from everywhere. `tls_port` is 0 without `tls`."""

    def __init__(self, folder: Path, *, tls: Tls | None = None) -> None:
        self.port = free_port()
        self.tls_port = free_port() if tls else 0
        self.folder = folder
        self._tls = tls
        self._name = f"transom-{secrets.token_hex(4)}@localhost"
        self._distribution_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(f"rabbit://guest:guest@127.0.0.1:{self.port}", "/")

    @property
    def tls_server(self) -> str:
        return f"rabbit://guest:guest@localhost:{self.tls_port}"

    def control(self, *words: str) -> str:
        return run([str(BINARIES / "rabbitmqctl"), "-q", *words], self._environment())

    def start(self) -> None:
        """Returns when it takes connections. Also after `stop` and `kill`: its data are kept."""
        (self.folder / "rabbitmq.conf").write_text("\n".join(self._settings()) + "\n")
        plugins = "rabbitmq_auth_mechanism_ssl" if self._tls else ""
        (self.folder / "enabled_plugins").write_text(f"[{plugins}].\n")
        with (self.folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [str(BINARIES / "rabbitmq-server")],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        until_s = time.monotonic() + START_S
        while not self._takes_connections():
            assert self._process.poll() is None, (self.folder / "out").read_text()
            assert time.monotonic() < until_s, f"no broker after {START_S} s"
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends it in order. Idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        try:
            self._process.wait(CONTROL_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(CONTROL_S)
        self._process = None

    def _takes_connections(self) -> bool:
        """The listener answers a protocol header: the node has started whole."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    def _settings(self) -> list[str]:
        settings = [f"listeners.tcp.local = 127.0.0.1:{self.port}", "loopback_users = none"]
        # The machine's disk and memory are shared: no alarm but the test's own.
        settings += ["disk_free_limit.absolute = 1MB", "log.file.level = info"]
        if self._tls:
            settings += [
                f"listeners.ssl.local = 127.0.0.1:{self.tls_port}",
                f"ssl_options.cacertfile = {self._tls.authority}",
                f"ssl_options.certfile = {self._tls.certificate}",
                f"ssl_options.keyfile = {self._tls.key}",
                "ssl_options.verify = verify_peer",
                "ssl_options.fail_if_no_peer_cert = false",
                "ssl_cert_login_from = common_name",
                "auth_mechanisms.1 = PLAIN",
                "auth_mechanisms.2 = AMQPLAIN",
                "auth_mechanisms.3 = EXTERNAL",
            ]
        return settings

    def _environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": folder,
            "RABBITMQ_HOME": "/usr/lib/rabbitmq/lib",
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/rabbitmq-env.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            # It shares the machine: no busy waiting, and one scheduler is enough.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none",
        }


def free_port() -> int:
    """A port of the loopback that nobody has at this moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def private_node(*, tls: Tls | None = None) -> Iterator[Node]:
    """A started node in a folder of its own; both are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="transom-rabbit-"))
    node = Node(folder, tls=tls)
    try:
        node.start()
        yield node
    finally:
        node.kill()
        shutil.rmtree(folder, ignore_errors=True)
