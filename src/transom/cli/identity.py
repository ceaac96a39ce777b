# SPDX-License-Identifier: Apache-2.0
"""`transom identity ...`: what needs no password, done in the data of embedded identity.

Everything else is the `openstack` client's.
"""

import asyncio
import os
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable
from typing import TypeVar

from transom.cli import parts, tls
from transom.cli.settings import Settings
from transom.errors import ConfigError
from transom.identity.app.upkeep import Upkeep
from transom.identity.config import IdentityConfig
from transom.identity.logic.accounts import accounts_yaml
from transom.identity.logic.rotation import KEPT_S
from transom.identity.service import build_local
from transom.runtime.clock import SystemClock

ACCOUNTS_MOST = 100
T = TypeVar("T")


def reset_password(options: Namespace) -> int:
    """`admin`'s goes into the files that clients read; any other one is printed, once."""
    settings = _settings(options)
    secret = asyncio.run(_with(settings, lambda upkeep: upkeep.reset_password(options.user)))
    if secret is None:
        print(f"the new password of admin is in {settings.data.clouds_file}, and in openrc there")
    else:
        print(secret.reveal())
    return 0


def rotate_keys(options: Namespace) -> int:
    """Says which key seals tokens now, and until when the ones before it are kept."""

    async def rotate(upkeep: Upkeep) -> tuple[int, list[int]]:
        return upkeep.rotate_keys()

    number, gone = asyncio.run(_with(_settings(options), rotate))
    until = time.strftime("%Y-%m-%d", time.localtime(time.time() + KEPT_S))
    print(f"key {number} seals tokens from now on; the one before it opens them until {until}")
    for old in gone:
        print(f"key {old} is removed: no token of it is left")
    return 0


def accounts(options: Namespace) -> int:
    """Prints `accounts.yaml` of users that a test suite may use, made or made anew."""
    if not 1 <= options.count <= ACCOUNTS_MOST:
        raise ConfigError(f"--count: {options.count} is not from 1 to {ACCOUNTS_MOST}")
    made = asyncio.run(_with(_settings(options), lambda upkeep: upkeep.accounts(options.count)))
    print(accounts_yaml(made), end="")
    return 0


def _settings(options: Namespace) -> Settings:
    settings = Settings.of(options)
    if not parts.is_embedded(settings):
        raise ConfigError("identity is the Keystone that [keystone] auth_url names; do it there")
    settings.data.require()
    return settings


async def _with(settings: Settings, work: Callable[[Upkeep], Awaitable[T]]) -> T:
    clock = SystemClock()
    local = build_local(
        settings.config.section(IdentityConfig),
        parts.IDENTITY.database(settings, clock),
        data=settings.data.path,
        public_url=settings.likely_url,
        ca_file=tls.ca_file(settings),
        master_keys=settings.master_keys,
        clock=clock,
        random=os.urandom,
    )
    await local.start()
    try:
        return await work(local.upkeep)
    finally:
        await local.stop()
