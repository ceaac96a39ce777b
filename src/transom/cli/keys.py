# SPDX-License-Identifier: Apache-2.0
"""`transom keys ...`: parties, groups and key files, done in the data of the key server.

It works while Transom runs and while it does not, and needs no password: the data folder is the
right to it.

Invariants:
1. A key is written into a file that only its owner may read, and into nothing else; none comes from
   the command line.
2. What changes something is in the audit log, with the account of who ran the command.
"""

import asyncio
import json
import os
import pwd
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from transom.cli import parts, tls
from transom.cli.logs import audit_log
from transom.cli.settings import Settings
from transom.errors import ConfigError
from transom.keys.api.mount import PREFIX
from transom.keys.api.shapes import group as shown_group
from transom.keys.api.shapes import moment
from transom.keys.api.shapes import party as shown_party
from transom.keys.app.enrolment import Enrolment, Place
from transom.keys.model import Party
from transom.keys.service import LocalKeys
from transom.messaging.security.keyfile import KeyFile, decode_key_file, encode_key_file
from transom.runtime.clock import SystemClock
from transom.runtime.ids import new_request_id
from transom.runtime.secrets import write_private
from transom.runtime.telemetry.audit import AuditLog, Caller, Entry, shown

AT_ONCE = 1000
T = TypeVar("T")


def add(options: Namespace) -> int:
    """A party that is not there yet, and its file."""
    return _filed(options, lambda enrolment: enrolment.add(options.name))


def enrol(options: Namespace) -> int:
    """The file of a party, which comes to be if it is not there."""

    async def made(enrolment: Enrolment) -> KeyFile:
        if options.public_key:
            return await enrolment.certified(options.name)
        return await enrolment.file_of(options.name)

    return _filed(options, made)


def rotate(options: Namespace) -> int:
    """A new key, and the file with it and with those before it."""
    return _filed(
        options, lambda enrolment: enrolment.rotated(options.name, at_once=options.at_once)
    )


def remove(options: Namespace) -> int:
    settings = _settings(options)
    _changed(settings, options, lambda keys: keys.custody.remove(options.name))
    print(f"{options.name} is removed; tickets that it has are good until they end")
    return 0


def show(options: Namespace) -> int:
    party, groups = asyncio.run(_with(_settings(options), lambda keys: _of(keys, options.name)))
    told = {**msgspec.to_builtins(shown_party(party)), "groups": groups}
    if options.json:
        print(json.dumps(told))
        return 0
    print(f"{party.name}, added {moment(party.created_ms)}")
    for key in party.keys:
        used = "in use" if key.used_ms is not None else "not used yet"
        until = "" if key.until_ms is None else f", until {moment(key.until_ms)}"
        print(f"  key {key.generation}, of {moment(key.created_ms)}, {used}{until}")
    if not party.keys:
        print("  no long-term key")
    if groups:
        print(f"  also in the groups {', '.join(groups)}")
    return 0


def list_parties(options: Namespace) -> int:
    found = asyncio.run(_with(_settings(options), _every_party))
    if options.json:
        print(json.dumps(msgspec.to_builtins([shown_party(party) for party in found])))
        return 0
    for party in found:
        newest = party.newest
        state = "no key" if newest is None else "in use" if newest.used_ms else "not used yet"
        print(f"{party.name}  {state}")
    return 0


def group_add(options: Namespace) -> int:
    settings = _settings(options)
    changed = _changed(
        settings, options, lambda keys: keys.custody.change_members(options.group, options.members)
    )
    print(f"{changed.name}: {', '.join(changed.members)}")
    return 0


def group_remove(options: Namespace) -> int:
    """Some members, or the whole group."""
    settings, members = _settings(options), options.members

    async def change(keys: LocalKeys) -> str:
        if not members:
            await keys.custody.remove_group(options.group)
            return "is removed"
        changed = await keys.custody.change_members(options.group, remove=members)
        return ", ".join(changed.members) or "no members"

    print(f"{options.group}: {_changed(settings, options, change)}")
    return 0


def group_list(options: Namespace) -> int:
    async def every(keys: LocalKeys) -> list[Any]:
        found: list[Any] = []
        while page := await keys.custody.groups(found[-1].name if found else "", AT_ONCE):
            found += page
        return found

    found = asyncio.run(_with(_settings(options), every))
    if options.json:
        print(json.dumps(msgspec.to_builtins([shown_group(group) for group in found])))
        return 0
    for group in found:
        print(f"{group.name}: {', '.join(group.members)}")
    return 0


