"""Secrets are planted in every place that takes one, used well and badly, and looked for in every
place that others may see: logs, command lines, live tables, answers, the databases' bytes."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from transom.identity.contract import TABLES as IDENTITY_TABLES
from transom.messaging.security.keyfile import decode_key_file
from transom.queue.contract import TABLES as QUEUE_TABLES

from support.load import Session, login
from support.stack import CLIENTS, Stack, get

MASTER_KEY = base64.b64encode(os.urandom(32)).decode()
PUBLISHED = [table.name for table in (*IDENTITY_TABLES, *QUEUE_TABLES)]
PASSWORD = "planted-password-of-a-user"
NEW_PASSWORD = "planted-password-of-a-user-changed"
WRONG_PASSWORD = "planted-password-that-is-wrong"
CREDENTIAL = "planted-secret-of-an-application"
LONG_TERM_KEY = os.urandom(32)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    environment = {"TRANSOM_SECRETS__MASTER_KEY": MASTER_KEY, "TRANSOM_LOG__LEVEL": "DEBUG",
                   "TRANSOM_LOG__REQUESTS": "true"}  # fmt: skip
    stack = Stack(tmp_path / "data", environment)
    try:
        yield stack.start()
    finally:
        stack.stop()


def family(stack: Stack) -> list[int]:
    """The processes whose command line or ancestry leads to this folder."""
    own = str(stack.data).encode()
    listed = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    roles = {role["pid"] for role in stack.status()["roles"]} | {stack.status()["pid"]}
    return [pid for pid in listed if pid in roles or own in command_line(pid)]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def watched(stack: Stack, table: str) -> bytes:
    """What a watch prints in its first moments, in which it becomes live."""
    process = subprocess.Popen(
        [sys.executable, "-m", "transom.cli", "tables", "watch", table, "--json",
         "--data-dir", str(stack.data)],
        env=stack.environment, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    lines = []
    with process.stdout as output:
        for line in output:
            lines.append(line)
            if json.loads(line).get("state") == "live":
                break
    process.terminate()
    process.wait(30)
    return b"".join(lines)


def use_secrets(stack: Stack, token: str) -> list[str]:
    """Everything that takes a secret takes one; answers the tokens that were given."""
    with closing(Session(stack.url, token)) as session:
        user = {"name": "planted", "password": PASSWORD, "domain_id": "default"}
        status, made = session.ask("POST", "/identity/v3/users", {"user": user})
        assert status == 201
        assert PASSWORD not in json.dumps(made)
        user_id = made["user"]["id"]
        changed = {"user": {"password": NEW_PASSWORD}}
        assert session.ask("PATCH", f"/identity/v3/users/{user_id}", changed)[0] == 200
        for password in (PASSWORD, WRONG_PASSWORD):
            asked = {"auth": {"identity": {"methods": ["password"], "password": {"user": {
                "id": user_id, "password": password}}}}}  # fmt: skip
            assert session.ask("POST", "/identity/v3/auth/tokens", asked)[0] == 401
        broken = {"auth": {"identity": {"methods": ["password"], "password": WRONG_PASSWORD}}}
        status, said = session.ask("POST", "/identity/v3/auth/tokens", broken)
        assert status == 400
        assert WRONG_PASSWORD not in json.dumps(said)
        second = session.new_token()
        assert second
        session.revoke(second)
        session.ask("GET", f"/queue/v2/queues?marker={second[:20]}", token=second)
        give_long_term_key(session)
    made = stack.client(
        "openstack", "--os-cloud", "transom", "application", "credential", "create", "planted",
        "--secret", CREDENTIAL, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return [token, second]


def give_long_term_key(session: Session) -> None:
    """Given well, and twice, and in requests that are refused."""
    key = base64.b64encode(LONG_TERM_KEY).decode()
    for path, body, expected in (
        ("planted.host1", {"key": key}, 201),
        ("planted.host1", {"key": key}, 200),
        ("planted", {"key": key}, 400),
        ("planted.host2", {"key": f"{key}{key}"}, 400),
        ("planted.host2", {"key": key[:-4]}, 400),
        ("planted.host2", {"key": {"key": key}}, 400),
        ("planted.host2", {"kez": key}, 400),
    ):
        status, said = session.ask("PUT", f"/keys/v1/keys/{path}", body)
        assert status == expected, (path, said)
        assert key[:-8] not in json.dumps(said)
    for path in ("keys", "keys/planted.host1"):
        status, said = session.ask("GET", f"/keys/v1/{path}")
        assert status == 200
        assert key[:-8] not in json.dumps(said)


def enrolled(stack: Stack, folder: Path) -> list[bytes]:
    """The keys of parties whose files were written, by commands."""
    made = []
    for number, words in enumerate((["add"], ["rotate"], ["enrol", "--public-key"])):
        file = folder / f"{number}.key"
        name = "planted.host4" if words[0] == "enrol" else "planted.host3"
        said = stack.transom("keys", *words, name, "--out", str(file))
        found = decode_key_file(file.read_bytes(), "")
        made += [*found.keys, *([found.identity] if found.identity else [])]
        assert file.stat().st_mode & 0o777 == 0o600
        for key in made:
            for shown in (key.hex(), base64.b64encode(key).decode()):
                assert shown not in said.stdout + said.stderr
    return made


def test_no_planted_secret_is_found_where_others_may_look(stack: Stack, tmp_path: Path) -> None:
    assert CLIENTS.exists()
    token = login(stack)
    tokens = use_secrets(stack, token)
    cloud = yaml.safe_load((stack.data / "clouds.yaml").read_text())["clouds"]["transom"]["auth"]
    secrets = [MASTER_KEY, PASSWORD, NEW_PASSWORD, WRONG_PASSWORD, CREDENTIAL, cloud["password"]]
    secrets += tokens
    keys = [LONG_TERM_KEY, *enrolled(stack, tmp_path)]
    secrets += [base64.b64encode(key).decode()[:-2] for key in keys]
    secrets += [key.hex() for key in keys]
    places = {path.name: path.read_bytes() for path in stack.data.glob("logs/*")}
    assert len(places) >= 3
    processes = family(stack)
    assert len(processes) >= 3
    places |= {f"command line of {pid}": command_line(pid) for pid in processes}
    places |= {f"table {name}": watched(stack, name) for name in PUBLISHED}
    places |= {
        command: stack.transom(*command.split()).stdout.encode()
        for command in ("config show", "status --json", "doctor --json")
    }
    places |= {path: get(stack.url + path)[1] for path in ("/metrics", "/readyz", "/", "/identity")}
    stack.stop()
    places |= {path.name: path.read_bytes() for path in stack.data.glob("*.db*")}
    places |= {path.name: path.read_bytes() for path in stack.data.glob("keys/*")}
    found = [
        (place, secret)
        for place, content in places.items()
        for secret in [*(text.encode() for text in secrets), *keys]
        if secret in content
    ]
    assert found == []
    stack.start()  # with the same master key everything opens again


def test_another_master_key_opens_nothing(stack: Stack) -> None:
    stack.stop()
    stack.environment["TRANSOM_SECRETS__MASTER_KEY"] = base64.b64encode(bytes(32)).decode()
    done = stack.transom("up", "--detach", "--port", "0", check=False)
    assert done.returncode == 1
    assert "master key" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
