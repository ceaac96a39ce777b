"""`transom up` on one host, a registry on another, and a watcher of its tables on a third."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from transom.messaging.drivers.zmq.key import make_bus_key

from support.hosts import Network, three_hosts
from support.stack import Stack, wait_for

PORT = 8730
MAKE_QUEUE = """
import json, sys, urllib.request, yaml
cloud = yaml.safe_load(open(sys.argv[1]))["clouds"]["transom"]
auth = cloud["auth"]
def ask(method, url, body, **headers):
    data = json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, headers, method=method)
    return urllib.request.urlopen(request, timeout=20)
user = {"name": auth["username"], "domain": {"name": "Default"}, "password": auth["password"]}
scope = {"project": {"name": auth["project_name"], "domain": {"name": "Default"}}}
body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
token = ask("POST", auth["auth_url"].rstrip("/") + "/v3/auth/tokens", body,
            Content_Type="application/json").headers["X-Subject-Token"]
ask("PUT", sys.argv[2] + "/queue/v2/queues/far", {}, X_Auth_Token=token,
    Client_ID="3381af92-2b9e-11e3-b191-71861300734c", Content_Type="application/json")
"""


class Host(Stack):
    """A data folder on one host of the network."""

    def __init__(self, network: Network, name: str, data: Path, key_file: Path) -> None:
        super().__init__(data)
        self._inside = ("ip", "netns", "exec", network.host(name))
        data.mkdir(mode=0o700)
        self.key_file = data.with_name(f"{name}.key")
        shutil.copy(key_file, self.key_file)
        where = f"{network.address('a')},{network.address('b')}"
        self.configure(f'[bus]\nurl = "zmq://{where}/"\nkey_file = "{self.key_file}"\n')

    def configure(self, text: str) -> None:
        with (self.data / "transom.toml").open("a") as file:
            file.write(text)

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._inside, *words], env=self.environment, capture_output=True, text=True,
            check=check, timeout=60,
        )  # fmt: skip

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "transom.cli", *words, "--data-dir", str(self.data)]

    @contextmanager
    def running(self, *words: str) -> Iterator[Path]:
        """The file with what it prints; ends with SIGTERM."""
        output = self.data.with_name(f"{self.data.name}-{words[0]}.out")
        with (
            output.open("wb") as file,
            subprocess.Popen(
                [*self._inside, *self.command(*words)],
                env=self.environment,
                stdout=file,
                stderr=file,
            ) as process,
        ):
            try:
                yield output
            finally:
                process.terminate()
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    key_file = tmp_path / "bus.key"
    make_bus_key(key_file)
    with three_hosts() as network:
        made = [Host(network, name, tmp_path / name, key_file) for name in ("a", "b", "c")]
        for host, name in zip(made[:2], ("a", "b"), strict=True):
            host.configure(f'serve_registry = "{network.address(name)}:{PORT}"\n')
        yield made


def test_a_table_is_watched_from_another_host(hosts: list[Host]) -> None:
    first, second, third = hosts
    with second.running("run", "registry") as registry, first.running("up", "--port", "0") as up:
        wait_for(lambda: "registry is ready" in registry.read_text(), 30)
        wait_for(lambda: "Transom is ready" in up.read_text(), 30)
        with third.running("tables", "watch", "queue:queues", "--json") as watched:
            wait_for(lambda: '{"state": "live"}' in watched.read_text(), 30)
            clouds = str(first.data / "clouds.yaml")
            first.run(sys.executable, "-c", MAKE_QUEUE, clouds, first.url)
            wait_for(lambda: '"name": "far"' in watched.read_text(), 10)
            rows = [json.loads(line) for line in watched.read_text().splitlines()]
            assert [row["row"]["name"] for row in rows if "row" in row] == ["far"]
            assert "zmq" not in up.read_text()


def test_a_registry_is_not_run_where_none_is_to_be_served(hosts: list[Host]) -> None:
    third = hosts[2]
    done = third.run(*third.command("run", "registry"), check=False)
    assert done.returncode != 0
    assert "set [bus] serve_registry" in done.stderr


def test_a_bus_between_hosts_without_its_key_does_not_start(hosts: list[Host]) -> None:
    first, second, third = hosts
    first.key_file.unlink()
    second.key_file.chmod(0o644)
    toml = third.data / "transom.toml"
    toml.write_text(toml.read_text().replace("key_file", "# key_file"))
    for host, told in (
        (first, "every host of the bus needs a copy"),
        (second, "chmod 600"),
        (third, "make a bus key"),
    ):
        done = host.run(*host.command("up", "--port", "0"), check=False)
        assert done.returncode != 0
        assert told in done.stdout + done.stderr
