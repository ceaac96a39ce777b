# SPDX-License-Identifier: Apache-2.0
"""The first users, and the files that say how to sign in as them.

On a fresh data folder there come to be the roles, `admin` with all but the service's role on the
project `admin`, and the service user on its project.

Invariants:
1. One process at a time does this, held apart by a lock in the folder of the keys.
2. The database has a password's hash before a file has the password. Where a file is missing, be it
   deleted or never written for a crash, there is a new password, and the old tokens are void. The
   service's is made anew too where it does not fit, as after one of both came from a backup.
3. A file that says what it should is not touched; a changed address keeps the password.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from transom.errors import Unavailable
from transom.identity.app.passwords import Passwords
from transom.identity.app.writes import Writes
from transom.identity.contract import SERVICE_PASSWORD_FILE, SERVICE_PROJECT, SERVICE_USER
from transom.identity.logic import clouds
from transom.identity.model import (
    DEFAULT_DOMAIN,
    Project,
    ProjectChange,
    Reference,
    Role,
    User,
    UserChange,
)
from transom.identity.store import grants, projects, users
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Transaction
from transom.runtime.ids import Randomness, new_hex
from transom.runtime.secrets import new_password, read_private, write_private

log = logging.getLogger(__name__)
ADMIN = "admin"
ADMIN_ROLES = ("admin", "member", "reader")
SERVICE_ROLES = ("service",)
LOCK_WAIT_S = 30.0
_LOCK_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """`data`: the data folder. `keys`: the private folder inside it."""

    writes: Writes
    passwords: Passwords
    clock: Clock
    random: Randomness
    data: Path
    keys: Path
    access: clouds.Access

    async def ensure(self) -> None:
        """Makes what is missing. Raises: ConfigError, Unavailable, and what storage raises."""
        async with _alone(self.keys / "bootstrap.lock", self.clock):
            fresh = await self.writes.database.read(_is_fresh)
            text = _read(self.data / "clouds.yaml")
            password = clouds.password_in(text)
            if fresh or not password:
                password = password or new_password(self.random).reveal()
                await self._set_admin_password(password)
            self._write_access(text, password)
            secret = _read(self.keys / SERVICE_PASSWORD_FILE).strip()
            if not fresh and not await self._serves(secret):
                secret = ""
            if fresh or not secret:
                secret = secret or new_password(self.random).reveal()
                await self._seed(SERVICE_USER, SERVICE_PROJECT, SERVICE_ROLES, secret, drawn=True)
                write_private(self.keys / SERVICE_PASSWORD_FILE, f"{secret}\n".encode())

    async def reset_admin_password(self) -> None:
        """A new password, in the files; all tokens of `admin` are void.

        Makes `admin` anew, or enables it, where somebody has deleted or disabled it.
        """
        async with _alone(self.keys / "bootstrap.lock", self.clock):
            text = _read(self.data / "clouds.yaml")
            password = new_password(self.random).reveal()
            await self._set_admin_password(password)
            self._write_access(text, password)

    async def _set_admin_password(self, password: str) -> None:
        await self._seed(ADMIN, ADMIN, ADMIN_ROLES, password)
        log.info("password of admin set", extra={"file": str(self.data / "clouds.yaml")})

    def _write_access(self, text: str, password: str) -> None:
        if not clouds.is_current(text, self.access, password):
            merged = clouds.merged(text, self.access, password)
            write_private(self.data / "clouds.yaml", merged.encode())
        lines = clouds.openrc(self.access, password)
        if _read(self.data / "openrc") != lines:
            write_private(self.data / "openrc", lines.encode())

    async def _serves(self, secret: str) -> bool:
        """Whether it is the service user's password; if an admin has removed that user, yes."""
        who = Reference(name=SERVICE_USER, domain_id=DEFAULT_DOMAIN.id)
        account = await self.writes.database.read(lambda tx: users.find(tx, who))
        return account is None or await self.passwords.fits(secret, account.password_hash)

    async def _seed(
        self,
        name: str,
        project: str,
        roles: Sequence[str],
        password: str,
        *,
        drawn: bool = False,
    ) -> None:
        domain_id = DEFAULT_DOMAIN.id
        user = User(new_hex(self.random), name, domain_id)
        place = Project(new_hex(self.random), project, domain_id)
        made = [Role(new_hex(self.random), role) for role in roles]
        record = await self.passwords.hash(password, drawn=drawn)
        await self.writes.commit(lambda tx: _ensure(tx, user, record, place, made))


async def _is_fresh(tx: Transaction) -> bool:
    return await grants.role_named(tx, ADMIN_ROLES[0]) is None


async def _ensure(
    tx: Transaction, user: User, record: str, project: Project, roles: Sequence[Role]
) -> None:
    """The user with this password, enabled, with these roles on the project; by their names."""
    found = await projects.find(tx, Reference(name=project.name, domain_id=project.domain_id))
    if found is None:
        await projects.insert(tx, project)
    else:
        project = await projects.update(tx, found[0].id, ProjectChange(enabled=True))
    account = await users.find(tx, Reference(name=user.name, domain_id=user.domain_id))
    if account is None:
        await users.insert(tx, user, record)
    else:
        change = UserChange(enabled=True, password_hash=record)
        user = await users.update(tx, account.user.id, change)
    for role in roles:
        await grants.ensure_role(tx, role)
        here = await grants.role_named(tx, role.name) or role
        await grants.add(tx, user.id, project.id, here.id)


def _read(path: Path) -> str:
    """The text, or "" if there is no such file. Raises: ConfigError if others may read it."""
    try:
        return read_private(path).decode(errors="replace")
    except FileNotFoundError:
        return ""


@asynccontextmanager
async def _alone(path: Path, clock: Clock) -> AsyncIterator[None]:
    """Raises: Unavailable if another process holds the lock for too long."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline_s = clock.monotonic_s() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if clock.monotonic_s() >= deadline_s:
                    raise Unavailable(f"{path}: another process holds it; end it") from None
            await asyncio.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(handle)
