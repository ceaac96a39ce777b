# SPDX-License-Identifier: Apache-2.0
"""What cannot be configured is told in one line, and starts and changes nothing."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.refusal import refused
from support.stack import Stack, wait_for


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path / "data")
    yield stack
    stack.stop()


def with_file(stack: Stack, text: str) -> None:
    stack.data.mkdir()
    (stack.data / "transom.toml").write_text(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[api]\nprot = 1\n", "unknown option 'prot' in [api]; did you mean 'port'?"),
        ("[qeue]\n", "unknown section [qeue]; did you mean 'queue'?"),
        ('[api]\nport = "x"\n', "[api] port: 'x' is not a whole number"),
        ("[api]\nport = 70000\n", "[api] port: 70000 is above the most, 65535"),
        ('[log]\nlevel = "LOUD"\n', "[log] level: 'LOUD' is none of DEBUG, INFO, WARNING, ERROR"),
        ("[api\n", "not TOML: "),
    ],
)
def test_a_fault_in_the_file_is_told(stack: Stack, text: str, line: str) -> None:
    with_file(stack, text)
    said = refused(stack, "config", "check")
    assert said.startswith(f"{stack.data / 'transom.toml'}: ")
    assert line in said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[api]\nhost = "0.0.0.0"\n', "plain HTTP on 0.0.0.0 could be read by others"),
        ('[api]\nhost = "256.1.1.1"\n', "is no address of this machine"),
        ('[api]\npublic_url = "here"\n', "[api] public_url: 'here' is no address"),
        ('[bus]\nurl = "pigeon://x"\n', "no bus driver is named 'pigeon'"),
        ('[keystone]\nauth_url = "x"\npassword = "y"\n', "[keystone] auth_url: 'x' is no address"),
        ("[queue]\nmax_claim_ttl_s = 100\n", "default_claim_ttl_s is 300, above max_claim_ttl_s"),
    ],
)
def test_what_could_not_serve_is_told_by_check_already(stack: Stack, text: str, line: str) -> None:
    with_file(stack, text)
    assert line in refused(stack, "config", "check")


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("TRANSOM_API__PROT", "1", "unknown option 'prot' in [api]; did you mean 'port'?"),
        ("TRANSOM_API__PORT", "", "[api] port: '' is not a whole number"),
        ("TRANSOM_HTTP__BODY_S", "inf", "[http] body_s: 'inf' is not a number"),
        ("TRANSOM_API_PORT", "81", "is not read; write TRANSOM_API__PORT, or unset it"),
    ],
)
def test_a_fault_in_the_environment_is_told_and_nothing_is_made(
    stack: Stack, variable: str, value: str, line: str
) -> None:
    stack.environment[variable] = value
    assert refused(stack, "up", "--port", "0") == f"{variable}: {line}"
    assert not stack.data.exists()


def test_all_faults_are_told_at_once_by_check_and_by_up(stack: Stack) -> None:
    with_file(stack, "[api]\nprot = 1\n[qeue]\n")
    stack.environment["TRANSOM_LOG__LEVEL"] = "LOUD"
    for command in (("config", "check"), ("up", "--detach"), ("run", "api")):
        done = stack.transom(*command, check=False)
        assert (done.returncode, (done.stdout + done.stderr).count("\n")) == (1, 3)
    assert [path.name for path in stack.data.iterdir()] == ["transom.toml"]


def test_what_is_no_file_is_no_configuration(stack: Stack, tmp_path: Path) -> None:
    line = refused(stack, "up", "--config", str(tmp_path / "absent.toml"))
    assert line == f"{tmp_path / 'absent.toml'}: no such file; create it or leave --config out"
    (stack.data / "transom.toml").mkdir(parents=True)
    assert refused(stack, "up") == f"{stack.data / 'transom.toml'}: cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--port", "70000"), "70000 is no port; choose one from 0 (any) to 65535 with --port"),
        (
            ("--host", "0.0.0.0"),
            "plain HTTP on 0.0.0.0 could be read by others; set [api] tls_certificate",
        ),
        (("--host", "no.such.invalid"), "'no.such.invalid' is no address of this machine"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_told(
    stack: Stack, arguments: tuple[str, ...], line: str
) -> None:
    assert refused(stack, "up", *arguments).startswith(line)


def test_embedded_identity_is_for_this_machine_alone_also_when_plain_http_is_forced(
    stack: Stack,
) -> None:
    stack.environment["TRANSOM_API__PLAIN_HTTP_ANYWHERE"] = "yes"
    stack.environment["TRANSOM_API__PUBLIC_URL"] = "http://127.0.0.1:1"
    line = refused(stack, "up", "--port", "0", "--host", "0.0.0.0")
    assert "embedded identity is for this machine only" in line
    assert "set [keystone] auth_url to a real Keystone, or [api] host to 127.0.0.1" in line


def test_a_port_in_use_is_told(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(stack, "up", "--port", str(port))
    assert line == f"port {port} is in use; choose another with --port or [api] port"


def test_no_folder_at_all_is_told(tmp_path: Path) -> None:
    for command in (("up",), ("status",), ("down",), ("db", "upgrade")):
        assert (
            refused(Nameless(), *command) == "--data-dir is empty; name a folder, or leave it out"
        )
    lost = [sys.executable, "-m", "transom.cli", "up"]
    nobody = ("unshare", "-U", "--map-user=54321", "--map-group=54321")
    stack = Stack(tmp_path)
    for name in ("HOME", "XDG_DATA_HOME", "TRANSOM_DATA_DIR"):
        stack.environment.pop(name, None)
    done = subprocess.run(
        [*nobody, *lost], env=stack.environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == (
        "transom: there is no HOME to keep anything in; name a folder with --data-dir\n"
    )
    assert done.returncode == 1


class Nameless(Stack):
    """As `--data-dir "$UNSET"` is."""

    def __init__(self) -> None:
        super().__init__(Path())
        self.data = ""  # type: ignore[assignment]


def started(stack: Stack, mask: str, data: str, cwd: Path) -> str:
    """Starts it under that umask, from that folder; what it printed."""
    command = [sys.executable, "-m", "transom.cli", "up", "--detach", "--port", "0"]
    done = subprocess.run(
        ["sh", "-c", f'umask {mask}; exec "$@"', "sh", *command, "--data-dir", data],
        cwd=cwd, env=stack.environment, check=True, capture_output=True, encoding="utf-8",
    )  # fmt: skip
    return done.stdout


def is_private(stack: Stack) -> bool:
    """Whether only the owner gets in."""
    wait_for(lambda: (stack.data / "queue.db-wal").exists())
    paths = [stack.data, *stack.data.rglob("*")]
    return {path.stat().st_mode & 0o077 for path in paths} == {0}


def test_any_path_can_be_a_data_folder_and_what_is_printed_can_be_pasted(tmp_path: Path) -> None:
    name = "mit Leer, ünïcode ☃, '\"" + "x" * 180 + "/" + "y" * 180 + "\nz"
    stack = Stack(tmp_path / name)
    try:
        printed = started(stack, "077", name, tmp_path)
        line = next(line for line in printed.split("    ") if "OS_CLIENT_CONFIG_FILE" in line)
        shown = subprocess.run(
            ["sh", "-c", f'{line}\nprintf %s "$OS_CLIENT_CONFIG_FILE"'],
            capture_output=True, encoding="utf-8", check=True,
        )  # fmt: skip
        assert shown.stdout == str(stack.data / "clouds.yaml")
        assert stack.status()["ready"]  # asked for by the absolute path
        assert is_private(stack)
    finally:
        stack.stop()


def test_strange_surroundings_do_not_matter(tmp_path: Path) -> None:
    strange = {
        "OS_CLOUD": "nope", "OS_AUTH_URL": "http://x", "OS_TOKEN": "a", "LC_ALL": "C",
        "http_proxy": "http://127.0.0.1:9", "ALL_PROXY": "x", "PYTHONIOENCODING": "ascii",
        "TMPDIR": "/nonexistent", "WATCHDOG_USEC": "abc", "NOTIFY_SOCKET": "/nope",
        "XDG_RUNTIME_DIR": str(tmp_path / "ru n"),
    }  # fmt: skip
    (tmp_path / "ru n").mkdir(mode=0o700)
    stack = Stack(tmp_path / "dätä", strange)
    try:
        started(stack, "000", str(stack.data), tmp_path)
        assert stack.status()["ready"]
        assert is_private(stack)
    finally:
        stack.stop()


def test_a_name_that_is_too_long_is_told(tmp_path: Path) -> None:
    long = "x" * 300
    line = refused(Stack(tmp_path / long), "up")
    told = "cannot be used: File name too long; choose another folder with --data-dir"
    assert line == f"{tmp_path / long / 'version'}: {told}"
