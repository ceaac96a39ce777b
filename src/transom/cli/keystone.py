# SPDX-License-Identifier: Apache-2.0
"""`transom keystone register`: a real Keystone and this Transom are made to know each other; and
what `transom config check --online` asks of it.

Invariant: a password is written to files of mode 0600 and to nothing else. It lies in
`keys/keystone.plain` from before Keystone is told of it until it stands in the configuration
file, so that a run which was killed can be run again.
"""

import asyncio
import json
import os
import tomllib
from argparse import Namespace
from pathlib import Path

from transom.cli import parts
from transom.cli.registration import Client, Registration, Wish
from transom.cli.settings import FILE_NAME, ApiConfig, KeystoneConfig, Settings
from transom.errors import ConfigError, Unavailable
from transom.runtime.auth.keystone import (
    VALIDATING_ROLES,
    Keystone,
    ServiceCredentials,
    v3_url,
)
from transom.runtime.auth.operator import Operator
from transom.runtime.auth.watch import NO_ROLE
from transom.runtime.clock import SystemClock
from transom.runtime.secrets import Secret, new_password, read_private, write_private

PASSWORD_FILE = "keystone.plain"  # noqa: S105 a file's name
"""Of an ending that is not sealed: a person may have to read it."""
SECTION = "keystone"


def register(options: Namespace) -> int:
    settings = Settings.of(options)
    operator = Operator.read(options.os_cloud, os.environ)
    keystone = settings.config.section(KeystoneConfig)
    url = _public_url(settings)
    wish = Wish(
        keystone.username,
        keystone.project_name,
        keystone.domain_id,
        options.role,
        options.region or operator.region,
        parts.catalogue(url),
    )
    kept = settings.data.keys / PASSWORD_FILE
    if not options.dry_run:
        settings.data.prepare()
    same = _is_same(keystone, operator)
    known = keystone.password if same and keystone.password else _kept(kept)

    def keep_password() -> Secret:
        password = new_password(os.urandom)
        write_private(kept, f"{password.reveal()}\n".encode())
        return password

    async def carry_out() -> Secret:
        async with Client(operator) as client:
            await client.sign_in()
            run = Registration(client, wish, print, options.dry_run)
            return await run.carry_out(
                known, renew=options.new_password, keep_password=keep_password
            )

    password = asyncio.run(carry_out())
    if not options.dry_run:
        _configure(settings, operator, password, kept)
    return 0


def _public_url(settings: Settings) -> str:
    """What clients will reach the doors by."""
    api = settings.config.section(ApiConfig)
    state = settings.data.read_state()
    if api.public_url or (state and state.url):
        return (api.public_url or (state.url if state else "")).rstrip("/")
    if not api.port:
        raise ConfigError("[api] port is 0, so no address can be registered; set [api] public_url")
    host = f"[{api.host}]" if ":" in api.host else api.host
    return f"{api.scheme}://{host}:{api.port}"


def _is_same(keystone: KeystoneConfig, operator: Operator) -> bool:
    return bool(keystone.auth_url) and v3_url(keystone.auth_url) == v3_url(operator.auth_url)


def _kept(kept: Path) -> Secret:
    try:
        return Secret(read_private(kept).decode().strip())
    except FileNotFoundError:
        return Secret("")


def _configure(settings: Settings, operator: Operator, password: Secret, kept: Path) -> None:
    """Into the configuration file, unless it says it already, or says something else."""
    now = settings.config.section(KeystoneConfig)
    file = (settings.file or settings.data.path / FILE_NAME).resolve()
    lines = {
        "auth_url": operator.auth_url,
        "username": now.username,
        "project_name": now.project_name,
        "domain_id": now.domain_id,
        **({"ca_file": operator.ca_file} if operator.ca_file else {}),
    }
    if _is_same(now, operator) and now.password == password:
        kept.unlink(missing_ok=True)
        print(f"{settings.file or 'the environment'}: has it all already")
        return
    text = file.read_text("utf-8") if file.exists() else ""
    given = [
        name for name in ("auth_url", "password") if (SECTION, name) in settings.config.origins
    ]
    if given or SECTION in tomllib.loads(text):
        write_private(kept, f"{password.reveal()}\n".encode())
        print(f"{file}: [keystone] is there already and is left as it is; make it say")
        for name, value in lines.items():
            print(f"  {name} = {_toml(value)}")
        print(f"  password = (the line in {kept})")
        return
    written = {**lines, "password": password.reveal()}
    section = "\n".join(["[keystone]", *(f"{key} = {_toml(at)}" for key, at in written.items())])
    before = f"{text.rstrip()}\n\n" if text.strip() else ""
    write_private(file, f"{before}{section}\n".encode())
    kept.unlink(missing_ok=True)
    print(f"wrote [keystone] to {file}; start Transom again if it runs")


def _toml(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def check_keystone(settings: Settings) -> None:
    """Says that it answers and takes the service user. Raises: ConfigError if not."""
    url = settings.config.section(KeystoneConfig).auth_url
    if parts.is_embedded(settings):
        raise ConfigError("[keystone] auth_url is not set: there is no real Keystone to ask")
    asyncio.run(_ask(url, parts.credentials(settings)))
    print(f"{url}: answers, and takes the service user")


async def _ask(url: str, credentials: ServiceCredentials) -> None:
    keystone = Keystone(credentials, SystemClock())
    await keystone.start()
    try:
        await keystone.probe()
    except Unavailable as error:
        raise ConfigError(f"[keystone] {url} cannot be used: {error.detail}") from None
    finally:
        await keystone.stop()
    if not keystone.own_roles & VALIDATING_ROLES:
        raise ConfigError(f"[keystone] {url} cannot be used: {NO_ROLE}")