def rotate_authority(options: Namespace) -> int:
    made = _changed(_settings(options), options, lambda keys: keys.authorities.rotate())
    print(f"certificates are signed by {made.public_key.hex()} from now on")
    print("parties with tickets learn that by themselves; give those without a long-term key a new")
    print("file, with `transom keys enrol NAME --public-key --out FILE`")
    return 0


def _filed(options: Namespace, work: Callable[[Enrolment], Awaitable[KeyFile]]) -> int:
    """Makes a key file, writes it and says so."""
    settings, path = _settings(options), Path(options.out).absolute()
    _check_place(path, options.name)
    place = _place(settings, options.server)
    file = _changed(settings, options, lambda keys: work(keys.enrolment(place)))
    write_private(path, encode_key_file(file))
    print(f"{options.out}: key file of {file.name} at {file.server}; for that process alone")
    return 0


def _check_place(path: Path, name: str) -> None:
    """Before anything is changed. Raises: ConfigError."""
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path.parent}: is no folder that can be written; choose another --out")
    if not path.exists():
        return
    try:
        whose = decode_key_file(path.read_bytes(), str(path)).name
    except ConfigError:
        whose = ""
    if whose != name:
        raise ConfigError(
            f"{path}: is not the key file of {name}; move it away, or choose another --out"
        )


def _place(settings: Settings, server: str) -> Place:
    ca_file = tls.ca_file(settings)
    ca = Path(ca_file).read_text() if ca_file else ""
    return Place(server.rstrip("/") or settings.likely_url + PREFIX, ca)


def _settings(options: Namespace) -> Settings:
    settings = Settings.of(options)
    settings.data.require()
    return settings


def _changed(
    settings: Settings, options: Namespace, work: Callable[[LocalKeys], Awaitable[T]]
) -> T:
    """Does it, and tells the audit log."""

    async def audited(keys: LocalKeys) -> T:
        audit = audit_log(settings)
        if audit is None:
            return await work(keys)
        await audit.start()
        began_s = time.perf_counter()
        outcome = "failed"
        try:
            done = await work(keys)
            outcome = "allowed"
        finally:
            written = _tell(audit, options, outcome, time.perf_counter() - began_s)
            await audit.stop()
        if not written and audit.needed:
            raise ConfigError(f"it is done, and the audit log could not be told: {audit.problem}")
        return done

    return asyncio.run(_with(settings, audited))


def _tell(audit: AuditLog, options: Namespace, outcome: str, duration_s: float) -> bool:
    """Whether the line was written."""
    now_s = time.time()
    account = os.getuid()
    try:
        name = pwd.getpwuid(account).pw_name
    except KeyError:
        name = ""
    entry = Entry(
        datetime.fromtimestamp(now_s, UTC),
        new_request_id(os.urandom),
        outcome,
        0,
        "COMMAND",
        "transom",
        shown(" ".join(_words(options))),
        int(duration_s * 1e6),
        caller=msgspec.Raw(msgspec.json.encode(Caller(f"uid {account}", name))),
    )
    return audit.write(entry, now_s)


def _words(options: Namespace) -> Iterator[str]:
    """What was asked for; no option of these commands has a secret in it."""
    yield f"keys {options.where.partition(':')[2].replace('_', '-')}"
    for name in ("name", "group"):
        if hasattr(options, name):
            yield getattr(options, name)
    yield from getattr(options, "members", ())
    for name in ("public_key", "at_once"):
        if getattr(options, name, False):
            yield f"--{name.replace('_', '-')}"


async def _with(settings: Settings, work: Callable[[LocalKeys], Awaitable[T]]) -> T:
    local = parts.local_keys(settings, SystemClock())
    await local.start()
    try:
        return await work(local)
    finally:
        await local.stop()


async def _of(keys: LocalKeys, name: str) -> tuple[Party, list[str]]:
    return await keys.custody.party(name), await keys.custody.groups_of(name)


async def _every_party(keys: LocalKeys) -> list[Party]:
    found: list[Party] = []
    while page := await keys.custody.parties(found[-1].name if found else "", AT_ONCE):
        found += page
    return found
