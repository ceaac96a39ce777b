# SPDX-License-Identifier: Apache-2.0
"""A real Keystone of the test's own: its WSGI application in a process, on SQLite, in a folder.

    with real_keystone(folder, made=folder_made_before) as keystone: keystone.url, keystone.admin()

Making the database takes seconds, so a second Keystone of a session copies the first one's. The
folder outlives the process: `stop`, `kill` and `start` again is an outage, `pause` a half-open one.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from support.stack import ROOT, wait_for

PYTHON = Path(os.environ.get("TRANSOM_KEYSTONE", ROOT / ".cache/keystone/bin")) / "python"
ADMIN_PASSWORD = "of-the-admin"
REGION = "RegionOne"
START_S = 60

MAKE = """
import grp, os, pwd, sys
from keystone.cmd import cli
conf, password, region = sys.argv[1:]
url = "$(public_endpoint)s/v3"
owner = ["--keystone-user", pwd.getpwuid(os.getuid()).pw_name,
         "--keystone-group", grp.getgrgid(os.getgid()).gr_name]
for command in (
    ["db_sync"], ["fernet_setup", *owner], ["credential_setup", *owner],
    ["bootstrap", "--bootstrap-password", password, "--bootstrap-region-id", region,
     "--bootstrap-public-url", url, "--bootstrap-internal-url", url],
):
    child = os.fork()  # the imports, which take longest, are shared
    if child == 0:
        sys.argv[:] = ["keystone-manage", "--config-file", conf, *command]
        cli.main(sys.argv)
        sys.stdout.flush()
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(1)
"""

SERVE = """
import socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
sys.argv[1:] = []
from keystone.wsgi.api import application
from waitress import serve
serve(application, sockets=[listener], threads=4, ident=None)
"""


class RealKeystone:
    """One Keystone. `options`: lines of `keystone.conf` by section, over those below."""

    def __init__(self, folder: Path, options: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._options = dict(options or {})
        self._listener: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Without a version."""
        return f"http://127.0.0.1:{self.port}"

    def make(self, made: Path | None = None) -> None:
        """The database, its first user and the keys; copied from the folder `made` if given."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if made is not None:
            for name in ("keystone.db", "fernet", "credential"):
                copy = shutil.copytree if (made / name).is_dir() else shutil.copy
                copy(made / name, self.folder / name)
            return
        for name in ("fernet", "credential"):
            (self.folder / name).mkdir(mode=0o700)
        self._run(MAKE, str(self._configured()), ADMIN_PASSWORD, REGION)

    def start(self) -> "RealKeystone":
        """Listens from the first moment, on the same port each time; returns when it answers."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        self.port = listener.getsockname()[1]
        conf = self._configured()
        with (self.folder / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(PYTHON), "-W", "ignore", "-c", SERVE, str(listener.fileno())],
                env={**_bare(), "OS_KEYSTONE_CONFIG_FILES": str(conf)},
                pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        listener.close()
        wait_for(self._answers, START_S)
        return self

    def stop(self) -> None:
        """At once, as a killed process: nothing of a Keystone is lost by it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        """Connections are taken by the kernel and never answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(
        self, method: str, path: str, body: Any = None, token: str = "", **headers: str
    ) -> tuple[int, Mapping[str, str], Any]:
        """(status, headers, JSON or None) of `/v3` + `path`."""
        sent = {"Content-Type": "application/json", **headers}
        if token:
            sent["X-Auth-Token"] = token
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, f"/v3{path}", content, sent)
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, dict(answer.getheaders()), json.loads(data) if data else None
        finally:
            connection.close()

    def sign_in(self, identity: Mapping[str, Any], scope: Any = None) -> str:
        """A token by the method that `identity` describes; `scope`: as in the body of the call."""
        methods = [name for name in identity if name != "methods"]
        auth: dict[str, Any] = {"identity": {"methods": methods, **identity}}
        if scope is not None:
            auth["scope"] = scope
        status, headers, answer = self.ask("POST", "/auth/tokens", {"auth": auth})
        assert status == 201, (status, answer)
        return headers["X-Subject-Token"]

    def by_password(
        self, name: str, password: str, scope: Any = None, domain: str = "default"
    ) -> str:
        user = {"name": name, "domain": {"id": domain}, "password": password}
        return self.sign_in({"password": {"user": user}}, scope)

    def admin(self) -> str:
        return self.by_password("admin", ADMIN_PASSWORD, project("admin"))

    def make_one(self, kind: str, **fields: Any) -> Any:
        """POST /v3/`kind`: the new thing, whose name in the body is `kind` without its s."""
        one = kind.removesuffix("s")
        status, _, answer = self.ask("POST", f"/{kind}", {one: fields}, self.admin())
        assert status == 201, (status, answer)
        return answer[one]

    def grant(self, role: str, user_id: str, project_id: str) -> None:
        token = self.admin()
        roles = self.ask("GET", f"/roles?name={role}", token=token)[2]["roles"]
        path = f"/projects/{project_id}/users/{user_id}/roles/{roles[0]['id']}"
        assert self.ask("PUT", path, token=token)[0] == 204

    def variables(self, **other: str) -> dict[str, str]:
        """The operator's OS_*; `OS_AUTH_URL` and the like may be given otherwise."""
        return {
            "OS_AUTH_URL": f"{self.url}/v3",
            "OS_USERNAME": "admin",
            "OS_PASSWORD": ADMIN_PASSWORD,
            "OS_PROJECT_NAME": "admin",
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_IDENTITY_API_VERSION": "3",
            **other,
        }

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"keystone ended: {(self.folder / 'serve.log').read_text()}")
        try:
            return self.ask("GET", "/")[0] == 200
        except OSError:
            return False

    def _configured(self) -> Path:
        here = self.folder
        conf = here / "keystone.conf"
        options = {
            "DEFAULT": f"log_file = {here}/keystone.log\npublic_endpoint = {self.url}",
            "database": f"connection = sqlite:///{here}/keystone.db",
            "fernet_tokens": f"key_repository = {here}/fernet",
            "fernet_receipts": f"key_repository = {here}/fernet",
            "credential": f"key_repository = {here}/credential",
            "identity": "password_hash_rounds = 4",
            **self._options,
        }
        conf.write_text("".join(f"[{name}]\n{lines}\n" for name, lines in options.items()))
        return conf

    def _run(self, script: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(PYTHON), "-W", "ignore", "-c", script, *arguments],
            env=_bare(), capture_output=True, text=True, check=False, timeout=START_S,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(f"keystone was not made\n{done.stdout}{done.stderr}")


@contextmanager
def real_keystone(
    folder: Path, made: Path | None = None, options: Mapping[str, str] | None = None
) -> Iterator[RealKeystone]:
    keystone = RealKeystone(folder, options)
    keystone.make(made)
    try:
        yield keystone.start()
    finally:
        keystone.stop()


def project(name: str, domain: str = "default") -> dict[str, Any]:
    return {"project": {"name": name, "domain": {"id": domain}}}


def port_of(url: str) -> int:
    found = urlsplit(url).port
    assert found is not None
    return found


def _bare() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
