# SPDX-License-Identifier: Apache-2.0
"""`transom config show` and `transom config check`."""

import json
from argparse import Namespace
from typing import Any

from transom.cli.settings import ApiConfig, Settings
from transom.messaging import connect
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
    """Also whether the host can be listened on, and whether there is such a bus."""
    settings = Settings.of(options)
    api = settings.config.section(ApiConfig)
    bind(api.host, 0, force_plain=api.plain_http_anywhere).close()
    connect(settings.bus_url)
    print(f"{settings.file or 'no file, all defaults'}: can be used")
    return 0


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Secret):
        return '"***"' if value else '""'
    return json.dumps(value) if isinstance(value, str) else str(value)
