# SPDX-License-Identifier: Apache-2.0
"""`transom config show`, `transom config check` and `transom config rules`."""

import json
from argparse import Namespace
from collections.abc import Iterable
from typing import Any

from transom.cli import parts, tls
from transom.cli.connecting import connect_bus
from transom.cli.keystone import check_keystone
from transom.cli.settings import ApiConfig, KeystoneConfig, Settings
from transom.errors import BadRequest
from transom.queue.app.quota_file import read as read_limits
from transom.queue.logic.quota import Limits
from transom.runtime.auth.keystone import tls_context
from transom.runtime.clock import SystemClock
from transom.runtime.http.listen import bind
from transom.runtime.secrets import Secret


def show(options: Namespace) -> int:
    """As TOML, so that it can be the beginning of a file; origins as comments."""
    section = ""
    for shown in Settings.of(options).config.shown():
        if shown.section != section:
            print(f"\n[{shown.section}]" if section else f"[{shown.section}]")
            section = shown.section
        unit = f" ({shown.meta.unit})" if shown.meta.unit else ""
        print(f"# {shown.meta.meaning}{unit}  [{shown.origin}]")
        line = f"{shown.name} = {_toml(shown.value)}"
        print(line if shown.origin != "default" and shown.value is not None else f"# {line}")
    return 0


def check(options: Namespace) -> int:
    """Also whether the host can be listened on, whether there is such a bus, policy files
    and limits of projects;
    with `--online`, whether the real Keystone answers and takes the service user.
    """
    settings = Settings.of(options)
    api = settings.config.section(ApiConfig)
    bind(api.host, 0, force_plain=api.leaves_loopback).close()
    tls.certificate(settings, SystemClock())
    tls.ca_file(settings)
    connect_bus(settings)
    keystone = settings.config.section(KeystoneConfig)
    tls_context(keystone.auth_url, keystone.ca_file)
    for part in parts.DECLARED:
        for warning in parts.policy(settings, part).read().warnings:
            print(f"warning: {warning}")
    path = parts.queue_limits(settings)
    if path.exists():
        read_limits(path, Limits())
    print(f"{settings.file or 'no file, all defaults'}: can be used")
    if options.online:
        check_keystone(settings)
    return 0


def rules(options: Namespace) -> int:
    """The defaults, each behind a `#`, so that it can be the beginning of a policy file."""
    if options.part not in parts.DECLARED:
        raise BadRequest(f"no part is called {options.part!r}; there are {_both(parts.DECLARED)}")
    print(
        f"# Access rules of {options.part}, as they are by default. Take the # away from the last"
    )
    print("# line of one and change it; what is left out stays as it is.")
    for rule in parts.DECLARED[options.part]:
        print(f"\n# {rule.meaning}")
        for operation in rule.operations:
            print(f"# {operation}")
        if rule.scope:
            print(f"# The token has to be for: {rule.scope}")
        if rule.targets:
            print(f"# The target has: {', '.join(rule.targets)}")
        print(f"# {json.dumps(rule.name)}: {json.dumps(rule.text)}")
    return 0


def _both(names: Iterable[str]) -> str:
    return " and ".join(names)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Secret):
        return '"***"' if value else '""'
    return json.dumps(value) if isinstance(value, str) else str(value)
